import copy
import math
import re

import pytest
import torch
import torch._dynamo.testing
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.checkpoint import checkpoint

from autodropout.adaptive import AdaptiveDropout, AdaptiveSettings, adaptive_rates
from autodropout.errors import DivergedError, ShapeError, UsageError
from oracles import assert_share

RELEVANCE = torch.tensor([0.0, 1.0, 2.0, 4.0])


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def swept(relevance, rate, least, most, favours):
    """The definition by brute force: of many a, the one whose mean comes closest."""
    r = [abs(x) / max(map(abs, relevance)) for x in relevance]
    factor = [1 - x if favours == "important" else x for x in r]
    best, rates = math.inf, None
    for step in range(200_001):
        a = step / 10_000
        found = [min(max(a * f, least), most) for f in factor]
        if abs(sum(found) / len(found) - rate) < best:
            best, rates = abs(sum(found) / len(found) - rate), found
    return rates


@pytest.mark.parametrize("favours", ["important", "unimportant"])
@pytest.mark.parametrize(("rate", "least", "most"), [(0.2, 0.0, 0.9), (0.3, 0.1, 0.5), (0.35, 0.0, 0.5)])
def test_rates_are_those_of_the_definition(favours, rate, least, most):
    relevance = [0.3, -1.0, 2.0, 0.1, -4.0]
    found = adaptive_rates(
        torch.tensor(relevance), rate, AdaptiveSettings(least=least, most=most, favours=favours)
    )
    torch.testing.assert_close(
        found, torch.tensor(swept(relevance, rate, least, most, favours)).double(), atol=2e-4, rtol=0
    )


bounds = st.tuples(st.floats(0, 0.5), st.floats(0.5, 0.95), st.floats(0, 1))


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20),
    bounds,
    st.sampled_from(["important", "unimportant"]),
)
def test_the_mean_is_kept_whatever_the_relevance(relevance, bound, favours):
    least, most, share = bound
    rate = least + share * (most - least)
    settings = AdaptiveSettings(least=least, most=most, favours=favours)
    rates = adaptive_rates(torch.tensor(relevance), rate, settings)
    assert rates.mean().item() == pytest.approx(rate, abs=1e-9)
    assert (rates >= least - 1e-9).all()
    assert (rates <= most + 1e-9).all()
    order = torch.tensor(relevance).abs().double().argsort(descending=favours == "important")
    assert (rates[order].diff() >= -1e-9).all()


def test_the_scale_and_the_sign_of_relevance_do_not_matter():
    expected = adaptive_rates(RELEVANCE, 0.3)
    torch.testing.assert_close(adaptive_rates(-1e-9 * RELEVANCE.double(), 0.3), expected)


def test_equal_relevance_is_standard_dropout():
    for relevance in (torch.ones(4), torch.zeros(4)):
        assert adaptive_rates(relevance, 0.3).tolist() == pytest.approx([0.3] * 4)


def test_units_without_a_factor_share_what_is_left():
    rates = adaptive_rates(torch.tensor([1.0, 1.0, 1.0, 0.0]), 0.6)
    assert rates.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.9])


def test_before_anything_is_observed_all_units_have_the_mean_rate():
    layer = AdaptiveDropout(4, 0.3)
    assert layer.rates.tolist() == pytest.approx([0.3] * 4)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("seed", [None, 3])
def test_shares_and_scales_are_each_unit_s_own(whole, seed):
    layer = AdaptiveDropout(4, 0.3, AdaptiveSettings(whole=whole), seed=seed)
    layer.observe(RELEVANCE)
    y = layer(torch.ones(20_000, 4, 3))
    cells = y[:, :, :1] if whole else y
    if whole:
        assert torch.equal(y, cells.expand_as(y))
    else:
        assert (y != y[:, :, :1]).any()
    for unit, p in enumerate(layer.rates.tolist()):
        values = cells[:, unit]
        assert_share(int((values == 0).sum()), values.numel(), p)
        kept = values[values != 0]
        torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - p)))


