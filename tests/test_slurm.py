"""The jobs of a report on a real SLURM, a cluster of this one machine, up to its results; two of the trainings are killed."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import faults
import nbformat
import pandas as pd
import pytest
from conftest import missing

from labkit.files import ROOT, read_json
from labkit.presets import load
from labkit.training import fit
from labkit.workflow import configured

PROFILE = "workflow/profiles/slurm"
SCRIPT = ROOT / "tests" / "slurm.sh"
EPOCHS = 30  # of the trainings that are killed: some seconds


def told(path: Path) -> str:
    """A file of /proc; nothing for a process of another user, or one that is gone by now."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


@pytest.fixture(scope="module")
def slurm():
    """The environment in which sbatch and the others talk to a cluster of this machine; afterwards nothing of it is left."""
    programs = ("slurmctld", "slurmd", "munged")
    if not all(shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") for name in programs):
        missing("slurm", "SLURM is not installed; on Debian: apt-get install slurm-wlm munge")
    # Not pytest's folder: munge wants one that others may enter, and a socket's path may have 107 letters only.
    with tempfile.TemporaryDirectory(prefix="slurm") as folder:
        try:
            started = subprocess.run([SCRIPT, "start", folder], stderr=subprocess.PIPE, text=True)
            assert started.returncode == 0, started.stderr
            path = f"{folder}/bin:{os.environ['PATH']}"
            yield os.environ | {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": path}
        finally:
            subprocess.run([SCRIPT, "stop", folder], check=True)
            left = [str(path) for path in Path("/proc").glob("[0-9]*") if folder in told(path / "environ")]
            assert not left, f"processes of the cluster are left: {left}"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project's sources, a profile for a small machine, and a preset with two longer trainings."""
    root = tmp_path_factory.mktemp("slurm") / "a project's copy"
    faults.copy_sources(root)
    text = (ROOT / PROFILE / "config.yaml").read_text()
    for old, new in (("status-checks: 20", "status-checks: 1"), (": 8\n", ": 1\n"), (": 4\n", ": 1\n")):
        assert old in text
        text = text.replace(old, new)
    (root / PROFILE / "config.yaml").write_text(text)
    text = (
        (ROOT / "workflow" / "presets" / "smoke.yml")
        .read_text()
        .replace("loss: bce}", f"loss: bce, epochs: {EPOCHS}}}")
    )
    (root / "workflow" / "presets" / "killed.yml").write_text(text)
    (root / "workflow" / "presets" / "five.yml").write_text(f"seeds: [0, 1, 2, 3, 4]\n{text}")
    return root


def epochs_kept(project: Path, name: str) -> int:
    history = project / "runs" / "killed" / name / "seed0" / "history.csv"
    return len(pd.read_csv(history)) if history.is_file() else 0


def jobs_of(environment: dict, comment: str) -> list[str]:
    """The numbers of the jobs that wait or run, of a rule or of a training."""
    listed = subprocess.check_output(["squeue", "--noheader", "--format=%i %k"], env=environment, text=True)
    return [line.split()[0] for line in listed.splitlines() if line.endswith(f" {comment}")]


def kernel_of(job: str) -> int:
    """The process of a job that trains."""
    for folder in Path("/proc").glob("[0-9]*"):
        if "ipykernel" in told(folder / "cmdline") and f"SLURM_JOB_ID={job}\0" in told(folder / "environ"):
            return int(folder.name)
    raise AssertionError(f"job {job} has no kernel")


def kill_two(slurm: dict, project: Path, report: subprocess.Popen) -> dict[str, int]:
    """Kill two trainings of a running report, each in another way; returns how many epochs of each were kept by then."""
    killed_after = {}
    while len(killed_after) < 2:
        assert report.poll() is None, (project / "said.txt").read_text()
        for name in {"lung-bce", "infection-bce"} - set(killed_after):
            if epochs_kept(project, name) >= 2:
                (job,) = jobs_of(slurm, f"rule_train_wildcards_{name}_0")
                if name == "lung-bce":  # its process dies: the job fails, and Snakemake submits another
                    os.kill(kernel_of(job), signal.SIGKILL)
                else:  # SLURM takes the job off its node, and starts it again
                    subprocess.run(["scontrol", "requeue", job], env=slurm, check=True)
                killed_after[name] = epochs_kept(project, name)
        time.sleep(0.1)
    return killed_after


def test_killed_jobs_go_on_from_their_last_epoch_and_the_rest_follows(slurm, project, tree, home):
    command = [sys.executable, "-m", "labkit", "report", "killed", "--data", str(tree), "--profile", PROFILE]
    with open(project / "said.txt", "w") as said:
        environment = slurm | {"PYTHONPATH": str(project)}
        report = subprocess.Popen(
            command, cwd=project, env=environment, stdout=said, stderr=said, start_new_session=True
        )
    runs = project / "runs" / "killed"
    try:
        killed_after = kill_two(slurm, project, report)
        while not jobs_of(slurm, "rule_pages"):  # the step behind evaluations and figures
            assert report.poll() is None, (project / "said.txt").read_text()
            time.sleep(0.5)
        # What is left is called off, by Ctrl-C.
        report.send_signal(signal.SIGINT)
        assert report.wait(timeout=600) == 1
        assert "labkit: interrupted: finished runs and epochs are kept" in (project / "said.txt").read_text()
        assert subprocess.check_output(["squeue", "--noheader", "--states=running,pending"], env=slurm) == b""
    finally:
        for pid in faults.members(report.pid, project):  # after a failure: Snakemake too
            os.kill(pid, signal.SIGKILL)

    results = read_json(project / "report" / "build" / "killed" / "results.json")
    assert set(results["runs"]) == {"lung-bce", "lung-bce_iou", "infection-bce", "infection-bce_iou"}
    jobs = {rule: len(list(runs.glob(f"slurm_logs/rule_{rule}/**/*.log"))) for rule in ("eda", "evaluate", "figures")}
    assert jobs == {"eda": 1, "evaluate": 4, "figures": 1}
    assert len(list(runs.glob("slurm_logs/rule_train/lung-bce_0/*.log"))) == 2  # the killed job's, and its successor's
    for name, least in killed_after.items():
        executed = nbformat.read(runs / "notebooks" / f"2_train-{name}-seed0.ipynb", as_version=4)
        said = "".join(output.get("text", "") for cell in executed.cells for output in cell.get("outputs", []))
        first = int(said.split(f"{name} epoch ")[1].split("/")[0])
        assert least < first < EPOCHS, "the job that took over did not go on from where the killed one was"
        alone = load("smoke", name, data=str(tree), epochs=EPOCHS, threads=1)
        fit(alone)
        assert faults.weights_of(alone.folder) == faults.weights_of(runs / name / "seed0")


def test_five_seeds_of_four_experiments_are_one_command(project, tree):
    """What would be submitted; no cluster is asked for that."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile", "--profile", PROFILE]
    command += ["--nolock", "--dry-run", "--quiet", "rules", "--config", configured("five", str(tree))]
    environment = os.environ | {"PYTHONPATH": str(project), "PRESET": "five"}
    # `make report` packs before it starts Snakemake.
    packing = "import sys; from labkit import presets, store\n"
    packing += "for run in presets.load_all('five', sys.argv[1]):\n    store.load(run)"
    subprocess.run([sys.executable, "-c", packing, tree], cwd=project, env=environment, check=True)
    planned = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert planned.returncode == 0, planned.stderr
    jobs = dict(line.split() for line in (planned.stdout + planned.stderr).splitlines() if len(line.split()) == 2)
    assert (jobs["train"], jobs["evaluate"], jobs["figures"]) == ("20", "20", "1")
