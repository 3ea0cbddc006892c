import pytest
import torch
from torch import nn

from labkit.model import ResidualBlock, ResidualUNet, parameter_count


def test_parameters_of_the_reference():
    assert parameter_count(ResidualUNet(base=64)) == 8_044_545


def test_multiplications_of_the_reference():
    """38.7 GMACs at 256 x 256, counted on one film at 64 x 64, which takes a sixteenth."""
    counted = []

    def count(layer, inputs, output):
        # Multiplications of a convolution: for each output value the kernel's size times the input's channels; a
        # transposed one is counted from its input.
        grid = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        counted.append(grid.shape[2] * grid.shape[3] * layer.weight.numel())

    network = ResidualUNet(64)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    network(torch.zeros(1, 1, 64, 64))
    assert 16 * sum(counted) / 1e9 == pytest.approx(38.7, abs=0.05)


def test_shapes_and_range():
    network = ResidualUNet(4).eval()
    for side in (16, 64):
        logits = network(torch.rand(2, 1, side, side))
        assert logits.shape == (2, 1, side, side) and logits.isfinite().all()


def test_block_adds_its_input():
    block = ResidualBlock(3, 3).eval()
    nn.init.zeros_(block.convolutions[-1].weight)  # the branch gives nothing
    x = torch.randn(1, 3, 8, 8)
    assert isinstance(block.shortcut, nn.Identity)
    assert torch.equal(block(x), x.relu())


def test_shortcut_has_a_bias_and_convolutions_have_none():
    block = ResidualBlock(2, 4)
    assert block.shortcut.bias is not None and block.shortcut.kernel_size == (1, 1)
    assert all(layer.bias is None for layer in block.convolutions if isinstance(layer, nn.Conv2d))


def test_skips_reach_the_output():
    """With the deeper levels silenced, the output still depends on the film: through the first skip alone."""
    torch.manual_seed(0)
    network = ResidualUNet(16).eval()
    nn.init.zeros_(network.enlarge1.weight)
    nn.init.zeros_(network.enlarge1.bias)
    assert not torch.equal(network(torch.rand(1, 1, 16, 16)), network(torch.rand(1, 1, 16, 16)))
