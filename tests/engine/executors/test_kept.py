import json
import logging

from autodropout.engine.executors import kept
from autodropout.policy import Policy
from autodropout.result import Result
from contracts.executor import job

RESULT = Result(reward=float("-inf"), metrics={"loss": float("nan")}, curve=(0.1, 0.5), seconds=2.0)


def test_a_result_is_found_by_the_next_attempt(tmp_path):
    kept.keep(tmp_path, job(17, attempt=1, seed=5), RESULT)
    found = kept.find(tmp_path, job(17, attempt=2, seed=5))
    assert (found.reward, found.curve, found.seconds) == (float("-inf"), (0.1, 0.5), 2.0)
    assert str(found.metrics["loss"]) == "nan"
    assert [path.name for path in tmp_path.iterdir()] == ["trial-000017-1.json"]


def test_only_the_same_trial_with_the_same_policy_seed_and_budget_is_found(tmp_path):
    kept.keep(tmp_path, job(17, attempt=2, seed=5), RESULT)
    assert kept.find(tmp_path, job(17, attempt=2, seed=5)) is not None
    assert kept.find(tmp_path, job(17, attempt=1, seed=5)) is None, "an attempt that is yet to come"
    assert kept.find(tmp_path, job(18, attempt=3, seed=5)) is None
    assert kept.find(tmp_path, job(17, attempt=3, seed=6)) is None
    assert kept.find(tmp_path, job(17, attempt=3, seed=5, policy=Policy({}))) is None


def test_a_file_that_is_no_result_is_left_alone(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    for number, text in enumerate(["", "{", "[]", '{"attempt": 1}', "\x00"], start=1):
        (tmp_path / f"trial-000017-{number}.json").write_text(text)
    assert kept.find(tmp_path, job(17, attempt=9)) is None
    assert len(caplog.records) == 5
    assert "trial-000017-1.json is no result and is left alone" in caplog.text
    kept.keep(tmp_path, job(17, attempt=8), RESULT)
    assert kept.find(tmp_path, job(17, attempt=9)) is not None


def test_another_schema_is_not_found(tmp_path):
    kept.keep(tmp_path, job(1), RESULT)
    path = tmp_path / "trial-000001-1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2}))
    assert kept.find(tmp_path, job(1)) is None


def test_forgetting_takes_this_and_earlier_attempts_and_no_other(tmp_path):
    for one in (job(17), job(17, attempt=2), job(17, attempt=3), job(170)):
        kept.keep(tmp_path, one, RESULT)
    (tmp_path / "trial-000017-1.json.4711").touch()
    kept.forget(tmp_path, job(17, attempt=2))
    kept.forget(tmp_path, job(17, attempt=2))
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["trial-000017-3.json", "trial-000170-1.json"]
