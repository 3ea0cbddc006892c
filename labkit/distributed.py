"""One experiment on several GPUs or machines: torchrun --nproc-per-node 2 -m labkit.distributed demo infection-bce_iou

Every process has the whole network and takes its share of each batch; DistributedDataParallel makes the gradient that of
the whole batch (Li et al., VLDB 2020). All draw the same random numbers, so a film is augmented as it would be by one
process. Batch normalisation sees a process's share alone, which is why the result is not one process's to the last digits.
The first process does what fit() does; the others only take the steps with it.
"""

import contextlib
import os
import sys
from datetime import timedelta
from typing import Annotated

import torch
import torch.distributed as dist
import typer

from labkit import parallel, presets, store
from labkit.errors import LabkitError
from labkit.experiment import Experiment
from labkit.hardware import set_up_device
from labkit.training import Trainee, fit, train_epoch


def train(run: Experiment) -> None:
    """Train an experiment with all processes that torchrun started; what is written, and going on from it, is as in fit().

    All need the project's folder: on several machines a shared one. Raises LabkitError as fit() does, and for batches of
    fewer films than there are processes.
    """
    pack = store.load(run)  # before the processes meet: while one packs the films, the others wait as long as it takes
    parallel.check(len(pack.rows("Train", run.controls)), run.batch, int(os.environ["WORLD_SIZE"]))
    device = set_up_device(run)
    if device.type == "cuda":
        number, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if number >= there:
            raise LabkitError(f"nproc-per-node: this machine has {there} GPU{'s' * (there > 1)}, one for each process")
        torch.cuda.set_device(number)  # what "cuda" means from here on
    # The others wait while the first validates, or for another training of the run: longer than torch's default on slow cores.
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(days=7))
    try:
        if dist.get_rank() == 0:
            fit(run, pack)
            parallel.of_first(None)  # the end
        else:
            with contextlib.redirect_stdout(None):  # the first process tells how far all are
                follow(run, pack)
    finally:
        dist.destroy_process_group()


def follow(run: Experiment, pack: store.Pack) -> None:
    """What the other processes do while the first is in fit(): the same steps at the same rate, until it has written all."""
    identity = parallel.of_first(None)
    if identity is None:  # the training was done before
        return
    state = Trainee(run, set_up_device(run))
    state.restore(run.folder, identity)
    epoch = len(state.history)
    while not parallel.of_first(None):  # until training is finished
        epoch += 1
        train_epoch(state, pack, pack.rows("Train", run.controls), epoch)
        state.scheduler.step(parallel.of_first(None))
    parallel.of_first(None)


def main(
    preset: Annotated[str, typer.Argument(help="A file of workflow/presets.")],
    name: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="One of the preset's experiments.")],
    seed: int = 0,
    data: Annotated[str, typer.Option(help="Folder of COVID-QU-Ex, or 'phantom'; the preset's if left out.")] = "",
) -> None:
    """Train one experiment of a preset with all processes that torchrun started."""
    try:
        if "WORLD_SIZE" not in os.environ:
            raise LabkitError("start this by torchrun --nproc-per-node 2 -m labkit.distributed PRESET EXPERIMENT")
        train(presets.load(preset, name, seed, **({"data": data} if data else {})))
    except LabkitError as error:
        # Each may fail for a reason of its own.
        process = f"process {os.environ['RANK']}: " if "RANK" in os.environ else ""
        print(f"labkit: {process}{error}", file=sys.stderr)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
