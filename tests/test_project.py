"""The project's own files: versions in step, links that lead somewhere, no real film."""

import ast
import csv
import hashlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import metadata, version

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from labkit import code
from labkit.files import ROOT


def tracked(*patterns):
    listed = subprocess.run(["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def lock() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return dict(line.lower().replace("_", "-").split("==") for line in lines if line and not line.startswith("#"))


def test_lock_has_exact_versions_of_all_that_the_project_names():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = project["dependencies"] + [name for extra in project["optional-dependencies"].values() for name in extra]
    for requirement in named:
        name = re.match(r"[A-Za-z0-9-]+", requirement)[0].lower()
        assert name in lock(), f"{name} is not in requirements.txt"
        if "==" in requirement:
            assert requirement.endswith(f"=={lock()[name]}")
    assert lock()["torch"] == "2.13.0"
    assert not any(name.startswith(("nvidia", "torchvision")) for name in lock())


def test_conda_gets_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert packages == {"pip": ["-r requirements.txt", "--editable ."]} and pip == "pip"
    minimum = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert python == "python=" + minimum.removeprefix(">=")


def test_the_lock_holds_on_the_oldest_python_that_the_project_takes():
    """Not on the newest 3.11 alone: Debian 12 has 3.11.2, on which pip refuses what wants 3.11.5."""
    minimum = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    for name in lock():
        wanted = metadata(name)["Requires-Python"] or ""
        assert SpecifierSet(wanted).contains(f"{minimum}.0"), f"{name} wants Python {wanted}"


def test_installed_versions_are_the_locks():
    for name, wanted in lock().items():
        assert version(name).split("+")[0] == wanted, name


@pytest.mark.parametrize("page", ["README.md", "data/README.md", "data/OWN.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_and_pictures_of_the_pages(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_no_real_film_is_tracked(real):
    with open(real / "FILES.csv", newline="") as file:
        films = {row[-1] for row in csv.reader(file)}
    for path in tracked("*.png", "*.npy", "*.npz", "*.jpg", "*.pt", "*.pdf"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() not in films, path


def test_results_go_by_all_the_code_that_they_import():
    """An edit of code that a result was made by makes it again: labkit.code lists what each stage imports, but for these."""
    # See labkit/code.py.
    by_value = {"code", "errors", "experiment", "files", "phantom", "presets", "progress", "provenance"}
    # What figures show of runs and films: collect() asks whether that is of today's code.
    checked_by_identity = {*code.STAGES["evaluate"], "eda"}

    def imported(name: str) -> set[str]:
        found = set()
        for node in ast.walk(ast.parse((ROOT / "labkit" / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "labkit":
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= set(re.findall(r"^labkit\.(\w+)", node.module or ""))
        return {module for module in found if (ROOT / "labkit" / f"{module}.py").is_file()}

    for stage, names in code.STAGES.items():
        reached, ahead = set(), set(names)
        while ahead:
            reached |= ahead
            ahead = {module for name in ahead for module in imported(name)} - reached
        assert reached - set(names) <= by_value | (checked_by_identity if stage == "figures" else set()), stage


def test_type_hints_hold():
    checked = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_citation_changelog_and_licence_say_the_same_as_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (author,) = project["authors"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what CFF 1.2.0 requires
    assert (citation["cff-version"], citation["version"], citation["license"]) == ("1.2.0", project["version"], "MIT")
    assert citation["authors"] == [author]
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= set(reference) and reference["doi"].startswith("10.")
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[:2] == ["Unreleased", project["version"]]
    licence = (ROOT / "LICENSE").read_text()
    assert project["license"] == "MIT" and licence.startswith("MIT License") and author["name"] in licence
