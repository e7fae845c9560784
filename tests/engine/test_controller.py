import math
import random

import pytest
import torch
from scipy.stats import binom

from autodropout.conv_space import ConvSpace
from autodropout.engine.controller import Controller, _drawn
from autodropout.errors import SpaceError, UsageError
from autodropout.space import PAD
from autodropout.token_space import TokenSpace
from sequences import all_sequences, small_space

SPACES = {
    "small": small_space(),
    "token": TokenSpace.wide(("query", "ffn", "residual")),
    "conv": ConvSpace(sites={"a": (32, 32), "b": (8, 8), "c": (1, 1)}, residual=("a",), schedule=True),
}


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]


def shaken(space, seed=0, scale=0.5, **options):
    """A controller whose parameters are all away from their start."""
    torch.manual_seed(seed)
    controller = Controller(space, **options)
    with torch.no_grad():
        for parameter in controller.parameters():
            parameter += scale * torch.randn_like(parameter)
    return controller


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def prior_log_prob(space, tokens):
    live = space.live(tokens)
    return math.fsum(math.log(space.choices[t].prior[tokens[t]]) for t in range(len(space)) if live[t])


def test_starts_exactly_at_the_prior(space):
    rng = random.Random(1)
    drawn = [space.sample(rng) for _ in range(50)]
    expected = torch.tensor([prior_log_prob(space, tokens) for tokens in drawn])
    torch.testing.assert_close(
        Controller(space).log_prob(torch.tensor(drawn)), expected, rtol=1e-5, atol=1e-4
    )


def test_the_bare_network_starts_uniform(space):
    drawn = [space.sample(random.Random(seed)) for seed in range(50)]
    sizes = [
        [n for n, live in zip(space.cardinalities, space.live(tokens), strict=True) if live]
        for tokens in drawn
    ]
    expected = -torch.tensor([math.fsum(map(math.log, row)) for row in sizes])
    bare = Controller(space, prior=False, bias=False)
    assert bare.bias is None
    torch.testing.assert_close(bare.log_prob(torch.tensor(drawn)), expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(bare.entropy(torch.tensor(drawn)), -expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"layers": 2, "heads": 4}, {"prior": False, "bias": False}])
def test_probabilities_sum_to_one(options):
    space = small_space()
    controller = shaken(space, **options).double()
    total = controller.log_prob(all_sequences(space)).exp().sum()
    assert abs(total.item() - 1) < 1e-12


def test_log_prob_is_a_product_of_conditionals():
    """The oracle: each conditional from the marginals of all sequences that share the prefix."""
    space = small_space()
    sequences = all_sequences(space)
    controller = shaken(space).double()
    with torch.no_grad():
        log_probs, entropy = controller(sequences)
    probability = log_probs.exp()
    for row in range(0, len(sequences), 37):
        log_prob = summed = 0.0
        for t in range(len(space)):
            same = (sequences[:, :t] == sequences[row, :t]).all(1)
            masses = [
                float(probability[same & (sequences[:, t] == v)].sum()) for v in range(space.cardinalities[t])
            ]
            shares = [mass / sum(masses) for mass in masses]
            log_prob += math.log(shares[int(sequences[row, t])])
            summed -= sum(p * math.log(p) for p in shares if p > 0)
        assert math.isclose(log_prob, float(log_probs[row]), rel_tol=1e-9, abs_tol=1e-9)
        assert math.isclose(summed, float(entropy[row]), rel_tol=1e-9, abs_tol=1e-9)


def test_mean_entropy_is_the_entropy():
    space = small_space()
    sequences = all_sequences(space)
    controller = shaken(space).double()
    log_prob = controller.log_prob(sequences)
    mean = (log_prob.exp() * controller.entropy(sequences)).sum()
    torch.testing.assert_close(mean, -(log_prob.exp() * log_prob).sum(), rtol=1e-12, atol=0)


