"""`make report GPUS=2`, without GPUs: which job is told of which. tests/test_workflow.py starts two by Snakemake."""

import fcntl
import os
import signal
import subprocess
import sys

import faults
import pytest
import torch

from labkit import gpu, workflow
from labkit.errors import LabkitError

SAY = (
    'echo "$CUDA_VISIBLE_DEVICES"; read -r line'  # a job that says what it was told, and works until it is told to end
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("gpu")
    faults.copy_sources(root)
    return root


def job(project, listed):
    environment = os.environ | {"PYTHONPATH": str(project), "CUDA_VISIBLE_DEVICES": listed}
    command = [sys.executable, "-m", "labkit.gpu", "sh", "-c", SAY]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=project, env=environment, stdin=pipe, stdout=pipe, text=True)


@pytest.mark.parametrize("how", ["ended", "killed"])
@pytest.mark.parametrize("listed", ["0,1", "3,GPU-5a:b", "MIG-GPU-1/2/3,MIG-GPU-1/2/4"])
def test_jobs_get_gpus_of_their_own_and_a_third_waits(project, listed, how):
    first, second = job(project, listed), job(project, listed)
    try:
        got = [first.stdout.readline().strip(), second.stdout.readline().strip()]
        assert sorted(got) == sorted(listed.split(","))
        third = job(project, listed)
        assert third.stdout.readline() == f"no GPU of {listed.replace(',', ', ')} is free; waiting for one\n"
        assert third.poll() is None
        if how == "killed":
            second.send_signal(signal.SIGKILL)
        else:
            second.communicate("end\n")
        assert third.stdout.readline().strip() == got[1]
        third.communicate("end\n")
    finally:
        for started in (first, second):
            started.kill()
            started.communicate()
    assert third.returncode == 0


def test_the_gpus_are_those_that_the_user_lists(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpu.visible(2) == "0,1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,4,GPU-1")
    assert gpu.visible(2) == "7,4" and gpu.visible(3) == "7,4,GPU-1"
    with pytest.raises(LabkitError, match="gpus: 4 are asked for, and torch can use 3 here"):
        gpu.visible(4)


@pytest.mark.parametrize("gpus", [0, 3])
def test_what_snakemake_is_told(home, tree, monkeypatch, gpus):
    started = {}

    class Snakemake:
        def __init__(self, command, **options):
            started.update(options, command=" ".join(command))

        def wait(self):
            return 1

    monkeypatch.setattr(workflow, "ROOT", home)
    monkeypatch.setattr(workflow.subprocess, "Popen", Snakemake)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(LabkitError, match="a step of the workflow failed"):
        workflow.report("smoke", str(tree), gpus=gpus)
    assert started["env"].get("CUDA_VISIBLE_DEVICES") == ("0,1,2" if gpus else None)
    assert f"--resources at_once={gpus or 2} " in started["command"]
    assert started["command"].endswith(workflow.configured("smoke", str(tree), gpus))
    with open(home / ".labkit.lock") as lock:  # another report may begin, in the same process too
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_profile_says_itself_where_jobs_run():
    with pytest.raises(LabkitError, match="gpus: is for this machine"):
        workflow.report("smoke", profile="workflow/profiles/slurm", gpus=2)
