import pytest
import torch
from torch import nn

from autodropout.errors import UsageError
from autodropout.models.photograph_nets import efficientnet, resnet

pytest.importorskip("timm", reason="ResNet is timm's")
pytest.importorskip("torchvision", reason="EfficientNet is torchvision's")


def parameters(make, *args):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make(*args).parameters())


def test_resnets_have_as_many_parameters_as_published():
    assert parameters(resnet, 18) == 11_689_512
    assert parameters(resnet, 50) == 25_557_032


@pytest.mark.parametrize(
    ("variant", "published"), list(enumerate([5.3, 7.8, 9.1, 12.2, 19.3, 30.4, 43.0, 66.3]))
)
def test_efficientnets_have_as_many_parameters_as_published(variant, published):
    """In millions; Tan and Le (2019), Table 2, round some of them to 5.3, 7.8, 9.2, 12, 19, 30, 43, 66."""
    assert round(parameters(efficientnet, variant) / 1e6, 1) == published


def widths(net):
    return [module.out_channels for module in net.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("depth", [18, 50])
def test_half_a_resnet_has_half_the_channels_in_every_layer(depth):
    with torch.device("meta"):
        full, half = resnet(depth), resnet(depth, 0.5)
    assert [2 * width for width in widths(half)] == widths(full)
    assert half.fc.in_features * 2 == full.fc.in_features


def test_half_an_efficientnet_has_half_the_channels_to_a_multiple_of_8():
    with torch.device("meta"):
        full, half = efficientnet(0), efficientnet(0, 0.5)
    outputs = [[stage[0].out_channels for stage in net.features[1:8]] for net in (full, half)]
    assert outputs == [[16, 24, 40, 80, 112, 192, 320], [8, 16, 24, 40, 56, 96, 160]]
    assert all(p == 0.0 for p in (m.p for m in half.modules() if type(m).__name__ == "StochasticDepth"))


def test_a_narrow_resnet_runs_and_starts_as_timms_does():
    torch.manual_seed(0)
    net = resnet(50, 0.25, num_classes=7)
    assert net(torch.zeros(2, 3, 64, 64)).shape == (2, 7)
    assert net.layer1[0].bn3.weight.abs().max() == 0  # timm's zero_init_last, after the stem was replaced
    assert net.conv1.weight.detach().std().item() == pytest.approx((2 / (49 * 16)) ** 0.5, rel=0.1)


def test_what_there_is_not():
    with pytest.raises(UsageError, match=r"depth 34; expected one of \[18, 50\]"):
        resnet(34)
    with pytest.raises(UsageError, match=r"multiplier is 0.001; expected at least one channel"):
        resnet(50, 0.001)
    with pytest.raises(
        UsageError, match=r"variant 8, multiplier 1.0 and 3 channels; expected a variant from 0"
    ):
        efficientnet(8)
    with pytest.raises(UsageError, match=r"1 channels"):
        efficientnet(0, 1.0, 10, 1)
