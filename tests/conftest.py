"""What tests share: a small phantom tree, a report made from it, another of made-up results, a browser, and the real films."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import faults
import made_up
import matplotlib.pyplot as plt
import pytest

from labkit import eda_figures, files, phantom, report, style
from labkit.presets import load

REAL = Path(os.environ.get("LABKIT_FILMS", files.ROOT.parent / "shared" / "data" / "covidqu"))

# Tests press Ctrl-C. What a shell starts in the background ignores it, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


# The files that take longest begin first: at the end neither of two workers then waits for the other's long one.
LONGEST = ("test_slurm.py", "test_workflow.py", "test_page.py", "test_training.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)  # otherwise in the order that they were in


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """For `pytest -n 2`: a file's tests stay together, and those of two files that share a report."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return "report" if file.endswith(("test_workflow.py", "test_page.py")) else file

    config.option.loadscopereorder = False  # it would begin with the files that have most tests
    return ByFile(config, log)


def missing(what: str, message: str) -> None:
    """Skip a test for want of `what`; fail it where the environment's LABKIT_REQUIRE lists `what`, as in .ci/run."""
    if what in os.environ.get("LABKIT_REQUIRE", "").split():
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def real() -> Path:
    if not REAL.is_dir():
        pytest.skip(f"no real films at {REAL}; LABKIT_FILMS=path/to/covidqu names a folder of them")
    return REAL


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    """A phantom tree with 12 training films a task, to be read only."""
    root = tmp_path_factory.mktemp("tree") / "films: müller's"
    phantom.write_tree(root, films=12, seed=3)
    return root


@pytest.fixture
def copy(tree, tmp_path) -> Path:
    """A copy of the tree, to be changed."""
    return shutil.copytree(tree, tmp_path / "copy")


def live_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let what labkit writes go into a folder."""
    for module in faults.WITH_ROOT:
        patch.setattr(f"labkit.{module}.ROOT", folder)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty project folder: what labkit writes goes there."""
    live_in(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def smoke(home, tree):
    """The smoke preset's lung experiment on the small tree, in an empty project folder; knobs can be changed."""
    return lambda name="lung-bce_iou", **knobs: load("smoke", name, data=str(tree), **knobs)


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """A copy of the project's sources in which the smoke report has been made; said.txt is what that printed."""
    root = tmp_path_factory.mktemp("workflow") / "a project's copy"
    faults.copy_sources(root)
    command = [sys.executable, "-m", "labkit", "report", "smoke"]
    environment = os.environ | {"PYTHONPATH": str(root)}
    made = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr + made.stdout
    root.joinpath("said.txt").write_text(made.stdout)
    return root


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window, closed when the tests end."""
    chromium = shutil.which("chromium")
    if chromium is None:
        missing("chromium", "no chromium on the path: pages are not tested in a browser")
    from playwright.sync_api import sync_playwright

    quiet = ("quic", "background-networking", "component-update", "sync", "gpu")
    options = ["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in quiet)]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=options)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def made_up_report(tmp_path_factory) -> Path:
    """A folder with the report's sources and with one stand-in under the name of every figure, to make reports in."""
    root = tmp_path_factory.mktemp("made up")
    shutil.copytree(files.ROOT / "report", root / "report", ignore=shutil.ignore_patterns("build"))
    folder, (first, *others) = root / "figures" / "made", report.pictures()
    style.save(eda_figures.pixel_imbalance({"lung": 0.2}), folder, first)
    plt.close("all")
    for drawn in list(folder.iterdir()):
        for name in others:
            shutil.copy(drawn, drawn.with_stem(name))
    return root


@pytest.fixture
def worded(made_up_report, monkeypatch):
    """A function: made-up results with these changes -> text of the HTML page, and a PDF if `kinds` has it.

    It asks typst once for the same page.
    """

    def html(kinds: tuple = ("html",), **changes) -> str:
        content = made_up.results() | changes
        files.write_json(made_up_report / "report" / "build" / "made" / "results.json", content)
        asked = json.dumps(content)
        if asked not in PAGES or kinds != ("html",):
            monkeypatch.setattr(report, "KINDS", kinds)
            PAGES[asked] = report.render("made", made_up_report)[-1].read_text()
        html.page = PAGES[asked]
        text = re.sub(r"<style>.*?</style>|<script>.*?</script>|<nav.*?</nav>|<[^>]+>", " ", html.page, flags=re.S)
        return " ".join(text.split())

    return html


PAGES: dict[str, str] = {}
