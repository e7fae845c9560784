"""What every searcher owes the search; a searcher's tests inherit it and say how one is built."""

import json
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence

import pytest
import torch

from autodropout.conv_space import ConvSpace
from autodropout.engine.base import Proposal, Scored, Searcher
from autodropout.errors import LedgerError, UsageError
from autodropout.space import PAD, Space
from autodropout.token_space import TokenSpace

SPACES = {
    "token": TokenSpace.wide(("query", "ffn", "residual")),
    "conv": ConvSpace(sites={"a": (32, 32), "b": (8, 8)}, residual=("a",), schedule=True),
}


def scored(
    proposals: Sequence[Proposal], rewards: Sequence[float], *, update: int = 0, floored: bool = False
) -> list[Scored]:
    return [
        Scored(
            trial=number,
            tokens=proposal.tokens,
            log_prob=proposal.log_prob,
            reward=reward,
            floored=floored,
            update=update,
        )
        for number, (proposal, reward) in enumerate(zip(proposals, rewards, strict=True))
    ]


def batch_of(searcher: Searcher) -> list[Proposal]:
    """As many proposals as an update takes."""
    proposals: list[Proposal] = []
    draw = 0
    while len(proposals) < searcher.batch:
        proposals += searcher.propose(draw)
        draw += 1
    return proposals[: searcher.batch]


def teach(searcher: Searcher, updates: int, *, salt: int = 0) -> list[dict[str, float]]:
    """Let it learn from its own proposals; the rewards depend on tokens and salt alone."""
    figures = []
    for update in range(updates):
        proposals = batch_of(searcher)
        rewards = [random.Random(repr((p.tokens, salt))).random() for p in proposals]
        figures.append(dict(searcher.learn(scored(proposals, rewards, update=update))))
    return figures


