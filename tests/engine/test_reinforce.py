import json
import math
from dataclasses import replace

import pytest
import torch

from autodropout.engine.controller import Controller
from autodropout.engine.gradient import importance_weights, reinforce_loss
from autodropout.engine.random import RandomSearcher
from autodropout.engine.reinforce import Reinforce
from autodropout.engine.reinforce_settings import ReinforceSettings
from autodropout.engine.searchers import make_searcher
from autodropout.errors import LedgerError, SpaceError, StudyError, UsageError
from contracts.searcher import SPACES, SearcherContract, batch_of, scored
from sequences import all_sequences, small_space


class TestReinforce(SearcherContract):
    settings = ReinforceSettings.default(48)
    name = "reinforce"

    def build(self, space, seed=0):
        return Reinforce(space, seed=seed, settings=self.settings, name=self.name)

    def rebuild(self, space, searcher, seed=0):
        settings = json.loads(json.dumps(dict(searcher.settings)))
        return make_searcher(searcher.name, space, seed=seed, trials=9999, settings=settings)


class TestPaper(TestReinforce):
    settings = ReinforceSettings.paper(batch=3)
    name = "reinforce-paper"


class TestStandardised(TestReinforce):
    settings = ReinforceSettings(batch=3, advantage="standardised", layers=2, width=8)


# The estimator


def exact(seed):
    """A float64 controller with every parameter away from its start."""
    torch.manual_seed(seed)
    controller = Controller(small_space(), width=8).double()
    with torch.no_grad():
        for parameter in controller.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return controller


def gradient(controller, value):
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(controller.parameters()))])


