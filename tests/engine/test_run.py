import json
import os
import signal
import sqlite3
import threading
from contextlib import closing
from itertools import pairwise

import pytest

from autodropout.conv_space import ConvSpace
from autodropout.engine import ledger_schema, loop
from autodropout.engine.base import Proposal
from autodropout.engine.confirm import Confirmation
from autodropout.engine.control import request
from autodropout.engine.events import (
    Learned,
    Paused,
    PhaseBegan,
    TrialFailed,
    TrialFinished,
    TrialRetried,
    TrialStarted,
)
from autodropout.engine.executors.base import Done, TimedOut
from autodropout.engine.executors.inline import InlineExecutor
from autodropout.engine.history import replay
from autodropout.engine.ledger import Ledger
from autodropout.engine.random import RandomSearcher
from autodropout.engine.run import search
from autodropout.engine.searchers import SEARCHERS
from autodropout.engine.study import Study
from autodropout.errors import LedgerError, StudyError, UsageError
from autodropout.result import Result
from autodropout.token_space import TokenSpace
from scripted import ScriptedExecutor, lost, raised, worth

SPACE = TokenSpace.wide(("query", "ffn"))
NONE = Confirmation(top=0)


def sites_on(policy, seed):
    return len(policy.sites) + seed % 97 / 97


def find(out, executor=None, **changes):
    asked = {
        "trials": 8,
        "searcher": "random",
        "batch": 2,
        "out": out,
        "confirm": NONE,
        "executor": executor or ScriptedExecutor(),
    }
    return search(sites_on, SPACE, **asked | changes)


def trials(study):
    return {trial.id: trial for trial in study.trials}


class Sequence:
    """Proposes all policies in order of their first token; remembers what it was taught."""

    name, settings = "sequence", {"version": 1}

    def __init__(self, batch=2, size=5):
        self.batch, self.size, self.state, self.draws = batch, size, [], []

    def propose(self, draw):
        self.draws.append((len(self.state), draw))
        base = 100 * len(self.state) + 10 * draw
        return tuple(
            Proposal(tokens=(1, 0, 0, 0, (base + n) % 6) + (0,) * 5, log_prob=-1.0 - base - n)
            for n in range(self.size)
        )

    def learn(self, scored):
        self.state.append([(s.trial, s.reward, s.floored, s.update, s.log_prob) for s in scored])
        return {"taught": float(len(self.state))}

    def snapshot(self):
        return json.dumps(self.state).encode()

    def restore(self, snapshot):
        self.state = [[tuple(scored) for scored in batch] for batch in json.loads(snapshot)]


class TestTheWholeSearch:
    @pytest.mark.parametrize(
        ("executor", "searcher"), [("inline", "reinforce"), ("inline", "random"), ("local", "reinforce")]
    )
    def test_finds_and_confirms(self, memory_path, executor, searcher):
        study = search(
            sites_on,
            SPACE,
            trials=12,
            searcher=searcher,
            batch=4,
            out=memory_path / "new" / "deep",
            executor=executor,
            confirm=Confirmation(top=2, seeds=3),
        )
        assert study.finished
        assert [t.kind for t in study.trials] == ["search"] * 12 + ["confirm"] * 6
        assert all(t.state == "done" and t.attempt == 1 for t in study.trials)
        assert all(t.reward == t.result.reward == sites_on(t.policy, t.seed) for t in study.trials)
        assert len(study.updates) == 3
        assert len(study.best.rewards) == 3
        assert study.best.reward == max(c.reward for c in study.confirmed)

    def test_defaults_suffice(self, memory_path, monkeypatch):
        monkeypatch.chdir(memory_path)
        study = search(sites_on, SPACE, trials=4, executor="inline")
        assert study.out.parent.name == "runs"
        assert (study.out / "study.db").exists()
        assert search(sites_on, SPACE, trials=4, executor="inline").out != study.out

    def test_the_same_search_twice_gives_the_same_history(self, memory_path):
        one, two = (find(memory_path / name, searcher="reinforce", seed=3) for name in "ab")
        assert one.trials == two.trials
        assert find(memory_path / "c", searcher="reinforce", seed=4).trials != one.trials

    def test_seeds_are_distinct_and_of_their_kind(self, memory_path):
        study = find(memory_path, confirm=Confirmation(top=3, seeds=2))
        seeds = {kind: [t.seed for t in study.trials if t.kind == kind] for kind in ("search", "confirm")}
        assert len(set(seeds["search"])) == 8
        assert len(set(seeds["confirm"])) == 2, "the same fresh seeds for every policy"
        assert not set(seeds["search"]) & set(seeds["confirm"])

    def test_the_study_says_what_made_it(self, memory_path):
        record = find(memory_path, task="toy", capacity=5, floor=-3.0).record
        assert (record.task, record.searcher, record.seed, record.batch) == ("toy", "random", 0, 2)
        assert record.options["capacity"] == 5
        assert record.options["floor"] == -3.0
        assert record.options["executor"] is None
        assert {"python", "torch", "autodropout"} <= record.versions.keys()
        assert record.machine["processors"] == os.cpu_count()
        assert record.command


