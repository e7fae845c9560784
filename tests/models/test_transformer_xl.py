import math

import pytest
import torch
from torch import nn

from autodropout.applying import apply, match, space_for
from autodropout.errors import ShapeError, SiteError, UsageError
from autodropout.families import find_sites
from autodropout.models.memory import Memory
from autodropout.models.relative import distances
from autodropout.models.transformer_xl import TransformerXL, XlBlock, XlSize
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import ROLES, Policy
from autodropout.token_space import TokenSpace
from contracts.token_model import TokenModelContract, tokens

SMALL = {"vocabulary": 11, "layers": 2, "heads": 2, "width": 8, "inner": 12}


def small(**sizes):
    """A network whose attention is far from even, in float64."""
    torch.manual_seed(0)
    net = TransformerXL(XlSize(**SMALL | sizes)).double()
    for parameter in net.parameters():
        parameter.data.mul_(20 if parameter.ndim > 1 else 1)
    return net


def in_segments(net, text, length, memory):
    return torch.cat([net(part, memory) for part in text.split(length, 1)], 1)


def norm(layer, x):
    mean, variance = x.mean(), x.var(unbiased=False)
    return (x - mean) / (variance + 1e-5).sqrt() * layer.weight + layer.bias


def sinusoid(distance, width):
    angles = [distance / 10_000 ** (2 * i / width) for i in range(width // 2)]
    values = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    return torch.tensor(values, dtype=torch.float64)


def layer_oracle(net, number, states, start):
    """The outputs of one layer from ``start`` on, place by place, head by head; states (T, C) of one text."""
    block, size = net.blocks[number], net.size
    head, result = size.width // size.heads, []
    weight = net.positions[number % len(net.positions)].weight
    for i in range(start, len(states)):
        attended = []
        for h in range(size.heads):
            mine = slice(h * head, (h + 1) * head)
            query = block.query.weight[mine] @ states[i]
            scores, values = [], []
            for j in range(i + 1):
                key = block.key.weight[mine] @ states[j]
                position = weight[mine] @ sinusoid(i - j, size.width)
                scores.append(
                    query @ key
                    + query @ position
                    + net.content_bias[h] @ key
                    + net.position_bias[h] @ position
                )
                values.append(block.value.weight[mine] @ states[j])
            weights = (torch.stack(scores) / math.sqrt(head)).softmax(0)
            attended.append(weights @ torch.stack(values))
        h = norm(block.attention_norm, states[i] + block.output.weight @ torch.cat(attended))
        inner = (block.ffn.up.weight @ h + block.ffn.up.bias).clamp(min=0)
        result.append(norm(block.ffn_norm, h + block.ffn.down.weight @ inner + block.ffn.down.bias))
    return torch.stack(result)


def oracle(net, text, segment, length):
    """Logits of one text, read in segments with a memory of ``length`` tokens."""
    pasts = [torch.zeros(0, net.size.width, dtype=torch.float64)] * net.size.layers
    logits = []
    for part in text.split(segment):
        x = net.embedding.weight[part] * math.sqrt(net.size.width)
        for number, past in enumerate(pasts):
            states = torch.cat([past, x])
            pasts[number] = states[max(len(states) - length, 0) :]
            x = layer_oracle(net, number, states, len(past))
        logits.append(x @ net.embedding.weight.T + net.bias)
    return torch.cat(logits)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("segment", "length"), [(7, 0), (3, 3), (2, 5), (3, 1)])
def test_it_is_its_equations(fused, shared, segment, length):
    net, text = small(shared_positions=shared), tokens(1, 7)
    with torch.set_grad_enabled(not fused):
        found = in_segments(net, text, segment, Memory(length))
    with torch.no_grad():
        torch.testing.assert_close(found[0], oracle(net, text[0], segment, length))


def test_it_has_the_24_million_parameters_of_its_paper():
    with torch.device("meta"):
        net, own = (TransformerXL(XlSize(shared_positions=shared)) for shared in (True, False))
    attention, inner, norms = 4 * 380 * 380, 2 * 380 * 900 + 900 + 380, 4 * 380
    once = 10_000 * 380 + 10_000 + 380 * 380 + 2 * 380
    assert sum(p.numel() for p in net.parameters()) == 16 * (attention + inner + norms) + once == 24_185_560
    assert sum(p.numel() for p in own.parameters()) == 24_185_560 + 15 * 380 * 380


@pytest.mark.parametrize("segment", [1, 4, 6, 11])
def test_segments_are_one_long_context_within_the_memorys_reach(segment):
    net, text = small(), tokens(3, 23)
    torch.testing.assert_close(in_segments(net, text, segment, Memory(23)), net(text))


def test_what_lies_beyond_the_memory_is_forgotten():
    """Two layers with a memory of 4 see at most 2 * 4 tokens before their own segment."""
    net, text = small(), tokens(2, 16)
    other = text.clone()
    other[:, :4] = (other[:, :4] + 1) % 11
    first, second = (in_segments(net, t, 4, Memory(4)) for t in (text, other))
    changed = [not torch.equal(a, b) for a, b in zip(first.split(4, 1), second.split(4, 1), strict=True)]
    assert changed == [True, True, True, False]
    first, second = (in_segments(net, t, 4, Memory(0)) for t in (text, other))
    assert not torch.equal(first[:, :4], second[:, :4])
    assert torch.equal(first[:, 4:], second[:, 4:])


@pytest.mark.parametrize("fused", [False, True])
def test_no_place_sees_what_follows(fused):
    net, text = small(), tokens(3, 12)
    for place in (0, 3, 7, 11):
        other = text.clone()
        other[:, place] = (other[:, place] + 1) % 11
        with torch.set_grad_enabled(not fused):
            before, after = (in_segments(net, t, 5, Memory(5)) for t in (text, other))
        assert torch.equal(before[:, :place], after[:, :place])
        assert not torch.equal(before[:, place], after[:, place])


def test_no_gradient_goes_into_the_memory():
    net, memory = small(), Memory(4)
    net(tokens(2, 4), memory)
    states = [memory.past(layer, torch.zeros(2, 1, 8)) for layer in range(2)]
    assert [state.requires_grad for state in states] == [False, False]
    net(tokens(2, 4), memory).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_a_memory_is_cleared_and_belongs_to_one_batch():
    net, memory, text = small(), Memory(6), tokens(3, 6)
    alone = net(text)
    assert not torch.allclose(net(text, memory), net(text, memory))
    memory.clear()
    assert torch.equal(net(text, memory), alone)
    with pytest.raises(ShapeError) as caught:
        net(tokens(2), memory)
    assert str(caught.value) == (
        "the memory is of a batch of 3, the tokens are a batch of 2; take a new Memory, or clear() it, where "
        "other texts begin"
    )


def test_a_memory_goes_on_from_what_another_held():
    net, memory, other = small(), Memory(4), Memory(4)
    assert memory.states == ()
    net(tokens(3, 6), memory)
    assert [state.shape for state in memory.states] == [(3, 4, 8)] * 2
    other.states = [state.clone() for state in memory.states]
    assert torch.equal(net(tokens(), other), net(tokens(), memory))
    assert not torch.equal(net(tokens()), net(tokens(), memory))


@pytest.mark.parametrize("length", [-1, 1.5, True])
def test_a_memory_of_no_length(length):
    with pytest.raises(UsageError) as caught:
        Memory(length)
    assert str(caught.value) == f"the memory's length is {length!r}; expected a whole number of at least 0"


def test_both_ways_of_attention_have_the_same_gradients(monkeypatch):
    gradients = []
    for fused in (False, True):
        net, memory = small(), Memory(4)
        if fused:
            monkeypatch.setattr(
                XlBlock, "_attend", lambda block, q, k, v, relative: relative.attended(q, k, v)
            )
        net(tokens(2, 4), memory)
        net(tokens(2, 5), memory).log_softmax(-1)[..., 3].sum().backward()
        gradients.append([p.grad for p in net.parameters()])
    for own, torchs in zip(*gradients, strict=True):
        torch.testing.assert_close(own, torchs)


def test_attention_weights_are_handed_out_only_while_something_stands_there(monkeypatch):
    calls = []
    fused = nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        nn.functional, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or fused(*a, **k)
    )
    net = small()
    with torch.no_grad():
        net(tokens())
        assert len(calls) == 2
        with apply(net, Policy({"blocks.0.softmax": TokenPattern(size=1, rate=0.5)})):
            net(tokens())
        assert len(calls) == 3
        with apply(net, Policy({"role:value": TokenPattern(size=1, rate=0.5)})):
            net(tokens())
        assert len(calls) == 5
    net(tokens())  # on the CPU torch has no kernel that gives the bias a gradient and keeps no weights
    assert len(calls) == 5


