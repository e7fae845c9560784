import math

import pytest
import torch
from torch import nn

from autodropout.applying import apply, space_for
from autodropout.errors import ShapeError, UsageError
from autodropout.families import find_sites
from autodropout.models.decoder import Decoder, DecoderBlock
from autodropout.pattern import TokenPattern
from autodropout.policy import ROLES, Policy
from autodropout.token_space import TokenSpace
from contracts.token_model import TokenModelContract, tokens


def small(**sizes):
    torch.manual_seed(0)
    return Decoder(**{"vocabulary": 11, "context": 6, "layers": 2, "width": 8, "heads": 2} | sizes)


def attention_oracle(block, x):
    """Row by row, head by head, place by place."""
    n, length, width = x.shape
    head = width // block.heads
    normed = block.attention_norm(x)
    query, key, value = block.query(normed), block.key(normed), block.value(normed)
    result = torch.zeros_like(x)
    for row in range(n):
        for h in range(block.heads):
            mine = slice(h * head, (h + 1) * head)
            for t in range(length):
                scores = [
                    float(query[row, t, mine] @ key[row, s, mine]) / math.sqrt(head) for s in range(t + 1)
                ]
                total = sum(math.exp(score) for score in scores)
                for s, score in enumerate(scores):
                    result[row, t, mine] += math.exp(score) / total * value[row, s, mine]
    return result


@pytest.mark.parametrize("hooked", [False, True])
def test_a_block_is_its_equations(hooked):
    torch.manual_seed(0)
    block = DecoderBlock(width=6, heads=3).double()
    if hooked:
        block.softmax.register_forward_hook(lambda module, args, output: None)
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    with torch.no_grad():
        h = x + block.output(attention_oracle(block, x))
        up = block.ffn.up(block.ffn_norm(h))
        gelu = up * 0.5 * (1 + torch.erf(up / math.sqrt(2)))
        torch.testing.assert_close(block(x), h + block.ffn.down(gelu))


def test_shapes_and_shorter_sequences():
    net = small().eval()
    assert net(tokens()).shape == (3, 6, 11)
    torch.testing.assert_close(net(tokens()[:, :4]), net(tokens())[:, :4])


def test_no_place_sees_what_follows():
    net = small()
    before = net(tokens())
    later = tokens()
    later[:, 4] = (later[:, 4] + 1) % 11
    assert torch.equal(net(later)[:, :4], before[:, :4])
    assert not torch.equal(net(later)[:, 4:], before[:, 4:])


def test_input_and_output_share_one_matrix():
    net = small()
    net(tokens()).sum().backward()
    assert [name for name, p in net.named_parameters() if p.shape[0] == 11] == ["embedding.weight"]
    h = []
    net.norm.register_forward_hook(lambda module, args, output: h.append(output))
    torch.testing.assert_close(net(tokens()), h[0] @ net.embedding.weight.T)


def test_one_site_per_role_and_layer_in_the_order_of_the_forward_pass():
    net, seen = small(), []
    found = find_sites(net)
    for site in found:
        net.get_submodule(site.name).register_forward_hook(
            lambda module, args, output, name=site.name: seen.append((name, tuple(output.shape)))
        )
    net(tokens())
    assert [site.name for site in found] == [f"blocks.{n}.{role}" for n in range(2) for role in ROLES]
    assert [site.role for site in found] == [*ROLES, *ROLES]
    assert [name for name, _ in seen] == [site.name for site in found]
    for name, shape in seen:
        assert shape == ((3, 2, 6, 6) if name.endswith("softmax") else (3, 6, 8))
    assert space_for(net, tokens()) == TokenSpace(sites=ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_a_pattern_acts_on_every_role_and_leaves_nothing_behind(role):
    net = small()
    for parameter in net.parameters():  # attention that is far from even, so that every role matters
        parameter.data.mul_(20 if parameter.ndim > 1 else 1)
    plain, keys = net(tokens()), list(net.state_dict())
    with apply(net, Policy({f"role:{role}": TokenPattern(size=1, rate=0.5)})) as applied:
        dropped = net(tokens())
        assert not torch.allclose(dropped, plain, atol=0.1)
        assert torch.isfinite(dropped).all()
        assert applied.silent_sites() == ()
        torch.testing.assert_close(net.eval()(tokens()), plain)
        net.train()
    assert torch.equal(net(tokens()), plain)
    assert list(net.state_dict()) == keys


def test_attention_weights_exist_only_while_something_stands_there(monkeypatch):
    calls = []
    fused = nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        nn.functional, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or fused(*a, **k)
    )
    net = small()
    net(tokens())
    assert len(calls) == 2
    with apply(net, Policy({"blocks.0.softmax": TokenPattern(size=1, rate=0.5)})):
        net(tokens())
    assert len(calls) == 3
    with apply(net, Policy({"role:value": TokenPattern(size=1, rate=0.5)})):
        net(tokens())
    assert len(calls) == 5


def test_both_ways_of_attention_have_the_same_gradients():
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    gradients = []
    for hooked in (False, True):
        torch.manual_seed(0)
        block = DecoderBlock(width=6, heads=2).double()
        if hooked:
            block.softmax.register_forward_hook(lambda module, args, output: None)
        block(x).square().sum().backward()
        gradients.append([p.grad for p in block.parameters()])
    for fused, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(fused, plain)


@pytest.mark.parametrize("sizes", [{"layers": 0}, {"width": 9}, {"heads": 0}, {"context": 0}])
def test_refuses_impossible_sizes(sizes):
    with pytest.raises(UsageError, match=r"expected at least 1 of each and heads that divide the width"):
        small(**sizes)


@pytest.mark.parametrize("shape", [(3, 7), (3,), (3, 0), (3, 2, 2)])
def test_refuses_other_shapes(shape):
    with pytest.raises(ShapeError) as caught:
        small()(torch.zeros(shape, dtype=torch.int64))
    assert str(caught.value) == (
        f"tokens have shape {shape}; expected (N, T) with T from 1 to the context, 6"
    )


class TestTokens(TokenModelContract):
    small = staticmethod(small)


def test_compiled_it_is_the_same_function():
    net = small()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(tokens()), net(tokens()))
    torch._dynamo.reset()