def test_decisions_depend_on_earlier_ones():
    """Not just a product of independent choices: the Transformer is wired to what came before."""
    space = SPACES["token"]
    controller = shaken(space).double()
    one, other = torch.tensor([[1, 0, 0, 0, 0] * 3]), torch.tensor([[2, 1, 1, 1, 1] + [1, 0, 0, 0, 0] * 2])
    tails = []
    for first in (one, other):
        longer = first.repeat(2, 1)
        longer[1, -1] = 1
        difference = controller.log_prob(longer)
        tails.append((difference[0] - difference[1]).item())
    assert abs(tails[0] - tails[1]) > 1e-3


def test_sample_agrees_with_log_prob(space):
    controller = shaken(space)
    tokens, log_prob = controller.sample(64, generator())
    assert tokens.dtype == torch.int64
    assert not log_prob.requires_grad
    torch.testing.assert_close(log_prob, controller.log_prob(tokens), rtol=1e-4, atol=1e-3)
    exact = controller.double()
    tokens, log_prob = exact.sample(64, generator())
    torch.testing.assert_close(log_prob, exact.log_prob(tokens), rtol=1e-12, atol=1e-11)


def test_samples_are_canonical(space):
    tokens, _ = shaken(space).sample(200, generator())
    assert tokens.shape == (200, len(space))
    for row in tokens.tolist():
        assert all(0 <= token < n for token, n in zip(row, space.cardinalities, strict=True))
        assert all(t == PAD for t, live in zip(row, space.live(row), strict=True) if not live)
        space.decode(row)


def test_what_stands_at_dead_positions_means_nothing():
    space = SPACES["token"]
    controller = shaken(space)
    canonical = torch.tensor([[0, 0, 0, 0, 0] + [3, 1, 1, 0, 2] * 2])
    noisy = torch.tensor([[0, 4, 1, 1, 3] + [3, 1, 1, 0, 2] * 2])
    assert torch.equal(controller.log_prob(canonical), controller.log_prob(noisy))
    assert torch.equal(controller.entropy(canonical), controller.entropy(noisy))
    off = torch.zeros(1, len(space), dtype=torch.int64)
    assert controller.live(off)[0].tolist() == list(space.live([0] * len(space)))


def test_a_single_value_is_certain():
    space = TokenSpace(sites=("ffn",), sizes=(1,), strides=(0,), rates=(0.1,))
    controller = shaken(space)
    tokens = torch.tensor([[1, 0, 0, 0, 0]])
    controller.log_prob(tokens).sum().backward()
    assert torch.equal(controller.bias.grad[1], torch.zeros_like(controller.bias.grad[1]))
    assert torch.equal(controller.bias.grad[4], torch.zeros_like(controller.bias.grad[4]))


def test_frequencies():
    """Each of the 324 sequences as often as its probability says; exact binomial bounds, 1e-6 in all."""
    space, draws = small_space(), 20_000
    sequences = all_sequences(space)
    controller = shaken(space)
    probabilities = controller.log_prob(sequences).exp().tolist()
    tokens, _ = controller.sample(draws, generator(7))
    drawn, counts = tokens.unique(dim=0, return_counts=True)
    count_of = {tuple(row): int(n) for row, n in zip(drawn.tolist(), counts, strict=True)}
    known = [tuple(row) for row in sequences.tolist()]
    assert set(count_of) <= set(known)
    each = 1e-6 / len(known)
    for sequence, p in zip(known, probabilities, strict=True):
        low, high = binom.ppf(each / 2, draws, p), binom.isf(each / 2, draws, p)
        assert low <= count_of.get(sequence, 0) <= high


