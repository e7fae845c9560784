import copy
import re

import pytest
import torch
from torch import nn

from autodropout.applying import apply, space_for
from autodropout.choosing import all_sites, glob_matches
from autodropout.conv_space import ConvSpace
from autodropout.errors import ShapeError, SiteError, UsageError
from autodropout.matching import match, sites
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import Policy
from autodropout.token_space import TokenSpace
from nets import SmallAttention, SmallNet

CONV = ConvPattern(height=2, width=2)
TOKEN = TokenPattern(size="whole", share_t=True, rate=0.5)


class Recurrent(nn.Module):
    """Something that no adapter knows."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
        self.head = nn.Sequential(nn.Linear(4, 5))

    def forward(self, tokens):
        h = self.embed(tokens)
        for layer in self.layers:
            h = torch.tanh(layer(h))
        return self.head(h)


def layouts_of(model, layouts):
    return {site.name: site.layout for site in all_sites(model, layouts)}


def test_any_module_becomes_a_site_by_name_or_glob():
    model = Recurrent()
    assert sites(model) == ()
    assert sites(model, layouts={"head.0": "NTC", "layers.*": "NTC"}) == ("layers.0", "layers.1", "head.0")


def test_sites_that_are_chosen_stand_in_the_models_order_among_those_that_are_known():
    found = sites(SmallNet(), layouts={"stem": "NCHW", "blocks.*.conv": "NCHW"})
    assert found == ("stem", "norm", "blocks.0.conv", "blocks.0.bn", "blocks.1.conv", "blocks.1.bn")


def test_a_name_beats_a_glob_and_what_the_model_says():
    layouts = {"*.*.bn": "NHWC", "blocks.1.bn": "NCHW", "norm": "NHWC"}
    known = {"norm": "NCHW", "blocks.0.bn": "NCHW", "blocks.1.bn": "NCHW"}
    assert layouts_of(SmallNet(), None) == known
    assert layouts_of(SmallNet(), layouts) == known | {"norm": "NHWC", "blocks.0.bn": "NHWC"}
    (site, _) = all_sites(SmallNet(), {"blocks.0.bn": "NHWC"})[1:]
    assert site.shortcut == "blocks.0.shortcut"


def test_virtual_sites_may_be_named():
    model = nn.Sequential(SmallAttention())
    assert layouts_of(model, {"0.query": "NTC"}) == {"0.query": "NTC", "0.value": "TNC"}


def test_a_chosen_site_is_dropped_and_given_back():
    model = Recurrent()
    before, tokens = repr(model), torch.randint(5, (6, 7))
    seen = []
    applied = apply(model, Policy({"layers.*": TOKEN}), layouts={"layers.*": "NTC"})
    handle = model.layers[0].register_forward_hook(lambda m, a, output: seen.append(output == 0))
    model(tokens)
    handle.remove()
    assert torch.equal(seen[0].any(1), seen[0].all(1))
    assert seen[0].any()
    twin = copy.deepcopy(model).eval()
    applied.remove()
    assert repr(model) == before
    assert torch.equal(model.eval()(tokens), twin(tokens))


def test_the_given_axes_rule():
    model = nn.Sequential(nn.Conv2d(2, 3, 1))
    (found,) = match(model, Policy({"0": CONV}), example_input=torch.ones(1, 2, 5, 7), layouts={"0": "NHWC"})
    assert found.size == (3, 5)
    with pytest.raises(SiteError, match=r'site "0" has layout TNC, but its output has shape \(1, 3, 5, 7\)'):
        match(model, Policy({"0": TOKEN}), example_input=torch.ones(1, 2, 5, 7), layouts={"0": "TNC"})
    apply(model, Policy({"0": TOKEN}), layouts={"0": "TNC"})
    with pytest.raises(ShapeError, match='site "0": the hidden state has shape'):
        model(torch.ones(1, 2, 5, 7))


def test_spaces_over_chosen_sites():
    conv = space_for(SmallNet(), torch.ones(1, 2, 8, 6), layouts={"stem": "NCHW"})
    assert isinstance(conv, ConvSpace)
    assert conv.sites["stem"] == (8, 6)
    token = space_for(Recurrent(), torch.zeros(1, 3, dtype=torch.int64), layouts={"layers.*": "NTC"})
    assert isinstance(token, TokenSpace)
    assert list(token.site_choices) == ["layers.0", "layers.1"]
    both = space_for(nn.Sequential(SmallAttention(), nn.Tanh()), torch.ones(3, 2, 4), layouts={"1": "NTC"})
    assert list(both.site_choices) == ["role:query", "role:value", "1"]


@pytest.mark.parametrize(
    ("layouts", "message"),
    [
        (
            {"head": "NTC"},
            'site "head" is a Sequential, which would run a pattern as a layer; name the module',
        ),
        (
            {"heda.0": "NTC"},
            "layouts names 'heda.0', and the model has no such module; did you mean \"head.0\"",
        ),
        ({"zzz": "NTC"}, "layouts names 'zzz', and the model has no such module; print the model to see"),
        ({"": "NTC"}, "layouts names '', and the model has no such module"),
        (
            {"layer*": "NTC"},
            "the glob 'layer*' of layouts matches only containers (\"layers\"); name modules",
        ),
        ({"blocks.*": "NTC"}, "the glob 'blocks.*' of layouts matches no module; its * stops at dots"),
        ({"head.0": "NCT"}, "layouts has 'NCT' for 'head.0'; expected one of NCHW, NHWC, NTC, TNC"),
        (
            {"layers.*": "NTC", "*.0": "TNC"},
            "\"layers.0\" is NTC by the glob 'layers.*' of layouts and TNC by '*.0'; add the key",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(layouts, message):
    with pytest.raises(SiteError, match=re.escape(message)):
        all_sites(Recurrent(), layouts)


@pytest.mark.parametrize("key", ["0.out_proj", "*.out_proj"])
def test_a_projection_that_is_never_called_is_refused_with_the_site_to_name(key):
    model = nn.Sequential(nn.MultiheadAttention(8, 2), nn.Linear(8, 8))
    message = 'nn.MultiheadAttention takes the weights of "0.out_proj" .* name the site "0.output"'
    with pytest.raises(SiteError, match=message):
        all_sites(model, {key: "NTC"})
    with pytest.raises(SiteError, match=f"key {re.escape(repr(key))} matches no site: {message}"):
        match(model, Policy({key: TOKEN}))
    assert layouts_of(model, {"*": "NTC"})["1"] == "NTC"
    with pytest.raises(SiteError, match='name the site "output"'):
        all_sites(model[0], {"out_proj": "NTC"})


def test_an_attention_with_its_own_forward_may_call_its_projection():
    class Calling(nn.MultiheadAttention):
        def forward(self, x):
            return self.out_proj(x)

    model = nn.Sequential(Calling(8, 2))
    applied = apply(model, Policy({"0.out_proj": TOKEN}), layouts={"*.out_proj": "NTC"})
    model(torch.ones(2, 3, 8))
    assert applied.silent_sites() == ()


def test_layouts_are_given_by_name():
    with pytest.raises(UsageError, match="layouts has the key 3; expected the name of a module, or a glob"):
        all_sites(Recurrent(), {3: "NTC"})


def test_layouts_are_a_mapping():
    with pytest.raises(UsageError, match="layouts is 'NTC'; expected a mapping from names or globs"):
        all_sites(Recurrent(), "NTC")


def test_nothing_of_ours_can_be_chosen():
    model = SmallNet()
    with apply(model, Policy({"norm": CONV})), pytest.raises(SiteError, match="matches no module"):
        all_sites(model, {"norm.*": "NCHW"})


def test_a_star_stops_at_dots():
    assert glob_matches("a*.b", "ac.b")
    assert not glob_matches("a*", "a.b")