def test_units_are_dropped_independently():
    layer = AdaptiveDropout(2, 0.5)
    dropped = layer(torch.ones(100_000, 2)) == 0
    assert_share(int(dropped.all(1).sum()), 100_000, 0.25)


def test_the_gradient_is_that_of_the_mask():
    layer, h = AdaptiveDropout(4, 0.3), torch.randn(6, 4, 3, requires_grad=True)
    layer.observe(RELEVANCE)
    y = layer(h)
    (gradient,) = torch.autograd.grad(y.sum(), h)
    torch.testing.assert_close(gradient, (y / h).detach())


def test_units_on_another_axis():
    layer = AdaptiveDropout(4, 0.5, axis=-1)
    y = layer(torch.ones(50, 7, 4))
    assert torch.equal(y, y[:, :1].expand_as(y))
    assert (y[:, 0] == 0).any()


def test_averages_move_and_the_first_one_counts_whole():
    layer = AdaptiveDropout(4, 0.3, AdaptiveSettings(momentum=0.75))
    layer.observe(RELEVANCE)
    torch.testing.assert_close(layer.average, RELEVANCE)
    layer.observe(-RELEVANCE.flip(0))
    torch.testing.assert_close(layer.average, 0.75 * RELEVANCE + 0.25 * RELEVANCE.flip(0))
    torch.testing.assert_close(layer.rates, adaptive_rates(layer.average, 0.3).float())
    assert layer.observed == 2


def test_states_carry_rates_unless_told_otherwise():
    layer, fresh = AdaptiveDropout(4, 0.3), AdaptiveDropout(4, 0.3)
    layer.observe(RELEVANCE)
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh.rates, layer.rates)
    for each in (layer, fresh):
        each.observe(RELEVANCE.flip(0))
    assert torch.equal(fresh.rates, layer.rates)
    assert not AdaptiveDropout(4, 0.3, AdaptiveSettings(saved=False)).state_dict()
    assert not list(layer.parameters())


def test_evaluation_and_strength_zero_return_the_input_itself():
    layer, h = AdaptiveDropout(4, 0.3), torch.randn(2, 4)
    assert layer.eval()(h) is h
    assert not layer.fired
    layer.train().set_strength(0.0)
    assert layer(h) is h


def test_strength_scales_every_rate():
    layer = AdaptiveDropout(2, 0.5)
    layer.set_strength(0.5)
    y = layer(torch.ones(50_000, 2))
    assert_share(int((y == 0).sum()), 100_000, 0.25)
    torch.testing.assert_close(y.max().item(), 1 / 0.75)


