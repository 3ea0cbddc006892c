"""A training step of the reference's network (base 64, 256x256), against the same network run plainly, and the peak.

"Plain" is eager float32 in torch's default memory layout. The peak is that of a bfloat16 3x3 convolution, channels last,
forward, at the best of the shapes that the network has. A step is counted as three times the forward multiplications.

Aim: 75 % of the peak, 2.8 times the plain step.
"""

import sys

import numpy as np
import torch
from common import interleave, phantom, plain_network, plain_step, ratio, show

from labkit.hardware import device_of
from labkit.training import Trainee

GMACS = 38.7  # of one film forward (DESIGN; torch's flop counter agrees, see tests/test_model.py)


def conv_peak(channels: int, side: int, batch: int = 4):
    """A forward convolution to be timed, and its floating point operations."""
    layer = (
        torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False).bfloat16().to(memory_format=torch.channels_last)
    )
    x = torch.rand(batch, channels, side, side).bfloat16().to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run():
        for _ in range(4):
            layer(x)

    return run, 4 * 2 * 9 * channels**2 * side**2 * batch


def main(batches: list[int]) -> None:
    rows = []
    for batch in batches:
        knobs = phantom(base=64, size=256, batch=batch)
        device = device_of(knobs)
        ours = Trainee(knobs, device)
        plain = plain_network(64)
        images, masks = torch.rand(batch, 1, 256, 256), (torch.rand(batch, 1, 256, 256) < 0.3).float()
        peaks = {f"{c} channels, {s}²": conv_peak(c, s) for c, s in ((64, 256), (128, 128), (256, 64), (512, 32))}

        variants = {"ours": lambda: ours.step(images, masks), "plain": lambda: plain_step(plain, images, masks)}
        variants |= {name: run for name, (run, _) in peaks.items()}
        seconds = interleave(variants, rounds=3)
        # Round by round: the peak of the same minute.
        peak = np.max([flops / seconds[name] for name, (_, flops) in peaks.items()], axis=0)
        speed = 3 * 2 * GMACS * 1e9 * batch / seconds["ours"]
        share = speed / peak
        rows.append(
            [
                batch,
                f"{batch / np.median(seconds['ours']):.2f}",
                f"{batch / np.median(seconds['plain']):.2f}",
                ratio(seconds["plain"], seconds["ours"]),
                f"{np.median(speed) / 1e9:.0f}",
                f"{np.median(peak) / 1e9:.0f}",
                f"{100 * np.median(share):.0f} % ({100 * share.min():.0f} to {100 * share.max():.0f})",
            ]
        )
    show(["batch", "ours, films/s", "plain, films/s", "times faster", "GFLOP/s", "peak GFLOP/s", "of the peak"], rows)


if __name__ == "__main__":
    main([int(batch) for batch in sys.argv[1:]] or [4, 16])
