"""The network's size, form and parts."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from labkit.errors import LabkitError
from labkit.model import (
    BACKGROUND_LOGIT,
    AttentionGate,
    Finder,
    MultiTaskUNet,
    ResidualBlock,
    ResidualUNet,
    UpConvolution,
    network_of,
    parameter_count,
)
from labkit.presets import load


def test_parameters_of_the_reference():
    assert parameter_count(ResidualUNet(base=64)) == 8_044_545


def test_multiplications_of_the_reference():
    """38.7 GMACs at 256 x 256, counted on one film at 64 x 64, which takes a sixteenth."""
    with FlopCounterMode(display=False) as counter:
        ResidualUNet(64)(torch.zeros(1, 1, 64, 64))
    assert 16 * counter.get_total_flops() / 2 / 1e9 == pytest.approx(38.7, abs=0.05)


def test_up_convolution_is_a_transposed_convolution():
    layer, x = UpConvolution(6, 3).double(), torch.randn(2, 6, 4, 5, dtype=torch.double, requires_grad=True)
    needed = [x, layer.weight, layer.bias]
    ours, theirs = layer(x), nn.functional.conv_transpose2d(x, layer.weight, layer.bias, stride=2)
    torch.testing.assert_close(ours, theirs)
    upwards = torch.randn_like(theirs)
    for mine, other in zip(torch.autograd.grad(ours, needed, upwards), torch.autograd.grad(theirs, needed, upwards)):
        torch.testing.assert_close(mine, other)


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
    nn.init.zeros_(network.up_convolutions[-1].weight)
    nn.init.zeros_(network.up_convolutions[-1].bias)
    assert not torch.equal(network(torch.rand(1, 1, 16, 16)), network(torch.rand(1, 1, 16, 16)))


def test_levels_are_its_depth():
    """Each level halves the film once more and doubles the channels; a film that cannot be halved so often is refused."""
    for levels in (2, 3, 5):
        network = network_of(load("smoke", "lung-bce", levels=levels)).eval()
        seen = []
        network.bottleneck.register_forward_hook(lambda layer, inputs, output: seen.append(output.shape))
        assert network(torch.rand(1, 1, 64, 64)).shape == (1, 1, 64, 64)
        assert seen == [(1, 8 * 2**levels, 64 >> levels, 64 >> levels)]
    for size, told in ((40, "got 40"), (16, "got 16")):  # at 16 the bottleneck would be a pixel, which has no spread
        with pytest.raises(LabkitError, match=f"^size: must be a multiple of 16, .* 4 levels .{told}.$"):
            load("smoke", "lung-bce", size=size, levels=4)
    assert load("smoke", "lung-bce", size=20, levels=2).size == 20


def test_closed_gate_blocks_its_skip():
    """With the coarser features silenced, a film reaches the output through the first skip, and through an open gate only."""
    torch.manual_seed(0)
    network, films = ResidualUNet(16, attention=True).eval(), torch.rand(2, 1, 16, 16)
    nn.init.zeros_(network.up_convolutions[-1].weight)
    nn.init.zeros_(network.gates[-1].weight.weight)
    for bias, blocked in ((-200.0, True), (200.0, False)):
        nn.init.constant_(network.gates[-1].weight.bias, bias)
        assert torch.equal(*network(films)) == blocked


def test_gate_weighs_pixels_by_hand():
    """alpha = sigmoid(psi(relu(Wx x + Wg g))) (Oktay et al., 2018), with all weights 1 and no bias."""
    gate = AttentionGate(1)
    for parameter in gate.parameters():
        nn.init.ones_(parameter) if parameter.dim() > 1 else nn.init.zeros_(parameter)
    skip, coarser = torch.tensor([[[[2.0, 2.0]]]]), torch.tensor([[[[1.0, -5.0]]]])
    expected = 2 * torch.tensor([3.0, 0.0]).sigmoid()
    torch.testing.assert_close(gate(skip, coarser).flatten(), expected)


def test_gates_leave_the_other_initial_weights_as_they_are():
    networks = []
    for attention in (False, True):
        torch.manual_seed(0)
        networks.append(network_of(load("smoke", "lung-bce", attention=attention)).state_dict())
    plain, gated = networks
    assert set(plain) < set(gated) and all(torch.equal(plain[name], gated[name]) for name in plain)


def test_three_heads_while_it_learns_one_afterwards():
    network, films = MultiTaskUNet(4, 2, False, 1), torch.rand(3, 1, 16, 16)
    heads = network(films)
    assert (heads.infection.shape, heads.lung.shape, heads.film.shape) == ((3, 1, 16, 16), (3, 1, 16, 16), (3, 1))
    network.eval()
    features, _ = network.features(films)
    assert torch.equal(network(films), network.head(features))


def test_film_gate_empties_the_films_it_calls_not_infected():
    torch.manual_seed(0)
    network, films = MultiTaskUNet(4, 2, False, 1, gate=True).eval(), torch.rand(2, 1, 16, 16)
    _, deepest = network.features(films)
    with torch.no_grad():
        said = network.film_head(deepest.mean((2, 3)))[:, 0]
        network.film_head.bias -= said.mean()  # one film on either side of 0
        found = network(films)
    network.gate = False
    ungated, closed = network(films), int(said.argmin())
    assert (found[closed] == BACKGROUND_LOGIT).all() and torch.equal(found[1 - closed], ungated[1 - closed])
    assert not (ungated[closed] == BACKGROUND_LOGIT).any()


def test_more_heads_leave_the_other_initial_weights_as_they_are():
    networks = []
    for knobs in ({}, {"multitask": True}, {"lung_prior": True, "lungs": "lung-bce"}):
        torch.manual_seed(0)
        networks.append(network_of(load("smoke", "infection-bce", **knobs)).state_dict())
    plain, *others = networks
    for other in others:
        assert set(plain) < set(other) and all(torch.equal(plain[name], other[name]) for name in plain)


def test_finder_does_not_change():
    finder = Finder(4, 2, False)
    assert not finder.train().training and not any(layer.training for layer in finder.modules())
    assert not any(parameter.requires_grad for parameter in finder.parameters())
