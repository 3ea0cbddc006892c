"""Our network's training step beside MONAI's BasicUNet, each at its defaults and each tuned alike; and the two pipelines.

Defaults: eager float32, torch's default layout. Tuned: channels last and bfloat16 where the processor has it. GFLOP/s are
counted by torch's own counter, so networks of different size can be held against each other. The pipelines feed the same
films, network and step: ours from packed arrays, MONAI's from a CacheDataset with its own random transforms.

Aim: 1.1 times the tuned peer's GFLOP/s.
"""

import numpy as np
import torch
from common import interleave, phantom, ratio, show
from monai.data import CacheDataset, DataLoader
from monai.networks.nets import BasicUNet
from monai.transforms import Compose, RandFlipd, RandRotated, RandScaleIntensityd, ToTensord
from torch.utils.flop_counter import FlopCounterMode

from labkit import losses, store
from labkit.hardware import autocast, device_of
from labkit.model import ResidualUNet
from labkit.training import Trainee, train_epoch


def stepper(network: torch.nn.Module, tuned: bool, knobs, device):
    if tuned:
        network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    layout = torch.channels_last if tuned else torch.contiguous_format

    def step(images, masks):
        with autocast(knobs.model_copy(update={"precision": "auto" if tuned else "fp32"}), device):
            logits = network(images.to(memory_format=layout) if tuned else images)
        optimizer.zero_grad()
        losses.bce_iou(logits, masks).mean().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    return step


def networks(batch: int = 4, side: int = 256) -> None:
    knobs = phantom(base=64, size=side)
    device = device_of(knobs)
    images = torch.rand(batch, 1, side, side)
    masks = (images < 0.3).float()
    made = {
        "ours": lambda: ResidualUNet(64),
        "BasicUNet": lambda: BasicUNet(spatial_dims=2, in_channels=1, out_channels=1),
    }
    variants, work = {}, {}
    for name, make in made.items():
        network = make()
        with FlopCounterMode(display=False) as counter:
            losses.bce_iou(network(images), masks).mean().backward()
        work[name] = counter.get_total_flops()
        for tuned in (False, True):
            step = stepper(make(), tuned, knobs, device)
            variants[name, tuned] = lambda step=step: step(images, masks)
    seconds = interleave(variants, rounds=3)
    speed = {key: work[key[0]] / values / 1e9 for key, values in seconds.items()}
    show(
        ["network", "GFLOP a step of 4 films", "defaults, GFLOP/s", "tuned, GFLOP/s"],
        [
            [name, f"{work[name] / 1e9:.0f}", *(f"{np.median(speed[name, tuned]):.0f}" for tuned in (False, True))]
            for name in made
        ],
    )
    print(f"\nours tuned over BasicUNet tuned, GFLOP/s: {ratio(speed['ours', True], speed['BasicUNet', True])}\n")


def pipelines() -> None:
    knobs = phantom(batch=16)
    pack, device = store.load(knobs), device_of(knobs)
    chosen = pack.rows("Train")
    state = Trainee(knobs, device)
    films = [
        {"image": pack.images[row][None] / np.float32(255), "mask": pack.masks[row][None].astype(np.float32)}
        for row in chosen
    ]
    keys, turn = ("image", "mask"), np.deg2rad(15)
    random = [
        RandFlipd(keys, prob=0.5, spatial_axis=1),
        RandRotated(keys, range_x=turn, prob=0.5, mode=("bilinear", "nearest"), padding_mode="zeros"),
        RandScaleIntensityd("image", factors=0.2, prob=0.5),
        ToTensord(keys),
    ]
    cached = CacheDataset(films, Compose(random), progress=False)
    loaders = {
        f"CacheDataset, {workers} workers": DataLoader(
            cached, batch_size=16, shuffle=True, num_workers=workers, persistent_workers=workers > 0
        )
        for workers in (0, 2)
    }

    def monai_epoch(loader):
        state.network.train()
        for batch in loader:
            # as_tensor drops MONAI's MetaTensor, whose bookkeeping would slow the step itself
            state.step(batch["image"].as_tensor(), batch["mask"].as_tensor())

    variants = {"packed arrays": lambda: train_epoch(state, pack, chosen, 1)}
    variants |= {name: lambda loader=loader: monai_epoch(loader) for name, loader in loaders.items()}
    seconds = interleave(variants, rounds=5)
    show(
        ["pipeline (base 16, 128², tuned step)", "films/s", "packed arrays over it"],
        [
            [name, f"{len(chosen) / np.median(values):.1f}", ratio(values, seconds["packed arrays"])]
            for name, values in seconds.items()
        ],
    )


if __name__ == "__main__":
    networks()
    pipelines()