def test_new_rates_and_strengths_do_not_recompile():
    torch.compiler.reset()
    layer = AdaptiveDropout(4, 0.4, seed=3)
    counted = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled, h = (
        torch.compile(layer, fullgraph=True, backend=counted),
        torch.randn(50, 4, 3, requires_grad=True),
    )
    for number in range(4):
        layer.observe(RELEVANCE.roll(number))
        layer.set_strength(1 - number / 4)
        layer.set_step(number)
        found, expected = (torch.autograd.grad(run(h).square().sum(), h) for run in (compiled, layer))
        torch.testing.assert_close(found, expected)
    assert counted.frame_count == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype):
    layer = AdaptiveDropout(4, 0.3, AdaptiveSettings(saved=dtype is not torch.float16))
    layer.observe(RELEVANCE)
    rates = layer.rates.clone()
    layer.to(dtype)
    assert torch.equal(layer.rates, rates)
    assert layer.rates.dtype == torch.float32
    assert layer(torch.ones(3, 4, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("saved", [True, False])
def test_from_the_meta_device(saved):
    layer = AdaptiveDropout(4, 0.3, AdaptiveSettings(saved=saved)).to("meta").to_empty(device="cpu")
    assert layer.rates.tolist() == pytest.approx([0.3] * 4)
    assert (layer.average.tolist(), layer.observed.item()) == ([0.0] * 4, 0)
    assert layer(torch.ones(2, 4)).shape == (2, 4)


def test_copies_are_apart():
    layer = AdaptiveDropout(4, 0.3)
    twin = copy.deepcopy(layer)
    layer.observe(RELEVANCE)
    assert twin.rates.unique().numel() == 1


@pytest.mark.parametrize("seed", [None, 3])
def test_activation_checkpointing(seed):
    layer, h = AdaptiveDropout(40, 0.5, seed=seed), torch.randn(6, 40, requires_grad=True)
    y = checkpoint(lambda h: layer(h).square(), h, use_reentrant=False, preserve_rng_state=seed is None)
    (gradient,) = torch.autograd.grad(y.sum(), h)
    assert torch.equal(gradient == 0, y == 0)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: AdaptiveDropout(0), "num_channels is 0; expected a whole number of at least 1"),
        (lambda: AdaptiveDropout(2.0), "num_channels is 2.0"),
        (lambda: AdaptiveDropout(True), "num_channels is True"),
        (
            lambda: AdaptiveDropout(4, 0.95),
            "rate is 0.95; expected a mean drop rate from least 0.0 to most 0.9",
        ),
        (lambda: AdaptiveDropout(4, math.nan), "rate is nan"),
        (lambda: AdaptiveDropout(4, "0.3"), "rate is '0.3'"),
        (lambda: AdaptiveDropout(4, axis=0), "axis is 0, that of the batch"),
        (lambda: AdaptiveSettings(least=0.5, most=0.4), "least and most are 0.5 and 0.4"),
        (lambda: AdaptiveSettings(most=1.0), "expected 0 <= least <= most < 1"),
        (lambda: AdaptiveSettings(momentum=1.0), "momentum is 1.0; expected at least 0 and below 1"),
        (lambda: AdaptiveSettings(favours="both"), "favours is 'both'; expected \"important\" or"),
        (lambda: adaptive_rates(RELEVANCE, 1.5), "rate is 1.5"),
        (lambda: AdaptiveDropout(4).set_strength(2.0), "strength is 2.0; expected a number from 0 to 1"),
        (lambda: AdaptiveDropout(4).set_step(1), "the layer has no seed, so it takes no step"),
        (
            lambda: AdaptiveDropout(4, seed=1).set_step(-1),
            "step is -1; expected a whole number of at least 0",
        ),
    ],
)
def test_numbers_are_checked(make, text):
    with pytest.raises(UsageError, match=re.escape(text)):
        make()


def test_relevance_that_is_not_finite_leaves_rates_as_they_were():
    layer = AdaptiveDropout(4, 0.3, site="x")
    layer.observe(RELEVANCE)
    before = layer.rates.clone()
    with pytest.raises(
        DivergedError, match='site "x": relevance is not finite; has training diverged, or is epsilon too'
    ):
        layer.observe(RELEVANCE / 0)
    assert torch.equal(layer.rates, before)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda layer: layer.observe(torch.ones(3)), 'site "x": relevance has shape (3,); expected (4,)'),
        (lambda layer: layer.observe([1.0]), 'site "x": relevance has shape [1.0]; expected (4,)'),
        (
            lambda layer: layer(torch.ones(2, 3)),
            'site "x": the hidden state has shape (2, 3); expected 4 units',
        ),
        (
            lambda layer: layer(torch.ones(4)),
            "shape (4,); expected 4 units along axis 1, and the batch along",
        ),
        (lambda layer: layer(torch.ones(2, 4, dtype=torch.int64)), "the hidden state is torch.int64"),
        (lambda layer: layer((1, 2)), "the hidden state is tuple; expected a float tensor"),
    ],
)
def test_shapes_are_checked(call, text):
    with pytest.raises(ShapeError, match=re.escape(text)):
        call(AdaptiveDropout(4, site="x"))


def test_its_repr():
    assert repr(AdaptiveDropout(4, 0.3)) == "AdaptiveDropout(4, rate=0.3)"
    assert repr(AdaptiveDropout(4, site="bn", seed=1)) == "AdaptiveDropout(4, rate=0.2, site=bn, seed=1)"
