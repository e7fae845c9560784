import pytest
import torch
import torchvision
from torch import nn

from autodropout.applying import space_for
from autodropout.errors import UsageError
from autodropout.models.wide_resnet import WideResNet
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from autodropout.tasks.images.relocation import BehindConvolutions, relocated

FIRST = ConvPattern(height=4, width=4, stride=2)
LAST = ConvPattern(height=1, width=1)
POLICY = Policy({"group1.0.bn1": FIRST, "group3.0.bn2": LAST}, "ramp")
ORDER = ["group1.0.bn1", "group1.0.bn2", "group2.0.bn1", "group2.0.bn2", "group3.0.bn1", "group3.0.bn2", "bn"]


def net():
    return WideResNet(depth=10, width=1)


@pytest.fixture(scope="module")
def moved():
    sizes = space_for(net(), torch.zeros(1, 3, 16, 16)).sites
    assert list(sizes) == ORDER
    return relocated(POLICY, net(), sizes)


def test_the_first_sites_pattern_goes_to_the_last_and_shrinks_with_the_map(moved):
    assert moved["reversed"] == Policy(
        {"bn": ConvPattern(height=1, width=1, stride=1), "group1.0.bn2": LAST.scaled(4)}, "ramp"
    )


def test_each_pattern_goes_to_the_next_site(moved):
    assert moved["shifted"] == Policy({"group1.0.bn2": FIRST, "bn": LAST}, "ramp")


def test_patterns_in_turn_everywhere(moved):
    everywhere = moved["everywhere"]
    assert list(everywhere.sites) == sorted(ORDER)
    assert everywhere.sites["group1.0.bn2"] == LAST.scaled(4)
    assert everywhere.sites["group2.0.bn1"] == FIRST  # its map is that of the group before


def test_what_is_on_a_shortcut_stays():
    net, projection = torchvision.models.resnet18(num_classes=3), "layer2.0.downsample.1"
    sizes = space_for(net, torch.zeros(1, 3, 64, 64)).sites
    for policy in relocated(Policy({"bn1": FIRST, projection: LAST}), net, sizes).values():
        assert policy.sites[projection] == LAST
        assert len(policy.sites) > 1


def test_nothing_to_move():
    off = Policy({"bn": ConvPattern(height=0, width=0)})
    with pytest.raises(UsageError, match="drops nothing at any site beside the shortcuts"):
        relocated(off, net(), {"bn": (4, 4)})


def test_behind_convolutions_a_pattern_acts_before_the_next_norm():
    model = net().train()
    applied = BehindConvolutions(POLICY)(model)
    assert set(applied.layers) == {"group1.0.conv1", "group3.0.conv2"}
    applied.progress = 1.0
    seen = []
    model.group1[0].bn2.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    model(torch.randn(4, 3, 16, 16))
    assert (seen[0] == 0).any()
    applied.remove()


def test_a_norm_without_a_convolution_beside_it():
    model = nn.Sequential(nn.BatchNorm2d(3))
    with pytest.raises(UsageError, match="site \"0\" has no convolution '0' beside it"):
        BehindConvolutions(Policy({"0": LAST}))(model)
