"""What films are made of for training, and that masks move with them."""

import torch

from labkit.augment import augment
from labkit.presets import load

NEVER = {"flip": 0.0, "rotate": 0.0, "brighten": 0.0}


def knobs(**given):
    return load("smoke", "lung-bce", **(NEVER | given))


def films(count=8, side=64):
    """Smooth random films and masks, with a mark that is not the same from left to right."""
    random = torch.Generator().manual_seed(0)
    images = torch.rand(count, 1, side, side, generator=random)
    masks = torch.zeros(count, 1, side, side)
    masks[:, :, 20:50, 10:30] = 1
    return images, masks


def turned(given, images, masks, seed=1):
    return augment(images, masks, given, torch.Generator().manual_seed(seed))


def test_never_means_unchanged():
    images, masks = films()
    new_images, new_masks = turned(knobs(), images, masks)
    assert torch.equal(new_images, images) and torch.equal(new_masks, masks)


def test_flip_is_left_to_right_for_film_and_mask():
    images, masks = films()
    new_images, new_masks = turned(knobs(flip=1.0), images, masks)
    assert torch.equal(new_images, images.flip(3)) and torch.equal(new_masks, masks.flip(3))


def test_inputs_are_left_alone():
    images, masks = films()
    before = images.clone(), masks.clone()
    turned(knobs(flip=1.0, rotate=1.0, brighten=1.0, elastic=1.0, zoom=1.0, intensity=1.0), images, masks)
    assert torch.equal(images, before[0]) and torch.equal(masks, before[1])


def test_half_the_films_each_film_for_itself():
    images, masks = films(400, 16)
    for chance in ("flip", "rotate", "brighten", "elastic", "zoom", "intensity"):
        new_images, _ = turned(knobs(**{chance: 0.5}), images, masks)
        changed = (new_images != images).flatten(1).any(1).float().mean()
        assert 0.4 < changed < 0.6


def test_rotation_moves_film_and_mask_alike():
    # A film that is its own mask: turned, it must still be its mask, but for the border that interpolation softens.
    _, masks = films()
    masks[:, :, 10:54, 10:54] = 1
    new_images, new_masks = turned(knobs(rotate=1.0), masks.clone(), masks)
    assert set(new_masks.unique().tolist()) == {0, 1}
    assert ((new_images > 0.5).float() != new_masks).float().mean() < 0.005
    assert (new_masks != masks).flatten(1).any(1).sum() >= 6  # of 8: an angle near 0 moves no pixel


def test_elastic_moves_film_and_mask_alike():
    _, masks = films()
    masks[:, :, 10:54, 10:54] = 1
    new_images, new_masks = turned(knobs(elastic=1.0), masks.clone(), masks)
    assert set(new_masks.unique().tolist()) == {0, 1}
    assert ((new_images > 0.5).float() != new_masks).float().mean() < 0.01
    assert (new_masks != masks).flatten(1).any(1).all()


def test_elastic_is_smooth_and_as_strong_as_it_says():
    """Films that are their own coordinates, as shares of the side, tell where each pixel came from."""
    side = 64
    ramp = (torch.arange(side) / side).expand(32, 1, side, side)
    for there in (ramp, ramp.transpose(2, 3)):
        moved = (turned(knobs(elastic=1.0), there, torch.zeros_like(there))[0] - there)[:, :, 8:-8, 8:-8]
        assert 0.04 < moved.abs().max() < 0.07  # a twentieth at the points, and a bit more where the spline overshoots
        # Neighbours keep their order: nothing is folded over.
        assert moved.diff(dim=2).abs().max() < 0.7 / side and moved.diff(dim=3).abs().max() < 0.7 / side
        assert moved.mean().abs() < 0.01  # either way


def test_zoom_moves_film_and_mask_alike():
    _, masks = films()
    masks[:, :, 10:54, 10:54] = 1
    new_images, new_masks = turned(knobs(zoom=1.0), masks.clone(), masks)
    assert set(new_masks.unique().tolist()) == {0, 1}
    assert ((new_images > 0.5).float() != new_masks).float().mean() < 0.01
    assert (new_masks != masks).flatten(1).any(1).all()


