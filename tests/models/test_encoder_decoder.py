import math
import pickle

import pytest
import torch
from torch import nn

from autodropout.applying import apply, sites, space_for
from autodropout.errors import ShapeError, SiteError, UsageError
from autodropout.families import find_sites
from autodropout.models.attention import Attention
from autodropout.models.encoder_decoder import EncoderDecoder
from autodropout.models.generation import Generation
from autodropout.models.transformer_blocks import BASE, IWSLT, DecoderBlock, EncoderBlock, TransformerSize
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import ROLES, Policy
from translators import TINY, sentences, small

UNITS = TokenPattern(size=1, rate=0.5)
GONE = TokenPattern(size="whole", share_t=True, share_c=True, rate=1.0)
BOTH = ("encoder", "decoder")


def batch():
    return sentences([5, 7, 2]), sentences([6, 3, 4], seed=2)


def num_parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


# against torch's own layers


def copied(theirs, ours):
    """Give one of torch's attentions the weights of ours."""
    projections = (ours.query, ours.key, ours.value)
    theirs.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
    theirs.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
    theirs.out_proj.load_state_dict(ours.output.state_dict())


def torch_layer(ours):
    """Return torch's layer that computes what ours does."""
    decoder = isinstance(ours, DecoderBlock)
    kind = nn.TransformerDecoderLayer if decoder else nn.TransformerEncoderLayer
    theirs = kind(TINY.width, TINY.heads, TINY.hidden, dropout=0.0, batch_first=True).double()
    norms = [ours.attention_norm, *([ours.cross_norm] if decoder else []), ours.ffn_norm]
    with torch.no_grad():
        copied(theirs.self_attn, ours.attention)
        if decoder:
            copied(theirs.multihead_attn, ours.cross)
        theirs.linear1.load_state_dict(ours.ffn.up.state_dict())
        theirs.linear2.load_state_dict(ours.ffn.down.state_dict())
        for number, norm in enumerate(norms, 1):
            getattr(theirs, f"norm{number}").load_state_dict(norm.state_dict())
    return theirs


def started(block):
    torch.manual_seed(3)
    for parameter in block.parameters():  # of norms, too, which begin as identities
        nn.init.normal_(parameter, std=0.4)
    return block.double()


def hooked(net):
    for module in net.modules():
        if isinstance(module, Attention):
            module.softmax.register_forward_hook(lambda module, args, output: None)
    return net


@pytest.mark.parametrize("change", [lambda block: block, hooked])
def test_blocks_are_those_of_torch(change):
    encoder, decoder = started(EncoderBlock(TINY)), started(DecoderBlock(TINY))
    x, y = torch.randn(3, 7, 12).double(), torch.randn(3, 6, 12).double()
    valid = sentences([5, 7, 2]) != 0
    expected = torch_layer(encoder)(x, src_key_padding_mask=~valid)
    found = change(encoder)(x, valid[:, None, None])
    torch.testing.assert_close(found[valid], expected[valid])
    causal = nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64)
    expected = torch_layer(decoder)(y, x, tgt_mask=causal, memory_key_padding_mask=~valid)
    torch.testing.assert_close(change(decoder)(y, x, valid[:, None, None]), expected)


def test_both_ways_of_attention_have_the_same_gradients():
    gradients = []
    for change in (lambda net: net, hooked):
        net = change(small())
        net(*batch()).square().sum().backward()
        gradients.append([p.grad for p in net.parameters()])
    for fused, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(fused, plain)


