"""What made a result: code, versions, machine. Kept with each result, so that it can be told from another."""

import hashlib
import platform
import subprocess
from importlib.metadata import version

import torch

from labkit.files import ROOT

PACKAGES = ("torch", "numpy", "pandas", "scikit-image", "matplotlib", "papermill", "snakemake", "typst")
# The files that decide what a training, or an evaluation, comes out as. A change in one makes its results out of date.
TRAINING_CODE = ("experiment", "dataset", "phantom", "store", "augment", "model", "losses", "metrics", "hardware")
TRAINING_CODE += ("scoring", "evaluation", "training")


def code_hash() -> str:
    """A hash of the files of labkit that results depend on; a new plot or another word in the report leaves it alone."""
    content = b"".join((ROOT / "labkit" / f"{name}.py").read_bytes() for name in TRAINING_CODE)
    return hashlib.sha256(content).hexdigest()[:16]


def environment(device: torch.device) -> dict:
    """Versions, commit, processor, thread count and device of this process."""
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "commit": _commit(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
    }


def _commit() -> str:
    """The git commit, marked where files differ from it; "unknown" outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