class TestTwoQueues:
    def test_unfinished_is_refilled_at_once(self, memory_path):
        executor, seen = ScriptedExecutor(slots=2), []

        def watch(event):
            if isinstance(event, TrialStarted):
                seen.append(len(Study.open(memory_path).trials))

        find(memory_path, executor, capacity=5, on_event=watch)
        assert seen[:4] == [5, 5, 5, 6]
        assert max(seen) == 8

    def test_by_default_a_few_wait_beside_those_that_run(self, memory_path):
        executor = ScriptedExecutor(slots=8)
        proposed = []

        def watch(event):
            if isinstance(event, TrialStarted) and event.trial == 1:
                proposed.append(len(Study.open(memory_path).trials))

        find(memory_path, executor, trials=30, on_event=watch)
        assert proposed == [10]

    def test_every_m_finished_trials_make_one_update_in_order_of_finish(self, memory_path):
        order = {1: 3, 2: 1, 3: 2, 4: 6, 5: 4, 6: 5}
        executor = ScriptedExecutor(slots=3, rank=lambda t: order.get(t, t))
        study = find(memory_path, executor, searcher=Sequence(batch=3), batch=None, trials=7, capacity=3)
        assert [update.trials for update in study.updates] == [(2, 3, 1), (5, 6, 4)]
        assert [t.update for t in study.trials] == [0, 0, 0, 0, 0, 1, 1]

    def test_what_is_left_of_a_draw_is_dropped_at_the_update(self, memory_path):
        searcher = Sequence(batch=4, size=5)
        study = find(memory_path, searcher=searcher, batch=None, trials=12, capacity=1)
        places = [(-t.log_prob - 1) for t in study.trials]
        assert places == [0, 1, 2, 3, 100, 101, 102, 103, 200, 201, 202, 203]
        searcher = Sequence(batch=4, size=3)
        study = find(memory_path / "b", searcher=searcher, batch=None, trials=9, capacity=1)
        assert [(-t.log_prob - 1) for t in study.trials] == [0, 1, 2, 10, 100, 101, 102, 110, 200]
        assert searcher.draws == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]

    def test_several_endings_in_one_poll_are_as_several_polls(self, memory_path):
        studies = [
            find(
                memory_path / str(together),
                ScriptedExecutor(slots=4, together=together),
                searcher=Sequence(batch=3),
                batch=None,
                trials=11,
                capacity=6,
            )
            for together in (1, 3, 4)
        ]
        assert studies[0].trials == studies[1].trials == studies[2].trials
        taught = [[u.trials for u in study.updates] for study in studies]
        assert taught[0] == taught[1] == taught[2]

    def test_a_slot_that_is_given_on_is_never_seen_with_two_trials(self, memory_path):
        timings = find(memory_path, "inline").timings
        assert all(before.ended <= after.started for before, after in pairwise(timings))

    def test_a_searcher_that_proposes_nothing_is_an_error(self, memory_path):
        with pytest.raises(StudyError, match=r"'sequence' proposed nothing; expected at least one"):
            find(memory_path, searcher=Sequence(size=0), batch=None)