def test_the_ends_of_the_network_are_its_equations():
    net, seen = small(), {}
    for name in ("encoder.embedded", "decoder.embedded", "decoder.final"):
        net.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: seen.update({name: output})
        )
    source, target = batch()
    logits = net(source, target)
    for name, tokens in (("encoder.embedded", source), ("decoder.embedded", target)):
        for place in range(tokens.shape[1]):
            for channel in range(12):
                angle = place / 10_000 ** (2 * (channel // 2) / 12)
                code = math.cos(angle) if channel % 2 else math.sin(angle)
                expected = net.embedding.weight[tokens[:, place], channel] * math.sqrt(12) + code
                torch.testing.assert_close(seen[name][:, place, channel], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(logits, seen["decoder.final"] @ net.embedding.weight.T)


def test_embeddings_are_shared_unless_the_source_has_its_own():
    assert [n for n, p in small().named_parameters() if "embedding" in n] == ["embedding.weight"]
    own = small(source_vocabulary=30)
    assert own.source_embedding.weight.shape == (30, 12)
    assert own(torch.full((1, 4), 29), torch.ones(1, 2, dtype=torch.int64)).shape == (1, 2, 11)
    assert not any("codes" in key for key in small().state_dict())


# sizes


@pytest.mark.parametrize("size", [BASE, IWSLT, TINY])
def test_parameters_are_those_of_torch_without_its_two_last_norms(size):
    with torch.device("meta"):
        theirs = nn.Transformer(size.width, size.heads, size.layers, size.layers, size.hidden)
        ours = EncoderDecoder(vocabulary=50, size=size)
    assert num_parameters(ours) == num_parameters(theirs) - 4 * size.width + 50 * size.width


def test_parameters_are_the_formulas_and_the_published_ones():
    def formula(size, vocabulary):
        attention = 4 * (size.width**2 + size.width)
        ffn = 2 * size.width * size.hidden + size.hidden + size.width
        norm = 2 * size.width
        return vocabulary * size.width + size.layers * (3 * attention + 2 * ffn + 5 * norm)

    with torch.device("meta"):
        base = EncoderDecoder(vocabulary=37_000, size=BASE)
        iwslt = EncoderDecoder(vocabulary=6_632, size=IWSLT, source_vocabulary=8_848)
    assert num_parameters(base) == formula(BASE, 37_000)
    # Vaswani et al., Table 3: 65 million, about 37,000 subwords
    assert abs(num_parameters(base) - 65e6) < 0.03 * 65e6
    # what fairseq prints for transformer_iwslt_de_en on its vocabularies
    assert num_parameters(iwslt) == formula(IWSLT, 6_632 + 8_848) == 39_469_056


# who sees whom


def test_no_place_sees_what_follows():
    net = small()
    source, target = batch()
    before = net(source, target)
    later = target.clone()
    later[:, 3] = 10 - later[:, 3]
    assert torch.equal(net(source, later)[:, :3], before[:, :3])
    assert not torch.equal(net(source, later)[:, 3:], before[:, 3:])


@pytest.mark.parametrize("change", [lambda net: net, hooked])
def test_padding_changes_nothing(change):
    net = change(small(spread=2.0))
    source, target = batch()
    together = net(source, target)
    for row in range(3):
        alone = net(source[row][source[row] != 0][None], target[row][target[row] != 0][None])
        torch.testing.assert_close(together[row, : alone.shape[1]], alone[0])
        wider = net(
            torch.nn.functional.pad(source[row : row + 1], (0, 3)),
            torch.nn.functional.pad(target[row : row + 1], (0, 2)),
        )
        torch.testing.assert_close(wider[0, : alone.shape[1]], alone[0])


def test_the_source_is_seen_and_its_order_matters():
    net = small(spread=2.0)
    source, target = batch()
    assert not torch.allclose(net(source.flip(0), target), net(source, target))
    turned = source.clone()
    turned[1] = source[1].flip(0)
    assert not torch.allclose(net(turned, target)[1], net(source, target)[1])


def test_one_token_at_a_time_gives_the_same_logits():
    net = small(spread=2.0).eval()
    source, target = batch()
    beams = 2
    generation = Generation(net, source, beams)
    rows = target.repeat_interleave(beams, 0)
    rows[1::beams] = rows[1::beams].flip(1).clamp(min=3)
    expected = net(source.repeat_interleave(beams, 0), rows)
    for place in range(rows.shape[1]):
        assert generation.place == place
        torch.testing.assert_close(generation.step(rows[:, place]), expected[:, place])
    swapped = torch.tensor([1, 0, 3, 2, 5, 4])
    generation.reorder(swapped)
    longer = torch.cat([rows[swapped], torch.full((6, 1), 4)], 1)
    expected = net(source.repeat_interleave(beams, 0), longer)[:, -1]
    torch.testing.assert_close(generation.step(longer[:, -1]), expected)


# sites


def test_one_site_per_role_and_attention_and_the_ends_of_both_sides():
    net, seen = small(), []
    found = find_sites(net)
    for site in found:
        net.get_submodule(site.name).register_forward_hook(
            lambda module, args, output, name=site.name: seen.append((name, tuple(output.shape)))
        )
    net(*batch())
    assert [name for name, _ in seen] == [site.name for site in found] == list(sites(net))
    assert len(found) == 2 * 7 + 2 * 12 + 4
    assert {site.role for site in found if site.name.startswith("encoder.blocks")} == set(ROLES)
    assert [site.name for site in found if site.role is None] == [
        f"{side}.{end}" for side in BOTH for end in ("embedded", "final")
    ]
    assert {site.name.split(".")[3] for site in found if site.cross} == {"cross"}
    shapes = dict(seen)
    assert shapes["encoder.blocks.1.attention.softmax"] == (3, 3, 7, 7)
    assert shapes["decoder.blocks.0.attention.softmax"] == (3, 3, 6, 6)
    assert shapes["decoder.blocks.0.cross.softmax"] == (3, 3, 6, 7)
    assert shapes["decoder.blocks.0.cross.key"] == (3, 7, 12)
    assert shapes["decoder.blocks.0.ffn"] == (3, 6, 12)
    assert set(space_for(net, batch()).site_choices) >= {f"role:{role}" for role in ROLES}


@pytest.mark.parametrize(
    "key",
    [
        *(f"role:{role}" for role in ROLES),
        *(f"{side}.{end}" for side in BOTH for end in ("embedded", "final")),
    ],
)
def test_a_pattern_acts_on_every_place_and_leaves_nothing_behind(key):
    net = small(spread=2.0)
    plain, keys = net(*batch()), list(net.state_dict())
    with apply(net, Policy({key: UNITS})) as applied:
        dropped = net(*batch())
        assert not torch.allclose(dropped, plain, atol=0.05)
        assert torch.isfinite(dropped).all()
        assert applied.silent_sites() == ()
        torch.testing.assert_close(net.eval()(*batch()), plain)
        net.train()
    assert torch.equal(net(*batch()), plain)
    assert list(net.state_dict()) == keys


def test_attention_weights_exist_only_while_something_stands_there(monkeypatch):
    calls = []
    fused = nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        nn.functional, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or fused(*a, **k)
    )
    net = small()
    for policy, expected in (
        ({}, 6),
        ({"role:value": UNITS, "role:output": UNITS}, 6),
        ({"decoder.blocks.*.cross.softmax": UNITS}, 4),
        ({"role:softmax": UNITS}, 0),
    ):
        calls.clear()
        with apply(net, Policy(policy)):
            net(*batch())
        assert len(calls) == expected


def test_padding_takes_no_part_in_a_mask():
    source, target = batch()
    for key, tokens in (
        ("encoder.blocks.1.residual", source),
        ("encoder.final", source),
        ("decoder.embedded", target),
        ("decoder.blocks.0.cross.value", source),
        ("decoder.blocks.0.cross.query", target),
        ("decoder.blocks.1.residual", target),
    ):
        net, seen = small(), []
        applied = apply(net, Policy({key: GONE}))
        applied.follow()
        applied.layers[key].register_forward_hook(lambda _, __, output, seen=seen: seen.append(output))
        net(source, target)
        assert torch.equal(seen[0].any(-1), tokens == 0), key


def test_padding_takes_no_part_in_a_mask_of_weights():
    source, target = batch()
    for key, queries, keys in (
        ("encoder.blocks.0.attention.softmax", source, source),
        ("decoder.blocks.0.cross.softmax", target, source),
    ):
        net, seen = small(), []
        applied = apply(net, Policy({key: GONE}))
        applied.follow()
        layer = applied.layers[key]
        layer.register_forward_hook(lambda _, args, output, seen=seen: seen.append((args[0], output)))
        net(source, target)
        before, after = seen[0]
        inside = ((queries != 0)[:, None, :, None] & (keys != 0)[:, None, None]).expand_as(after)
        assert not after[inside].any()
        assert torch.equal(after[~inside], before[~inside])


def test_padding_is_not_counted_in_the_scale():
    source, target = sentences([5, 5]), sentences([4, 4], seed=2)
    net, seen = small(), []
    applied = apply(net, Policy({"encoder.final": TokenPattern(size=1, share_c=True, rate=0.5)}))
    applied.follow()
    applied.layers["encoder.final"].register_forward_hook(lambda _, a, out: seen.append((a[0], out)))
    net(torch.nn.functional.pad(source, (0, 6)), target)
    before, after = seen[0]
    kept = after[:, :5].any(-1)
    factor = (after[:, :5] / before[:, :5])[kept]
    torch.testing.assert_close(factor, torch.full_like(factor, 10 / int(kept.sum())))


def test_it_travels_with_a_policy():
    net = small()
    apply(net, Policy({"role:ffn": GONE})).follow()
    copy = pickle.loads(pickle.dumps(net))
    torch.testing.assert_close(copy.eval()(*batch()), net.eval()(*batch()))


@pytest.mark.slow
def test_compiled_it_is_the_same_function():
    net = small(spread=2.0)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*batch()), net(*batch()))
    torch._dynamo.reset()


