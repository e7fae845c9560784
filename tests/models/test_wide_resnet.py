import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autodropout.applying import apply, match, sites, space_for
from autodropout.errors import UsageError
from autodropout.models.wide_resnet import WideBlock, WideResNet
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy


def parameters(depth, width, multiplier=1.0):
    with torch.device("meta"):
        net = WideResNet(depth=depth, width=width, multiplier=multiplier)
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize(
    ("depth", "width", "published"),
    [(28, 10, 36.5), (28, 2, 1.5), (40, 1, 0.6), (16, 4, 2.7), (16, 8, 11.0), (40, 4, 8.9)],
)
def test_as_many_parameters_as_published(depth, width, published):
    """In millions, Zagoruyko and Komodakis (2016), Table 4; WRN-28-2 as in Oliver et al. (2018)."""
    assert round(parameters(depth, width) / 1e6, 1) == published


def test_to_the_last_parameter():
    assert parameters(28, 10) == 36_479_194
    assert parameters(28, 2) == 1_467_610


def test_a_multiplier_narrows_every_layer():
    with torch.device("meta"):
        full, half = WideResNet(depth=10, width=4), WideResNet(depth=10, width=4, multiplier=0.5)
    pairs = list(zip(full.modules(), half.modules(), strict=True))
    widths = [(a.out_channels, b.out_channels) for a, b in pairs if isinstance(a, nn.Conv2d)]
    assert len(widths) == 10
    assert all(a == 2 * b for a, b in widths)


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 8, 2), (4, 8, 1)])
def test_a_block_is_its_equation(inputs, outputs, stride):
    torch.manual_seed(0)
    block = WideBlock(inputs, outputs, stride).double().eval()
    x = torch.randn(2, inputs, 8, 8, dtype=torch.float64)
    first = block.bn1(x).clamp(min=0)
    branch = block.conv2(block.bn2(block.conv1(first)).clamp(min=0))
    weight = None if isinstance(block.shortcut, nn.Identity) else block.shortcut.weight
    shortcut = x if weight is None else F.conv2d(first, weight, stride=stride)
    assert torch.equal(block(x), branch + shortcut)
    assert (weight is None) == (inputs == outputs and stride == 1)


def test_sites_are_the_norms_in_the_order_of_the_forward_pass():
    net, seen = WideResNet(depth=16, width=1), []
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda *_, name=name: seen.append(name))
    net(torch.zeros(1, 3, 16, 16))
    assert list(sites(net)) == seen
    assert len(seen) == 13


def test_the_shortcut_belongs_to_the_last_site_before_the_addition():
    net = WideResNet(depth=10, width=1)
    space = space_for(net, torch.zeros(1, 3, 16, 16))
    assert space.residual == tuple(f"group{group}.0.bn2" for group in (1, 2, 3))
    pattern = ConvPattern(height=2, width=2, residual=True)
    with pytest.raises(Exception, match="shortcut"):
        match(net, Policy({"group1.0.bn1": pattern}))
    with apply(net, Policy({"group1.0.bn2": pattern})) as applied:
        net(torch.zeros(2, 3, 16, 16))
        assert applied.layers["group1.0.bn2:shortcut"].fired


def test_the_branch_ends_are_what_is_added():
    net = WideResNet(depth=10, width=1).eval()
    for end in net.branch_ends():
        net.get_submodule(end).register_forward_hook(lambda module, args, output: output * 0)
    x = torch.randn(2, 3, 8, 8)
    h = net.conv(x)
    for group in (net.group1, net.group2, net.group3):
        block = group[0]
        h = block.shortcut(h if block.same else block.bn1(h).clamp(min=0))
    assert torch.allclose(net(x), net.head(net.bn(h).clamp(min=0).mean((2, 3))))


@pytest.mark.parametrize("depth", [4, 12, 28.5])
def test_a_wrong_depth(depth):
    with pytest.raises(UsageError, match=r"depth .*; expected 6 n \+ 4: 10, 16, 22, 28"):
        WideResNet(depth=depth, width=1)


def test_no_channels_left():
    with pytest.raises(UsageError, match=r"multiplier 0\.01, .*expected at least one channel"):
        WideResNet(depth=10, width=1, multiplier=0.01)
