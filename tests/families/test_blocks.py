"""Residual blocks of torchvision and timm, small enough to run."""

import copy
import importlib

import pytest
import timm
import torch
import torchvision
from timm.layers import BatchNormAct2d
from torch import nn

from autodropout.applied import Applied
from autodropout.applying import apply, space_for
from autodropout.errors import SiteError
from autodropout.families import find_sites
from autodropout.families.blocks import Block, adapter
from autodropout.opening import SHORTCUT
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy

PATTERN = ConvPattern(height=1, width=1, stride=1, repeat="fill", residual=True)


def tv(module: str, name: str):
    return getattr(getattr(torchvision.models, module), name)


def mbconv(kind: str):
    efficientnet = torchvision.models.efficientnet
    config = getattr(efficientnet, f"{kind}Config")(2, 3, 1, 8, 8, 1)
    return getattr(efficientnet, kind)(config, 0.0, nn.BatchNorm2d)


def mobilenetv3():
    config = torchvision.models.mobilenetv3.InvertedResidualConfig(8, 3, 16, 8, True, "RE", 1, 1, 1.0)
    return tv("mobilenetv3", "InvertedResidual")(config, nn.BatchNorm2d)


def timm_block(module: str, name: str, *args, **kwargs):
    return getattr(importlib.import_module(f"timm.models.{module}"), name)(*args, **kwargs)


PLAIN = {
    "tv.resnet.BasicBlock": lambda: tv("resnet", "BasicBlock")(8, 8),
    "tv.resnet.Bottleneck": lambda: tv("resnet", "Bottleneck")(8, 2),
    "tv.regnet": lambda: tv("regnet", "ResBottleneckBlock")(8, 8, 1, nn.BatchNorm2d, nn.ReLU, 4, 1.0, 0.25),
    "tv.efficientnet.MBConv": lambda: mbconv("MBConv"),
    "tv.efficientnet.FusedMBConv": lambda: mbconv("FusedMBConv"),
    "tv.mobilenetv2": lambda: tv("mobilenetv2", "InvertedResidual")(8, 8, 1, 2),
    "tv.mobilenetv3": mobilenetv3,
    "tv.mnasnet": lambda: tv("mnasnet", "_InvertedResidual")(8, 8, 3, 1, 2),
    "tv.convnext": lambda: tv("convnext", "CNBlock")(8, 1.0, 0.0),
    "timm.resnet.BasicBlock": lambda: timm_block("resnet", "BasicBlock", 8, 8),
    "timm.resnet.Bottleneck": lambda: timm_block("resnet", "Bottleneck", 8, 2),
    "timm.resnetv2.Bottleneck": lambda: timm_block("resnetv2", "Bottleneck", 8, norm_layer=BatchNormAct2d),
    "timm.resnetv2.PreActBottleneck": lambda: timm_block(
        "resnetv2", "PreActBottleneck", 8, norm_layer=BatchNormAct2d
    ),
    "timm.regnet": lambda: timm_block("regnet", "Bottleneck", 8, 8, group_size=4),
    "timm.efficientnet": lambda: timm_block("_efficientnet_blocks", "InvertedResidual", 8, 8, exp_ratio=2),
    "timm.efficientnet.Edge": lambda: timm_block("_efficientnet_blocks", "EdgeResidual", 8, 8),
    "timm.convnext": lambda: timm_block("convnext", "ConvNeXtBlock", 8, ls_init_value=1.0),
    "timm.convnext.conv": lambda: timm_block(
        "convnext", "ConvNeXtBlock", 8, conv_mlp=True, ls_init_value=1.0
    ),
    "timm.byobnet": lambda: timm_block("byobnet", "BottleneckBlock", 8, 8),
    "timm.cspnet": lambda: timm_block("cspnet", "DarkBlock", 8, 8),
    "timm.tresnet": lambda: timm_block("tresnet", "BasicBlock", 8, 8),
    "timm.dla": lambda: timm_block("dla", "DlaBasic", 8, 8),
    "timm.fasternet": lambda: timm_block(
        "fasternet", "MLPBlock", 8, 4, 2.0, 0.0, 0.0, nn.ReLU, nn.BatchNorm2d
    ),
    "timm.fastvit": lambda: timm_block("fastvit", "RepMixer", 8, layer_scale_init_value=1.0),
    "timm.ghostnet": lambda: timm_block("ghostnet", "GhostBottleneck", 8, 16, 8),
    "timm.hgnet": lambda: timm_block("hgnet", "HighPerfGpuBlock", 8, 4, 8, 2, residual=True),
    "timm.lcnetv2": lambda: timm_block("lcnetv2", "RepDepthwiseSeparable", 8, 8, use_shortcut=True),
    "timm.repghost": lambda: timm_block("repghost", "RepGhostBottleneck", 8, 16, 8),
    "timm.repvit": lambda: timm_block("repvit", "RepViTBlock", 8, 2, 3, False, nn.GELU),
    "timm.rexnet": lambda: timm_block("rexnet", "LinearBottleneck", 8, 12, 1),
    "timm.shvit": lambda: timm_block("shvit", "Residual", timm.models.shvit.Conv2dNorm(8, 8, 3, 1, 1)),
    "timm.swiftformer": lambda: timm_block("swiftformer", "ConvEncoder", 8),
    "timm.xception": lambda: timm_block("xception", "Block", 8, 8, 1, start_with_relu=False),
}
PROJECTING = {
    "tv.resnet": lambda: torchvision.models.resnet18(num_classes=2).layer2[0],
    "tv.regnet": lambda: tv("regnet", "ResBottleneckBlock")(8, 16, 2, nn.BatchNorm2d, nn.ReLU, 4, 1.0, None),
    "tv.maxvit": lambda: tv("maxvit", "MBConv")(8, 16, 2.0, 0.25, 2, nn.GELU, nn.BatchNorm2d, 0.0),
    "timm.resnet": lambda: timm.create_model("resnet10t", num_classes=2).layer2[0],
    "timm.regnet": lambda: timm_block("regnet", "Bottleneck", 8, 16, stride=2, group_size=4),
    "timm.byobnet": lambda: timm_block("byobnet", "BasicBlock", 8, 16, stride=2),
}


