"""`make report` on a copy of the project: what it makes, what it runs again after which edit, and how it fails."""

import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from snakemake.cli import parse_config
from typer.testing import CliRunner

from labkit import files, workflow
from labkit.cli import app
from labkit.presets import load
from labkit.report import pictures
from labkit.workflow import configured

EXPERIMENTS = ("lung-bce", "lung-bce_iou", "infection-bce", "infection-bce_iou")
WRITTEN = {"figures": 1, "pages": 1, "report": 1}
ALL_RUNS = {"train": 4, "evaluate": 4} | WRITTEN


def labkit(project, *arguments, **options):
    environment = os.environ | {"PYTHONPATH": str(project)}
    command = [sys.executable, "-m", "labkit", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, **options)


def dry_run(project, preset, *options, gpus=0) -> str:
    """What Snakemake says that it would run now."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile", "--cores", "all", "--nolock"]
    command += ["--dry-run", *options, "--config", configured(preset, gpus=gpus)]
    environment = os.environ | {"PYTHONPATH": str(project)}
    run = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout + run.stderr


def planned(project, preset="smoke", gpus=0) -> dict[str, int]:
    """The jobs that Snakemake would run now, by rule."""
    words = [line.split() for line in dry_run(project, preset, "--quiet", "rules", gpus=gpus).splitlines()]
    return {line[0]: int(line[1]) for line in words if len(line) == 2 and line[1].isdigit() and line[0] != "total"}


@pytest.mark.parametrize(
    "text", ["/my films/müller", "/a: b #c", "2024", "[1]", "{x}", "'", '"quoted"', "true", "", "😀"]
)
def test_names_and_paths_reach_the_workflow_as_they_are(text):
    told = parse_config([configured(text, text, 3)])["run"]  # as Snakemake reads it
    assert told.isalnum() and json.loads(bytes.fromhex(told)) == {"preset": text, "data": text, "gpus": 3}


@pytest.fixture
def edited(project):
    """Edit a file as an author would; afterwards it is as before."""
    saved = {}

    def edit(name, old="", new="", append="\n# edited\n"):
        path = project / name
        saved[path] = (path.read_bytes(), path.stat())
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new) if old else text + append)

    yield edit
    for path, (content, stat) in saved.items():
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_everything_is_there(project):
    build = project / "report" / "build" / "smoke"
    assert (build / "report.pdf").read_bytes().startswith(b"%PDF")
    assert "Synthetic data" in (build / "report.html").read_text()
    results = json.loads((build / "results.json").read_text())
    assert results["phantom"] and set(results["runs"]) == set(EXPERIMENTS)
    assert int(results["environment"]["threads"]) >= 1 and results["environment"]["commit"]
    for name in ("table1", "table2", "table3", "scores"):
        assert (build / "tables" / f"{name}.csv").is_file()
    shown = set(pictures()) - {"gains"}  # of experiments beside the reference's four
    assert {"eda_area", "eda_where", *(f"fig{number}" for number in range(1, 9))} <= shown
    for name in shown:
        for ending in ("pdf", "svg", "png"):
            assert (project / "figures" / "smoke" / f"{name}.{ending}").stat().st_size > 1000
    for name in EXPERIMENTS:
        folder = project / "runs" / "smoke" / name / "seed0"
        wanted = {".lock", "experiment.json", "history.csv", "best.pt", "last.pt", "previous.pt", "training.json"}
        wanted |= {"val.csv", "test.csv", "evaluation.json", "samples.npz", "extremes.npz", "calibration.npz"}
        assert {path.name for path in folder.iterdir()} == wanted
    said = (project / "said.txt").read_text()
    assert "lung-bce epoch 1/3" in said and "report.html are up to date" in said


def test_a_second_call_does_nothing(project):
    assert planned(project) == {}
    before = {path: path.stat().st_mtime_ns for path in (project / "report" / "build").rglob("*") if path.is_file()}
    again = labkit(project, "report", "smoke")
    assert again.returncode == 0 and "epoch" not in again.stdout
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_what_was_made_by_hand_is_made_again_with_its_notebook(home, monkeypatch):
    """The pages of the report are made of the notebooks, and its numbers lead to them."""
    monkeypatch.setattr(workflow, "ROOT", home)
    run, build = load("smoke", "lung-bce"), files.build_folder("smoke")
    notebooks = files.ROOT / "runs" / "smoke" / "notebooks"
    drawn = files.ROOT / "figures" / "smoke" / "eda_area.svg"
    made = {
        "1_eda": (build / "eda.json", drawn),
        "2_train-lung-bce-seed0": (run.folder / "training.json", run.folder / "best.pt"),
        "3_evaluate-lung-bce-seed0": (run.folder / "evaluation.json", run.folder / "extremes.npz"),
        "4_figures": (build / "results.json", build / "tables" / "scores.csv"),
    }
    for name, (mark, beside) in made.items():
        for path in (beside, notebooks / f"{name}.ipynb", mark):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    assert workflow.unshown("smoke", [run]) == []
    (notebooks / "1_eda.ipynb").unlink()  # as after `pytest --nbval` or "Run all"
    (run.folder / "evaluation.json").unlink()
    assert workflow.unshown("smoke", [run]) == [
        "report/build/smoke/eda.json",
        "runs/smoke/lung-bce/seed0/evaluation.json",
    ]
    later = (notebooks / "2_train-lung-bce-seed0.ipynb").stat().st_mtime + 1
    os.utime(run.folder / "best.pt", (later, later))  # trained once more, with other code say
    assert "runs/smoke/lung-bce/seed0/training.json" in workflow.unshown("smoke", [run])


def kernels(project) -> list[tuple[str, str]]:
    """What the kernels that work in the project are told of GPUs and threads, in order."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if where(folder / "cwd") == project and b"ipykernel_launcher" in (folder / "cmdline").read_bytes():
                told = dict(line.partition("=")[::2] for line in (folder / "environ").read_text().split("\0"))
                found.append((told["CUDA_VISIBLE_DEVICES"], told["OMP_NUM_THREADS"]))
        except OSError:  # it has ended
            continue
    return sorted(found)