def test_one_site_per_role_and_layer_in_the_order_of_the_forward_pass():
    net, memory, seen = small(), Memory(4), []
    net(tokens(), memory)
    found = find_sites(net)
    for site in found:
        net.get_submodule(site.name).register_forward_hook(
            lambda module, args, output, name=site.name: seen.append((name, tuple(output.shape)))
        )
    net(tokens(), memory)
    assert [site.name for site in found] == [f"blocks.{n}.{role}" for n in range(2) for role in ROLES]
    assert [site.role for site in found] == [*ROLES, *ROLES]
    assert [name for name, _ in seen] == [site.name for site in found]
    shapes = {"softmax": (3, 2, 6, 10), "key": (3, 10, 8), "value": (3, 10, 8)}
    for name, shape in seen:
        assert shape == shapes.get(name.rpartition(".")[2], (3, 6, 8))
    assert space_for(net, tokens()) == TokenSpace(sites=ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_a_pattern_acts_on_every_role_and_leaves_nothing_behind(role):
    net = small()
    plain, keys = net(tokens()), list(net.state_dict())
    with apply(net, Policy({f"role:{role}": TokenPattern(size=1, rate=0.5)})) as applied:
        memory = Memory(6)
        net(tokens(), memory)
        dropped = net(tokens(), memory)
        assert not torch.allclose(dropped, plain, atol=0.1)
        assert torch.isfinite(dropped).all()
        assert applied.silent_sites() == ()
        torch.testing.assert_close(net.eval()(tokens()), plain)
        net.train()
    assert torch.equal(net(tokens()), plain)
    assert list(net.state_dict()) == keys


def test_the_memory_holds_what_was_dropped():
    """As in training without it: what later segments see of this one bears its noise."""
    net, memory = small(), Memory(6)
    with apply(net, Policy({"blocks.0.residual": TokenPattern(size="whole", share_t=True, rate=1.0)})):
        net(tokens(), memory)
    assert memory.past(0, torch.zeros(3, 1, 8)).abs().min() > 0
    assert memory.past(1, torch.zeros(3, 1, 8)).abs().max() == 0


def test_a_policy_of_conv_patterns_is_refused():
    for key in ("role:ffn", "blocks.0.softmax"):
        with pytest.raises(SiteError, match=r"takes a TokenPattern; the policy's key .* has a ConvPattern"):
            match(small(), Policy({key: ConvPattern(height=2, width=2)}))


def test_input_and_output_share_one_matrix():
    net = small()
    net(tokens()).sum().backward()
    assert [n for n, p in net.named_parameters() if p.shape[0] == 11] == ["bias", "embedding.weight"]
    h = []
    net.final.register_forward_hook(lambda module, args, output: h.append(output))
    torch.testing.assert_close(net(tokens()), h[0] @ net.embedding.weight.T + net.bias)


def test_distances():
    table = distances(5, 6, torch.zeros((), dtype=torch.float64))
    expected = torch.stack([sinusoid(d, 6) for d in (4, 3, 2, 1, 0)])
    torch.testing.assert_close(table, expected, atol=1e-6, rtol=0)


def test_bfloat16():
    net = small().float()
    with torch.autocast("cpu", torch.bfloat16):
        memory = Memory(4)
        net(tokens(), memory)
        loss = net(tokens(), memory).float().logsumexp(-1).sum()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize("sizes", [{"layers": 0}, {"width": 9, "heads": 3}, {"width": 10, "heads": 4}])
def test_refuses_impossible_sizes(sizes):
    with pytest.raises(UsageError, match=r"expected at least 1 of each, an even width and heads that divide"):
        XlSize(**SMALL | sizes)


@pytest.mark.parametrize("shape", [(3,), (3, 0), (0, 3), (3, 2, 2)])
def test_refuses_other_shapes(shape):
    with pytest.raises(ShapeError) as caught:
        small()(torch.zeros(shape, dtype=torch.int64))
    assert str(caught.value) == f"tokens have shape {shape}; expected (N, T), at least one token"


class TestTokens(TokenModelContract):
    small = staticmethod(small)


@pytest.mark.parametrize("sizes", [{"layers": 1}, {"layers": 3}, {"width": 12}])
def test_a_memory_of_another_network(sizes):
    memory, net = Memory(4), small(**sizes)
    small()(tokens(), memory)
    with pytest.raises(ShapeError) as caught:
        net(tokens(), memory)
    assert str(caught.value) == (
        f"the memory is of 2 layers of 8 channels, the network has {net.size.layers} of {net.size.width}; "
        "take a new Memory for each network"
    )
    assert all(state.shape == (3, 4, 8) for state in memory.states)


def test_a_block_alone():
    block = XlBlock(XlSize(**SMALL))
    assert [site.name for site in find_sites(block)] == list(ROLES)
