"""What made a result: versions, commit, machine. Kept with each run, and told in the report."""

import os
import platform
import subprocess
from importlib.metadata import version

import torch

from labkit import parallel
from labkit.experiment import Experiment
from labkit.files import ROOT
from labkit.hardware import precision_of

PACKAGES = ("torch", "numpy", "pandas", "scipy", "statsmodels", "scikit-image", "pillow", "matplotlib", "seaborn", "papermill",
            "snakemake", "typst")  # fmt: skip


def environment(experiment: Experiment, device: torch.device) -> dict:
    """Versions, commit, processor, thread and process count, device and number format of this process."""
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "commit": commit(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "processes": parallel.processes(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "precision": precision_of(experiment, device),
    }


def commit() -> str:
    """The git commit, marked where files differ from it; "unknown" outside a git checkout of labkit's own."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    try:
        # Without the ceiling git would tell the commit of a repository that labkit was unpacked in.
        own = os.environ | {"GIT_CEILING_DIRECTORIES": str(ROOT.parent)}
        return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def processor() -> str:
    """The processor's name, family and model, as far as the system tells them: in virtual machines many share one name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            of_first_core = file.read().partition("\n\n")[0].splitlines()
    except OSError:
        of_first_core = []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in of_first_core)}
    if not {"model name", "cpu family", "model"} <= set(told):
        return told.get("model name") or platform.processor() or platform.machine()
    return f"{told['model name']}, family {told['cpu family']}, model {told['model']}"