class TestFailures:
    def test_a_diverged_trial_is_taught_the_worst_reward_so_far(self, memory_path):
        rewards = iter([5.0, 3.0, float("nan"), 1.0, float("-inf"), float("inf")])
        executor = ScriptedExecutor(lambda job: Done(result=Result(reward=next(rewards), seconds=1.0)))
        searcher = Sequence(batch=6)
        study = find(memory_path, executor, searcher=searcher, batch=None, trials=6, max_attempts=1)
        assert [(s[1], s[2]) for s in searcher.state[0]] == [
            (5.0, False), (3.0, False), (3.0, True), (1.0, False), (1.0, True), (1.0, True),
        ]  # fmt: skip
        assert [t.state for t in study.trials] == ["done"] * 6
        assert trials(study)[3].error == "diverged: its reward is nan"
        assert trials(study)[5].result.reward == float("-inf")

    def test_a_given_floor_is_taught_instead(self, memory_path):
        executor = ScriptedExecutor(lambda job: raised() if job.trial == 2 else worth(job))
        study = find(memory_path, executor, floor=-7.5)
        assert trials(study)[2].reward == -7.5
        assert trials(study)[2].state == "failed"

    def test_before_any_finite_reward_nothing_is_taught(self, memory_path):
        rewards = iter([float("nan")] * 5 + [2.0, 1.0, 1.0])
        executor = ScriptedExecutor(lambda job: Done(result=Result(reward=next(rewards), seconds=1.0)))
        searcher = Sequence(batch=2)
        study = find(memory_path, executor, searcher=searcher, batch=None, capacity=1)
        assert [t.update for t in study.trials] == [0] * 6 + [3, 3]
        assert [s[1] for s in searcher.state[0] + searcher.state[1] + searcher.state[2]] == [2.0] * 6
        assert len(searcher.state) == 4

    def test_a_floor_given_later_is_taught_to_those_that_wait(self, memory_path):
        executor = ScriptedExecutor(lambda job: Done(result=Result(reward=float("nan"), seconds=1.0)))
        with pytest.warns(UserWarning, match="no trial returned a finite reward"):
            study = find(memory_path, executor)
        assert [t.reward for t in study.trials] == [None] * 8
        searcher = RandomSearcher(SPACE, batch=2)
        study = find(memory_path, executor, searcher=searcher, batch=None, floor=-5.0)
        assert [t.reward for t in study.trials] == [-5.0] * 8
        assert [update.trials for update in study.updates] == [(1, 2), (3, 4), (5, 6), (7, 8)]

    def test_if_nothing_is_ever_finite_there_is_no_best(self, memory_path):
        executor = ScriptedExecutor(lambda job: Done(result=Result(reward=float("nan"), seconds=1.0)))
        with pytest.warns(
            UserWarning,
            match="so there is no best policy: study.best is None",
        ):
            study = find(memory_path, executor, confirm=Confirmation())
        assert (study.finished, study.best, study.updates) == (True, None, ())

    def test_a_lost_trial_runs_again_with_id_seed_and_tokens(self, memory_path):
        executor = ScriptedExecutor(lambda job: lost() if (job.trial, job.attempt) == (2, 1) else worth(job))
        study = find(memory_path, executor)
        first, second = (job for job in executor.submitted if job.trial == 2)
        assert (first.attempt, second.attempt) == (1, 2)
        assert (first.seed, first.policy) == (second.seed, second.policy)
        assert (trials(study)[2].state, trials(study)[2].attempt) == ("done", 2)
        assert study.tally().proposed == len(study.trials) == 8

    def test_a_trial_lost_for_good_is_replaced_and_not_taught(self, memory_path):
        executor = ScriptedExecutor(lambda job: lost() if job.trial == 2 else worth(job))
        searcher = Sequence(batch=4)
        study = find(memory_path, executor, searcher=searcher, batch=None, max_attempts=3)
        assert [job.attempt for job in executor.submitted if job.trial == 2] == [1, 2, 3]
        assert (trials(study)[2].state, trials(study)[2].reward) == ("failed", None)
        assert trials(study)[2].error == "worker killed by signal 9"
        assert [s[0] for batch in searcher.state for s in batch] == [1, 3, 4, 5, 6, 7, 8, 9]

    @pytest.mark.parametrize("outcome", [raised(), TimedOut(seconds=9.0)])
    def test_the_users_faults_are_tried_once_more_then_taught_the_floor(self, memory_path, outcome):
        executor = ScriptedExecutor(lambda job: outcome if job.trial in (3, 4) else worth(job))
        searcher = Sequence(batch=4)
        study = find(memory_path, executor, searcher=searcher, batch=None)
        assert [job.attempt for job in executor.submitted if job.trial == 3] == [1, 2]
        worst = min(trials(study)[1].reward, trials(study)[2].reward)
        assert [(s[0], s[1]) for s in searcher.state[0] if s[2]] == [(3, worst), (4, worst)]
        assert trials(study)[3].error in ("ValueError: boom", "ran into its time limit after 9 s")

    def test_three_raising_trials_in_a_row_stop_the_search(self, memory_path):
        executor = ScriptedExecutor(lambda job: raised() if job.trial > 2 else worth(job))
        (memory_path / "logs").mkdir()
        with pytest.raises(StudyError) as caught:
            find(memory_path, executor)
        assert str(caught.value) == (
            f"3 trials in a row raised (ValueError: boom); see {memory_path / 'logs'}, "
            "mend evaluate and resume"
        )
        assert "Traceback" in caught.value.__notes__[0]
        assert [[j.trial for j in executor.submitted].count(n) for n in (3, 4, 5)] == [2, 2, 2]

    def test_after_it_is_mended_they_run_again(self, memory_path):
        always = ScriptedExecutor(lambda job: raised())
        with pytest.raises(StudyError):
            find(memory_path, always, searcher=Sequence(batch=4), batch=None)
        study = find(memory_path, searcher=Sequence(batch=4), batch=None)
        assert [t.state for t in study.trials] == ["done"] * 8
        assert [t.error for t in study.trials] == [None] * 8

    def test_those_that_raise_are_taught_nothing_before_another_ends_otherwise(self, memory_path):
        searcher = Sequence(batch=2)
        with pytest.raises(StudyError):
            find(
                memory_path, ScriptedExecutor(lambda job: raised()), searcher=searcher, batch=None, floor=0.0
            )
        assert searcher.state == []
        assert "failed" not in {t.state for t in Study.open(memory_path).trials}
        executor = ScriptedExecutor(lambda job: raised() if job.trial in (1, 2, 4) else worth(job))
        study = find(memory_path, executor, searcher=searcher, batch=None, floor=0.0, capacity=1)
        assert [update.trials for update in study.updates] == [(1, 2), (3, 4), (5, 6), (7, 8)]
        assert [t.update for t in study.trials if t.id > 4] == [1, 2, 3, 3]

    def test_those_that_raise_last_are_taught_nothing(self, memory_path):
        executor = ScriptedExecutor(lambda job: raised() if job.trial > 6 else worth(job))
        few = Confirmation(top=1, seeds=2)
        study = find(memory_path, executor, confirm=few)
        assert study.finished
        assert [update.trials for update in study.updates] == [(1, 2), (3, 4), (5, 6)]
        study = find(memory_path, trials=9, confirm=few)
        assert [update.trials for update in study.updates][3:] == [(7, 8)]

    @pytest.mark.parametrize("failed", [1, 2])
    def test_the_row_of_raising_trials_outlives_a_kill(self, memory_path, failed):
        count = 0

        def kill(event):
            nonlocal count
            count += isinstance(event, TrialFailed)
            if count == failed:
                raise KeyboardInterrupt

        broken = ScriptedExecutor(lambda job: raised())
        with pytest.raises(KeyboardInterrupt):
            find(memory_path, broken, on_event=kill, floor=0.0)
        with pytest.raises(StudyError, match=r"3 trials in a row raised"):
            find(memory_path, ScriptedExecutor(lambda job: raised()), floor=0.0)
        assert "failed" not in {t.state for t in Study.open(memory_path).trials}
        study = find(memory_path, floor=0.0)
        assert [t.state for t in study.trials] == ["done"] * 8

    def test_raising_trials_that_are_not_in_a_row_do_not(self, memory_path):
        executor = ScriptedExecutor(lambda job: raised() if job.trial % 3 else worth(job))
        assert find(memory_path, executor).finished

    def test_timeouts_never_do(self, memory_path):
        assert find(memory_path, ScriptedExecutor(lambda job: TimedOut(seconds=9.0))).finished

    def test_three_trials_in_a_row_lost_for_good_stop_the_search(self, memory_path):
        executor = ScriptedExecutor(lambda job: lost())
        with pytest.raises(StudyError, match=r"3 trials in a row lost their worker for good \(worker killed"):
            find(memory_path, executor, max_attempts=2)
        assert [[job.trial for job in executor.submitted].count(n) for n in (1, 2, 3)] == [2, 2, 2]
        assert find(memory_path).finished

    def test_in_this_process_prints_are_seen_and_tracebacks_kept(self, memory_path, capsys):
        def broken(policy, seed):
            print("one two")  # noqa: T201
            raise ZeroDivisionError

        with pytest.raises(StudyError, match=r"see .*logs"):
            search(broken, SPACE, searcher="random", out=memory_path, executor="inline")
        printed = capsys.readouterr()
        assert (printed.out.count("one two") >= 6, printed.err) == (True, "")
        log = (memory_path / "logs" / "trial-000001-2.log").read_text()
        assert log.startswith("Traceback")
        assert "one two" not in log.splitlines()

    def test_an_evaluation_that_always_raises(self, memory_path):
        def broken(policy, seed):
            raise ZeroDivisionError(f"no luck with {seed}")

        with pytest.raises(StudyError, match=r"3 trials in a row raised \(ZeroDivisionError: no luck with"):
            search(broken, SPACE, trials=9, searcher="random", out=memory_path, workers=1)
        logs = list((memory_path / "logs").glob("trial-*.log"))
        assert any("ZeroDivisionError" in log.read_text() for log in logs)

    def test_late_endings_of_older_attempts_are_ignored(self, memory_path):
        class Haunted(ScriptedExecutor):
            def poll(self, timeout):
                ghosts = [(job, Done(result=Result(reward=99.0, seconds=1.0))) for job in self.submitted[:-1]]
                return [*ghosts, *super().poll(timeout)]

        study = find(memory_path, Haunted(lambda job: lost() if job.attempt == 1 else worth(job)))
        assert all(trial.reward < 99 for trial in study.trials)
        assert [trial.attempt for trial in study.trials] == [2] * 8