def test_zoom_sizes_and_shifts_as_far_as_it_says():
    """A square in the middle: its width tells the size, its centre the shift."""
    side = 64
    masks = torch.zeros(400, 1, side, side)
    masks[:, :, 22:42, 22:42] = 1
    _, new_masks = turned(knobs(zoom=1.0), masks.clone(), masks)
    for direction in (2, 3):
        line = new_masks.amax(direction)[:, 0]
        width = line.sum(1) / 20
        centre = (line * torch.arange(side)).sum(1) / line.sum(1) / side - 31.5 / side
        assert 0.79 < width.min() < 0.85 and 1.2 < width.max() < 1.31  # a fifth less to a quarter more, to half a pixel
        # A shift is one of the film that is read: in the new film it is as many times larger as that is.
        assert -0.14 < centre.min() < -0.1 and 0.1 < centre.max() < 0.14
    assert new_masks.flatten(1).sum(1).min() > 0


def test_intensity_changes_contrast_gamma_and_noise_of_the_film_only():
    images, masks = films(200)
    new_images, new_masks = turned(knobs(intensity=1.0), images * 0, masks)
    noise = new_images[new_images > 0]
    assert torch.equal(new_masks, masks) and 0 < noise.mean() and noise.max() < 0.3  # black stays black but for noise
    halves = torch.cat([torch.full((200, 1, 64, 32), 0.25), torch.full((200, 1, 64, 32), 0.75)], 3)
    new_images, _ = turned(knobs(intensity=1.0), halves, masks)
    dark, light = (part.mean((1, 2, 3)) for part in new_images.split(32, 3))
    assert (light - dark).min() < 0.4 and (light - dark).max() > 0.6  # contrast, both ways
    middle = (light + dark) / 2
    assert middle.min() < 0.4 and middle.max() > 0.6  # gamma, both ways
    deviations = new_images[..., :32].std((1, 2, 3))
    assert deviations.min() < 0.01 and 0.04 < deviations.max() < 0.06
    assert new_images.min() >= 0 and new_images.max() <= 1


def test_switches_that_are_off_draw_nothing():
    """What is drawn after augmentation, and so the next batch, is the same as without these switches."""
    images, masks = films()
    after = []
    for given in ({}, {"elastic": 0.5}, {"zoom": 0.5}, {"intensity": 0.5}):
        random = torch.Generator().manual_seed(1)
        augment(images, masks, knobs(**given), random)
        after.append(torch.rand(1, generator=random).item())
    reference = torch.Generator().manual_seed(1)
    torch.rand(5 * len(images), generator=reference)  # flip, rotate, brighten, angles, factors
    assert after[0] == torch.rand(1, generator=reference).item() and len(set(after)) == 4


def test_rotation_stays_within_its_angle():
    # The far end of a thin bar moves by radius x tan(angle): at 15 degrees and radius 28 by at most 7.5 pixels.
    masks = torch.zeros(64, 1, 64, 64)
    masks[:, :, 31:33, 32:] = 1
    _, new_masks = turned(knobs(rotate=1.0), masks.clone(), masks)
    rows = torch.arange(64.0)[None, :, None]
    column = new_masks[:, 0, :, 58:62]
    heights = (column * rows).sum((1, 2)) / column.sum((1, 2))
    assert (heights - 31.5).abs().max() < 7.6
    assert (
        (heights - 31.5).abs().max() > 5 and heights.min() < 30 and heights.max() > 33
    )  # both ways, nearly all the way


def test_brightness_is_a_factor_for_the_film_only():
    images, masks = films(200)
    images = images * 0.5 + 0.25
    new_images, new_masks = turned(knobs(brighten=1.0), images, masks)
    factors = (new_images / images).flatten(1)
    inside = new_images.flatten(1) < 1
    assert torch.equal(new_masks, masks)
    assert new_images.max() <= 1 and new_images.min() >= 0
    assert factors[inside].min() >= 0.8 - 1e-6 and factors.max() <= 1.2 + 1e-6
    assert factors[:, 0].min() < 0.85 and factors[:, 0].max() > 1.1


def test_same_generator_same_films():
    images, masks = films()
    given = knobs(flip=0.5, rotate=0.5, brighten=0.5)
    assert torch.equal(turned(given, images, masks)[0], turned(given, images, masks)[0])
    assert not torch.equal(turned(given, images, masks)[0], turned(given, images, masks, seed=2)[0])
