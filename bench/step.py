"""A training step of the reference's network (base 64, 256x256), against the same network run plainly, and the peak.

"Plain" is eager float32 in torch's default memory layout, in a process of its own. The peak is that of a
bfloat16 3x3 convolution, channels last, at the best of the shapes that the network has: run forward alone, and forward and
backward as in a step. A step is counted as three times the forward multiplications.

Aim: 75 % of the peak, 2.8 times the plain step.
"""

import sys

import numpy as np
import torch
from common import in_its_own_process, interleave, phantom, plain_stepper, ratio, show

from labkit.hardware import set_up_device
from labkit.training import Trainee

GMACS = 38.7  # of one film forward (by torch's flop counter, see tests/test_model.py)


def convolution(channels: int, side: int, backward: bool, batch: int = 4):
    """A convolution to be timed, and its floating point operations."""
    layer = (
        torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False).bfloat16().to(memory_format=torch.channels_last)
    )
    x = (
        torch.rand(batch, channels, side, side)
        .bfloat16()
        .to(memory_format=torch.channels_last)
        .requires_grad_(backward)
    )
    gradient = torch.rand(batch, channels, side, side).bfloat16().to(memory_format=torch.channels_last)

    def run():
        with torch.set_grad_enabled(backward):
            for _ in range(4):
                y = layer(x)
                if backward:
                    y.backward(gradient)

    return run, (3 if backward else 1) * 4 * 2 * 9 * channels**2 * side**2 * batch


def main(batches: list[int]) -> None:
    rows = []
    for batch in batches:
        knobs = phantom(base=64, size=256, batch=batch)
        device = set_up_device(knobs)
        ours = Trainee(knobs, device)
        images, masks = torch.rand(batch, 1, 256, 256), (torch.rand(batch, 1, 256, 256) < 0.3).float()
        shapes = ((64, 256), (128, 128), (256, 64), (512, 32))
        convolutions = {(c, s, back): convolution(c, s, back) for c, s in shapes for back in (False, True)}

        variants = {
            "ours": lambda: ours.step(images, masks),
            "plain": in_its_own_process(plain_stepper, 64, batch, 256),
        }
        variants |= {name: run for name, (run, _) in convolutions.items()}
        seconds = interleave(variants, rounds=5)
        speed = 3 * 2 * GMACS * 1e9 * batch / seconds["ours"]
        row = [batch, *(f"{batch / np.median(seconds[name]):.2f}" for name in ("ours", "plain"))]
        row += [ratio(seconds["plain"], seconds["ours"]), f"{np.median(speed) / 1e9:.0f}"]
        for backward in (False, True):
            each = [flops / seconds[name] for name, (_, flops) in convolutions.items() if name[2] == backward]
            peak = np.max(each, axis=0)  # round by round: that of the same minute
            share = 100 * speed / peak
            row += [
                f"{np.median(peak) / 1e9:.0f}",
                f"{np.median(share):.0f} % ({share.min():.0f} to {share.max():.0f})",
            ]
        rows.append(row)
    header = ["batch", "ours, films/s", "plain, films/s", "times faster", "ours, GFLOP/s"]
    header += ["peak forward, GFLOP/s", "of it", "peak forward and backward, GFLOP/s", "of it"]
    show(header, rows)


if __name__ == "__main__":
    main([int(batch) for batch in sys.argv[1:]] or [4, 16])