def maps() -> torch.Tensor:
    return torch.randn(4, 8, 8, 8, generator=torch.Generator().manual_seed(0))


def shortcut_of(model):
    (shortcut,) = {site.shortcut for site in find_sites(model) if site.shortcut}
    return shortcut


def seeded(model, x):
    torch.manual_seed(0)
    return model(x)


@pytest.mark.parametrize("name", PLAIN)
def test_an_identity_shortcut_is_reached_and_given_back(name):
    torch.manual_seed(1)
    model = nn.Sequential(PLAIN[name]())
    fresh, x = copy.deepcopy(model), maps()
    before = repr(model), list(model.state_dict()), [set(vars(m)) for m in model.modules()]
    every = [site for site in find_sites(model) if site.shortcut]
    assert {site.block for site in every} == {"0"}
    applied = apply(model, Policy({site.name: PATTERN for site in every}))
    shortcuts = [layer for layer in applied.layers if layer.endswith(":shortcut")]
    assert shortcuts == [f"{every[-1].name}:shortcut"]
    assert list(model.state_dict()) == before[1]
    assert not torch.equal(seeded(model, x), seeded(fresh, x))
    assert applied.silent_sites() == ()
    with applied.disabled():
        assert torch.equal(seeded(model, x), seeded(fresh, x))
    model.load_state_dict(fresh.state_dict())
    assert torch.equal(model.eval()(x), fresh.eval()(x))
    applied.remove()
    assert (repr(model), list(model.state_dict()), [set(vars(m)) for m in model.modules()]) == before
    assert not any(m._forward_hooks for m in model.modules())
    assert torch.equal(seeded(model.train(), x), seeded(fresh.train(), x))


@pytest.mark.parametrize("name", PLAIN)
def test_what_a_shortcut_drops_is_missing_from_the_sum(name):
    """Where the branch is cut off, the block's output is its dropped input (behind its activation)."""
    torch.manual_seed(1)
    model = nn.Sequential(PLAIN[name]())
    site = [site for site in find_sites(model) if site.shortcut][-1]
    applied = apply(model, Policy({site.name: PATTERN}))
    seen = []
    shortcut = next(m for n, m in model.named_modules() if n == site.shortcut)
    shortcut.register_forward_hook(lambda module, args, output: seen.append((args[0], output)))
    model(maps()).sum().backward()
    ((inside, outside),) = seen
    assert inside.shape == outside.shape
    lost = outside == 0
    assert lost.float().mean() == pytest.approx(PATTERN.drop_rate(8, 8), abs=0.05)
    assert applied.layers[f"{site.name}:shortcut"].fired


ACTIVATED = ("resnet.", "resnetv2.Bottleneck", "regnet", "byobnet", "tresnet", "dla")


