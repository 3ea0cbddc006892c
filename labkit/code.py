"""Which files of labkit a result depends on: the workflow and the results themselves both go by this list."""

import hashlib

from labkit.files import ROOT

# experiment.py and phantom.py are not among them: a result names its knobs and the fingerprint of its films by value.
TRAINING = ("dataset", "store", "augment", "model", "losses", "metrics", "hardware", "scoring", "training")
STAGES = {
    "eda": ("dataset", "store", "eda", "figures"),
    "train": TRAINING,
    "evaluate": (*TRAINING, "evaluation"),
    "figures": ("figures", "results"),
    "report": ("report",),
}


def files(stage: str) -> list[str]:
    """The files that a stage depends on, relative to the project's root."""
    return [f"labkit/{name}.py" for name in STAGES[stage]]


def hash_of(stage: str) -> str:
    """A hash of those files: a new plot, or another word in the report, leaves that of "train" alone."""
    return hashlib.sha256(b"".join((ROOT / file).read_bytes() for file in files(stage))).hexdigest()[:16]
