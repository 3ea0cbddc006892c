"""Augmentation of a whole batch at once, on the device that trains (reference report, III-C)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.experiment import Experiment


def augment(images: Tensor, masks: Tensor, knobs: Experiment, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Flip, rotate and brighten films at random; images (B, 1, H, W) in [0, 1] and masks, 0 or 1, of the same shape.

    Each film draws for itself: a left-right flip with probability `flip`; a rotation of up to `degrees` either way with
    probability `rotate`; a brightness factor within 1 +- `brightness` with probability `brighten`, cut to [0, 1]. The mask
    gets the same geometry, by the nearest pixel, so that it stays 0 or 1. What a rotation brings in is black.
    `random` is a generator on the CPU: the draws are the same whatever device trains.
    """
    count = len(images)
    flipped, rotated, brightened = (
        torch.rand(count, generator=random) < p for p in (knobs.flip, knobs.rotate, knobs.brighten)
    )
    angles = (torch.rand(count, generator=random) * 2 - 1) * math.radians(knobs.degrees)
    factors = 1 + (torch.rand(count, generator=random) * 2 - 1) * knobs.brightness

    device = images.device
    images, masks = images.clone(), masks.clone()
    chosen = flipped.nonzero()[:, 0].to(device)
    images[chosen], masks[chosen] = images[chosen].flip(3), masks[chosen].flip(3)
    # Only the films drawn for it are rotated: the rest would pay for an angle of 0.
    chosen = rotated.nonzero()[:, 0].to(device)
    if len(chosen):
        grid = _rotation(angles[rotated].to(device), images.shape[2:])
        images[chosen] = F.grid_sample(images[chosen], grid, mode="bilinear", align_corners=False)
        masks[chosen] = F.grid_sample(masks[chosen], grid, mode="nearest", align_corners=False)
    factors = torch.where(brightened, factors, 1.0).to(device)
    return (images * factors[:, None, None, None]).clamp(0, 1), masks


def _rotation(angles: Tensor, shape: torch.Size) -> Tensor:
    """Sampling grid (B, H, W, 2) that turns square films by `angles` (B,), in radians."""
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    matrix = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    return F.affine_grid(matrix, [len(angles), 1, *shape], align_corners=False)
