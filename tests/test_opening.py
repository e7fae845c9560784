import copy
import pickle

import pytest
import torch
from torch import nn

from autodropout.applied import Applied
from autodropout.applying import apply, space_for
from autodropout.errors import ShapeError, SiteError
from autodropout.matching import match, sites
from autodropout.opening import SHORTCUT, IdentityAt, open_places, opened, sum_shortcut, swap_class
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import Policy
from autodropout.site import Opening, Site

CONV = ConvPattern(height=2, width=2, residual=True)
CHANNELS = TokenPattern(size="whole", share_t=True, rate=0.5)


class Fused(nn.Module):
    """Query, key and value of one projection; the weights are softmaxed without a module."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)

    def autodropout_sites(self):
        width = self.qkv.in_features
        virtual = [
            Site(
                name=role,
                role=role,
                layout="NTC",
                module="qkv",
                channels=(place * width, (place + 1) * width),
            )
            for place, role in enumerate(("query", "key", "value"))
        ]
        softmax = Site(
            name="softmax",
            role="softmax",
            layout="NTC",
            module="_autodropout_softmax",
            openings=(Opening(place="", open=open_softmax),),
        )
        return [*virtual, softmax]

    def forward(self, h):
        q, k, v = self.qkv(h).chunk(3, -1)
        return torch.softmax(q @ k.transpose(-1, -2), -1) @ v


class OpenFused(Fused):
    """The same with a place for the weights."""

    def forward(self, h):
        if not self.training:
            return super().forward(h)
        q, k, v = self.qkv(h).chunk(3, -1)
        return self._autodropout_softmax(torch.softmax(q @ k.transpose(-1, -2), -1)) @ v


def open_softmax(module):
    return swap_class(module, OpenFused, ["softmax"])


class Sum(nn.Module):
    """f(x) + x with two norms and no module on the sum's second branch."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.one, self.two = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def autodropout_sites(self):
        opening = Opening(place="", open=sum_shortcut)
        return [
            Site(name=name, layout="NCHW", shortcut=SHORTCUT, shortcut_openings=(opening,), block="")
            for name in ("one", "two")
        ]

    def forward(self, x):
        return self.two(torch.tanh(self.one(x))) + x


def maps(batch: int = 4) -> torch.Tensor:
    return torch.randn(batch, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def untouched(model, before):
    text, keys, attributes = before
    assert repr(model) == text
    assert list(model.state_dict()) == keys
    assert [set(vars(m)) for m in model.modules()] == attributes
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def look(model):
    return repr(model), list(model.state_dict()), [set(vars(m)) for m in model.modules()]


# sites without a module of their own


def test_virtual_sites_are_listed_like_any_other():
    model = nn.Sequential(Fused())
    names = ("0.query", "0.key", "0.value", "0.softmax")
    assert sites(model) == names
    found = match(model, Policy({f"role:{name[2:]}": CHANNELS for name in names}))
    assert [(one.site.name, one.module) for one in found] == [
        ("0.query", "Linear"),
        ("0.key", "Linear"),
        ("0.value", "Linear"),
        ("0.softmax", "Fused"),
    ]
    assert "Identity" not in repr(model)


def test_each_of_several_sites_on_one_output_touches_its_own_channels():
    model = nn.Sequential(Fused())
    seen = []
    apply(model, Policy({"role:query": CHANNELS, "role:value": CHANNELS}), seed=5)
    model[0].qkv.register_forward_hook(lambda module, args, output: seen.append(output == 0))
    model(torch.randn(8, 5, 4))
    query, key, value = seen[0].chunk(3, -1)
    assert not key.any()
    for dropped in (query, value):
        assert dropped.any()
        assert torch.equal(dropped.any(1), dropped.all(1))
    assert not torch.equal(query, value)


def test_too_few_channels_name_the_site():
    model = Fused()
    model.autodropout_sites = lambda: [Site(name="query", layout="NTC", module="qkv", channels=(0, 99))]
    apply(model, Policy({"query": CHANNELS}))
    with pytest.raises(
        ShapeError, match=r'site "query" is the channels 0 to 99 of .*\(2, 5, 12\), which has'
    ):
        model(torch.randn(2, 5, 4))


def test_shapes_of_virtual_sites_are_theirs():
    site = Site(name="map", layout="NHWC", module="qkv", channels=(0, 4))
    model = Fused()
    model.autodropout_sites = lambda: [site]
    model.forward = lambda h: model.qkv(h)
    assert dict(space_for(model, torch.randn(1, 7, 5, 4)).sites) == {"map": (7, 5)}


# opening


def test_an_opened_place_fires_and_evaluation_stays_as_it_was():
    model = nn.Sequential(Fused())
    before, x = look(model), torch.randn(2, 5, 4)
    plain = model.eval()(x)
    model.train()
    applied = apply(model, Policy({"role:softmax": CHANNELS}), seed=1)
    assert torch.equal(model.eval()(x), plain)
    assert applied.silent_sites() == ("0.softmax",)
    assert not torch.equal(model.train()(x), plain)
    assert applied.silent_sites() == ()
    applied.remove()
    untouched(model, before)
    assert torch.equal(model(x), plain)


def test_the_shortcut_of_a_sum_opens_only_where_it_is_used():
    model = nn.Sequential(Sum())
    once = ConvPattern(height=2, width=2)
    with apply(model, Policy({"0.*": once})):
        assert SHORTCUT not in repr(model)
    with apply(model, Policy({"0.*": CONV})) as applied:
        assert SHORTCUT in repr(model)
        # one block, one draw on its shortcut: that of the last site
        assert list(applied.layers) == ["0.one", "0.two", "0.two:shortcut"]
    found = match(model, Policy({"0.one": CONV, "0.two": once}))
    assert [one.shortcut for one in found] == [f"0.{SHORTCUT}", None]


def test_a_sum_is_f_of_x_plus_the_dropped_x():
    model, x = Sum(), maps()
    applied = apply(model, Policy({"one": CONV}), seed=2)
    seen = {}
    for name in ("two", SHORTCUT):
        model.get_submodule(name).register_forward_hook(lambda m, a, o, name=name: seen.update({name: o}))
    out = model(x)
    assert (seen[SHORTCUT] == 0).any()
    assert torch.allclose(out, seen["two"] + seen[SHORTCUT], atol=1e-6)
    with applied.disabled():
        assert torch.equal(model(x), copy.deepcopy(model)(x))
    x.requires_grad_()
    with torch.no_grad():
        model.two.weight.zero_()
    model(x).sum().backward()
    assert torch.equal(x.grad == 0, seen[SHORTCUT] == 0)


@pytest.mark.parametrize("build", [Fused, Sum])
@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_and_pickles_open_and_close_by_themselves(build, twin_of):
    model = nn.Sequential(build())
    before, x = look(model), maps() if build is Sum else torch.randn(2, 5, 4)
    policy = Policy({"0.*": CONV if build is Sum else CHANNELS})
    apply(model, policy)
    twin = twin_of(model)
    torch.manual_seed(0)
    expected = model(x)
    torch.manual_seed(0)
    assert torch.equal(twin(x), expected)
    Applied.of(twin).remove()
    untouched(twin, before)
    assert Applied.of(model).silent_sites() == ()
    Applied.of(model).remove()
    untouched(model, before)


@pytest.mark.parametrize("build", [Fused, Sum])
def test_compiled_whole(build):
    torch.compiler.reset()
    model = nn.Sequential(build())
    x = maps() if build is Sum else torch.randn(2, 5, 4)
    apply(model, Policy({"0.*": CONV if build is Sum else CHANNELS}), seed=3)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), model(x))