class TestConfirmation:
    def test_the_top_distinct_policies_run_on_fresh_seeds(self, memory_path):
        class Twins(Sequence):
            def propose(self, draw):
                tokens = [(1, 0, 0, 0, 0), (0, 1, 1, 1, 3), (0, 0, 0, 0, 0), (2, 0, 0, 0, 0), (3, 0, 0, 0, 0)]
                return tuple(Proposal(tokens=t + (0,) * 5, log_prob=None) for t in tokens)

        rewards = {1: 1.0, 2: 8.0, 3: 9.0, 4: 5.0, 5: 2.0}
        executor = ScriptedExecutor(
            lambda job: Done(result=Result(reward=rewards.get(job.trial, 0.0), seconds=1.0))
        )
        study = find(
            memory_path, executor, searcher=Twins(batch=9), batch=None, trials=5,
            confirm=Confirmation(top=3, seeds=2),
        )  # fmt: skip
        runs = [t for t in study.trials if t.kind == "confirm"]
        assert [SPACE.encode(t.policy) for t in runs] == [t.tokens for t in runs]
        assert [t.tokens[0] for t in runs] == [0, 0, 2, 2, 3, 3], "2 and 3 are the same policy: off"
        assert [c.trial for c in study.confirmed] == [3, 4, 5]

    def test_the_best_is_the_highest_mean_not_the_highest_trial(self, memory_path):
        def outcome(job):
            lucky = job.trial == 4
            return Done(
                result=Result(reward=9.0 if lucky else (job.policy.key < "8") + job.seed % 5, seconds=1.0)
            )

        study = find(memory_path, ScriptedExecutor(outcome), confirm=Confirmation(top=4, seeds=4))
        runs = [t for t in study.trials if t.kind == "confirm"]
        means = {
            key: sum(t.reward for t in runs if t.policy.key == key) / 4
            for key in {t.policy.key for t in runs}
        }
        assert len(means) == 4
        assert study.best.reward == max(means.values()) == means[study.best.policy.key]
        assert [c.reward for c in study.confirmed] == sorted(means.values(), reverse=True)

    def test_a_policy_counts_once_all_its_seeds_have_ended(self, memory_path):
        few = Confirmation(top=2, seeds=2)
        study = find(memory_path, confirm=few, on_event=stop_after(memory_path, 8 + 3))
        assert [len(c.rewards) for c in study.confirmed] == [2]
        assert len(find(memory_path, confirm=few).confirmed) == 2

    def test_a_diverging_seed_counts_as_the_floor_a_lost_one_as_nothing(self, memory_path):
        def outcome(job):
            match job.trial - 8:
                case 1:
                    return Done(result=Result(reward=float("nan"), seconds=1.0))
                case 2:
                    return lost()
                case 3:
                    return Done(result=Result(reward=-50.0, seconds=1.0))
            return Done(result=Result(reward=float(job.trial), seconds=1.0))

        executor = ScriptedExecutor(outcome, slots=4, rank=lambda trial: -trial)
        study = find(memory_path, executor, capacity=1, confirm=Confirmation(top=1, seeds=4))
        assert study.best.rewards == (1.0, -50.0, 12.0), "the floor is the search's, not the confirmation's"
        assert len(study.updates) == 4, "confirming trials teach nothing"

    def test_the_mean_of_the_largest_rewards_is_one(self, memory_path):
        executor = ScriptedExecutor(lambda job: Done(result=Result(reward=1.5e308, seconds=1.0)))
        study = find(
            memory_path, executor, searcher=Sequence(), batch=None, confirm=Confirmation(top=1, seeds=3)
        )
        assert (study.best.reward, study.best.spread) == (1.5e308, 0.0)

    def test_without_one_the_best_trial_stands_in(self, memory_path):
        study = find(memory_path, confirm=NONE)
        best = max(study.trials, key=lambda t: t.reward)
        assert (study.best.trial, study.best.reward) == (best.id, best.reward)
        assert (study.best.rewards, study.best.spread, study.confirmed) == ((), None, ())

    def test_more_seeds_later_are_for_all_that_were_ever_confirmed(self, memory_path):
        def lucky_once(job):
            return Done(result=Result(reward=5.0 if job.trial == 9 else job.seed % 97 / 97, seconds=1.0))

        executor = ScriptedExecutor(lucky_once)
        first = find(memory_path, executor, confirm=Confirmation(top=1, seeds=1)).best
        assert first.rewards == (5.0,)

        def better(job):  # new trials that push the first out of the top
            return Done(result=Result(reward=9.0 + job.trial if job.trial < 18 else 2.0, seconds=1.0))

        grown = find(memory_path, ScriptedExecutor(better), trials=16, confirm=Confirmation(top=2, seeds=4))
        assert [len(c.rewards) for c in grown.confirmed] == [4, 4, 4]
        assert next(c for c in grown.confirmed if c.tokens == first.tokens).rewards == (5.0, 2.0, 2.0, 2.0)
        fewer = find(memory_path, trials=24, confirm=Confirmation(top=4, seeds=1))
        assert len(fewer.confirmed) > 3
        assert {len(c.rewards) for c in fewer.confirmed} == {4}

    def test_more_trials_later_confirm_only_what_is_new(self, memory_path):
        few = Confirmation(top=2, seeds=2)
        first = find(memory_path, confirm=few)
        executor = ScriptedExecutor()
        study = find(memory_path, executor, trials=20, confirm=few)
        assert study.trials[: len(first.trials)] == first.trials
        assert sum(t.kind == "search" for t in study.trials) == 20
        runs = [(t.tokens, t.seed) for t in study.trials if t.kind == "confirm"]
        assert len(runs) == len(set(runs))
        assert find(memory_path, executor, trials=20, confirm=few).trials == study.trials


