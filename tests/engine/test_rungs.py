"""Who goes on, what is taught, and that stopping early does not favour fast starters."""

from itertools import pairwise

import pytest
import torch

from autodropout.engine import rungs as rungs_module
from autodropout.engine.controller import Controller
from autodropout.engine.halving import Halving
from autodropout.engine.ledger_records import Unfinished
from autodropout.engine.rungs import Onward, Rungs, Taught
from autodropout.errors import UsageError
from sequences import all_sequences, small_space


class History:
    """A ledger's reader that knows these policies, all trained to the end."""

    def __init__(self, paths, budgets):
        self.paths, self.budgets = paths, budgets

    def rungs(self):
        number = 0
        for path in self.paths:
            source = None
            for budget, reward in zip(self.budgets, path, strict=False):
                number += 1
                yield number, source, budget, reward, budget < 1.0
                source = number


def rungs(halving, paths=()):
    return Rungs(halving, 0, History(paths, halving.budgets))


def trial(number=10_000, budget=1 / 9, log_prob=-1.0, **changes):
    asked = {"id": number, "kind": "search", "tokens": (), "seed": 1}
    return Unfinished(**asked, budget=budget, log_prob=log_prob, **changes)


@pytest.fixture
def coin(monkeypatch):
    """Whether trials that might go on do: a number in [0, 1) that stands for every coin."""
    tossed = {"side": 0.0}
    monkeypatch.setattr(rungs_module, "_coin", lambda seed, number: tossed["side"])
    return tossed


PLAIN = Halving(startup=4, window=12, spared=0.0)
WAITING = Halving(startup=11, window=12, spared=0.0)
"""None of the eleven below was promoted for being good."""
FAIR = Halving(startup=4, window=12, spared=0.1)
RISING = [(0.1 * n, 0.1 * n + 1.0, 0.1 * n + 2.0) for n in range(11)]
"""Eleven policies that gain 1 from rung to rung."""


class TestSettings:
    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({"factor": 1}, "halving.factor is 1; expected a whole number of at least 2"),
            ({"rungs": True}, "halving.rungs is True; expected a whole number of at least 2"),
            ({"startup": 0}, "halving.startup is 0; expected a whole number of at least 1"),
            ({"window": 7}, "halving.window is 7; expected a whole number of at least 8"),
            ({"spared": 1.0}, "halving.spared is 1.0; expected a probability from 0 to below 1"),
            ({"spared": float("nan")}, "halving.spared is nan; expected a probability"),
            ({"spared": "half"}, "halving.spared is 'half'; expected a probability"),
        ],
    )
    def test_refuses(self, changes, text):
        with pytest.raises(UsageError, match=text):
            Halving(**changes)

    @pytest.mark.parametrize("factor", [2, 3, 4])
    def test_budgets_grow_by_the_factor_up_to_one(self, factor):
        budgets = Halving(factor=factor, rungs=4).budgets
        assert budgets[-1] == 1.0
        assert all(b / a == pytest.approx(factor) for a, b in pairwise(budgets))

    def test_plain_and_back(self):
        assert Halving.from_plain(FAIR.to_plain()) == FAIR

    def test_expected_cost(self):
        # 8 policies all the way, 1,000 others: a ninth each, a third of them a third, a ninth of them all.
        halving = Halving(spared=0.0)
        assert halving.trainings(1008) == pytest.approx(8 * (1 + 1 / 3 + 1 / 9) + 1000 / 3)
        assert Halving(spared=0.5).trainings(1008) > halving.trainings(1008)