@pytest.mark.parametrize("gpus", [0, 2])
def test_trainings_side_by_side(project, gpus):
    """On three cores two trainings at once, each with one thread; the third waits. GPUs are only names here."""
    assert planned(project, gpus=gpus) == {}  # what was made without them stays
    preset = (project / "workflow" / "presets" / "smoke.yml").read_text()
    assert "at_once: 2" in preset
    name = f"beside{gpus}"
    (project / "workflow" / "presets" / f"{name}.yml").write_text(re.sub("epochs: [0-9]+", "epochs: 100000", preset))
    command = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile", "--cores", "3", "--nolock"]
    command += ["--resources", "at_once=2", "--config", configured(name, gpus=gpus), "--quiet", "all"]
    command += ["--scheduler", "greedy", "--"]
    command += [f"runs/{name}/{run}/seed0/training.json" for run in EXPERIMENTS[:3]]
    environment = os.environ | {"PYTHONPATH": str(project), "CUDA_VISIBLE_DEVICES": "5,GPU-6"}
    report = subprocess.Popen(command, cwd=project, env=environment, start_new_session=True)
    try:
        while len(list((project / "runs" / name).glob("*/seed0/history.csv"))) < 2:
            assert report.poll() is None
            time.sleep(0.2)
        assert kernels(project) == ([("5", "1"), ("GPU-6", "1")] if gpus else [("5,GPU-6", "1")] * 2)
    finally:
        os.killpg(report.pid, signal.SIGTERM)  # an interrupt is ignored where a shell started us in the background
        try:
            report.wait(timeout=60)
        except subprocess.TimeoutExpired:  # Snakemake may hang on it
            os.killpg(report.pid, signal.SIGKILL)
            report.wait()


def test_seeds_are_runs_of_their_own(project):
    text = (project / "workflow" / "presets" / "smoke.yml").read_text()
    (project / "workflow" / "presets" / "thrice.yml").write_text(f"seeds: [0, 1, 2]\n{text}")
    assert planned(project, "thrice") == {"eda": 1, "train": 12, "evaluate": 12} | WRITTEN


