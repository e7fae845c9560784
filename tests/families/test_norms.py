import copy

import pytest
import timm
import torch
import torchvision
from timm import layers as timm_layers
from torch import nn

from autodropout.applying import apply, space_for
from autodropout.errors import ShapeError, SiteError
from autodropout.families import find_sites
from autodropout.matching import match, sites
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy

PATTERN = ConvPattern(height=2, width=2, stride=1, repeat="fill")


def maps(channels: int = 4) -> torch.Tensor:
    return torch.randn(4, channels, 6, 6, generator=torch.Generator().manual_seed(0))


BARE = [
    nn.BatchNorm2d,
    nn.SyncBatchNorm,
    nn.InstanceNorm2d,
    lambda c: nn.GroupNorm(2, c),
    torchvision.ops.FrozenBatchNorm2d,
    torchvision.models.convnext.LayerNorm2d,
    timm_layers.LayerNorm2d,
    timm_layers.RmsNorm2d,
    timm_layers.SimpleNorm2d,
    timm_layers.GroupNorm1,
    lambda c: timm_layers.GroupNorm(c, 2),
]
SLOTTED = [
    timm_layers.BatchNormAct2d,
    timm_layers.FrozenBatchNormAct2d,
    timm_layers.LayerNormAct2d,
    timm_layers.RmsNormAct2d,
    timm_layers.GroupNorm1Act,
    lambda c: timm_layers.GroupNormAct(c, group_size=2),
]
WHOLE = [
    timm_layers.EvoNorm2dB0,
    lambda c: timm_layers.EvoNorm2dS0(c, groups=2),
    timm_layers.FilterResponseNormAct2d,
    timm_layers.FilterResponseNormTlu2d,
]


@pytest.mark.parametrize("build", [*BARE, *SLOTTED, *WHOLE])
def test_every_norm_of_maps_is_a_site(build):
    model = nn.Sequential(nn.Conv2d(4, 4, 1), build(4))
    (site,) = find_sites(model)
    assert (site.name, site.layout) == ("1", "NCHW")
    (found,) = match(model, Policy({"1": PATTERN}))
    assert found.module == type(model[1]).__name__
    assert space_for(nn.Sequential(model, nn.Identity()).eval(), maps()).sites["0.1"] == (6, 6)


@pytest.mark.parametrize("build", [b for b in (*BARE, *WHOLE) if b is not nn.SyncBatchNorm])
def test_the_output_of_a_norm_is_dropped(build):
    model = nn.Sequential(build(4))
    plain = copy.deepcopy(model)
    x = maps() + 9.0
    applied = apply(model, Policy({"0": PATTERN}))
    out = model(x)
    assert applied.silent_sites() == ()
    share = (out == 0).float().mean() - (plain(x) == 0).float().mean()
    assert share == pytest.approx(PATTERN.drop_rate(6, 6), abs=0.15)
    assert torch.equal(model.eval()(x), plain.eval()(x))


@pytest.mark.parametrize("build", SLOTTED)
def test_a_norm_with_an_activation_is_dropped_between_the_two(build):
    model = nn.Sequential(build(4))
    norm, text = model[0], repr(model)
    norm.act = nn.Sigmoid()
    text = repr(model)
    applied = apply(model, Policy({"0": PATTERN}))
    assert (model(maps()) == 0.5).float().mean() > 0.1  # sigmoid of a dropped value
    assert applied.silent_sites() == ()
    applied.remove()
    assert repr(model) == text
    assert not norm.drop._forward_hooks


def test_other_norms_are_no_sites():
    assert sites(nn.Sequential(nn.BatchNorm1d(3), nn.LayerNorm(3), nn.BatchNorm3d(3), nn.RMSNorm(3))) == ()


def test_a_subclass_of_a_known_norm_is_one():
    class Mine(torchvision.ops.FrozenBatchNorm2d):
        pass

    assert sites(nn.Sequential(Mine(3))) == ("0",)


def test_a_group_norm_of_sequences_is_refused_with_its_name():
    model = nn.Sequential(nn.Conv1d(3, 4, 1), nn.GroupNorm(2, 4))
    policy = Policy({"1": PATTERN})
    with pytest.raises(SiteError, match=r'site "1" has layout NCHW, but its output has shape \(2, 4, 9\)'):
        match(model, policy, example_input=torch.ones(2, 3, 9))
    with pytest.raises(SiteError, match="no feature maps"):
        space_for(model, torch.ones(2, 3, 9))
    apply(model, policy)
    with pytest.raises(ShapeError, match=r'site "1": the hidden state has shape \(2, 4, 9\)'):
        model(torch.ones(2, 3, 9))


def test_timm_densenet_uses_its_slots():
    model = timm.create_model("densenet121", num_classes=2, block_config=(1, 1), growth_rate=4)
    found = {site.name: site.module for site in find_sites(model)}
    assert found["features.denseblock1.denselayer1.norm1"] == "features.denseblock1.denselayer1.norm1.drop"
    assert all(module == f"{name}.drop" for name, module in found.items())