@pytest.mark.parametrize("name", PLAIN)
def test_nothing_but_the_shortcut_is_missing(name):
    """The output lacks what the shortcut lost, or as much of it as the next activation lets through."""
    torch.manual_seed(1)
    model = nn.Sequential(PLAIN[name]())
    site = [site for site in find_sites(model) if site.shortcut][-1]
    applied = apply(model, Policy({site.name: PATTERN}))
    applied.layers[site.name].set_strength(0.0)
    seen = []
    hook = applied.layers[f"{site.name}:shortcut"].register_forward_hook(
        lambda module, args, output: seen.append(output - args[0])
    )
    dropped = seeded(model, maps())
    hook.remove()
    with applied.disabled():
        undropped = seeded(model, maps())
    changed, lost = (dropped - undropped)[:, :8], seen[0]
    if any(part in name for part in ACTIVATED):
        assert changed.any()
        assert (changed.abs() <= lost.abs() + 1e-4).all()  # ReLU and its like make no difference larger
    else:
        torch.testing.assert_close(changed, lost, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PROJECTING)
def test_projections_are_reached_and_their_norms_are_left_to_them(name):
    block = PROJECTING[name]()
    model = nn.Sequential(block)
    channels = next(m.in_channels for m in block.modules() if isinstance(m, nn.Conv2d))
    x = torch.randn(2, channels, 8, 8)
    found = find_sites(model)
    shortcut = shortcut_of(model)
    branch = shortcut.split(".")[1]
    inside = {site.name for site in found if f".{branch}" in site.name}
    assert all(site.shortcut is None for site in found if site.name in inside)
    space = space_for(model, x)
    assert inside.isdisjoint(space.sites)
    assert set(space.residual) == {site.name for site in found} - inside
    applied = apply(model, Policy({space.residual[-1]: PATTERN}))
    model(x)
    assert applied.silent_sites() == ()
    assert SHORTCUT not in repr(model)


@pytest.mark.parametrize(
    ("block", "norms", "layouts"),
    [
        (PLAIN["tv.convnext"], ["0.block.2"], ["NHWC"]),
        (PLAIN["timm.convnext"], ["0.norm"], ["NHWC"]),
        (PLAIN["timm.convnext.conv"], ["0.norm"], ["NCHW"]),
    ],
)
def test_norms_of_convnext_know_their_axes(block, norms, layouts):
    model = nn.Sequential(block())
    found = find_sites(model)
    assert [site.name for site in found] == norms
    assert [site.layout for site in found] == layouts
    assert dict(space_for(model, torch.randn(2, 8, 5, 7)).sites) == {norms[0]: (5, 7)}
    layers = apply(model, Policy({norms[0]: PATTERN})).layers
    assert layers[f"{norms[0]}:shortcut"].layout == "NCHW"
    model(torch.randn(2, 8, 5, 7))


def test_a_block_without_a_shortcut_is_refused_by_name():
    model = nn.Sequential(timm_block("_efficientnet_blocks", "InvertedResidual", 8, 16))
    with pytest.raises(SiteError, match=r'site "0.bn3": .* no module is known on the shortcut of its block'):
        apply(model, Policy({"0.bn3": PATTERN}))
    assert Applied.of(model) is None


@pytest.mark.parametrize(("no_skip", "shortcut"), [(False, "0.shortcut"), (True, None)])
def test_a_block_that_says_it_skips_nothing_is_believed(no_skip, shortcut):
    """Its shortcut is a module all the same, which never runs."""
    block = timm_block(
        "xception_aligned", "PreXceptionModule", 8, 8, no_skip=no_skip, norm_layer=nn.BatchNorm2d
    )
    assert {site.shortcut for site in find_sites(nn.Sequential(block))} == {shortcut}


def test_a_forward_of_ones_own_makes_a_block_unknown():
    class Inherits(torchvision.models.resnet.BasicBlock):
        pass

    class Overrides(torchvision.models.resnet.BasicBlock):
        def forward(self, x):
            return self.bn1(self.conv1(x))

    assert {site.shortcut for site in find_sites(Inherits(4, 4))} == {"downsample"}
    assert {site.shortcut for site in find_sites(Overrides(4, 4))} == {None}


def test_an_empty_container_on_the_shortcut_is_none():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn, self.side = nn.BatchNorm2d(2), nn.Sequential()

        def forward(self, x):
            return self.bn(x) + self.side(x)

    ask = adapter({f"{Odd.__module__}.{Odd.__qualname__}": Block(shortcut="side")})
    (site,) = ask(Odd())
    assert site.shortcut is None
    assert ask(nn.ReLU()) is None


@pytest.mark.parametrize(("build", "norms"), [("resnet18", 2), ("resnet50", 3)])
def test_torchvision_resnets_list_every_norm(build, norms):
    with torch.device("meta"):
        model = getattr(torchvision.models, build)()
    sites = {site.name: site.shortcut for site in find_sites(model)}
    assert list(sites) == [name for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert sites["bn1"] is None
    for norm in range(1, norms + 1):
        assert sites[f"layer2.0.bn{norm}"] == "layer2.0.downsample.1"
        assert sites[f"layer2.1.bn{norm}"] == "layer2.1.downsample"
    assert sites["layer2.0.downsample.1"] is None
