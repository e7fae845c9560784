import re

import pytest
import torch
import torchvision
from torch import nn

from autodropout.errors import SiteError, UsageError
from autodropout.matching import match, sites
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import Policy
from nets import SmallAttention, SmallNet

SMALL, LARGE = ConvPattern(height=1, width=1), ConvPattern(height=3, width=3, stride=2, repeat=2)
TOKEN = TokenPattern(size=2, stride=2, rate=0.1)


def claimed(model, policy):
    return {found.site.name: found.key for found in match(model, policy)}


def test_sites_are_named_in_the_order_of_the_modules():
    assert sites(SmallNet()) == ("norm", "blocks.0.bn", "blocks.1.bn")
    assert sites(SmallAttention()) == ("query", "value")
    assert sites(nn.Linear(2, 2)) == ()


def test_a_match_says_everything():
    (found,) = match(SmallNet(), Policy({"norm": LARGE}), example_input=torch.ones(1, 2, 12, 9))
    assert (found.site.name, found.module, found.key) == ("norm", "BatchNorm2d", "norm")
    assert (found.pattern, found.size) == (LARGE, (12, 9))
    assert found.drop_rate == LARGE.drop_rate(12, 9)


def test_without_an_example_only_token_rates_are_known():
    (conv,) = match(SmallNet(), Policy({"norm": LARGE}))
    assert (conv.size, conv.drop_rate) == (None, None)
    (token,) = match(SmallAttention(), Policy({"query": TOKEN}))
    assert (token.size, token.drop_rate) == (None, 0.05)


def test_matching_changes_nothing():
    model = SmallNet()
    before = repr(model)
    match(model, Policy({"norm": SMALL}), example_input=torch.ones(1, 2, 8, 8))
    assert repr(model) == before
    assert model.training


def test_print_shows_a_table():
    found = match(
        SmallNet(), Policy({"norm": LARGE, "blocks.*.bn": SMALL}), example_input=torch.ones(1, 2, 8, 8)
    )
    assert str(found).splitlines() == [
        "site         module       map    drop rate  key          pattern",
        "norm         BatchNorm2d  8 x 8  0.1600     norm         height=3, width=3, stride=2, repeat=2",
        "blocks.0.bn  BatchNorm2d  8 x 8  0.0156     blocks.*.bn  height=1, width=1",
        "blocks.1.bn  BatchNorm2d  8 x 8  0.0156     blocks.*.bn  height=1, width=1",
        "",
        "own dropout  module   attribute  rate",
        "dropout      Dropout  p          0.25",
    ]


def test_the_table_shows_which_site_of_a_block_acts_on_its_shortcut():
    both = ConvPattern(height=1, width=1, residual=True)
    net = torchvision.models.resnet18()
    rows = str(match(net, Policy({"layer2.0.bn*": both}))).splitlines()[1:3]
    assert [row.partition("residual=True")[2] for row in rows] == ["", " (also on the shortcut of layer2.0)"]
    (row, *_) = str(match(SmallNet(), Policy({"blocks.0.bn": both}))).splitlines()[1:]
    assert row.endswith("residual=True (also on the shortcut)")


def test_a_star_stops_at_dots():
    assert claimed(SmallNet(), Policy({"*": SMALL})) == {"norm": "*"}
    assert claimed(SmallNet(), Policy({"b*.*.b*": SMALL})) == {
        "blocks.0.bn": "b*.*.b*",
        "blocks.1.bn": "b*.*.b*",
    }
    with pytest.raises(SiteError):
        match(SmallNet(), Policy({"blocks*bn": SMALL}))


def test_other_characters_of_a_glob_stand_for_themselves():
    with pytest.raises(SiteError):
        match(SmallNet(), Policy({"b.ocks.*": SMALL}))


def test_exact_beats_role_beats_glob():
    model = SmallAttention()
    everything = {"query": TOKEN, "role:query": TOKEN, "role:value": TOKEN, "*": TOKEN}
    assert claimed(model, Policy(everything)) == {"query": "query", "value": "role:value"}
    assert claimed(model, Policy({"role:query": TOKEN, "*": TOKEN})) == {"query": "role:query", "value": "*"}


def test_a_role_may_match_several_sites():
    model = nn.ModuleDict({"a": SmallAttention(), "b": SmallAttention()})
    assert set(claimed(model, Policy({"role:value": TOKEN}))) == {"a.value", "b.value"}


