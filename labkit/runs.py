"""What has been run: a Run is a folder below runs/, with its settings, its scores, and what it cost."""

import html
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from labkit import files, metrics, statistics
from labkit.code import HASHES
from labkit.errors import LabkitError, meant
from labkit.experiment import Experiment
from labkit.files import read_json, shown

SCORES = ("iou", "dice", "mae")  # of those in evaluation.json, the ones that a list of runs has room for
REDUCTION = f"IoU and Dice: {metrics.REDUCTION}; MAE: of all test films"  # control films are left out of all three


@dataclass(frozen=True)
class Run:
    """A folder runs/<preset>/<experiment>/seed<k>, whether its training is done, scored, or was interrupted."""

    folder: Path

    @property
    def name(self) -> str:
        """What a command calls it: <preset>/<experiment>/seed<k>."""
        return "/".join(self.folder.parts[-3:])

    @cached_property
    def about(self) -> dict:
        """experiment.json: what the results belong to (`identity`), and what computed them (`environments`)."""
        return read_json(self.folder / "experiment.json")

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment as it was run. Raises LabkitError for one of another version of labkit, and for a moved folder."""
        try:
            experiment = Experiment(**self.about["identity"]["knobs"], data=self.about["data"])
        except (KeyError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise LabkitError(f"{shown(self.folder)}: was run by another version of labkit ({reason})") from None
        # An experiment's files are looked for in its own folder.
        if experiment.folder.resolve() != self.folder.resolve():
            raise LabkitError(f"{shown(self.folder)}: was moved or copied; put it back at {shown(experiment.folder)}")
        return experiment

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row for each epoch that is kept, as training.fit gives it; empty before the first."""
        path = self.folder / "history.csv"
        return pd.read_csv(path) if path.is_file() else pd.DataFrame({"epoch": [], "seconds": []})

    @cached_property
    def evaluation(self) -> dict:
        """evaluation.json; empty for a run that is not scored."""
        path = self.folder / "evaluation.json"
        return read_json(path) if path.is_file() else {}

    @property
    def state(self) -> str:
        """ "scored", "trained", "interrupted" (or at work now), or "outdated": of other code or weights."""
        if self.evaluation:
            scored, weights = self.evaluation["identity"], self.folder / "best.pt"
            known = weights.is_file() and scored["weights"] == files.checksum(weights)
            return "scored" if known and scored["code"] == HASHES["evaluate"] else "outdated"
        if not (self.folder / "training.json").is_file():
            return "interrupted"
        return "trained" if self.about["identity"]["code"] == HASHES["train"] else "outdated"

    def must_be_scored(self) -> None:
        """Raise LabkitError unless it is scored by this version of the code."""
        if self.state != "scored":
            raise LabkitError(
                f"{self.name}: is {self.state}, not scored; run notebooks/3_evaluate.ipynb with its parameters first"
            )

    def summary(self) -> dict:
        """One line about it: state, epochs, minutes of training, and of the test films the scores in SCORES (None: not yet)."""
        knobs, test = self.about["identity"]["knobs"], self.evaluation.get("test", {})
        row: dict = {"run": self.name, "state": self.state, "epochs": f"{len(self.history)}/{knobs['epochs']}"}
        row |= {"minutes": round(float(self.history["seconds"].sum()) / 60, 1)}
        row |= {"size": f"{knobs['size']}x{knobs['size']}", "base": knobs["base"]}
        return row | {f"test {score}": test.get(score) for score in SCORES}

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{key}</th><td>{html.escape(str(value))}</td></tr>" for key, value in self.summary().items()
        )
        return f"<table>{rows}</table>"


def every(preset: str = "") -> list[Run]:
    """All runs, or those of a preset, in the order of their names."""
    found = sorted((files.ROOT / "runs").glob("*/*/seed*/experiment.json"))
    return [Run(path.parent) for path in found if preset in ("", path.parts[-4])]


def find(name: str) -> Run:
    """The run called `name`: <preset>/<experiment>, with /seed<k> behind it for another seed than 0; or its folder's path.

    Raises LabkitError where there is none.
    """
    for folder in (files.resolve(name), files.ROOT / "runs" / name, files.ROOT / "runs" / name / "seed0"):
        if (folder / "experiment.json").is_file():
            return Run(folder)
    known = [run.name for run in every()]
    guess = meant(name if "/seed" in name else f"{name}/seed0", known)
    raise LabkitError(f"run: there is no {name!r}{guess}; `labkit runs` lists what there is")


def compare(first: Run, second: Run) -> dict:
    """Two runs side by side.

    `runs`: their names. `knobs`: those that differ, [first's, second's], and the `fingerprint` of the films where they differ.
    `scores`: IoU, Dice and MAE of the test films, [first's, second's]. `difference`: the films' IoU of the second above the
    first's, a statistics.paired_difference over the test films that both have, with its `verdict`. Raises LabkitError where
    a run is not scored, or where their tasks differ.
    """
    identities = [run.about["identity"] for run in (first, second)]
    knobs = [identity["knobs"] | {"fingerprint": identity["films"]} for identity in identities]
    for run in (first, second):
        run.must_be_scored()
    if knobs[0]["task"] != knobs[1]["task"]:
        raise LabkitError(
            f"{first.name} finds the {knobs[0]['task']}, {second.name} the {knobs[1]['task']}: not comparable"
        )
    tested = [metrics.rows_of(run.folder, "test").set_index(["class", "name"]) for run in (first, second)]
    ious = [metrics.film_iou(rows) for rows in tested]
    shared = pd.concat(ious, axis=1, join="inner", keys=["first", "second"])
    difference = statistics.paired_difference(shared["first"].to_numpy(), shared["second"].to_numpy())
    return {
        "runs": [first.name, second.name],
        "knobs": {
            knob: [knobs[0].get(knob), knobs[1].get(knob)]
            for knob in dict.fromkeys([*knobs[0], *knobs[1]])
            if knob != "name" and knobs[0].get(knob) != knobs[1].get(knob)
        },
        "scores": {score: [run.evaluation["test"][score] for run in (first, second)] for score in SCORES},
        "difference": difference | {"verdict": statistics.verdict(difference)},
    }


def compared_text(found: dict) -> str:
    """What `compare` found, as lines to read."""
    first, second = found["runs"]
    rows = [[knob, *values] for knob, values in found["knobs"].items()]
    rows += [[f"test {score}", *(f"{value:.3f}" for value in values)] for score, values in found["scores"].items()]
    told, difference = [pd.DataFrame(rows, columns=["", first, second]).to_string(index=False)], found["difference"]
    told.append(REDUCTION)
    if difference["low"] is None:
        return "\n".join([*told, "they share too few test films to tell a difference"])
    if "fingerprint" in found["knobs"]:
        told.append(
            "their films differ; those of the same class and file name are paired, which must be the same pictures"
        )
    words = {
        "none": "may be chance" + ", by the ranks of the films" * (difference["low"] > 0 or difference["high"] < 0),
        "higher": "is higher by more than chance",
        "lower": "is lower by more than chance",
    }
    told.append(
        f"IoU of {second} over {first}, film by film: {difference['mean']:+.3f} (95 % {difference['low']:+.3f} to "
        f"{difference['high']:+.3f}, {difference['count']} films): it {words[difference['verdict']]}"
    )
    return "\n".join(told)
