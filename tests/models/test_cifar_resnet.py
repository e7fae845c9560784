import pytest
import torch
from torch import nn

from autodropout.applying import sites, space_for
from autodropout.errors import UsageError
from autodropout.models.cifar_resnet import CifarResNet, PaddedShortcut


@pytest.mark.parametrize(("depth", "published"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_as_many_parameters_as_published(depth, published):
    """In millions, He et al. (2016), Table 6."""
    with torch.device("meta"):
        found = sum(parameter.numel() for parameter in CifarResNet(depth=depth).parameters()) / 1e6
    assert found == pytest.approx(published, abs=0.03 if depth == 110 else 0.006)


def test_new_channels_of_the_shortcut_are_zero():
    x = torch.randn(2, 4, 6, 6)
    y = PaddedShortcut(4, 8, 2)(x)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert y.shape == (2, 8, 3, 3)
    assert not y[:, :2].any()
    assert not y[:, 6:].any()


def test_sites_and_shortcuts():
    net, seen = CifarResNet(depth=8), []
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda *_, name=name: seen.append(name))
    assert net(torch.zeros(2, 3, 16, 16)).shape == (2, 10)
    assert list(sites(net)) == seen
    residual = space_for(net, torch.zeros(1, 3, 16, 16)).residual
    assert residual == tuple(f"group{group}.0.bn2" for group in (1, 2, 3))


def test_a_wrong_depth_and_no_channels():
    with pytest.raises(UsageError, match=r"depth 21; expected 6 n \+ 2: 8, 14, 20"):
        CifarResNet(depth=21)
    with pytest.raises(UsageError, match=r"multiplier 0.01"):
        CifarResNet(multiplier=0.01)