# what users do wrong


@pytest.mark.parametrize(
    "wrong", [{"layers": 0}, {"width": 13}, {"heads": 5}, {"hidden": 0}, {"width": 9, "heads": 3}]
)
def test_refuses_impossible_sizes(wrong):
    with pytest.raises(
        UsageError, match="expected at least 1 of each, an even width, and heads that divide it"
    ):
        TransformerSize(**{"layers": 1, "width": 12, "heads": 3, "hidden": 8} | wrong)


@pytest.mark.parametrize(
    "wrong", [{"pad": 11}, {"pad": -1}, {"longest": 0}, {"pad": 5, "source_vocabulary": 5}]
)
def test_refuses_impossible_vocabularies(wrong):
    with pytest.raises(UsageError, match="expected pad to be one of the tokens, and at least one place"):
        small(**wrong)


@pytest.mark.parametrize("side", [0, 1])
def test_refuses_sequences_over_the_limit_and_other_shapes(side):
    net, name = small(), ("source", "target")[side]
    for wrong in (torch.ones(3, 17), torch.ones(3), torch.ones(3, 0), torch.ones(3, 2, 2)):
        tokens = list(batch())
        tokens[side] = wrong.long()
        with pytest.raises(ShapeError) as caught:
            net(*tokens)
        assert str(caught.value) == (
            f"the {name} is torch.int64 of shape {tuple(wrong.shape)}; expected torch.int64 of (N, T) with T "
            "from 1 to 16, the longest sequence that the network takes"
        )
    tokens[side] = torch.ones(3, 4)
    with pytest.raises(ShapeError, match=rf"the {name} is torch.float32 of shape \(3, 4\)"):
        net(*tokens)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("token", [11, -1])