class TestResume:
    def test_a_finished_study_does_nothing_more(self, memory_path):
        first = find(memory_path, confirm=Confirmation(top=1, seeds=1))
        executor = ScriptedExecutor()
        again = find(memory_path, executor, confirm=Confirmation(top=1, seeds=1))
        assert (again.trials, executor.submitted) == (first.trials, [])

    def test_more_trials_go_on_as_if_asked_for_at_once(self, memory_path):
        find(memory_path / "a", searcher="reinforce", trials=5, capacity=1)
        grown = find(memory_path / "a", searcher="reinforce", trials=12, capacity=1)
        assert [t.id for t in grown.trials] == list(range(1, 13))
        assert grown.record.trials == 12
        assert grown.record.planned == 5, "the searcher keeps the plan that it was made with"
        assert replay(grown.out).snapshot() == snapshot(grown.out)

    def test_fewer_trials_end_it_early(self, memory_path):
        stopped = find(memory_path, on_event=stop_after(memory_path, 3))
        assert not stopped.finished
        assert len([t for t in find(memory_path, trials=2).trials if t.state == "done"]) == len(
            stopped.trials
        )

    @pytest.mark.parametrize(
        ("change", "name"),
        [
            ({"task": "other"}, "task: None there, 'other' here"),
            ({"seed": 9}, "seed: 0 there, 9 here"),
            ({"batch": 3}, "batch: 2 there, 3 here"),
            ({"searcher": "reinforce"}, "searcher: 'random' there, 'reinforce' here"),
            (
                {"searcher": RandomSearcher(SPACE, batch=2, biased=True)},
                "searcher: 'random' there, 'random-biased' here",
            ),
        ],
    )
    def test_another_study_is_refused(self, memory_path, change, name):
        find(memory_path)
        with pytest.raises(UsageError) as caught:
            find(memory_path, **change)
        assert f"{memory_path} holds a study with another {name}; name another directory" in str(caught.value)
        assert find(memory_path).finished

    def test_a_searcher_set_otherwise_is_refused(self, memory_path):
        searcher = Sequence()
        find(memory_path, searcher=searcher, batch=None)
        searcher.settings = {"version": 2}
        with pytest.raises(UsageError, match=r"setting of the searcher, version: 1 there, 2 here"):
            find(memory_path, searcher=searcher, batch=None)

    def test_another_space_is_refused(self, memory_path):
        find(memory_path)
        for other, text in (
            (
                TokenSpace(sites=("query",)),
                r"space, in its sites: \['query', 'ffn'\] there, \['query'\] here",
            ),
            (TokenSpace(sites=("query", "ffn"), off=0.6), r"space, in its off: 0.5 there, 0.6 here"),
            (
                TokenSpace(sites=("ffn",), off=0.6),
                r"space, in its sites: \['query', 'ffn'\] there, \['ffn'\] here",
            ),
            (
                ConvSpace(sites={"a": (8, 8)}),
                r"space, in its kind: 'token' there, .conv. here; .* own space$",
            ),
        ):
            with pytest.raises(UsageError, match=text):
                search(sites_on, other, searcher="random", batch=2, out=memory_path, executor="inline")

    def test_a_second_loop_is_refused(self, memory_path):
        def intrude(event):
            if isinstance(event, Learned):
                find(memory_path)

        with pytest.raises(LedgerError, match=r"another search is running in"):
            find(memory_path, on_event=intrude)
        assert find(memory_path).finished

    @pytest.mark.parametrize("damage", [b"", b"\x00" * 9000, None])
    def test_a_damaged_ledger_is_refused(self, memory_path, damage):
        find(memory_path)
        path = memory_path / "study.db"
        path.write_bytes(path.read_bytes()[:5000] if damage is None else damage)
        with pytest.raises(LedgerError, match=r"study.db"):
            find(memory_path)

    def test_a_full_disk_loses_nothing(self, memory_path, monkeypatch):
        real = ledger_schema.open_writer

        def cramped(path):
            connection = real(path)
            connection.execute("PRAGMA max_page_count = 22")
            return connection

        monkeypatch.setattr("autodropout.engine.ledger.open_writer", cramped)
        with pytest.raises(LedgerError, match=r"study.db: the disk is full; nothing is lost"):
            find(memory_path, trials=500)
        before = [t for t in Study.open(memory_path).trials if t.state == "done"]
        assert len(before) > 3
        monkeypatch.undo()
        after = find(memory_path, trials=before[-1].id + 5).trials
        assert list(after[: len(before)]) == before


