"""Searches with successive halving, as a user runs them."""

import sqlite3
from contextlib import closing

import pytest

from autodropout.engine.confirm import Confirmation
from autodropout.engine.events import PhaseBegan, TrialFinished, TrialPromoted
from autodropout.engine.executors.base import Done
from autodropout.engine.halving import Halving
from autodropout.engine.history import replay
from autodropout.engine.run import search
from autodropout.engine.searchers import SEARCHERS
from autodropout.errors import UsageError
from autodropout.result import Result
from autodropout.token_space import TokenSpace
from scripted import ScriptedExecutor, lost, raised

SPACE = TokenSpace(sites=("query", "ffn"))
HALVING = Halving(factor=2, rungs=3, startup=3, window=8, spared=0.1)
NONE = Confirmation(top=0)


def learned(policy, seed, budget=1.0):
    return Result(reward=len(policy.sites) + seed % 97 / 97 + budget, seconds=1.0)


def find(out, evaluate=learned, **changes):
    asked = {"trials": 24, "batch": 4, "out": out, "executor": "inline", "confirm": NONE, "halving": HALVING}
    return search(evaluate, SPACE, **asked | changes)


def chains(study):
    """The trials of each policy, first to last."""
    with closing(sqlite3.connect(study.out / "study.db")) as connection:
        sources = dict(connection.execute("SELECT id, source FROM trials WHERE kind = 'search'"))
    by_number = {trial.id: trial for trial in study.trials if trial.kind == "search"}
    found = []
    for last in by_number.keys() - set(sources.values()):
        chain, number = [], last
        while number is not None:
            chain.insert(0, by_number[number])
            number = sources[number]
        found.append(chain)
    return found


class TestSearches:
    def test_so_many_policies_are_proposed_and_each_is_taught_once(self, memory_path):
        study = find(memory_path)
        policies = chains(study)
        assert len(policies) == 24 == study.tally().done == study.tally().proposed
        assert {len(chain) for chain in policies} >= {1, 3}
        for chain in policies:
            assert [trial.budget for trial in chain] == [0.25, 0.5, 1.0][: len(chain)]
            assert len({(trial.tokens, trial.seed, trial.log_prob, trial.update) for trial in chain}) == 1
            assert all(t.result == learned(t.policy, t.seed, t.budget) for t in chain)
            assert all(trial.reward is None for trial in chain[:-1])
            assert chain[-1].reward is not None
        taught = [number for update in study.updates for number in update.trials]
        assert sorted(taught) == sorted(chain[-1].id for chain in policies)

    def test_the_best_is_one_that_was_trained_in_full(self, memory_path):
        study = find(memory_path, lambda policy, seed, budget: len(policy.sites) + 10 - 9 * budget)
        best = study.trial(study.best.trial)
        assert best.budget == 1.0
        assert study.best.reward == best.result.reward == max(
            t.result.reward for t in study.trials if t.budget == 1.0
        )  # fmt: skip

    def test_confirmations_are_full_trainings(self, memory_path):
        study = find(memory_path, confirm=Confirmation(top=2, seeds=2))
        assert [t.budget for t in study.trials if t.kind == "confirm"] == [1.0] * 4
        assert study.best.rewards

    @pytest.mark.parametrize("trainings", [1.0, 5.5, 16.0, 128.0])
    def test_as_many_proposals_as_the_trainings_allow(self, trainings):
        halving = Halving()
        most = halving.proposals(trainings)
        assert halving.trainings(most + 1) > trainings
        assert halving.trainings(most) <= trainings or most == 1

    def test_it_is_cheaper_by_about_what_the_settings_say(self, memory_path):
        halving = Halving(factor=3, rungs=3, startup=4, window=30, spared=0.0)
        study = find(memory_path, trials=120, searcher="random", halving=halving)
        spent = sum(trial.budget for trial in study.trials)
        assert spent == pytest.approx(halving.trainings(120), rel=0.25)
        assert spent < 60

    def test_a_searcher_that_learns_costs_about_that_too(self, memory_path):
        """Late trials beat early ones: they are held against their like, and the bar rises."""
        halving = Halving()

        def improving(policy, seed, budget):
            worth = sum(pattern.rate for pattern in policy.sites.values())
            return Result(reward=3 * worth + 0.1 * (seed % 97 / 97) + budget, seconds=budget)

        study = find(memory_path, improving, trials=160, searcher="reinforce", batch=8, halving=halving)
        rewards = [trial.result.reward for trial in study.trials if trial.budget < 0.2]
        assert sum(rewards[-40:]) / 40 > sum(rewards[:40]) / 40 + 0.5, "it learns"
        spent = sum(trial.budget for trial in study.trials)
        assert spent == pytest.approx(halving.trainings(160), rel=0.3)

    @pytest.mark.parametrize("name", SEARCHERS)
    def test_every_searcher_resumes_to_the_same_history_and_replays(self, memory_path, name):
        whole = find(memory_path / "whole", searcher=name, trials=14)
        find(memory_path / "parts", searcher=name, trials=9)
        parts = find(memory_path / "parts", searcher=name, trials=14)
        assert find(memory_path / "again", searcher=name, trials=14).trials == whole.trials
        assert parts.tally().done == 14
        for study in (whole, parts):
            with closing(sqlite3.connect(study.out / "study.db")) as connection:
                query = "SELECT snapshot FROM updates ORDER BY number DESC LIMIT 1"
                ((last,),) = connection.execute(query).fetchall()
            assert replay(study.out).snapshot() == last

    def test_workers_get_the_budget(self, memory_path):
        study = find(memory_path, trials=6, executor="local", workers=2)
        assert {trial.budget for trial in study.trials} == {0.25, 0.5, 1.0}
        assert all(t.result == learned(t.policy, t.seed, t.budget) for t in study.trials)

    def test_without_halving_evaluate_takes_two_arguments(self, memory_path):
        study = find(memory_path, lambda policy, seed: 1.0, halving=None)
        assert {trial.budget for trial in study.trials} == {1.0}
        assert study.record.halving is None

    def test_events_tell_who_goes_on(self, memory_path):
        events = []
        study = find(memory_path, on_event=events.append)
        finished = [event for event in events if isinstance(event, TrialFinished)]
        promoted = [event for event in events if isinstance(event, TrialPromoted)]
        assert len(finished) == 24
        assert {event.successor for event in promoted} == {t.id for c in chains(study) for t in c[1:]}
        assert all(e.reward == study.trial(e.trial).result.reward for e in finished + promoted)
        done = [event for event in events if isinstance(event, PhaseBegan)][-1]
        assert done.best == max(e.reward for e in finished if e.budget == 1.0)


