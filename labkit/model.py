"""The network: a U-Net of residual blocks, three levels deep unless told otherwise (reference report, III-A).

U-Net: Ronneberger, Fischer, Brox, MICCAI 2015. Residual blocks: He et al., CVPR 2016. Attention gates:
Oktay et al., MIDL 2018.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from labkit.experiment import Experiment


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
        self.enlarges = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, 2, stride=2) for width in upwards)
        self.ups = nn.ModuleList(ResidualBlock(2 * width, width) for width in upwards)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(base, 1, 1)
        # Built last: all other layers then start from the same weights with gates as without.
        self.gates = nn.ModuleList(AttentionGate(width) if attention else OpenGate() for width in upwards)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for down in self.downs:
            skips.append(down(x))
            x = self.pool(skips[-1])
        x = self.bottleneck(x)
        for enlarge, gate, up in zip(self.enlarges, self.gates, self.ups):
            coarser = enlarge(x)
            x = up(torch.cat([coarser, gate(skips.pop(), coarser)], dim=1))
        return self.head(x)


def network_of(experiment: Experiment) -> ResidualUNet:
    """The network that an experiment's knobs ask for, its weights drawn anew."""
    return ResidualUNet(experiment.base, experiment.levels, experiment.attention, 1 + experiment.lung_input)


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
