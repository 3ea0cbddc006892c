"""Which files of labkit a result depends on: the workflow and the results themselves both go by this list."""

import hashlib

from labkit.files import ROOT

# experiment.py, presets.py and phantom.py are not among them: a result names its knobs and the fingerprint of its films by
# value. What experiment.py makes of knobs (needs_true_lungs and the two below it) must therefore not change its meaning. Nor is
# progress.py, which only tells how far work is, nor provenance.py, whose text is kept with a result; nor code.py, errors.py and
# files.py, on which every result would depend, and which make no number.
TRAINING = (
    "dataset",
    "threads",
    "store",
    "augment",
    "model",
    "losses",
    "metrics",
    "hardware",
    "parallel",
    "scoring",
    "schedule",
    "pretraining",
    "checkpoint",
    "training",
)
JUDGED = ("boundary", "calibration", "severity")  # what a network is judged by after its training
STAGES = {
    "eda": ("dataset", "threads", "store", "eda", "audit", "style", "eda_figures"),
    "train": TRAINING,
    "evaluate": (*TRAINING, "evaluation", *JUDGED),
    "figures": (
        "style",
        "figures",
        "results",
        "run_results",
        "verdicts",
        "tables",
        "metrics",
        "statistics",
        "conventions",
        "ablation",
        "audit",
        "evaluation",
        *JUDGED,
    ),
    "report": ("report",),
}


# Taken when labkit is imported: a kernel that goes on after an edit still runs the code from before it.
HASHES = {
    stage: hashlib.sha256(b"".join((ROOT / "labkit" / f"{name}.py").read_bytes() for name in names)).hexdigest()[:16]
    for stage, names in STAGES.items()
}


def files(stage: str) -> list[str]:
    """The files that a stage depends on, relative to the project's root."""
    return [f"labkit/{name}.py" for name in STAGES[stage]]