@pytest.mark.parametrize("stale", [False, True], ids=["on policy", "stale"])
@pytest.mark.parametrize("baseline", [0.0, 0.7])
def test_the_expected_estimate_is_the_exact_gradient(stale, baseline):
    """Eqs. 2 and 3: E[w (Perf(r) - b) grad log P(r; theta)] over r ~ P(.; theta_i) is grad J(theta)."""
    sequences = all_sequences(small_space())
    performance = torch.rand(len(sequences), dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    controller = exact(0)
    drawn_from = exact(1) if stale else controller
    drawn_log_prob = drawn_from.log_prob(sequences).detach()
    expectation = sum(
        probability * reinforce_loss(log_prob[None], drawn[None], (perf - baseline)[None])
        for probability, log_prob, drawn, perf in zip(
            drawn_log_prob.exp(), controller.log_prob(sequences), drawn_log_prob, performance, strict=True
        )
    )
    objective = (controller.log_prob(sequences).exp() * performance).sum()
    expected = gradient(controller, objective)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(-gradient(controller, expectation), expected, rtol=1e-9, atol=1e-13)


def test_the_loss_of_a_batch_is_the_mean_over_its_trials():
    log_prob = torch.tensor([-3.0, -1.0, -2.0], requires_grad=True)
    drawn, advantage = torch.tensor([-2.0, -4.0, -2.0]), torch.tensor([1.0, -2.0, 0.5])
    reinforce_loss(log_prob, drawn, advantage, 5.0).backward()
    weights = [math.exp(-1), 5.0, 1.0]
    expected = [-w * a / 3 for w, a in zip(weights, advantage.tolist(), strict=True)]
    assert log_prob.grad.tolist() == pytest.approx(expected)


def test_weights_are_truncated_above_only():
    log_prob, drawn = torch.tensor([-10.0, -1.0, -2.0, -400.0]), torch.tensor([-1.0, -3.0, -2.0, -4.0])
    bare = importance_weights(log_prob, drawn, None)
    assert bare.tolist() == pytest.approx([math.exp(-9), math.exp(2), 1, math.exp(-396)])
    bounded = importance_weights(log_prob, drawn, 5.0)
    assert bounded.tolist() == pytest.approx([math.exp(-9), 5, 1, math.exp(-396)])
    assert torch.isfinite(importance_weights(torch.tensor([0.0]), torch.tensor([-1e4]), None)).all()


# One update


def steps_by_hand(searcher, trials, settings, advantages_):
    """Eq. 3 trial by trial, then Adam as torch has it; returns what the parameters should be."""
    controller = Controller(SPACES["token"], prior=settings.prior, bias=settings.bias)
    controller.load_state_dict(searcher.controller.state_dict())
    bias = [p for n, p in controller.named_parameters() if n == "bias"]
    network = [p for n, p in controller.named_parameters() if n != "bias"]
    adam = torch.optim.Adam(
        [{"params": network, "lr": settings.learning_rate}]
        + [{"params": [p], "lr": settings.bias_learning_rate} for p in bias]
    )
    total = torch.zeros(())
    for trial, advantage in zip(trials, advantages_, strict=True):
        tokens = torch.tensor([trial.tokens])
        log_prob = controller.log_prob(tokens)[0]
        weight = min(math.exp(log_prob.item() - trial.log_prob), settings.bound or math.inf)
        total = total + weight * advantage * log_prob + settings.entropy * controller.entropy(tokens)[0]
    (-total / len(trials)).backward()
    adam.step()
    return controller.state_dict()


@pytest.mark.parametrize("stale", [0.0, -1.0, -8.0])
def test_learn_is_one_step_of_adam_along_the_estimate(stale):
    settings = ReinforceSettings(batch=4, advantage="standardised", entropy=0.05, learning_rate=0.01)
    searcher = Reinforce(SPACES["token"], settings=settings)
    rewards = [0.0, 1.0, 3.0, 4.0]
    trials = scored(searcher.propose(0), rewards)
    trials = [replace(t, log_prob=t.log_prob + stale) for t in trials]
    expected = steps_by_hand(searcher, trials, settings, [(r - 2) / math.sqrt(2.5) for r in rewards])
    figures = searcher.learn(trials)
    for name, parameter in searcher.controller.state_dict().items():
        torch.testing.assert_close(parameter, expected[name], rtol=1e-4, atol=1e-5)
    assert figures["truncated"] == (4 if stale == -8.0 else 0)
    assert figures["ess"] == pytest.approx(4, rel=1e-4)
    assert figures["baseline"] == figures["mean_reward"] == 2


def test_figures():
    searcher = Reinforce(SPACES["token"], settings=ReinforceSettings(batch=4))
    first = searcher.learn(scored(batch_of(searcher), [1.0, 2.0, 3.0, 6.0]))
    assert first["mean_reward"] == 3
    assert first["staleness"] == 0
    assert first["updates"] == 1
    assert first["grad_norm"] > 0
    proposals = batch_of(searcher)
    live = sum(sum(SPACES["token"].live(p.tokens)) for p in proposals)
    tokens = torch.tensor([p.tokens for p in proposals])
    entropy = searcher.controller.entropy(tokens).sum().item() / live
    second = searcher.learn(scored(proposals, [1.0, 2.0, 3.0, 4.0], update=0))
    assert second["staleness"] == 1
    assert second["entropy"] == pytest.approx(entropy, rel=1e-5)


def test_effective_sample_size_of_stale_trials():
    searcher = Reinforce(SPACES["token"], settings=ReinforceSettings(batch=4, bound=None))
    trials = scored(searcher.propose(0), [1.0, 2.0, 3.0, 4.0])
    shifts = [0.0, 1.0, 2.0, 3.0]
    shifted = [replace(t, log_prob=t.log_prob - shift) for t, shift in zip(trials, shifts, strict=True)]
    weights = [math.exp(shift) for shift in shifts]
    expected = sum(weights) ** 2 / sum(w * w for w in weights)
    assert searcher.learn(shifted)["ess"] == pytest.approx(expected, rel=1e-3)


def test_the_moving_average_follows_the_rewards():
    searcher = Reinforce(SPACES["token"], settings=ReinforceSettings(batch=2, advantage="ema", decay=0.5))
    baselines = [
        searcher.learn(scored(batch_of(searcher), rewards))["baseline"]
        for rewards in ([1.0, 3.0], [4.0, 0.0], [9.0, 9.0])
    ]
    assert baselines == [2.0, 2.0, 1.5]


def test_good_proposals_become_likelier():
    searcher = Reinforce(SPACES["token"], settings=ReinforceSettings(batch=4))
    proposals = batch_of(searcher)
    best = torch.tensor([max(proposals, key=lambda p: sum(p.tokens)).tokens])
    before = searcher.controller.log_prob(best).item()
    for update in range(3):
        searcher.learn(scored(proposals, [float(sum(p.tokens)) for p in proposals], update=update))
    assert searcher.controller.log_prob(best).item() > before + 1


def test_even_bare_ratios_of_hopelessly_stale_trials_leave_numbers():
    searcher = Reinforce(SPACES["token"], settings=ReinforceSettings.paper(batch=2))
    for log_prob in (-1e4, 0.0, -1e300):
        trials = [replace(t, log_prob=log_prob) for t in scored(batch_of(searcher), [0.0, 1.0])]
        assert all(math.isfinite(value) for value in searcher.learn(trials).values())
    assert all(torch.isfinite(p).all() for p in searcher.controller.parameters())


def test_learns_where_gradients_are_off():
    """An evaluate of the user's, run in this process, may have switched them off."""
    searcher, other = (Reinforce(SPACES["token"], settings=ReinforceSettings(batch=2)) for _ in range(2))
    searcher.learn(scored(batch_of(searcher), [0.0, 1.0]))
    with torch.no_grad():
        other.learn(scored(batch_of(other), [0.0, 1.0]))
    assert searcher.snapshot() == other.snapshot()


# Refusals


@pytest.mark.parametrize("log_prob", [None, math.nan, -math.inf])
def test_refuses_an_unknown_log_probability(log_prob):
    searcher = Reinforce(SPACES["token"], settings=ReinforceSettings(batch=2))
    before = searcher.snapshot()
    good, bad = scored(batch_of(searcher), [0.0, 1.0])
    bad = replace(bad, log_prob=log_prob)
    with pytest.raises(
        UsageError, match=f"trial 1 has log-probability {log_prob}; REINFORCE learns only from"
    ):
        searcher.learn([good, bad])
    assert searcher.snapshot() == before


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf])
def test_refuses_a_reward_that_is_no_number(reward):
    searcher = Reinforce(SPACES["token"], settings=ReinforceSettings(batch=2))
    with pytest.raises(
        UsageError, match=f"trial 1 has reward {reward}; teach the floor for trials that diverged"
    ):
        searcher.learn(scored(batch_of(searcher), [0.0, reward]))


