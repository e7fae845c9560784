import pytest

from autodropout.comparison import compare
from autodropout.engine.executors.attempt import log_path
from autodropout.engine.executors.base import Job
from autodropout.errors import LedgerError, UsageError
from autodropout.policy import Policy
from autodropout.report.record import check_not_empty, log_file, read_record, reward_of
from recorded import Run, Writer, record_study, record_whole_study

NAN = float("nan")


def test_a_record_holds_what_the_study_holds(tmp_path):
    record_whole_study(tmp_path)
    record = read_record(tmp_path)
    assert [trial.id for trial in record.search] == list(range(1, 25))
    assert [trial.kind for trial in record.trials[24:]] == ["confirm"] * 6
    assert len(record.updates) == 6
    assert [len(confirmed.rewards) for confirmed in record.confirmed] == [3, 3]
    assert record.best == record.confirmed[0]
    assert record.study.phase == "done"
    assert record.comparison is None


def test_trials_are_in_the_order_in_which_they_ended(tmp_path):
    writer = Writer(tmp_path)
    for _ in range(3):
        writer.queue()
    for trial in (3, 1):
        writer.end(trial, Run(reward=0.5))
    writer.close()
    record = read_record(tmp_path)
    assert [trial.id for trial in record.ended] == [3, 1]
    assert [trial.state for trial in record.search] == ["done", "queued", "done"]


def test_only_a_trials_own_finite_reward_is_its_reward(tmp_path):
    record_study(tmp_path, [Run(reward=0.5), Run(reward=NAN), Run(reward=None)])
    trials = read_record(tmp_path).trials
    assert [reward_of(trial) for trial in trials] == [0.5, None, None]
    assert [trial.reward for trial in trials] == [0.5, 0.1, 0.1]  # the floor is taught


def test_a_study_without_an_ended_trial_is_refused(tmp_path):
    writer = Writer(tmp_path)
    writer.queue()
    writer.close()
    with pytest.raises(UsageError, match="the ledger is empty: none of its 1 trials has ended yet; let the"):
        check_not_empty(read_record(tmp_path))
    record_study(tmp_path / "other", [Run(reward=None)])
    check_not_empty(read_record(tmp_path / "other"))


def test_a_directory_without_a_study_is_refused(tmp_path):
    with pytest.raises(LedgerError, match="holds no study"):
        read_record(tmp_path)


def test_a_comparison_is_no_search_but_is_read_beside_one(tmp_path):
    record_study(tmp_path, [Run(reward=0.5)])
    place = tmp_path / "compare"
    compare(lambda policy, seed: 0.0, {"a": lambda s: 1.0, "b": None}, seeds=2, executor="inline", out=place)
    with pytest.raises(UsageError, match="holds a comparison, not a search"):
        read_record(place)
    comparison = read_record(tmp_path).comparison
    assert [row.name for row in comparison.rows] == ["a", "b"]


def test_logs_are_looked_for_where_workers_write_them(tmp_path):
    job = Job(trial=17, attempt=2, policy=Policy({}), seed=0)
    assert log_file(tmp_path, 17, 2) == log_path(tmp_path / "logs", job)