def test_equal_shares_of_the_unit_interval_draw_each_value_as_often_as_its_probability():
    probabilities, steps = torch.tensor([0.125, 0.0, 0.5, 0.375, 0.0], dtype=torch.float64), 1000
    uniform = (torch.arange(steps, dtype=torch.float64) / steps).unsqueeze(-1)
    drawn = _drawn(probabilities.log().expand(steps, -1), uniform, 4)
    assert ((drawn.bincount(minlength=5) - probabilities * steps).abs() <= 1).all()
    assert set(drawn.tolist()) == {0, 2, 3}
    rounded_down = torch.tensor([[0.5, 0.25]]).log()
    assert _drawn(rounded_down, torch.tensor([[0.9]]), 2).tolist() == [1]


def test_the_same_generator_state_gives_the_same_sequences(space):
    controller = shaken(space)
    first, second = controller.sample(9, generator(3)), controller.sample(9, generator(3))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], controller.sample(9, generator(4))[0])


def test_the_default_generator_is_torchs():
    controller = Controller(small_space())
    torch.manual_seed(5)
    first = controller.sample(20)[0]
    torch.manual_seed(5)
    assert torch.equal(first, controller.sample(20)[0])


def test_gradients_reach_every_parameter_and_stay_finite(space):
    controller = shaken(space, scale=0.1)
    tokens, _ = controller.sample(8, generator())
    log_prob, entropy = controller(tokens)
    (log_prob.sum() + entropy.sum()).backward()
    for name, parameter in controller.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_gradcheck():
    space = small_space()
    controller = shaken(space, width=4, heads=2).double()
    tokens = all_sequences(space)[::60]
    names, values = zip(*((n, p.detach().clone()) for n, p in controller.named_parameters()), strict=True)

    def both(*parameters):
        return torch.func.functional_call(controller, dict(zip(names, parameters, strict=True)), tokens)

    assert torch.autograd.gradcheck(both, [v.requires_grad_() for v in values], fast_mode=True)


@pytest.mark.parametrize("size", [30.0, 1000.0])
def test_extreme_parameters_stay_finite(size):
    space = SPACES["token"]
    controller = shaken(space, scale=size)
    tokens, log_prob = controller.sample(32, generator())
    everything = torch.tensor([space.sample(random.Random(seed)) for seed in range(32)])
    again, entropy = controller(everything)
    again.sum().backward()
    for tensor in (log_prob, again, entropy, *(p.grad for p in controller.parameters())):
        assert torch.isfinite(tensor).all()
    assert (tokens < torch.tensor(space.cardinalities)).all()


def test_the_default_dtype_does_not_matter():
    space = small_space()
    torch.manual_seed(0)
    expected = Controller(space).state_dict()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(0)
        other = Controller(space).state_dict()
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(expected[name], other[name]) for name in expected)
    assert {tensor.dtype for tensor in other.values()} == {torch.float32}


def test_state_dict_holds_parameters_only():
    controller = Controller(small_space())
    assert set(controller.state_dict()) == {name for name, _ in controller.named_parameters()}


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.zeros(2, 3, dtype=torch.int64), r"shape \(2, 3\); expected torch.int64 of shape \(N, 11\)"),
        (torch.zeros(11, dtype=torch.int64), r"shape \(11,\); expected"),
        (torch.zeros(2, 11), r"tokens are torch.float32 of shape \(2, 11\); expected torch.int64"),
        (torch.full((2, 11), 3), "token 0 of sequence 0 is 3; expected 0 to 2"),
        (torch.full((2, 11), -1), "token 0 of sequence 0 is -1; expected 0 to 2"),
    ],
)
def test_refuses_foreign_tokens(tokens, message):
    with pytest.raises(SpaceError, match=message):
        Controller(small_space()).log_prob(tokens)


def test_refuses_bad_sizes():
    for options in ({"layers": 0}, {"width": 30, "heads": 4}, {"heads": 0}):
        with pytest.raises(UsageError, match="expected at least 1 of each and a width that the heads divide"):
            Controller(small_space(), **options)
    with pytest.raises(UsageError, match="cannot sample 0 sequences; ask for at least 1"):
        Controller(small_space()).sample(0)