def test_equal_openings_run_once_and_close_twice():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.downsample = None

    model = nn.ModuleList([Block(), Block()])
    before = look(model)
    openings = [Opening(place=place, open=IdentityAt("downsample")) for place in ("0", "1", "0")]
    closings = open_places(model, openings)
    assert len(closings) == 2
    assert isinstance(model[1].downsample, nn.Identity)
    for closing in closings * 2:
        closing.close()
    assert [block.downsample for block in model] == [None, None]
    untouched(model, before)


def test_a_failure_closes_what_was_open():
    model = nn.Sequential(Fused(), Fused())
    before = look(model)
    fine, missing = (Opening(place=place, open=open_softmax) for place in ("0", "7"))
    with pytest.raises(SiteError, match='the model has no module "7"'):
        open_places(model, [fine, missing])
    untouched(model, before)
    with pytest.raises(KeyError), opened(model, [fine]):
        raise KeyError
    untouched(model, before)


def test_a_failing_apply_closes_what_was_open():
    model = nn.Sequential(Fused(), nn.Sequential(nn.Identity()))
    model[1].autodropout_sites = lambda: [Site(name="0", layout="NTC", module="")]
    before = look(model)
    with pytest.raises(SiteError, match='site "1" is a Sequential'):
        apply(model, Policy({"role:softmax": CHANNELS, "1.0": CHANNELS}))
    untouched(model, before)
    assert Applied.of(model) is None


# what a site may say


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": (3, 3)}, r"has channels \(3, 3\); expected \(start, stop\) with 0 <= start < stop"),
        ({"channels": (0, 2), "layout": "NCHW"}, "layout NCHW; channels are a range of the last axis"),
        ({"shortcut_layout": "CHW"}, "has layout 'CHW'; expected one of NCHW"),
    ],
)
def test_sites_that_cannot_be(fields, message):
    with pytest.raises(SiteError, match=f'site "x" {message}|site "x" .*{message}'):
        Site(**{"name": "x", "layout": "NTC", **fields})


def test_the_shortcut_may_have_axes_of_its_own():
    model = Sum()
    opening = Opening(place="", open=sum_shortcut)
    model.autodropout_sites = lambda: [
        Site(
            name="one",
            layout="NHWC",
            shortcut=SHORTCUT,
            shortcut_openings=(opening,),
            shortcut_layout="NCHW",
        )
    ]
    layers = apply(model, Policy({"one": CONV})).layers
    assert [layer.layout for layer in layers.values()] == ["NHWC", "NCHW"]
