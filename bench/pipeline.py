"""Our training epoch against a plain PyTorch pipeline: PNGs, a Dataset, a DataLoader with 2 workers, PIL, eager float32.

Same films, network, loss, augmentation and batch: what a user would write from a tutorial. Workers stay up between epochs.

Aim: 3 times.
"""

import random

import numpy as np
import torch
from common import in_its_own_process, interleave, phantom, plain_network, plain_step, rates, show
from PIL import Image, ImageEnhance
from torch.utils.data import DataLoader, Dataset

from labkit import store
from labkit.hardware import set_up_device
from labkit.training import Trainee, train_epoch


class Films(Dataset):
    """The report's augmentation film by film, on PIL images."""

    def __init__(self, samples, size: int):
        self.paths, self.size = samples[["image", "mask"]].to_numpy(), size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int):
        image, mask = (Image.open(path) for path in self.paths[index])
        image = image.resize((self.size, self.size), Image.Resampling.BOX)
        mask = mask.resize((self.size, self.size), Image.Resampling.NEAREST)
        if random.random() < 0.5:
            image, mask = (part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for part in (image, mask))
        if random.random() < 0.5:
            angle = random.uniform(-15, 15)
            image, mask = image.rotate(angle, Image.Resampling.BILINEAR), mask.rotate(angle)
        if random.random() < 0.5:
            image = ImageEnhance.Brightness(image).enhance(random.uniform(0.8, 1.2))
        return torch.from_numpy(np.array(image))[None].float() / 255, (
            torch.from_numpy(np.array(mask))[None] > 0
        ).float()


def plain_epochs(samples, base: int, size: int, batch: int):
    """A function that trains for one epoch."""
    plain = plain_network(base)
    loader = DataLoader(Films(samples, size), batch, shuffle=True, num_workers=2, persistent_workers=True)

    def epoch():
        for images, masks in loader:
            plain_step(plain, images, masks)

    return epoch


def main() -> None:
    rows = []
    for base, size, films, rounds in ((16, 128, 192, 5), (64, 256, 16, 3)):
        knobs = phantom(base=base, size=size, batch=min(16, films))
        pack, device = store.load(knobs), set_up_device(knobs)
        chosen = pack.rows("Train")[:films]
        state = Trainee(knobs, device)
        plain = in_its_own_process(plain_epochs, pack.samples.loc[chosen], base, size, knobs.batch)
        seconds = interleave({"ours": lambda: train_epoch(state, pack, chosen, 1), "plain": plain}, rounds)
        rows.append([f"base {base}, {size}²", *rates(films, seconds["ours"], seconds["plain"])])
    show(["network", "ours, films/s", "plain, films/s", "times faster"], rows)


if __name__ == "__main__":
    main()