def snapshot(out):
    with closing(sqlite3.connect(out / "study.db")) as connection:
        query = "SELECT snapshot FROM updates ORDER BY number DESC LIMIT 1"
        return connection.execute(query).fetchone()[0]


def stop_after(out, finished):
    count = 0

    def watch(event):
        nonlocal count
        count += isinstance(event, TrialFinished)
        if count == finished:
            request(out, "stop")

    return watch


class TestStopping:
    def test_stop_ends_what_runs_and_resume_goes_on(self, memory_path):
        executor = ScriptedExecutor(slots=3)
        study = find(memory_path, executor, on_event=stop_after(memory_path, 2))
        assert not study.finished
        assert sorted(t.state for t in study.trials) == ["done"] * 2 + ["queued"] + ["running"] * 3
        assert {job.trial for job in executor.cancelled} == {
            t.id for t in study.trials if t.state == "running"
        }
        assert not executor.closed, "whoever made the executor closes it"
        seeds = {t.id: t.seed for t in study.trials}
        whole = find(memory_path, ScriptedExecutor(slots=3))
        assert whole.finished
        assert {t.id: t.seed for t in whole.trials}.items() >= seeds.items()
        assert [t.attempt for t in whole.trials] == [1, 1, 2, 2, 2, 1, 1, 1]

    def test_a_stop_asked_for_while_the_ledger_opens_is_heard(self, memory_path, monkeypatch):
        find(memory_path, on_event=stop_after(memory_path, 3))
        real = ledger_schema.open_writer

        def slow(path):
            request(memory_path, "stop")
            return real(path)

        monkeypatch.setattr("autodropout.engine.ledger.open_writer", slow)
        executor = ScriptedExecutor()
        assert not find(memory_path, executor).finished
        assert executor.submitted == []

    def test_a_paused_search_starts_nothing_until_told(self, memory_path, monkeypatch):
        monkeypatch.setattr(loop, "_POLL_SECONDS", 0.01)
        events = []

        def watch(event):
            events.append(event)
            match event:
                case TrialFinished(trial=2):
                    request(memory_path, "pause")
                case Paused(paused=True):
                    threading.Timer(0.2, request, (memory_path, "go")).start()

        study = find(memory_path, ScriptedExecutor(slots=2), on_event=watch)
        assert study.finished
        began, ended = events.index(Paused(paused=True)), events.index(Paused(paused=False))
        between = [type(event) for event in events[began:ended]]
        assert TrialStarted not in between
        assert between.count(TrialFinished) >= 1, "what runs ends"

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
    def test_an_interrupt_leaves_everything_ready_to_resume(self, memory_path, number):
        def outcome(job):
            if job.trial == 4 and job.attempt == 1:
                os.kill(os.getpid(), number)
            return worth(job)

        before = signal.getsignal(number)

        with pytest.raises(KeyboardInterrupt):
            find(memory_path, ScriptedExecutor(outcome, slots=2))
        assert signal.getsignal(number) is before
        with Ledger.open(memory_path) as ledger:
            assert ledger.read.tally("search").done == 3
        study = find(memory_path, ScriptedExecutor(outcome, slots=2))
        assert study.finished
        assert trials(study)[4].attempt == 2

    def test_new_slots_get_trials_before_the_next_one_ends(self, memory_path):
        class Growing(ScriptedExecutor):
            def poll(self, timeout):
                polls.append(len(self.running))
                if len(polls) in (1, 2, 3):
                    self.capacity = len(polls) * 2
                    return []  # nothing ends meanwhile
                return super().poll(timeout)

        polls = []
        assert find(memory_path, Growing(slots=1)).finished
        assert polls[:4] == [1, 2, 4, 6]

    def test_a_handler_of_the_programs_own_is_left_alone(self, memory_path):
        seen = []

        def outcome(job):
            os.kill(os.getpid(), signal.SIGTERM)
            return worth(job)

        before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
        try:
            find(
                memory_path, ScriptedExecutor(lambda job: os.kill(os.getpid(), signal.SIGTERM) or worth(job))
            )
        finally:
            signal.signal(signal.SIGTERM, before)
        assert len(seen) == 8

    def test_it_runs_in_any_thread(self, memory_path):
        thread = threading.Thread(target=find, args=(memory_path,))
        thread.start()
        thread.join()
        assert Study.open(memory_path).finished

    def test_our_own_executor_is_closed_when_the_search_fails(self, memory_path, monkeypatch):
        closed = []
        monkeypatch.setattr(InlineExecutor, "close", lambda self: closed.append(self))

        def broken(policy, seed):
            raise ValueError

        with pytest.raises(StudyError, match=r"see .*logs, mend evaluate and resume"):
            search(broken, SPACE, trials=9, searcher="random", out=memory_path, executor="inline")
        assert len(closed) == 1