@pytest.mark.parametrize(
    ("file", "jobs"),
    [
        ("labkit/figures.py", WRITTEN),
        ("labkit/eda_figures.py", {"eda": 1} | WRITTEN),
        ("labkit/results.py", WRITTEN),
        ("labkit/losses.py", ALL_RUNS),
        ("labkit/model.py", ALL_RUNS),
        ("labkit/evaluation.py", {"evaluate": 4} | WRITTEN),
        ("labkit/eda.py", {"eda": 1} | WRITTEN),
        ("labkit/experiment.py", WRITTEN),
        ("labkit/workflow.py", {}),
        ("report/report.typ", {"report": 1}),
        ("report/script.js", {"report": 1}),
        ("report/style.css", {"pages": 1, "report": 1}),
        ("report/notebook/notebook.css", {"pages": 1, "report": 1}),
        ("notebooks/3_evaluate.ipynb", {"evaluate": 4} | WRITTEN),
    ],
)
def test_what_an_edit_runs_again(project, edited, file, jobs):
    edited(file, append=" \n")
    assert planned(project) == jobs


def test_a_knob_in_the_preset_trains_again(project, edited):
    edited(
        "workflow/presets/smoke.yml",
        "infection-bce: {task: infection, loss: bce}",
        "infection-bce: {task: infection, loss: bce, lr: 0.02}",
    )
    assert planned(project) == {"train": 1, "evaluate": 1} | WRITTEN


def test_changed_words_make_the_report_only(project, edited):
    edited("report/report.typ", "= Conclusion", "= Closing Words")
    before = (project / "report" / "build" / "smoke" / "results.json").stat().st_mtime_ns
    assert labkit(project, "report", "smoke").returncode == 0
    assert "Closing Words" in (project / "report" / "build" / "smoke" / "report.html").read_text()
    assert (project / "report" / "build" / "smoke" / "results.json").stat().st_mtime_ns == before


def test_a_failed_experiment_leaves_its_notebook_and_one_line(project):
    preset = (project / "workflow" / "presets" / "smoke.yml").read_text()
    (project / "workflow" / "presets" / "broken.yml").write_text(
        preset.replace("lr: 0.01", "lr: 1.0e+30\n  clip: 1.0e+30")
    )
    failed = labkit(project, "report", "broken")
    assert failed.returncode == 1
    (line,) = [line for line in failed.stderr.splitlines() if "film/s" not in line]
    assert (
        line.startswith("labkit: ")
        and "loss or gradient is not finite in epoch 1, step" in line
        and "try a lower lr" in line
    )
    executed = project / line.split("executed notebook: ")[1].rstrip(")")
    outputs = [output for cell in nbformat.read(executed, as_version=4).cells for output in cell.get("outputs", [])]
    assert outputs[-1].output_type == "error"
    assert not (project / "report" / "build" / "broken" / "report.pdf").exists()


def test_a_second_report_waits_for_the_first(project):
    environment = os.environ | {"PYTHONPATH": str(project)}
    with open(project / ".labkit.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-u", "-m", "labkit", "report", "smoke"]
        second = subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True)
        assert "waiting for it" in second.stdout.readline()
        time.sleep(1)
        assert second.poll() is None
    assert second.wait(timeout=600) == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_report_that_is_stopped_leaves_nothing_running(project, how):
    """Ctrl-C, or `kill`, which reaches `make report` alone: one line, no process left, the epochs kept."""
    preset = (project / "workflow" / "presets" / "smoke.yml").read_text()
    (project / "workflow" / "presets" / "long.yml").write_text(re.sub("epochs: [0-9]+", "epochs: 100000", preset))
    command = [sys.executable, "-u", "-m", "labkit", "report", "long"]
    options = {
        "cwd": project,
        "env": os.environ | {"PYTHONPATH": str(project)},
        "text": True,
        "start_new_session": True,
    }
    if how == signal.SIGTERM:  # as behind a script's &, where Ctrl-C is ignored
        options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)
    report = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    # "epoch 1/", of an epoch that is over: the middle of a long one is told too.
    epochs = next(line for line in report.stdout if re.search(r" epoch \d+/", line))
    report.send_signal(how)
    _, told = report.communicate(timeout=600)
    assert report.returncode == 1
    assert told.splitlines()[-1].startswith("labkit: interrupted: finished runs and epochs are kept"), told
    name = epochs.split()[0]
    assert (project / "runs" / "long" / name / "seed0" / "last.pt").is_file()
    working = [path for path in Path("/proc").glob("[0-9]*/cwd") if project in [where(path), *where(path).parents]]
    assert not working


