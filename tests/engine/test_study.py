import threading

import pytest

from autodropout.engine.confirm import Confirmation
from autodropout.engine.events import Learned
from autodropout.engine.ledger import Ledger
from autodropout.engine.run import search
from autodropout.engine.study import Study
from autodropout.errors import LedgerError
from autodropout.result import Trial
from autodropout.token_space import TokenSpace
from scripted import ScriptedExecutor

SPACE = TokenSpace(sites=("query", "ffn"))


def run(out, **changes):
    asked = {"trials": 9, "searcher": "reinforce", "batch": 3, "seed": 2, "task": "toy"} | changes
    executor = ScriptedExecutor(slots=2)
    return search(print, SPACE, out=out, executor=executor, confirm=Confirmation(top=2, seeds=2), **asked)


@pytest.fixture
def study(memory_path):
    return run(memory_path)


def test_it_says_what_it_is(study, memory_path):
    again = Study.open(str(memory_path))
    assert (again.out, again.task, again.seed, again.space) == (memory_path, "toy", 2, SPACE)
    assert again.record == study.record
    assert repr(again) == f"Study({str(memory_path)!r})"


def test_trials_are_records(study):
    assert all(isinstance(trial, Trial) for trial in study.trials)
    assert [trial.id for trial in study.trials] == list(range(1, 14))
    for trial in study.trials:
        assert trial.policy == SPACE.decode(trial.tokens)
        assert study.trial(trial.id) == trial
        assert (trial.log_prob is None) == (trial.kind == "confirm")
    with pytest.raises(LedgerError, match="has no trial 14"):
        study.trial(14)


def test_updates_carry_the_searchers_figures(study):
    assert [update.number for update in study.updates] == [1, 2, 3]
    assert all({"entropy", "ess", "baseline"} <= update.figures.keys() for update in study.updates)
    assert all(update.seconds > 0 for update in study.updates)


def test_timings_let_a_report_draw_when_what_ran(study):
    for timing in study.timings:
        assert timing.queued <= timing.started <= timing.ended
    assert sorted(timing.finish for timing in study.timings) == list(range(1, 14))


def test_the_best_comes_with_all_it_rests_on(study):
    best = study.best
    runs = [t.reward for t in study.trials if t.kind == "confirm" and t.policy == best.policy]
    assert best.rewards == tuple(runs)
    assert best.reward == pytest.approx(sum(runs) / 2)
    assert best.spread == pytest.approx(abs(runs[0] - runs[1]) / 2**0.5)
    assert best == study.confirmed[0]
    assert SPACE.decode(best.tokens) == best.policy == study.trial(best.trial).policy


def test_tally_counts(study):
    assert (study.tally().done, study.tally("confirm").done) == (9, 4)


def test_it_is_readable_while_the_search_writes(memory_path):
    """A reader in another thread sees the numbers grow, and never half a trial."""
    seen, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            study = Study.open(memory_path)
            numbers = [trial.id for trial in study.trials]
            assert numbers == list(range(1, len(numbers) + 1))
            seen.append((len(study.updates), study.tally().done, study.best))

    reader = threading.Thread(target=read)

    def watch(event):
        if isinstance(event, Learned) and event.update == 1:
            reader.start()

    run(memory_path, trials=60, on_event=watch)
    stop.set()
    reader.join()
    assert [s[:2] for s in seen] == sorted(s[:2] for s in seen)
    assert seen[0][0] >= 1
    assert seen[-1][1] <= 60


def test_it_needs_no_lock_and_keeps_no_file_open(study, memory_path):
    with Ledger.open(memory_path) as ledger:
        ledger.plan(50, {})
        assert study.record.trials == 50


def test_a_study_must_be_there(tmp_path):
    with pytest.raises(LedgerError, match=r"nothing holds no study: there is no study.db"):
        Study.open(tmp_path / "nothing")
