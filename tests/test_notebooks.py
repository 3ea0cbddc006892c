"""The notebooks' form, and what papermill makes of wrong parameters. That they run is nbval's to test (`make test`)."""

import shutil
import subprocess
import sys

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


def papermill(notebook, tmp_path, *parameters):
    command = [sys.executable, "-m", "papermill", f"notebooks/{notebook}.ipynb", str(tmp_path / "out.ipynb")]
    return subprocess.run([*command, *parameters, "--no-progress-bar"], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("notebook", "parameters", "told"),
    [
        ("2_train", ["-p", "epoch", "3"], "epoch: there is no such knob (did you mean 'epochs'?)"),
        ("1_eda", ["-p", "data", "/no/such/folder"], "data: /no/such/folder is not a folder"),
    ],
)
def test_wrong_parameters_stop_the_run_before_any_work(tmp_path, notebook, parameters, told):
    before = sorted((ROOT / "runs" / "smoke").rglob("*"))
    run = papermill(notebook, tmp_path, *parameters)
    assert run.returncode != 0
    assert told in run.stderr.strip().splitlines()[-1]  # the last line of the failing cell
    outputs = [cell for cell in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells if cell.get("outputs")]
    assert outputs[-1].outputs[-1].evalue.startswith(told)
    assert sorted((ROOT / "runs" / "smoke").rglob("*")) == before


def test_plain_papermill_with_a_changed_knob(tmp_path):
    """README.md's command for one experiment: the changed knob has a folder of its own."""
    folder = ROOT / "runs" / "smoke" / "infection-bce,epochs=1,lr=0.002" / "seed0"
    shutil.rmtree(folder, ignore_errors=True)
    run = papermill("2_train", tmp_path, "-p", "experiment", "infection-bce", "-p", "epochs", "1", "-p", "lr", "0.002")
    assert run.returncode == 0, run.stderr[-2000:]
    assert (folder / "training.json").is_file()
    assert len((folder / "history.csv").read_text().splitlines()) == 2
