"""The hooks of .pre-commit-config.yaml, run for real on a copy of the project in a repository of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from labkit.files import ROOT

BIN = Path(sys.executable).parent  # not resolved: the environment's python is a link to another
HERE = (".pre-commit-config.yaml", "pyproject.toml", ".gitignore", ".ci", "labkit", "notebooks")


@pytest.fixture
def project(tmp_path_factory):
    if not (BIN / "pre-commit").is_file() or not shutil.which("git"):
        pytest.skip("wants git, and pre-commit beside this Python")
    root = tmp_path_factory.mktemp("hooks") / "project"
    root.mkdir()
    for name in HERE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / name)
    (root / ".venv").symlink_to(BIN.parent)
    git(root, "init", "--quiet")
    git(root, "add", ".")
    return root


def git(root, *arguments):
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


def hooks(root, *arguments):
    # mypy is run by test_project.py already.
    environment = os.environ | {"SKIP": "mypy", "PRE_COMMIT_HOME": str(root.parent / "home")}
    command = [str(BIN / "pre-commit"), "run", *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


def test_what_is_committed_passes_unchanged(project):
    run = hooks(project, "--all-files")
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("Passed") == 3 and git(project, "diff") == ""


def test_outputs_are_stripped_but_for_cells_tagged_keep_output(project):
    path = project / "notebooks" / "1_eda.ipynb"
    committed = path.read_text(encoding="utf-8")
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, start=1):  # as Jupyter leaves them after "Run all"
        cell.execution_count = count
        if not cell.outputs:
            cell.outputs = [nbformat.v4.new_output("stream", text="as it came out")]
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    nbformat.write(notebook, path)
    assert path.read_text(encoding="utf-8").count("as it came out") > 3
    git(project, "add", ".")
    run = hooks(project)
    assert run.returncode == 1 and "files were modified by this hook" in run.stdout
    assert path.read_text(encoding="utf-8") == committed


def test_python_is_checked_and_formatted(project):
    path = project / "labkit" / "untidy.py"
    path.write_text("import os\nx = {  'a':1 }\n")
    git(project, "add", ".")
    run = hooks(project)
    assert run.returncode == 1 and "F401" in run.stdout
    assert 'x = {"a": 1}' in path.read_text()