class TestEvents:
    def test_they_tell_the_whole_story(self, memory_path):
        events = []
        outcomes = {(2, 1): raised(), (3, 1): lost(), (3, 2): lost()}
        executor = ScriptedExecutor(lambda job: outcomes.get((job.trial, job.attempt)) or worth(job))
        study = find(
            memory_path, executor, trials=4, max_attempts=2, confirm=Confirmation(top=1, seeds=1),
            on_event=events.append,
        )  # fmt: skip
        kinds = [type(event) for event in events]
        assert kinds.count(TrialStarted) == len(executor.submitted) == 8
        assert kinds.count(TrialFinished) == 5
        assert [e.reason for e in events if isinstance(e, TrialRetried)] == [
            "ValueError: boom",
            "worker killed by signal 9",
        ]
        failed = TrialFailed(kind="search", trial=3, error="worker killed by signal 9", replaced=True)
        assert [e for e in events if isinstance(e, TrialFailed)] == [failed]
        assert [e.update for e in events if isinstance(e, Learned)] == [1, 2]
        phases = [e for e in events if isinstance(e, PhaseBegan)]
        assert [(p.phase, p.total, p.done, p.failed) for p in phases] == [
            ("search", 4, 0, 0),
            ("confirm", 1, 0, 0),
            ("done", 1, 1, 0),
        ]
        assert phases[0].best is None
        assert phases[1].best == max(t.reward for t in study.trials if t.kind == "search" and t.reward)

    def test_a_resumed_phase_knows_what_was_done(self, memory_path):
        find(memory_path, on_event=stop_after(memory_path, 3))
        events = []
        find(memory_path, on_event=events.append)
        assert (events[0].phase, events[0].total, events[0].done) == ("search", 8, 3)

    def test_a_resumed_confirmation_never_goes_back_to_the_search(self, memory_path):
        few, seen = Confirmation(top=3, seeds=2), []
        find(memory_path, confirm=few, on_event=stop_after(memory_path, 8 + 2))
        assert Study.open(memory_path).record.phase == "confirm"

        def watch(event):
            match event:
                case PhaseBegan():
                    seen.append((event.phase, event.total, event.done))
                case TrialStarted():
                    assert event.kind == "confirm"
                    seen.append(Study.open(memory_path).record.phase)

        assert find(memory_path, confirm=few, on_event=watch).finished
        assert seen == [("confirm", 6, 2), *["confirm"] * 4, ("done", 6, 6)]

    def test_more_trials_come_before_the_rest_of_a_confirmation(self, memory_path):
        few, events = Confirmation(top=3, seeds=2), []
        find(memory_path, confirm=few, on_event=stop_after(memory_path, 8 + 2))
        find(memory_path, confirm=few, trials=12, on_event=events.append)
        phases = [(e.phase, e.total, e.done) for e in events if isinstance(e, PhaseBegan)]
        assert phases[0] == ("search", 12, 8)
        kinds = [e.kind for e in events if isinstance(e, TrialStarted)]
        assert kinds == sorted(kinds, reverse=True), "all of the search, then all of the confirmation"

    def test_phases_with_nothing_to_do_are_not_told(self, memory_path):
        for asked, phases in (({}, ["search", "done"]), ({}, ["done"]), ({"trials": 9}, ["search", "done"])):
            events = []
            find(memory_path, on_event=events.append, **asked)
            assert [e.phase for e in events if isinstance(e, PhaseBegan)] == phases

    def test_fewer_trials_on_resume_are_not_fewer_than_there_are(self, memory_path):
        find(memory_path, on_event=stop_after(memory_path, 5))
        events = []
        find(memory_path, trials=2, on_event=events.append)
        assert (events[0].phase, events[0].total, events[0].done) == ("search", 7, 5)


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"trials": -3}, "trials is -3; expected a whole number of at least 1"),
            ({"trials": 2.5}, "trials is 2.5; expected a whole number of at least 1"),
            ({"workers": 0}, "workers is 0; expected a whole number of at least 1"),
            ({"batch": 0}, "batch is 0; expected a whole number of at least 1"),
            ({"capacity": True}, "capacity is True; expected a whole number of at least 1"),
            ({"max_attempts": 0}, "max_attempts is 0; expected a whole number of at least 1"),
            ({"timeout": 0}, "timeout is 0; expected seconds above 0, or None for no limit"),
            ({"timeout": float("nan")}, "timeout is nan; expected seconds above 0, or None for no limit"),
            (
                {"floor": float("-inf")},
                "floor is -inf; expected a finite reward, or None for the worst one so far",
            ),
            ({"confirm": 8}, "confirm is 8; expected a Confirmation, top=0 for none"),
            ({"seed": -1}, "seed is -1; expected a whole number from 0 to 9223372036854775807"),
            ({"seed": 2**63}, f"seed is {2**63}; expected a whole number from 0 to 9223372036854775807"),
            ({"seed": True}, "seed is True; expected a whole number from 0 to 9223372036854775807"),
            ({"task": 5}, "task is 5; expected a label, or None"),
            (
                {"executor": "rays"},
                "executor is 'rays'; expected 'local', 'inline' or 'ray', or an executor of your own",
            ),
            (
                {"devices": (0, 1)},
                "devices is (0, 1), but only the executor 'local' deals devices out; leave devices out",
            ),
            ({"cluster": 4}, "cluster is 4; expected a Cluster, such as Cluster(cpus=2)"),
            (
                {"searcher": "tabu"},
                f"there is no searcher 'tabu'; choose one of {', '.join(SEARCHERS)}",
            ),
            ({"searcher": Sequence(2), "batch": 3}, "batch is 3, but the searcher's own is 2; give only one"),
        ],
    )
    def test_one_sentence_says_what_to_do(self, memory_path, change, text):
        with pytest.raises(UsageError) as caught:
            find(memory_path / "new", **change)
        assert str(caught.value) == text
        assert not (memory_path / "new").exists(), "nothing is left behind"

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (
                {"executor": None},
                "executor is None; expected 'local', 'inline' or 'ray', or an executor of your own",
            ),
            (
                {"executor": "ray", "devices": ("0",)},
                "devices is ('0',), but only the executor 'local' deals devices out; leave devices out, and "
                "say what a trial takes: gpus",
            ),
            ({"executor": "local", "devices": ()}, "devices is (); expected at least one, such as (0, 1)"),
            ({"executor": "inline", "timeout": 9}, "timeout is 9; trials in this process cannot be killed"),
            ({"devices": ()}, "devices"),
            ({"evaluate": 5}, "evaluate is 5; expected a function of (policy, seed)"),
            ({"evaluate": 5, "executor": "inline"}, "evaluate is 5; expected a function of (policy, seed)"),
            ({"evaluate": threading.Lock().__enter__}, "evaluate cannot be sent to a worker"),
        ],
    )
    def test_a_wrong_call_leaves_nothing_behind(self, memory_path, monkeypatch, change, text):
        monkeypatch.chdir(memory_path)
        asked = {"evaluate": sites_on, "trials": 4} | change
        for out in (memory_path / "new", None):
            with pytest.raises(UsageError) as caught:
                search(space=SPACE, out=out, **asked)
            assert text in str(caught.value)
        assert list(memory_path.glob("new")) == list(memory_path.glob("runs/*")) == []

    def test_a_search_too_short_to_learn_warns(self, memory_path):
        with pytest.warns(
            UserWarning, match=r"'random' learns from 9 trials at a time, so .* from 8; ask"
        ) as w:
            find(memory_path, batch=9)
        assert (len(w), w[0].filename) == (1, __file__)

    def test_a_space_is_a_space(self, memory_path):
        with pytest.raises(UsageError, match=r"space is 5; expected a ConvSpace or a TokenSpace"):
            search(sites_on, 5, out=memory_path)

    def test_confirmations_are_checked(self):
        for change, text in (({"top": -1}, "confirm.top is -1; .* at least 0"), ({"seeds": 0}, "at least 1")):
            with pytest.raises(UsageError, match=text):
                Confirmation(**change)

    def test_a_place_that_cannot_be_written(self, memory_path):
        (memory_path / "file").touch()
        with pytest.raises(LedgerError, match=r"cannot be written .*; name a directory that can"):
            find(memory_path / "file")
