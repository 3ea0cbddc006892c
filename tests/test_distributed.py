"""Two processes that torchrun starts train one network, on CPUs: what comes out, and going on after a kill."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import faults
import pandas as pd
import pytest
import torch
from torch import nn

from labkit import losses, parallel, training
from labkit.errors import LabkitError
from labkit.files import read_json

KNOBS = {"size": 32, "base": 2, "batch": 5, "epochs": 8, "precision": "fp32", "threads": 1, "lr": 0.001}
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project's sources with a preset of one small experiment; 12 films in batches of 5, 5 and 2."""
    root = tmp_path_factory.mktemp("distributed")
    faults.copy_sources(root)
    knobs = "".join(f", {knob}: {value}" for knob, value in KNOBS.items())
    text = f"about: for tests\nexperiments:\n  lung-bce_iou: {{task: lung, loss: bce_iou{knobs}}}\n"
    (root / "workflow" / "presets" / "pair.yml").write_text(text)
    progress = root / "labkit" / "progress.py"
    progress.write_text(progress.read_text().replace("LONG = 5.0", "LONG = 0.0"))  # every epoch tells how far it is
    return root


@pytest.fixture(scope="module")
def undisturbed(project, tree) -> Path:
    """The folder of a run that two processes trained without a break."""
    assert faults.start(project, *command(tree)).wait() == 0, (project / "said.txt").read_text()
    return project / "runs" / "pair" / "lung-bce_iou" / "seed1"


def command(tree: Path, preset: str = "pair") -> list[str]:
    return [*TORCHRUN, "-m", "labkit.distributed", preset, "lung-bce_iou", "--data", str(tree), "--seed", "1"]


def step_by_halves(self, images, masks):
    """What Trainee.step is for two processes, done by one: gradients are added up over two halves of the batch."""
    self.optimizer.zero_grad()
    found = []
    for half in (0, 1):
        kept = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        logits = self.network(images[half::2].to(memory_format=torch.channels_last))
        film_losses = losses.film_losses(self.experiment.loss, self.experiment.alpha, logits, masks[half::2])
        (film_losses.sum() / len(images)).backward()
        found.append(film_losses.detach())
        if half == 1:  # the running means that are kept are the first process's
            for name, buffer in self.network.named_buffers():
                buffer.copy_(kept[name])
    norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.experiment.clip)
    self.optimizer.step()
    return torch.cat(found), norm


def test_two_processes_are_one_that_adds_up_halves(undisturbed, smoke, monkeypatch):
    assert read_json(undisturbed / "experiment.json")["environments"][-1]["processes"] == 2
    pair = torch.load(undisturbed / "last.pt", weights_only=True)["network"]
    history = pd.read_csv(undisturbed / "history.csv")

    def of_one(**changed):
        run = smoke(**KNOBS, seed=1, **changed)
        training.fit(run)
        found = (
            pd.read_csv(run.folder / "history.csv"),
            torch.load(run.folder / "last.pt", weights_only=True)["network"],
        )
        shutil.rmtree(run.folder)
        return found

    def apart(network):
        return max(float((network[name].float() - pair[name].float()).abs().max()) for name in pair)

    plain = apart(of_one()[1])
    monkeypatch.setattr(training.Trainee, "step", step_by_halves)
    halves, network = of_one()
    assert apart(network) < 1e-5 < plain / 100  # one process that takes the batch whole ends elsewhere
    columns = ["train_loss", "val_loss", "mae", "iou", "lr"]
    pd.testing.assert_frame_equal(history[columns], halves[columns], rtol=1e-5)


def test_a_killed_process_ends_the_training_which_then_goes_on(project, tree, undisturbed):
    presets = project / "workflow" / "presets"
    shutil.copy(presets / "pair.yml", presets / "again.yml")
    broken = project / "runs" / "again" / "lung-bce_iou" / "seed1"
    process = faults.start(project, *command(tree, "again"))
    while not (broken / "history.csv").is_file():
        assert process.poll() is None, (project / "said.txt").read_text()
        time.sleep(0.02)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    assert process.wait(timeout=600) == 1
    assert not (broken / "training.json").exists()
    said_before = (project / "said.txt").read_text()
    assert faults.start(project, *command(tree, "again")).wait() == 0, (project / "said.txt").read_text()
    said = (project / "said.txt").read_text().removeprefix(said_before)
    assert "epoch 8/8" in said and "epoch 1/8" not in said
    assert said.count("lung-bce_iou/seed1 epoch 8, training: 30 %") == 1  # of the first process alone
    assert faults.weights_of(broken) == faults.weights_of(undisturbed)


def test_both_processes_stop_early(project, tree):
    """With a rate too low to better anything for long; a process that went on alone would wait for the other for ever."""
    presets = project / "workflow" / "presets"
    text = (presets / "pair.yml").read_text().replace("lr: 0.001", "lr: 1.0e-9, stop_after: 1, ema: 0.5")
    (presets / "early.yml").write_text(text)
    process = faults.start(project, *command(tree, "early"))
    assert process.wait(timeout=600) == 0, (project / "said.txt").read_text()
    assert len(pd.read_csv(project / "runs" / "early" / "lung-bce_iou" / "seed1" / "history.csv")) < 8


@pytest.mark.parametrize(("films", "batch"), [(12, 11), (1, 16), (12, 1)])
def test_batches_of_fewer_films_than_processes_are_refused(films, batch):
    with pytest.raises(LabkitError, match="too few for 2 processes; take another batch"):
        parallel.check(films, batch, 2)


@pytest.mark.parametrize(("films", "batch"), [(12, 5), (2, 16), (12, 2), (12, 12)])
def test_a_film_for_each_process_is_enough(films, batch):
    parallel.check(films, batch, 2)


def test_without_torchrun_it_says_how_to_start():
    plain = [sys.executable, "-m", "labkit.distributed", "smoke", "lung-bce"]
    said = subprocess.run(plain, cwd=faults.files.ROOT, capture_output=True, text=True)
    assert said.returncode == 1 and said.stderr.startswith("labkit: start this by torchrun")