def test_refuses_tokens_of_another_space():
    searcher = Reinforce(SPACES["token"], settings=ReinforceSettings(batch=2))
    before = searcher.snapshot()
    foreign = Reinforce(SPACES["conv"], settings=ReinforceSettings(batch=2))
    with pytest.raises(UsageError, match="trial 0 has 17 tokens; the space has 15 decisions"):
        searcher.learn(scored(batch_of(foreign), [0.0, 1.0]))
    trials = [replace(t, tokens=(9,) * 15) for t in scored(batch_of(searcher), [0.0, 1.0])]
    with pytest.raises(SpaceError, match="token 0 of sequence 0 is 9; expected 0 to 6"):
        searcher.learn(trials)
    assert searcher.snapshot() == before


def test_refuses_rewards_beyond_float32():
    searcher = Reinforce(SPACES["token"], settings=ReinforceSettings.paper(batch=2))
    before = searcher.snapshot()
    with pytest.raises(
        StudyError, match=r"the controller's gradient has norm \w+; are the rewards of sane size"
    ):
        searcher.learn(scored(batch_of(searcher), [-1e300, 1e300]))
    assert searcher.snapshot() == before


def test_refuses_a_snapshot_of_another_kind():
    searcher = Reinforce(SPACES["token"], settings=ReinforceSettings(batch=2))
    for other in (
        Reinforce(SPACES["conv"], settings=ReinforceSettings(batch=2)),
        Reinforce(SPACES["token"], settings=ReinforceSettings(batch=2, bias=False)),
        Reinforce(SPACES["token"], settings=ReinforceSettings(batch=2, width=16)),
        RandomSearcher(SPACES["token"]),
    ):
        with pytest.raises(LedgerError, match=r"another space or other settings|is damaged"):
            searcher.restore(other.snapshot())
