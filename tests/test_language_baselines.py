"""LayerDrop, DropAttention and the paper's finding: what they drop, and what is left as it was."""

import pickle

import pytest
import torch
from scipy import stats
from torch import nn

from autodropout import baselines
from autodropout.errors import ApplyError, PatternError, ShapeError, SiteError, UsageError
from autodropout.pattern import TokenPattern


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def assert_share(successes, draws, probability):
    low, high = stats.binom.ppf([5e-7, 1 - 5e-7], draws, probability)
    assert low <= successes <= high


def weights(queries=5, keys=7, dtype=torch.float64):
    return torch.randn(3, 2, queries, keys, dtype=dtype).softmax(-1)


@pytest.mark.parametrize("share", [True, False])
def test_rows_of_attention_keep_their_sum_and_proportions(share):
    w = weights()
    for _ in range(20):
        y = baselines.drop_attention(w, 0.4, share)
        kept = y > 0
        left = kept.any(-1)
        torch.testing.assert_close(y.sum(-1), left.double())
        factor = y / w
        for row, mask in zip(factor.flatten(0, -2), kept.flatten(0, -2), strict=True):
            assert row[mask].numel() == 0 or row[mask].max() - row[mask].min() < 1e-12
        if share:
            assert torch.equal(kept, kept[:, :, :1].expand_as(kept))


@pytest.mark.parametrize("share", [True, False])
def test_attention_is_dropped_at_its_rate_by_coins_of_its_own(share):
    y = baselines.drop_attention(weights(40, 500), 0.3, share)
    coins = (y == 0)[:, :, :1] if share else y == 0
    assert_share(int(coins.sum()), coins.numel(), 0.3)
    first, second = coins[0, 0].flatten(), coins[1, 0].flatten()
    assert_share(int((first & second).sum()), first.numel(), 0.09)
    if not share:
        assert_share(int((y == 0)[:, :, 0].eq((y == 0)[:, :, 1]).sum()), 3000, 0.58)


def test_a_row_of_which_nothing_is_left_is_zero_and_has_no_gradient():
    w = weights().requires_grad_()
    y = baselines.drop_attention(w, 1.0)
    y.sum().backward()
    assert y.abs().max() == 0
    assert w.grad.abs().max() == 0


def test_gradients_of_attention():
    def dropped(w):
        torch.manual_seed(3)
        return baselines.drop_attention(w, 0.4)

    assert torch.autograd.gradcheck(dropped, weights(3, 4).requires_grad_())


def test_drop_attention_keeps_dtype_and_does_nothing_in_eval():
    w = weights(dtype=torch.float32).half()
    assert baselines.drop_attention(w, 0.3).dtype == torch.float16
    layer = baselines.DropAttention(0.3, share_queries=False)
    assert layer.eval()(w) is w
    assert repr(layer) == "DropAttention(p=0.3, share_queries=False)"
    torch.manual_seed(1)
    expected = baselines.drop_attention(w, 0.3, share_queries=False)
    torch.manual_seed(1)
    torch.testing.assert_close(layer.train()(w), expected)


def test_drop_attention_compiles_once_for_all_rates():
    layer, traces = baselines.DropAttention(0.3), []
    compiled = torch.compile(
        layer, backend=lambda graph, _: traces.append(1) or graph.forward, fullgraph=True
    )
    for rate in (0.3, 0.2, 0.9):
        layer.p = rate
        assert compiled(weights()).shape == (3, 2, 5, 7)
    assert len(traces) == 1


@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_no_probabilities(p):
    for kind in (baselines.DropAttention, baselines.LayerDrop):
        with pytest.raises(UsageError, match="expected a drop probability between 0 and 1"):
            kind(p)


def test_shapes_of_attention():
    with pytest.raises(ShapeError, match=r"expected \(\.\.\., queries, keys\)"):
        baselines.drop_attention(torch.rand(4), 0.1)


class Net(nn.Module):
    """Two layers that tell what they saw."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def test_layers_are_left_out_whole_at_their_rate():
    net, x = Net(), torch.randn(6, 4)
    a, b = net.layers
    outcomes = {"none": x, "first": b(x), "second": a(x), "both": b(a(x))}
    placed = baselines.on_layers(net, ["layers.0", "layers.1"], lambda n: baselines.LayerDrop((0.2, 0.5)[n]))
    counts = dict.fromkeys(outcomes, 0)
    for _ in range(600):
        y = net(x)
        (name,) = [name for name, value in outcomes.items() if torch.equal(y, value)]
        counts[name] += 1
    for name, share in {"none": 0.1, "first": 0.1, "second": 0.4, "both": 0.4}.items():
        assert_share(counts[name], 600, share)
    assert torch.equal(net.eval()(x), outcomes["both"])
    net.train()
    placed.remove()
    placed.remove()
    assert all(torch.equal(net(x), outcomes["both"]) for _ in range(20))
    assert repr(net) == repr(Net())


def test_a_layer_that_is_left_out_has_no_gradient():
    net, x = Net(), torch.randn(6, 4)
    baselines.on_layers(net, ["layers.0"], lambda _: baselines.LayerDrop(1.0))
    keys = list(net.state_dict())
    pickle.loads(pickle.dumps(net))(x).sum().backward()
    net(x).sum().backward()
    assert net.layers[0].weight.grad.abs().max() == 0
    assert net.layers[1].weight.grad.abs().max() > 0
    assert keys == list(Net().state_dict())


def test_where_layer_drop_cannot_stand():
    net = Net()
    with pytest.raises(ApplyError, match=r'site "layers\.0" already has a pattern'):
        baselines.on_layers(net, ["layers.1", "layers.0"], taken(net))
    with pytest.raises(SiteError, match=r'the model has no module "layers\.7"'):
        baselines.on_layers(net, ["layers.1", "layers.7"], lambda _: baselines.LayerDrop(0.1))
    with pytest.raises(SiteError, match='site "layers" is a ModuleList'):
        baselines.on_layers(net, ["layers"], lambda _: baselines.LayerDrop(0.1))
    for layers in ([], "layers.0"):
        with pytest.raises(UsageError, match="expected a sequence of at least one name"):
            baselines.on_layers(net, layers, lambda _: baselines.LayerDrop(0.1))
    assert not net.layers[1]._forward_hooks
    baselines.on_layers(net, ["layers.1"], lambda _: baselines.LayerDrop(0.1))


def taken(net):
    """A factory, for a net whose first layer bears something already."""
    baselines.on_layers(net, ["layers.0"], lambda _: baselines.LayerDrop(0.1))
    return lambda _: baselines.LayerDrop(0.1)


def test_a_layer_that_changes_the_shape_cannot_be_left_out():
    with pytest.raises(ShapeError) as caught:
        baselines.drop_layer(torch.zeros(2, 3), torch.zeros(2, 4), 0.1)
    assert str(caught.value) == (
        "the layer makes (2, 4) of (2, 3); expected one shape, so that it can be left out"
    )


def test_the_papers_finding():
    policy = baselines.paper_transformer_finding(0.2, 0.3)
    whole = TokenPattern(size="whole", share_t=True, rate=0.2)
    assert {key: policy.sites[key] for key in policy.sites if key != "role:ffn"} == dict.fromkeys(
        ["role:query", "role:key", "role:value", "role:output"], whole
    )
    assert policy.sites["role:ffn"] == TokenPattern(size=1, share_c=True, rate=0.3)
    with pytest.raises(PatternError, match="expected a probability"):
        baselines.paper_transformer_finding(2.0, 0.1)
