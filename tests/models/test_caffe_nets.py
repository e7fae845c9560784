"""LeNet and ConvNet-Quick: the sizes, starts and order of operations of Caffe's examples."""

import math

import pytest
import torch
from torch.nn import functional as F

from autodropout.applying import sites
from autodropout.models.convnet_quick import ConvNetQuick
from autodropout.models.lenet import LeNet

NETS = [(LeNet, (1, 28, 28), 431_080), (ConvNetQuick, (3, 32, 32), 145_578)]


def of(layer, h):
    """What a layer makes of h, by its definition."""
    if layer.weight.ndim == 2:
        return h @ layer.weight.T + layer.bias
    side = layer.padding[0]
    patches = F.unfold(h, 5, padding=side)
    out = layer.weight.flatten(1) @ patches + layer.bias[:, None]
    size = h.shape[-1] + 2 * side - 4
    return out.reshape(len(h), -1, size, size)


@pytest.mark.parametrize(("net", "shape", "size"), NETS)
def test_sizes(net, shape, size):
    model = net()
    assert sum(p.numel() for p in model.parameters()) == size
    assert model(torch.zeros(2, *shape)).shape == (2, 10)
    assert net(num_classes=7)(torch.zeros(2, *shape)).shape == (2, 7)


def test_lenet_is_its_layers():
    model, x = LeNet().double(), torch.rand(2, 1, 28, 28, dtype=torch.float64)
    h = of(model.conv1, x).unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
    h = of(model.conv2, h).unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
    expected = of(model.fc2, of(model.fc1, h.flatten(1)).clamp(min=0))
    torch.testing.assert_close(model(x), expected)


def pooled(h, how):
    """Fields of 3 x 3, two apart; those at the lower and right edge are cut."""
    starts = range(0, h.shape[-1] - 1, 2)
    rows = [torch.stack([how(h[:, :, y : y + 3, x : x + 3]) for x in starts], -1) for y in starts]
    return torch.stack(rows, -2)


def test_convnet_quick_is_its_layers():
    model, x = ConvNetQuick().double(), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    model.conv1.weight.data *= 1000
    h = pooled(of(model.conv1, x), lambda field: field.amax((2, 3))).clamp(min=0)
    for layer in (model.conv2, model.conv3):
        h = pooled(of(layer, h).clamp(min=0), lambda field: field.mean((2, 3)))
    assert h.shape == (2, 64, 4, 4)
    torch.testing.assert_close(model(x), of(model.fc2, of(model.fc1, h.flatten(1))))


def test_starts():
    torch.manual_seed(0)
    lenet, quick = LeNet(), ConvNetQuick()
    for layer, inputs in ((lenet.conv2, 500), (lenet.fc1, 800)):
        bound = math.sqrt(3 / inputs)
        assert 0.99 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(math.sqrt(1 / inputs), rel=0.03)
    for layer, deviation in ((quick.conv1, 1e-4), (quick.conv3, 0.01), (quick.fc1, 0.1)):
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.05)
    assert not any(p.any() for net in (lenet, quick) for name, p in net.named_parameters() if "bias" in name)


def test_sites_are_the_convolutions():
    assert sites(LeNet()) == ("conv1", "conv2")
    assert sites(ConvNetQuick()) == ("conv1", "conv2", "conv3")