class TestWhoGoesOn:
    def test_the_first_go_on_whatever_they_show(self, coin):
        coin["side"] = 0.999
        decided = rungs(PLAIN)
        for number in range(4):
            assert isinstance(decided.settle(trial(number + 1), -float(number)), Onward)

    def test_all_go_on_until_one_has_reached_the_top(self):
        decided = rungs(PLAIN, [(0.5,)] * 9)
        assert isinstance(decided.settle(trial(), 0.0), Onward)

    def test_one_in_factor_goes_on(self, coin):
        coin["side"] = 0.5
        fates = [rungs(WAITING, RISING).settle(trial(), 0.1 * n + 0.05) for n in range(-1, 11)]
        assert [isinstance(fate, Onward) for fate in fates] == [False] * 8 + [True] * 4

    def test_equals_share_what_places_there_are(self, coin):
        same = [(0.5, 1.5, 2.5)] * 11
        for side, goes_on in ((0.3, True), (0.35, False)):
            coin["side"] = side
            assert isinstance(rungs(WAITING, same).settle(trial(), 0.5), Onward) is goes_on

    def test_only_the_window_counts(self, coin):
        coin["side"] = 0.5
        lately_better = RISING + [(9.0, 9.0, 9.0)] * 12
        assert isinstance(rungs(PLAIN, lately_better).settle(trial(), 2.0), Taught)

    def test_the_spared_share_of_the_others_goes_on(self):
        decided = rungs(Halving(startup=1, window=1000, spared=0.1), [(1.0, 1.0, 1.0)] * 999)
        spared = sum(isinstance(decided.settle(trial(n), 0.0), Onward) for n in range(2000, 3000))
        assert 50 <= spared <= 160  # 100 expected, deviation 9.5

    def test_the_bar_rises_for_a_searcher_that_keeps_getting_better(self):
        """Every trial beats all before it, the extreme: without a bar that rises all 300 would go on."""
        halving = Halving(startup=4, window=12, spared=0.0)
        decided = rungs(halving, [(0.01 * n, 1.0, 2.0) for n in range(4)])
        fates = [decided.settle(trial(100 + n), 1.0 + n) for n in range(300)]
        assert 100 <= sum(isinstance(fate, Onward) for fate in fates) <= 180

    def test_budgets_follow_one_another(self):
        decided = rungs(PLAIN)
        first = decided.settle(trial(1), 0.0)
        second = decided.settle(trial(2, budget=first.budget, source=1), 0.0)
        assert (first.budget, second.budget) == (pytest.approx(1 / 3), 1.0)
        assert decided.settle(trial(3, budget=1.0, source=2), 0.25) == Taught(reward=0.25)


class TestWhatIsTaught:
    def test_the_stopped_are_worth_what_their_like_came_to(self, coin):
        coin["side"] = 0.99
        assert rungs(PLAIN, RISING).settle(trial(), 0.0) == Taught(reward=pytest.approx(2.0))

    def test_a_line_through_the_pairs_predicts(self, coin):
        coin["side"] = 0.99
        bent = [(x, x, 5.0 + 3.0 * x) for x, _, _ in RISING]
        assert rungs(PLAIN, bent).settle(trial(), -1.0).reward == pytest.approx(2.0)

    def test_a_line_never_falls(self, coin):
        coin["side"] = 0.99
        falling = [(x, x, 1.0 - x) for x, _, _ in RISING]
        assert rungs(PLAIN, falling).settle(trial(), -1.0).reward == pytest.approx(0.5)

    def test_few_pairs_give_a_shift(self, coin):
        coin["side"] = 0.99
        assert rungs(PLAIN, RISING[:5]).settle(trial(), -1.0).reward == pytest.approx(1.0)

    @pytest.mark.parametrize(("halving", "log_prob"), [(PLAIN, -1.0), (FAIR, None)])
    def test_a_full_training_is_worth_itself(self, coin, halving, log_prob):
        """Without fairness, or for a searcher that keeps the best: its own reward, bit for bit."""
        decided = rungs(halving, RISING)
        fate = decided.settle(trial(10_000, log_prob=log_prob), 1.0)
        assert (fate.carried, fate.weight) == (0.0, 1.0)
        fate = decided.settle(trial(10_001, 1 / 3, log_prob, source=10_000, carried=0.0), 2.0)
        fate = decided.settle(trial(10_002, 1.0, log_prob, source=10_001, carried=fate.carried), 0.1 + 0.2)
        assert fate == Taught(reward=0.1 + 0.2)