def where(link: Path) -> Path:
    try:
        return link.readlink()
    except OSError:  # the process has ended, or is another user's
        return Path()


def refused(project, *arguments) -> str:
    before = sorted(path for path in project.rglob("*") if "__pycache__" not in path.parts)
    run = labkit(project, *arguments)
    after = sorted(path for path in project.rglob("*") if "__pycache__" not in path.parts)
    assert run.returncode == 1 and not run.stdout.strip()
    (line,) = run.stderr.splitlines()
    assert after == before  # nothing half-written
    return line


def test_wrong_arguments_get_one_line(project):
    assert "preset: there is no 'dem' (did you mean 'demo'?)" in refused(project, "report", "dem")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("smoke", "--data", "nothing"), "data: nothing is not a folder"),
        (("smoke", "--data", "."), "has no folder 'Lung Segmentation Data'"),
        (("laptop",), "data/covidqu is not a folder"),
        (("smoke", "--data", "~no-such-user/films"), "~no-such-user/films: that home folder is not known"),
        (("smoke", "--data", "x" * 300), "xx: File name too long"),
        (("smoke", "--profile", "nowhere"), "profile: nowhere has no config.yaml"),
        (("smoke", "--gpus", "999"), "gpus: 999 are asked for, and torch can use"),
    ],
)
def test_other_wrong_arguments(home, monkeypatch, arguments, line):
    monkeypatch.setattr(workflow, "ROOT", home)
    run = CliRunner().invoke(app, ["report", *arguments])
    assert run.exit_code == 1 and not run.stdout and line in run.stderr and len(run.stderr.splitlines()) == 1
    assert {path.name for path in home.iterdir()} <= {".labkit.lock"}  # nothing half-written


def test_names_reach_the_shell_as_they_are(project):
    name = "it's $(a) [1] preset"
    presets = project / "workflow" / "presets"
    shutil.copy(presets / "smoke.yml", presets / f"{name}.yml")
    told = dry_run(project, name, "--printshellcmds")
    (presets / f"{name}.yml").unlink()
    started = [line for line in told.splitlines() if " -m papermill " in line or " -m labkit render " in line]
    assert len(started) == 11 and all(shlex.quote(name) in shlex.join(shlex.split(line)) for line in started)
    (pages,) = (shlex.split(line) for line in told.splitlines() if " -m nbconvert " in line)
    patterns = [word for word in pages if word.endswith(".ipynb")]
    assert len(patterns) == 10 and all(f"/{name}/" in word.replace("[[]", "[") and "[[]1]" in word for word in patterns)


def test_a_folder_for_runs_that_takes_none(project):
    runs = project / "runs"
    runs.rename(project / "runs before")
    try:
        runs.symlink_to("/proc")
        assert "runs/smoke/snakemake.log: cannot be written" in refused(project, "report", "smoke")
    finally:
        runs.unlink()
        (project / "runs before").rename(runs)


def test_a_guard_of_the_report_is_told(project, edited):
    edited("report/report.typ", "= Conclusion", '#panic("nothing to conclude")\n= Conclusion')
    failed = labkit(project, "report", "smoke")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("labkit: report/report.typ: panicked")


def test_real_films(project, real, tmp_path):
    """The whole way on every fourth real film, at smoke size; the page must not call them synthetic."""
    for folder in real.glob("*/*/*/*/*"):
        (tmp_path / folder.relative_to(real)).mkdir(parents=True)
        for film in sorted(folder.glob("*.png"))[::4]:
            (tmp_path / film.relative_to(real)).symlink_to(film)
    made = labkit(project, "report", "smoke", "--data", str(tmp_path))
    assert made.returncode == 0, made.stderr
    page = (project / "report" / "build" / "smoke" / "report.html").read_text()
    assert "Synthetic data" not in page and "chest X-rays from COVID-QU-Ex" in page
    results = json.loads((project / "report" / "build" / "smoke" / "results.json").read_text())
    assert not results["phantom"]
    assert results["films"]["infection"]["films"]["All"]["All"] == 150
    assert results["films"]["infection"]["lung_share_median"] > 0.4  # infections are no small part of the lung
