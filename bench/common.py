"""What the measurements share: variants timed in turns, films to time with, and a table of what came out."""

import atexit
import multiprocessing
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from labkit import losses
from labkit.experiment import Experiment
from labkit.model import ResidualUNet
from labkit.presets import load


def interleave(
    variants: dict[str, Callable[[], object]], rounds: int, warm: int = 1, before: Callable[[], object] = lambda: None
) -> dict[str, np.ndarray]:
    """Seconds of each variant in each round, arrays (rounds,): all variants once a round, in turn forwards and backwards.

    A machine that is slow for a minute is slow for all of them, so the ratios of one round hold. `warm` rounds are not told,
    and `before`, called before each variant, is not timed.
    """
    seconds = {name: [] for name in variants}
    for number in range(warm + rounds):
        for name in list(variants)[:: 1 if number % 2 else -1]:
            before()
            start = time.perf_counter()
            variants[name]()
            if number >= warm:
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def ratio(slower: np.ndarray, faster: np.ndarray) -> str:
    """How many times faster, in the median over rounds, with the smallest and the largest ratio."""
    each = slower / faster
    return f"{np.median(each):.2f} ({each.min():.2f} to {each.max():.2f})"


def rates(films: int, ours: np.ndarray, other: np.ndarray) -> list[str]:
    """Three cells of a row: films a second of ours and of the other, in the median, and the ratio of the two."""
    return [*(f"{films / np.median(seconds):.2f}" for seconds in (ours, other)), ratio(other, ours)]


def phantom(**knobs) -> Experiment:
    """The demo preset's lung run with BCE+IoU on phantom films, with knobs changed; on the CPU, as all it is held against."""
    return load("demo", "lung-bce_iou", device="cpu", **knobs)


def show(header: list[str], rows: list[list]) -> None:
    """Print a Markdown table."""
    for row in [header, ["---"] * len(header), *rows]:
        print("|", " | ".join(str(cell) for cell in row), "|", flush=True)


def in_its_own_process(make: Callable, *arguments) -> Callable[[], object]:
    """A function that calls `make(*arguments)` once in another process, and what that returns each time it is called.

    For what a user would run without labkit: labkit changes how its process keeps memory (hardware.keep_memory).
    """
    here, there = multiprocessing.get_context("spawn").Pipe()
    multiprocessing.get_context("spawn").Process(target=_serve, args=(there, make, arguments)).start()
    atexit.register(here.send, False)

    def run():
        here.send(True)
        return here.recv()

    return run


def _serve(pipe, make: Callable, arguments: tuple) -> None:
    run = make(*arguments)
    while pipe.recv():
        pipe.send(run())


def plain_network(base: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """Our network and its optimizer as a PyTorch tutorial sets them up: float32, torch's default memory layout."""
    torch.manual_seed(0)
    network = ResidualUNet(base)
    return network, torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=1e-5)


def plain_step(plain: tuple[torch.nn.Module, torch.optim.Optimizer], images: Tensor, masks: Tensor) -> None:
    """The same step as Trainee.step on such a network."""
    network, optimizer = plain
    network.train()
    loss = losses.bce_iou(network(images), masks).mean()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()


def plain_stepper(base: int, batch: int, side: int) -> Callable[[], None]:
    """plain_step on films that lie ready."""
    plain, images = plain_network(base), torch.rand(batch, 1, side, side)
    masks = (images < 0.3).float()
    return lambda: plain_step(plain, images, masks)