class TestFailures:
    def run(self, out, outcome, **changes):
        return find(out, executor=ScriptedExecutor(outcome), **changes)

    @staticmethod
    def worth(job):
        return Done(result=Result(reward=float(job.seed % 97), seconds=1.0))

    def test_who_diverges_is_taught_the_floor_and_does_not_go_on(self, memory_path):
        def outcome(job):
            reward = float("nan") if job.trial == 2 else float(job.seed % 97)
            return Done(result=Result(reward=reward, seconds=1.0))

        study = self.run(memory_path, outcome, floor=-5.0)
        (chain,) = [c for c in chains(study) if c[0].id == 2]
        assert len(chain) == 1
        assert chain[0].reward == -5.0

    def test_who_fails_on_a_later_rung_is_taught_the_floor_once(self, memory_path):
        def outcome(job):
            return raised() if job.budget == 0.5 and job.seed % 3 == 0 else self.worth(job)

        study = self.run(memory_path, outcome, floor=-5.0)
        ends = [c[-1] for c in chains(study) if c[-1].state == "failed"]
        assert ends
        assert all(trial.reward == -5.0 and trial.budget == 0.5 for trial in ends)
        assert study.tally().proposed == 24

    def test_a_policy_lost_on_a_later_rung_is_replaced(self, memory_path):
        gone = []

        def outcome(job):
            if (job.budget == 0.5 and not gone) or job.trial in gone:
                gone.append(job.trial)
                return lost()
            return self.worth(job)

        study = self.run(memory_path, outcome, max_attempts=2)
        assert study.tally().replaced == 1
        assert len(chains(study)) == 25
        assert study.tally().done == 24
        taught = {number for update in study.updates for number in update.trials}
        assert not taught & set(gone)


class TestWrongUse:
    def test_an_evaluation_that_takes_no_budget(self, tmp_path):
        text = r"halving calls evaluate\(policy, seed, budget\), but evaluate takes \(policy, seed\); give it"
        with pytest.raises(UsageError, match=text):
            find(tmp_path / "new", lambda policy, seed: 1.0)
        assert not (tmp_path / "new").exists()

    def test_what_is_no_halving(self, tmp_path):
        with pytest.raises(UsageError, match="halving is 3; expected a Halving, or None for full trainings"):
            find(tmp_path / "new", halving=3)

    @pytest.mark.parametrize("other", [None, Halving()])
    def test_another_halving_is_another_study(self, tmp_path, other):
        find(tmp_path, trials=4)
        with pytest.raises(UsageError, match="holds a study with another halving"):
            find(tmp_path, trials=4, halving=other)
