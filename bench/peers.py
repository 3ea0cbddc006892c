"""Our network's training step beside MONAI's BasicUNet, each at its defaults and each tuned alike; and the two pipelines.

Defaults: eager float32, torch's default layout. Tuned: channels last, bfloat16 where the processor has it, and memory kept
(each in a process of its own).
GFLOP/s are counted by torch's own counter, so networks of different size can be held against each other. The
pipelines feed the same films, network and step: ours from packed arrays, MONAI's from a CacheDataset with its own random
transforms.

Aim: 1.1 times the tuned peer's GFLOP/s.
"""

import numpy as np
import torch
from common import in_its_own_process, interleave, phantom, ratio, show
from monai.data import CacheDataset, DataLoader
from monai.networks.nets import BasicUNet
from monai.transforms import Compose, RandFlipd, RandRotated, RandScaleIntensityd, ToTensord
from torch.utils.flop_counter import FlopCounterMode

from labkit import losses, store
from labkit.hardware import autocast, set_up_device
from labkit.model import ResidualUNet
from labkit.training import Trainee, train_epoch


def make(name: str) -> torch.nn.Module:
    return ResidualUNet(64) if name == "ours" else BasicUNet(spatial_dims=2, in_channels=1, out_channels=1)


def stepper(name: str, tuned: bool):
    """A function that takes one step on a batch of four films of 256x256."""
    knobs = phantom(base=64, size=256, precision="auto" if tuned else "fp32")
    network, images = make(name), torch.rand(4, 1, 256, 256)
    masks, device = (images < 0.3).float(), torch.device("cpu")
    if tuned:
        device = set_up_device(knobs)  # which keeps memory
        network, images = network.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def step():
        with autocast(knobs, device):
            logits = network(images)
        optimizer.zero_grad()
        losses.bce_iou(logits, masks).mean().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    return step


def networks() -> None:
    names, work = ("ours", "BasicUNet"), {}
    variants = {(name, tuned): in_its_own_process(stepper, name, tuned) for name in names for tuned in (False, True)}
    for name in names:
        with FlopCounterMode(display=False) as counter:
            make(name)(torch.rand(4, 1, 256, 256)).mean().backward()
        work[name] = counter.get_total_flops()
    seconds = interleave(variants, rounds=4)
    speed = {key: work[key[0]] / values / 1e9 for key, values in seconds.items()}
    show(
        ["network", "GFLOP a step of 4 films", "defaults, GFLOP/s", "tuned, GFLOP/s"],
        [
            [name, f"{work[name] / 1e9:.0f}", *(f"{np.median(speed[name, tuned]):.0f}" for tuned in (False, True))]
            for name in names
        ],
    )
    print(f"\nours tuned over BasicUNet tuned, GFLOP/s: {ratio(speed['ours', True], speed['BasicUNet', True])}\n")


def pipelines() -> None:
    knobs = phantom(batch=16)
    pack, device = store.load(knobs), set_up_device(knobs)
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