def test_refuses_tokens_outside_the_vocabulary(side, token):
    tokens = list(batch())
    tokens[side][1, 1] = token
    with pytest.raises(UsageError) as caught:
        small()(*tokens)
    assert str(caught.value) == (
        f"the {('source', 'target')[side]} has token {token}; expected 0 to 10, the vocabulary: was it "
        "numbered with another one?"
    )


def test_refuses_more_sources_or_targets_than_there_are_of_the_others():
    source, target = batch()
    for other in (target[:-1], torch.cat([target, target[:1]])):
        with pytest.raises(ShapeError) as caught:
            small()(source, other)
        assert str(caught.value) == (
            f"there are {len(source)} sources and {len(other)} targets; expected one target for each source"
        )


def test_refuses_a_source_of_nothing():
    source, target = batch()
    source[1] = 0
    with pytest.raises(UsageError, match="the source has a sequence of nothing but padding; leave empty"):
        small()(source, target)


def test_refuses_patterns_of_maps():
    with pytest.raises(SiteError) as caught:
        apply(small(), Policy({"role:ffn": ConvPattern(height=2, width=2)}))
    assert str(caught.value) == (
        "site \"encoder.blocks.0.ffn\" has layout NTC and takes a TokenPattern; the policy's key 'role:ffn' "
        "has a ConvPattern"
    )
