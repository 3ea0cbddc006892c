"""The notebooks' form, and what papermill makes of wrong parameters. That they run is nbval's to test (`make test`)."""

import os
import subprocess
import sys

import faults
import nbformat
import pytest

from labkit.files import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def test_there_are_four_in_order_and_one_for_looking():
    assert [path.stem for path in NOTEBOOKS] == ["1_eda", "2_train", "3_evaluate", "4_figures", "5_explore"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_form(path):
    notebook = nbformat.read(path, as_version=4)
    (parameters,) = tagged(notebook, "parameters")
    assert parameters.source.startswith("# Parameters of this notebook")
    assert 'preset = "smoke"' in parameters.source
    for cell in notebook.cells:
        if cell.cell_type == "code":
            kept = "keep_output" in cell.metadata.get("tags", [])
            # nbval passes a cell that it should check but that has no stored output: so there must be one.
            assert ("NBVAL_CHECK_OUTPUT" in cell.source) == kept
            # Nor does it look at one that has no execution count.
            assert bool(cell.outputs) == kept and (cell.execution_count is not None) == kept
            assert len(cell.source.splitlines()) <= 25 and "def " not in cell.source
    # Prose before every few cells of code: they are to be read.
    assert sum(cell.cell_type == "markdown" for cell in notebook.cells) >= len(notebook.cells) / 3


@pytest.fixture
def project(tmp_path_factory):
    """A copy of the sources: runs of whoever works in this folder stay as they are."""
    root = tmp_path_factory.mktemp("notebooks") / "project"
    faults.copy_sources(root)
    return root


def papermill(project, notebook, *parameters):
    command = [sys.executable, "-m", "papermill", f"notebooks/{notebook}.ipynb", "out.ipynb", "--no-progress-bar"]
    environment = os.environ | {"PYTHONPATH": str(project)}
    return subprocess.run([*command, *parameters], cwd=project, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("notebook", "parameters", "told"),
    [
        ("2_train", ["-p", "epoch", "3"], "epoch: there is no such knob (did you mean 'epochs'?)"),
        ("1_eda", ["-p", "data", "/no/such/folder"], "data: /no/such/folder is not a folder"),
    ],
)
def test_wrong_parameters_stop_the_run_before_any_work(project, notebook, parameters, told):
    run = papermill(project, notebook, *parameters)
    assert run.returncode != 0
    assert told in run.stderr.strip().splitlines()[-1]  # the last line of the failing cell
    outputs = [cell for cell in nbformat.read(project / "out.ipynb", as_version=4).cells if cell.get("outputs")]
    assert outputs[-1].outputs[-1].evalue.startswith(told)
    assert not (project / "runs").exists()


def test_plain_papermill_with_a_changed_knob(project):
    """README.md's command for one experiment: the changed knob has a folder of its own."""
    folder = project / "runs" / "smoke" / "infection-bce,epochs=1,lr=0.002" / "seed0"
    run = papermill(project, "2_train", "-p", "experiment", "infection-bce", "-p", "epochs", "1", "-p", "lr", "0.002")
    assert run.returncode == 0, run.stderr[-2000:]
    assert (folder / "training.json").is_file()
    assert len((folder / "history.csv").read_text().splitlines()) == 2
