"""What tests share: a small phantom tree, and the real films where they are at hand."""

import os
from pathlib import Path

import pytest

from labkit import files, phantom
from labkit.experiment import load

REAL = Path(os.environ.get("LABKIT_FILMS", files.ROOT.parent / "shared" / "data" / "covidqu"))


@pytest.fixture(scope="session")
def real() -> Path:
    if not REAL.is_dir():
        pytest.skip(f"no real films at {REAL}; LABKIT_FILMS=path/to/covidqu names a folder of them")
    return REAL


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    """A phantom tree with 12 training films a task, to be read only."""
    root = tmp_path_factory.mktemp("tree") / "films"
    phantom.write_tree(root, films=12, seed=3)
    return root


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty project folder: what labkit writes goes there."""
    for module in ("files", "phantom", "store", "experiment"):
        monkeypatch.setattr(f"labkit.{module}.ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def smoke(home, tree):
    """The smoke preset's lung experiment on the small tree, in an empty project folder; knobs can be changed."""
    return lambda name="lung-bce_iou", **knobs: load("smoke", name, data=str(tree), **knobs)
