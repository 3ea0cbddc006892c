"""The network: a U-Net of residual blocks, three levels deep unless told otherwise (reference report, III-A).

U-Net: Ronneberger, Fischer, Brox, MICCAI 2015. Residual blocks: He et al., CVPR 2016. Attention gates:
Oktay et al., MIDL 2018.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.experiment import Experiment

BACKGROUND_LOGIT = -20.0  # the logit of pixels that are ruled out: a probability of 2e-9, whose BCE is finite


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation, added to their input; (B, in, H, W) -> (B, out, H, W).

    The shortcut is the input itself, or a 1x1 convolution of it where the number of channels changes.
    """

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        # No bias before a batch normalisation, which takes any constant out again.
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut = nn.Identity() if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.convolutions(x) + self.shortcut(x))


class UpConvolution(nn.ConvTranspose2d):
    """A 2x2 up-convolution, transposed with stride 2; (B, in, H, W) -> (B, out, 2H, 2W).

    Computed as a 1x1 convolution: each pixel becomes a 2x2 square that overlaps no other. torch's own takes twice as long
    to go backward on CPUs.
    """

    bias: Tensor

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__(channels_in, channels_out, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        kernels = self.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (2 rows x 2 columns x out, in)
        squares = F.conv2d(x, kernels[:, :, None, None], self.bias.repeat(4)).permute(0, 2, 3, 1)
        squares = squares.unflatten(3, (2, 2, -1)).transpose(2, 3)  # (B, H, 2, W, 2, out)
        return squares.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


class AttentionGate(nn.Module):
    """A skip, each of its pixels weighted by a number in (0, 1) that the coarser features choose; all (B, channels, H, W)."""

    def __init__(self, channels: int):
        super().__init__()
        between = max(1, channels // 2)
        self.of_skip = nn.Conv2d(channels, between, 1, bias=False)  # of_coarser has one
        self.of_coarser = nn.Conv2d(channels, between, 1)
        self.weight = nn.Conv2d(between, 1, 1)

    def forward(self, skip: Tensor, coarser: Tensor) -> Tensor:
        return skip * self.weight(torch.relu(self.of_skip(skip) + self.of_coarser(coarser))).sigmoid()


class OpenGate(nn.Module):
    """Lets the whole skip pass."""

    def forward(self, skip: Tensor, coarser: Tensor) -> Tensor:
        return skip


class ResidualUNet(nn.Module):
    """Films (B, channels_in, H, W) in [0, 1] -> logits (B, 1, H, W); H and W multiples of 2**levels.

    `base` channels at the first level, doubled at each level below and in the bottleneck. At base 64 and three levels:
    8,044,545 parameters.
    """

    def __init__(self, base: int = 64, levels: int = 3, attention: bool = False, channels_in: int = 1):
        super().__init__()
        widths = [base * 2**level for level in range(levels + 1)]  # channels, from the first level to the bottleneck
        upwards = widths[-2::-1]
        self.downs = nn.ModuleList(ResidualBlock(*pair) for pair in pairwise([channels_in, *widths[:-1]]))
        self.bottleneck = ResidualBlock(*widths[-2:])
        self.up_convolutions = nn.ModuleList(UpConvolution(2 * width, width) for width in upwards)
        self.ups = nn.ModuleList(ResidualBlock(2 * width, width) for width in upwards)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(base, 1, 1)
        # Built last: all other layers then start from the same weights with gates as without.
        self.gates = nn.ModuleList(AttentionGate(width) if attention else OpenGate() for width in upwards)

    def forward(self, x: Tensor) -> Tensor:
        features, _ = self.features(x)
        return self.head(features)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What heads read: the last level's features (B, base, H, W), and those of the bottleneck."""
        skips = []
        for down in self.downs:
            skips.append(down(x))
            x = self.pool(skips[-1])
        x = deepest = self.bottleneck(x)
        for up_convolution, gate, up in zip(self.up_convolutions, self.gates, self.ups):
            coarser = up_convolution(x)
            x = up(torch.cat([coarser, gate(skips.pop(), coarser)], dim=1))
        return x, deepest


class Heads(NamedTuple):
    """Logits of a MultiTaskUNet while it learns."""

    infection: Tensor  # (B, 1, H, W)
    lung: Tensor  # (B, 1, H, W)
    film: Tensor  # (B, 1): is there any infection?


class MultiTaskUNet(ResidualUNet):
    """Three heads on one body: what finds lungs may help to find infections (Caruana, Machine Learning 28, 1997).

    Films -> Heads in training, and the infection's logits alone, as of a ResidualUNet, afterwards. With `gate`, those of
    films that the third head calls not infected are BACKGROUND_LOGIT all over.
    """

    def __init__(self, base: int, levels: int, attention: bool, channels_in: int, gate: bool = False):
        super().__init__(base, levels, attention, channels_in)
        self.gate = gate
        self.lung_head = nn.Conv2d(self.head.in_channels, 1, 1)
        self.film_head = nn.Linear(base * 2**levels, 1)

    def forward(self, x: Tensor) -> Tensor | Heads:  # type: ignore[override]
        features, deepest = self.features(x)
        heads = Heads(self.head(features), self.lung_head(features), self.film_head(deepest.mean((2, 3))))
        if self.training:
            return heads
        if not self.gate:
            return heads.infection
        return heads.infection.masked_fill(heads.film[:, :, None, None] < 0, BACKGROUND_LOGIT)


class Finder(ResidualUNet):
    """A trained network that tells another where the lungs are, and does not learn any more."""

    def __init__(self, base: int, levels: int, attention: bool):
        super().__init__(base, levels, attention)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> "Finder":
        return super().train(False)


def network_of(experiment: Experiment) -> ResidualUNet:
    """The network that an experiment's knobs ask for, its weights drawn anew.

    Where a lung run tells it of the lungs, that run's network is its `finder`, of the same base, levels and attention.
    """
    form = experiment.base, experiment.levels, experiment.attention
    channels_in = 1 + experiment.lung_input
    if experiment.multitask:
        network: ResidualUNet = MultiTaskUNet(*form, channels_in, experiment.film_gate)
    else:
        network = ResidualUNet(*form, channels_in)
    if experiment.uses_lung_run:
        network.finder = Finder(*form)
    return network


def parameter_count(network: nn.Module) -> int:
    """How many weights and biases a network has, those of a frozen lung finder among them."""
    return sum(parameter.numel() for parameter in network.parameters())
