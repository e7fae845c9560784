from dataclasses import replace

import pytest
import torch
from torch import nn

from autodropout.applying import apply
from autodropout.errors import SiteError, UsageError
from autodropout.families import find_sites
from autodropout.matching import match
from autodropout.models.wide_resnet import WideResNet
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from autodropout.tasks.images.transfer import transferred, transferred_to
from autodropout.tasks.registry import TASKS

SMALL = ConvPattern(height=2, width=2, stride=3, repeat=2, rotate=15.0)
LARGE = ConvPattern(height=4, width=4, stride=0, residual=True)


def wide(depth, width=1):
    with torch.device("meta"):
        return WideResNet(depth=depth, width=width)


def test_a_wider_network_takes_the_policy_as_it_is():
    policy = Policy({"group1.*.bn2": LARGE, "bn": SMALL}, "ramp")
    assert transferred(policy, wide(28, 2), wide(28, 10)) is policy
    assert transferred_to(policy, TASKS["cifar10-wrn28-2"], TASKS["cifar10-wrn28-10"]) is policy


def test_in_a_deeper_network_the_first_block_takes_the_firsts_and_the_last_the_lasts():
    policy = Policy({"group2.0.bn2": SMALL, "group2.1.bn2": LARGE, "bn": SMALL}, "late")
    moved = transferred(policy, wide(16), wide(28))  # 2 blocks to 4
    assert moved.schedule == "late"
    assert set(moved.sites) == {*(f"group2.{block}.bn2" for block in range(4)), "bn"}
    first, second = (moved.sites[f"group2.{block}.bn2"] for block in (0, 3))
    assert (first, second) == (SMALL, LARGE)
    assert moved.sites["bn"] == SMALL
    match(wide(28), moved)


def test_in_a_shallower_network_blocks_between_are_left_out():
    policy = Policy({f"group3.{block}.bn2": replace(SMALL, height=block + 1) for block in range(4)})
    moved = transferred(policy, wide(28), wide(16))
    assert [moved.sites[f"group3.{block}.bn2"].height for block in (0, 1)] == [1, 4]


def test_globs_are_resolved_and_residual_stays_where_there_is_a_shortcut():
    moved = transferred(Policy({"group*.*.bn2": LARGE}), wide(10), wide(16))
    assert moved.sites == {f"group{g}.{b}.bn2": LARGE for g in (1, 2, 3) for b in (0, 1)}


def test_residual_goes_where_there_is_no_shortcut():
    plain = nn.ModuleDict({"group1": nn.ModuleList([nn.ModuleDict({"bn2": nn.BatchNorm2d(4)})])})
    moved = transferred(Policy({"group1.0.bn2": LARGE}), wide(10), plain)
    assert moved.sites == {"group1.0.bn2": replace(LARGE, residual=False)}


def test_sizes_and_strides_grow_with_the_images():
    moved = transferred(Policy({"bn": SMALL}), wide(10), wide(10), 2.0)
    assert moved == Policy({"bn": replace(SMALL, height=4, width=4, stride=6)})
    moved = transferred_to(Policy({"bn": SMALL}), TASKS["cifar10-small"], TASKS["cifar10-wrn28-2"])
    assert moved.sites["bn"].stride == 6  # 16 to 32 pixels


def test_efficientnet_b0_of_half_the_width_to_b7():
    pytest.importorskip("torchvision", reason="EfficientNet is torchvision's")
    source, target = TASKS["imagenet-efficientnet-b0-half"], TASKS["imagenet-efficientnet-b7"]
    last = "features.5.2.block.3.1"  # the last of 3 blocks; B7 has 10
    moved = transferred_to(Policy({last: LARGE, "features.5.0.block.3.1": SMALL}), source, target)
    assert moved.sites["features.5.9.block.3.1"] == LARGE.scaled(600 / 224)
    assert moved.sites["features.5.0.block.3.1"] == SMALL.scaled(600 / 224)
    assert "features.5.4.block.3.1" not in moved.sites  # the middle block had none
    with torch.device("meta"):
        match(target.model(), moved)


@pytest.mark.parametrize("target", ["imagenet-resnet50", "imagenet10-uda"])
def test_a_policy_found_on_half_a_resnet50_moves_to_the_whole_one_with_all_sites(target):
    """``train --found-on imagenet-resnet50-half`` and the paper's reuse of that policy for few labels."""
    pytest.importorskip("timm", reason="ResNet is timm's")
    source, target = TASKS["imagenet-resnet50-half"], TASKS[target]
    with torch.device("meta"):
        proxy, whole = source.model(), target.model()
    names = [site.name for site in find_sites(proxy)]
    patterns = {name: ConvPattern(height=1 + n % 7, width=2, stride=n) for n, name in enumerate(names)}
    moved = transferred_to(Policy(patterns, "ramp"), source, target)
    assert len(names) == 53
    assert moved.schedule == "ramp"
    assert {found.site.name: found.pattern for found in match(whole, moved)} == patterns
    globs = transferred_to(Policy({"layer*.*.bn3": patterns["bn1"]}), source, target)
    assert len(match(whole, globs)) == len(match(proxy, globs)) == 16


def test_what_was_moved_can_be_applied():
    policy = Policy({"group1.0.bn2": LARGE, "group3.0.bn1": SMALL})
    net = WideResNet(depth=16, width=1)
    with apply(net, transferred(policy, wide(10), net)) as applied:
        net(torch.zeros(2, 3, 16, 16))
        assert applied.silent_sites() == ()


def test_a_policy_for_another_model_is_refused():
    with pytest.raises(SiteError, match="layer1"):
        transferred(Policy({"layer1.0.bn1": SMALL}), wide(10), wide(16))
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    with pytest.raises(
        UsageError, match=r"no site of the Sequential has a counterpart among bn; expected two"
    ):
        transferred(Policy({"bn": SMALL}), wide(10), other)
