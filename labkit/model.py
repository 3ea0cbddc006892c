"""The network: a U-Net of residual blocks, three levels deep (reference report, III-A).

U-Net: Ronneberger, Fischer, Brox, MICCAI 2015. Residual blocks: He et al., CVPR 2016.
"""

import torch
from torch import Tensor, nn


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


class ResidualUNet(nn.Module):
    """Films (B, 1, H, W) in [0, 1] -> logits (B, 1, H, W); H and W multiples of 8.

    `base` channels at the first level, doubled at each of three levels, and 8 x base in the bottleneck. At base 64:
    8,044,545 parameters.
    """

    def __init__(self, base: int = 64):
        super().__init__()
        c1, c2, c3, c4 = base, 2 * base, 4 * base, 8 * base
        self.down1 = ResidualBlock(1, c1)
        self.down2 = ResidualBlock(c1, c2)
        self.down3 = ResidualBlock(c2, c3)
        self.bottleneck = ResidualBlock(c3, c4)
        self.enlarge3 = nn.ConvTranspose2d(c4, c3, 2, stride=2)
        self.enlarge2 = nn.ConvTranspose2d(c3, c2, 2, stride=2)
        self.enlarge1 = nn.ConvTranspose2d(c2, c1, 2, stride=2)
        self.up3 = ResidualBlock(2 * c3, c3)
        self.up2 = ResidualBlock(2 * c2, c2)
        self.up1 = ResidualBlock(2 * c1, c1)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(c1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip1 = self.down1(x)
        skip2 = self.down2(self.pool(skip1))
        skip3 = self.down3(self.pool(skip2))
        x = self.bottleneck(self.pool(skip3))
        x = self.up3(torch.cat([self.enlarge3(x), skip3], dim=1))
        x = self.up2(torch.cat([self.enlarge2(x), skip2], dim=1))
        x = self.up1(torch.cat([self.enlarge1(x), skip1], dim=1))
        return self.head(x)


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