class Coin(float):
    """A coin that remembers the probability it was asked about: not read off what is to be checked."""

    asked = 1.0

    def __lt__(self, chance):
        type(self).asked = chance
        return float(self) < chance


def climb(decided, path, coin, *, stop_at=None):
    """Send a policy up the rungs, all coins falling well, but for the rung where it is stopped.

    Returns its last fate, and the probability with which it left each rung upwards.
    """
    chances, terms = [], {}
    for at, (budget, reward) in enumerate(zip(FAIR.budgets, path, strict=True)):
        Coin.asked = 1.0
        coin["side"] = Coin(1.0 - 1e-12 if at == stop_at else 0.0)
        source = None if at == 0 else 10_000 + at - 1
        fate = decided.settle(trial(10_000 + at, budget, source=source, **terms), reward)
        chances.append(Coin.asked)
        if isinstance(fate, Taught):
            return fate, chances
        terms = {"carried": fate.carried, "weight": fate.weight}
    raise AssertionError("the last rung is the end")


def expected(make, path, coin):
    """The mean of what is taught of a policy that shows ``path``, over all coins."""
    complete, chances = climb(make(), path, coin, stop_at=None)
    total, here = 0.0, 1.0
    for at, chance in enumerate(chances[:-1]):
        if chance < 1.0:
            stopped, _ = climb(make(), path, coin, stop_at=at)
            total += here * (1.0 - chance) * stopped.reward
        here *= chance
        if here == 0.0:
            return total
    return total + here * complete.reward


class TestBias:
    """Half of all policies start fast and end low, half start slowly and end high."""

    space = small_space()

    def policies(self):
        sequences = all_sequences(self.space)
        generator = torch.Generator().manual_seed(3)
        full = torch.rand(len(sequences), dtype=torch.float64, generator=generator)
        fast = torch.arange(len(sequences)) % 2 == 0
        # Early rewards of fast starters flatter them by .3, of the others the other way round.
        lead = torch.where(fast, 0.3, -0.3)
        paths = torch.stack([full - 1.0 + lead, full - 0.5 + lead / 2, full], dim=1)
        return sequences, fast, paths

    def gradient(self, values):
        """Gradient of E[value] over the sequences, with respect to the controller's parameters."""
        with torch.random.fork_rng():
            torch.manual_seed(5)
            controller = Controller(self.space, width=8).double()
            torch.nn.init.normal_(controller.head, std=0.5)
        value = (controller.log_prob(self.sequences).exp() * values).sum()
        return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(controller.parameters()))])

    def test_the_expected_estimate_is_the_exact_gradient_and_asha_leans_to_fast_starters(self, coin):
        self.sequences, fast, paths = self.policies()
        past = paths[torch.randperm(len(paths), generator=torch.Generator().manual_seed(1))[:12]].tolist()

        def taught(halving):
            return torch.tensor(
                [expected(lambda: rungs(halving, past), path, coin) for path in paths.tolist()],
                dtype=torch.float64,
            )

        fair, plain = taught(FAIR), taught(PLAIN)
        torch.testing.assert_close(fair, paths[:, 2], rtol=0, atol=1e-9)
        exact = self.gradient(paths[:, 2])
        torch.testing.assert_close(self.gradient(fair), exact, rtol=1e-7, atol=1e-11)

        def leaning(values):
            """How much more fast starters are credited with than they are worth, compared with slow ones."""
            error = values - paths[:, 2]
            return float(error[fast].mean() - error[~fast].mean())

        def angle(values):
            return float(torch.cosine_similarity(self.gradient(values), exact, dim=0))

        # Early rewards as they are lean by all of the lead, .6; ASHA with predictions by part of it.
        assert leaning(paths[:, 0]) == pytest.approx(0.6, abs=0.01)
        assert 0.1 < leaning(plain) < 0.6
        assert abs(leaning(fair)) < 1e-9
        assert angle(paths[:, 0]) < angle(plain) < angle(fair) == pytest.approx(1.0)