class SearcherContract(ABC):
    @abstractmethod
    def build(self, space: Space, seed: int = 0) -> Searcher:
        """Return a new searcher."""

    @abstractmethod
    def rebuild(self, space: Space, searcher: Searcher, seed: int = 0) -> Searcher:
        """Return a new searcher with the settings that another one reports, as read back from JSON."""

    @pytest.fixture(params=SPACES)
    def space(self, request):
        return SPACES[request.param]

    @pytest.fixture
    def searcher(self, space):
        return self.build(space)

    def test_proposals_belong_to_the_space(self, space, searcher):
        teach(searcher, 1)
        for proposal in [p for draw in range(20) for p in searcher.propose(draw)]:
            assert isinstance(proposal.tokens, tuple)
            assert all(type(token) is int for token in proposal.tokens)
            space.decode(proposal.tokens)
            live = space.live(proposal.tokens)
            assert all(t == PAD for t, alive in zip(proposal.tokens, live, strict=True) if not alive)

    def test_log_probabilities_are_of_one_distribution(self, searcher):
        teach(searcher, 1)
        seen: dict[tuple[int, ...], float] = {}
        for proposal in [p for draw in range(20) for p in searcher.propose(draw)]:
            if proposal.log_prob is None:
                continue
            assert math.isfinite(proposal.log_prob)
            assert proposal.log_prob <= 1e-6
            assert proposal.log_prob == pytest.approx(
                seen.setdefault(proposal.tokens, proposal.log_prob), abs=1e-4
            )

    def test_the_same_state_and_draw_propose_the_same(self, space, searcher):
        teach(searcher, 2)
        other = self.build(space)
        teach(other, 2)
        for draw in (3, 0, 1):
            assert searcher.propose(draw) == searcher.propose(draw) == other.propose(draw)

    def test_other_draws_seeds_and_updates_propose_others(self, space, searcher):
        drawn = [tuple(p for draw in range(4) for p in searcher.propose(base + draw)) for base in (0, 4)]
        drawn.append(tuple(p for draw in range(4) for p in self.build(space, seed=1).propose(draw)))
        teach(searcher, 1)
        drawn.append(tuple(p for draw in range(4) for p in searcher.propose(draw)))
        assert len({tuple(p.tokens for p in proposals) for proposals in drawn}) == 4

    def test_propose_leaves_no_trace(self, searcher):
        teach(searcher, 1)
        before = searcher.snapshot()
        for draw in range(3):
            searcher.propose(draw)
        assert searcher.snapshot() == before

    def test_the_users_randomness_and_threads_are_left_alone(self, space):
        threads = torch.get_num_threads()
        torch.set_num_threads(threads + 1)
        try:
            before = torch.get_rng_state(), random.getstate()
            teach(self.build(space), 2)
            assert torch.equal(torch.get_rng_state(), before[0])
            assert random.getstate() == before[1]
            assert torch.get_num_threads() == threads + 1
        finally:
            torch.set_num_threads(threads)

    def test_the_users_randomness_does_not_matter(self, space):
        torch.manual_seed(1)
        random.seed(1)
        first = self.build(space)
        teach(first, 1)
        torch.manual_seed(2)
        random.seed(2)
        second = self.build(space)
        teach(second, 1)
        assert first.snapshot() == second.snapshot()
        assert first.propose(0) == second.propose(0)

    def test_replay_is_bit_for_bit(self, space, searcher):
        taught = []
        for update in range(4):
            proposals = batch_of(searcher)
            taught.append(scored(proposals, [float(sum(p.tokens)) for p in proposals], update=update))
            searcher.learn(taught[-1])
        replayed = self.build(space)
        for trials in taught:
            replayed.learn(trials)
        assert replayed.snapshot() == searcher.snapshot()
        assert replayed.propose(0) == searcher.propose(0)

    def test_a_snapshot_restores_bit_for_bit(self, space, searcher):
        teach(searcher, 3)
        snapshot = searcher.snapshot()
        assert isinstance(snapshot, bytes)
        restored = self.build(space)
        teach(restored, 1, salt=9)
        restored.restore(snapshot)
        assert restored.snapshot() == snapshot
        assert restored.propose(2) == searcher.propose(2)
        assert teach(restored, 2, salt=3) == teach(searcher, 2, salt=3)
        assert restored.snapshot() == searcher.snapshot() != snapshot

    def test_a_snapshot_can_be_taken_before_the_first_update(self, space, searcher):
        snapshot = searcher.snapshot()
        teach(searcher, 2)
        searcher.restore(snapshot)
        assert searcher.snapshot() == snapshot
        assert searcher.propose(0) == self.build(space).propose(0)

    @pytest.mark.parametrize("damage", [b"", b"\x00", b"no snapshot", b"[]", b"{}"])
    def test_refuses_a_damaged_snapshot(self, searcher, damage):
        teach(searcher, 1)
        before = searcher.snapshot()
        with pytest.raises(LedgerError, match="the searcher's snapshot"):
            searcher.restore(damage)
        with pytest.raises(LedgerError, match="the searcher's snapshot"):
            searcher.restore(before[: len(before) // 2])
        assert searcher.snapshot() == before

    def test_figures_are_finite_numbers_by_name(self, searcher):
        for figures in teach(searcher, 3):
            assert figures["mean_reward"] == pytest.approx(0.5, abs=0.5)
            assert all(type(value) is float and math.isfinite(value) for value in figures.values())
            assert json.loads(json.dumps(figures)) == figures
        assert figures["updates"] == 3

    @pytest.mark.parametrize("surplus", [-1, 1])
    def test_refuses_a_wrong_number_of_trials(self, searcher, surplus):
        before = searcher.snapshot()
        proposals = (batch_of(searcher) * 2)[: searcher.batch + surplus]
        with pytest.raises(
            UsageError,
            match=f"got {len(proposals)} trials to learn from; an update takes exactly {searcher.batch}",
        ):
            searcher.learn(scored(proposals, [0.0] * len(proposals)))
        assert searcher.snapshot() == before

    def test_bears_equal_rewards_and_batches_at_the_floor(self, searcher):
        for floored, reward in ((False, 1.0), (True, -1e9), (True, 0.0)):
            proposals = batch_of(searcher)
            figures = searcher.learn(scored(proposals, [reward] * len(proposals), floored=floored))
            assert all(math.isfinite(value) for value in figures.values())
        assert all(p.log_prob is None or math.isfinite(p.log_prob) for p in searcher.propose(0))

    def test_settings_are_json_and_build_the_same_searcher(self, space, searcher):
        assert json.loads(json.dumps(dict(searcher.settings))) == dict(searcher.settings)
        again = self.rebuild(space, searcher)
        assert again.name == searcher.name
        assert again.batch == searcher.batch >= 1
        assert dict(again.settings) == dict(searcher.settings)
        assert teach(again, 2) == teach(searcher, 2)
        assert again.snapshot() == searcher.snapshot()
