"""Augmentation of a whole batch at once, on the device that trains (reference report, III-C)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.experiment import Experiment

# How far the switches beyond the report go; each is off at the probability 0.
KNOTS, BEND = 5, 0.05  # an elastic deformation moves 5 x 5 points by up to a twentieth of the film's side each way
ZOOM, SHIFT = 1.25, 0.1  # largest factor of size, and largest shift each way as a share of the side of the film read
CONTRAST, GAMMA = 0.3, 1.5  # largest change of contrast (share) and of gamma (factor)
NOISE = 0.05  # largest standard deviation of the noise; films lie in [0, 1]


def augment(images: Tensor, masks: Tensor, experiment: Experiment, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Flip, rotate and brighten films at random; images (B, 1, H, W) in [0, 1] and masks (B, K, H, W), 0 or 1.

    Each film draws for itself: a left-right flip with probability `flip`; a rotation of up to `degrees` either way with
    probability `rotate`; a brightness factor within 1 +- `brightness` with probability `brighten`, cut to [0, 1]. The mask
    gets the same geometry, by the nearest pixel, so that it stays 0 or 1. What comes in from outside is black. Off unless
    asked for: an elastic deformation with probability `elastic`, another size and place with probability `zoom`, and changes
    of contrast, gamma and noise, all three, with probability `intensity`.
    `random` is a generator on the CPU: the draws are the same whatever device trains.
    """
    count = len(images)
    flipped, rotated, brightened = (
        torch.rand(count, generator=random) < p for p in (experiment.flip, experiment.rotate, experiment.brighten)
    )
    angles = (torch.rand(count, generator=random) * 2 - 1) * math.radians(experiment.degrees)
    factors = 1 + (torch.rand(count, generator=random) * 2 - 1) * experiment.brightness

    device = images.device
    images, masks = images.clone(), masks.clone()
    chosen = flipped.nonzero()[:, 0].to(device)
    images[chosen], masks[chosen] = images[chosen].flip(3), masks[chosen].flip(3)
    # Only the films drawn for it are rotated: the rest would pay for an angle of 0.
    chosen = rotated.nonzero()[:, 0].to(device)
    if len(chosen):
        grid = _rotated_grid(angles[rotated].to(device), images.shape[2:])
        images[chosen], masks[chosen] = _sampled(images[chosen], masks[chosen], grid)
    # A switch that is off draws no number: what is drawn behind it is then the same as before there was a switch.
    if experiment.elastic:
        _bend(images, masks, experiment.elastic, random)
    if experiment.zoom:
        _zoom(images, masks, experiment.zoom, random)
    factors = torch.where(brightened, factors, 1.0).to(device)
    images = (images * factors[:, None, None, None]).clamp(0, 1)
    return _other_intensity(images, experiment.intensity, random) if experiment.intensity else images, masks


def _bend(images: Tensor, masks: Tensor, chance: float, random: torch.Generator) -> None:
    """Deform films, chosen with that chance, and their masks smoothly at random, in place (Simard et al., ICDAR 2003)."""
    chosen = (torch.rand(len(images), generator=random) < chance).nonzero()[:, 0].to(images.device)
    knots = torch.rand(len(images), 2, KNOTS, KNOTS, generator=random).to(images.device)[chosen] * 2 - 1
    if len(chosen):
        # A film's side is 2 in a grid, from -1 to 1.
        shift = F.interpolate(2 * BEND * knots, images.shape[2:], mode="bicubic", align_corners=True)
        still = _rotated_grid(torch.zeros(len(chosen), device=images.device), images.shape[2:])
        images[chosen], masks[chosen] = _sampled(images[chosen], masks[chosen], still + shift.permute(0, 2, 3, 1))


def _zoom(images: Tensor, masks: Tensor, chance: float, random: torch.Generator) -> None:
    """Enlarge or shrink films, chosen with that chance, and their masks, and shift them, in place."""
    chosen = (torch.rand(len(images), generator=random) < chance).nonzero()[:, 0].to(images.device)
    size, *places = (torch.rand(3, len(images), generator=random) * 2 - 1).to(images.device)[:, chosen]
    if len(chosen):
        # A place in the new film is read from the old one at 1 / factor of its distance from the centre.
        read, shift = ZOOM**-size, 2 * SHIFT * torch.stack(places, 1)
        grid = (
            read[:, None, None, None] * _rotated_grid(torch.zeros_like(read), images.shape[2:]) + shift[:, None, None]
        )
        images[chosen], masks[chosen] = _sampled(images[chosen], masks[chosen], grid)


def _other_intensity(images: Tensor, chance: float, random: torch.Generator) -> Tensor:
    """Films, chosen with that chance, with another contrast about their mean, another gamma, and noise; cut to [0, 1]."""
    chosen = torch.rand(len(images), generator=random) < chance
    contrast, gamma, noise = torch.rand(3, len(images), 1, 1, 1, generator=random).to(images.device)
    changed = images.mean((1, 2, 3), keepdim=True).lerp(images, 1 + (contrast * 2 - 1) * CONTRAST).clamp(0, 1)
    changed = changed ** (GAMMA ** (gamma * 2 - 1))
    changed = changed + noise * NOISE * torch.randn(images.shape, generator=random).to(images.device)
    return torch.where(chosen.to(images.device)[:, None, None, None], changed.clamp(0, 1), images)


def _sampled(images: Tensor, masks: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Films and masks read at the places of `grid` (B, H, W, 2)."""
    return (
        F.grid_sample(images, grid, mode="bilinear", align_corners=False),
        F.grid_sample(masks, grid, mode="nearest", align_corners=False),
    )


def _rotated_grid(angles: Tensor, shape: torch.Size) -> Tensor:
    """Sampling grid (B, H, W, 2) that turns square films by `angles` (B,), in radians."""
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    matrix = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    return F.affine_grid(matrix, [len(angles), 1, *shape], align_corners=False)
