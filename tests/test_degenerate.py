"""Data sets and predictions at the edge of what has a score, through every metric, figure and page: no NaN, no crash."""

import re
import shutil

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

from labkit import dataset, evaluation, files, report, results  # noqa: F401  results: before `home` hides the project
from labkit.files import ROOT, read_json


def run_notebook(name: str, data) -> None:
    """The cells of a notebook on films at `data`, in this process."""
    cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    namespace = {"In": [""]}
    for cell in cells:
        if cell.cell_type == "code":
            exec(cell.source, namespace)
            if "parameters" in cell.metadata.get("tags", []):
                namespace["data"] = str(data)
    plt.close("all")


def one_film(tree):
    """A split has one COVID-19 film and nothing else."""
    for folder in [path for path in tree.rglob("*") if path.name in dataset.CONTROLS["infection"]]:
        shutil.rmtree(folder)
    for folder in {path.parent for path in tree.rglob("*.png")}:
        for extra in sorted(folder.glob("*.png"))[1:]:
            extra.unlink()


def constant_films(tree):
    """All films are one grey."""
    for path in tree.rglob("images/*.png"):
        Image.new("L", (256, 256), 128).save(path)


def full_masks(tree):
    """Every mask of a COVID-19 film covers the film: there is no background."""
    for path in tree.rglob("COVID-19/*masks/*.png"):
        Image.new("L", (256, 256), 255).save(path)


class Always(torch.nn.Module):
    """Predicts the same everywhere, and is sure of it."""

    def __init__(self, logit: float):
        super().__init__()
        self.logit = torch.nn.Parameter(torch.tensor(logit))

    def forward(self, films):
        return torch.zeros_like(films) + self.logit


CASES = {
    "one film": (one_film, None),
    "constant films, all predicted": (constant_films, 200.0),
    "full masks, nothing predicted": (full_masks, -200.0),
}


@pytest.mark.filterwarnings("error:Mean of empty slice", "error:invalid value", "error:divide by zero")
@pytest.mark.parametrize("case", CASES)
def test_every_score_figure_and_page(home, tree, tmp_path, monkeypatch, case):
    change, logit = CASES[case]
    copy = shutil.copytree(tree, tmp_path / "films")
    (copy / dataset.PHANTOM_MARK).unlink()  # these are no phantoms any more
    change(copy)
    if logit is not None:
        monkeypatch.setattr(evaluation, "load_best", lambda *_: Always(logit))
    run_notebook("1_eda", copy)
    run_notebook("4_figures", copy)
    found = read_json(files.build_folder("smoke") / "results.json")  # JSON that refuses NaN when it is written
    for run in found["runs"].values():
        test = run["test"]
        assert 0 <= test["iou"] <= 1 and 0 <= test["mae"] <= 1
        if logit == -200:
            assert test["iou"] == 0 and test["empty_predictions"] == 1 and test["precision"] is None
        if change is full_masks and run["task"] == "infection":
            assert test["specificity"] is None  # of a background that is not there
    for name in set(report.pictures()) - {"gains"}:
        picture = np.asarray(Image.open(home / "figures" / "smoke" / f"{name}.png").convert("L"))
        assert picture.std() > 5, f"{name} is empty"
    shutil.copytree(ROOT / "report", home / "report", ignore=shutil.ignore_patterns("build"), dirs_exist_ok=True)
    report.render("smoke", home)
    page = (home / "report" / "build" / "smoke" / "report.html").read_text()
    assert not re.search(
        r"\bnan\b|\bNone\b|\binf\b", re.sub(r"<(style|script|svg|math).*?</\1>|<[^>]*>", " ", page, flags=re.S)
    )