def test_two_globs_at_one_site_are_a_tie():
    message = re.escape(
        "site \"blocks.0.bn\" is claimed by the globs ['blocks.*.bn', 'blocks.0.*']; "
        'add the key "blocks.0.bn" to decide, or make them disjoint'
    )
    globs = {"blocks.*.bn": SMALL, "blocks.0.*": SMALL}
    with pytest.raises(SiteError, match=message):
        match(SmallNet(), Policy(globs))
    assert claimed(SmallNet(), Policy({**globs, "blocks.0.bn": LARGE}))["blocks.0.bn"] == "blocks.0.bn"


def test_a_glob_that_matches_nothing_says_where_its_star_stops():
    message = "the policy's key '*.bn' matches no site (a key's * stops at dots); "
    with pytest.raises(SiteError, match=re.escape(message)):
        match(SmallNet(), Policy({"*.bn": SMALL}))


def test_a_role_that_is_taken_for_a_name_is_named():
    model = nn.TransformerEncoderLayer(8, 2, 16)
    with pytest.raises(SiteError, match=r"key 'self_attn.\*.query' matches no site .*mean \"role:query\"\?"):
        match(model, Policy({"self_attn.*.query": TOKEN}))
    with pytest.raises(
        SiteError, match=r"key 'query' matches no site; did you mean \"role:query\"\? The model"
    ):
        match(model, Policy({"query": TOKEN}))


def test_a_key_that_is_near_nothing_names_sites():
    with pytest.raises(SiteError, match="key 'xyz' matches no site; the model's sites are \"norm\","):
        match(SmallNet(), Policy({"xyz": SMALL}))


def test_a_key_that_matches_nothing_names_near_misses_and_sites():
    message = (
        'the policy\'s key \'blocks.0.bm\' matches no site; did you mean "blocks.0.bn", "blocks.1.bn"? '
        'The model\'s sites are "norm", "blocks.0.bn", "blocks.1.bn"'
    )
    with pytest.raises(SiteError, match=re.escape(message)):
        match(SmallNet(), Policy({"blocks.0.bm": SMALL, "norm": SMALL}))


def test_long_lists_of_sites_are_cut():
    with pytest.raises(SiteError, match=r'"layer2.0.downsample.1" and 12 more$'):
        match(torchvision.models.resnet18(), Policy({"zzz": SMALL}))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("blocks", '"blocks" is a Sequential, a container; the sites there are "blocks.0.bn", "blocks.1.bn"'),
        ("blocks.1", '"blocks.1" is a Block, no site; the sites there are "blocks.1.bn"'),
        ("head", '"head" is a Linear, no site; the sites there are "norm", "blocks.0.bn", "blocks.1.bn"'),
    ],
)
def test_a_module_that_is_no_site_is_named(key, message):
    with pytest.raises(SiteError, match=re.escape(message)):
        match(SmallNet(), Policy({key: SMALL}))


def test_a_role_that_the_model_lacks():
    message = r'the policy\'s key \'role:ffn\' matches nothing; the model has "role:query", "role:value"'
    with pytest.raises(SiteError, match=message):
        match(SmallAttention(), Policy({"role:ffn": TOKEN}))
    with pytest.raises(SiteError, match="the model has no roles"):
        match(SmallNet(), Policy({"role:ffn": TOKEN}))


def test_a_model_without_sites():
    message = r"matches nothing: the model has no known sites; give it .* a method autodropout_sites\(\)"
    with pytest.raises(SiteError, match=message):
        match(nn.Linear(2, 2), Policy({"bn": SMALL}))


def test_a_pattern_of_the_other_kind_is_refused():
    message = (
        "site \"norm\" has layout NCHW and takes a ConvPattern; the policy's key 'norm' has a TokenPattern"
    )
    with pytest.raises(SiteError, match=message):
        match(SmallNet(), Policy({"norm": TOKEN}))
    with pytest.raises(SiteError, match=r"has layout TNC and takes a TokenPattern; .* has a ConvPattern"):
        match(SmallAttention(), Policy({"role:query": SMALL}))


def test_what_is_no_policy_is_refused():
    with pytest.raises(UsageError, match="the policy is a dict; expected a Policy"):
        match(SmallNet(), {"norm": SMALL})
