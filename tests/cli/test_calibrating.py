import json
import os

import pytest

from autodropout.cli import calibrating, main
from autodropout.cli.measuring import Rate, measured, proposed, sampled
from autodropout.engine.executors.base import Lost, TimedOut
from autodropout.errors import StudyError
from autodropout.policy import Policy
from scripted import ScriptedExecutor, lost, raised, worth


def rate(slots, per_hour, problem=""):
    return Rate(slots=slots, trials=4, per_hour=per_hour, seconds=1.0, problem=problem)


@pytest.mark.parametrize(
    ("found", "best"),
    [
        ([rate(1, 100.0), rate(2, 190.0), rate(4, 250.0)], 4),
        ([rate(1, 100.0), rate(2, 190.0), rate(4, 199.0)], 2),
        ([rate(1, 100.0), rate(2, 90.0)], 1),
        ([rate(1, 100.0), rate(2, 0.0, "out of memory")], 1),
    ],
)
def test_the_fewest_slots_near_the_best_rate_are_proposed(found, best):
    assert proposed(found).slots == best


def test_nothing_usable_proposes_nothing():
    assert proposed([rate(1, 0.0, "out of memory")]) is None


def test_every_slot_trains_each_policy_once_after_a_warm_up():
    executor = ScriptedExecutor(worth, slots=3)
    policies = [Policy({}), Policy({}, "ramp")]
    result = measured(executor, policies)
    assert (result.slots, result.trials, result.seconds, result.problem) == (3, 6, 1.0, "")
    assert result.per_hour > 0
    assert [job.policy.schedule for job in executor.submitted] == ["constant"] * 6 + ["ramp"] * 3


@pytest.mark.parametrize(
    ("outcome", "problem"),
    [(lost(), "worker killed by signal 9"), (TimedOut(seconds=9.0), "it took too long")],
)
@pytest.mark.parametrize("when", [1, 5])
def test_slots_that_the_machine_cannot_bear_are_a_finding(outcome, problem, when):
    executor = ScriptedExecutor(
        lambda job: outcome if len(executor.submitted) >= when else worth(job), slots=2
    )
    result = measured(executor, [Policy({})] * 3)
    assert (result.problem, result.per_hour) == (problem, 0.0)


def test_a_trial_that_raises_is_the_tasks_fault():
    with pytest.raises(StudyError, match=r"a trial raised \(ValueError: boom\); mend the task first"):
        measured(ScriptedExecutor(lambda job: raised()), [Policy({})])


def test_the_policies_are_always_the_same(toy):
    assert sampled(toy.space(), 3) == sampled(toy.space(), 3)
    assert len({policy.key for policy in sampled(toy.space(), 3)}) == 3


def test_the_command(capsys, toy):
    assert main(["calibrate", "toy", "--slots", "1,2", "--trials", "3"]) == 0
    one, two, best = capsys.readouterr().out.splitlines()
    assert one.startswith("   1 at a time: ")
    assert two.startswith("   2 at a time: ")
    assert "trials per hour" in two
    assert best in [f"Best: {n} at a time.  autodropout search toy --workers {n}" for n in (1, 2)]


def test_json_for_machines(capsys, toy):
    assert main(["calibrate", "toy", "--slots", "2", "--trials", "3", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["task"], facts["best"]) == ("toy", 2)
    assert [(r["slots"], r["trials"]) for r in facts["rates"]] == [(2, 6)]
    assert facts["rates"][0]["per_hour"] > 0


def test_the_first_number_that_fails_is_the_last(capsys, toy, monkeypatch):
    seen = []

    def make(evaluate, workers, devices):
        seen.append((workers, devices))
        outcome = worth if workers < 2 else lambda job: Lost(reason="memory ran out")
        return ScriptedExecutor(outcome, slots=workers)

    monkeypatch.setattr("autodropout.cli.measuring.LocalExecutor", make)
    monkeypatch.setattr(ScriptedExecutor, "close", lambda self: None, raising=False)
    assert main(["calibrate", "toy", "--slots", "1,2,4", "--devices", "0,1"]) == 0
    assert seen == [(1, [0, 1]), (2, [0, 1])]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "   2 at a time: memory ran out",
        "Best: 1 at a time.  autodropout search toy --workers 1 --devices 0,1",
    ]
    assert main(["calibrate", "toy", "--slots", "2,4"]) == 1
    assert capsys.readouterr().err == "error: not even 2 at a time can be trained here: memory ran out\n"


def test_trials_may_be_cut_short(capsys, toy, monkeypatch):
    budgets = []

    def make(evaluate, workers, devices):
        def outcome(job):
            budgets.append(evaluate.keywords["budget"])
            return worth(job)

        return ScriptedExecutor(outcome, slots=workers)

    monkeypatch.setattr("autodropout.cli.measuring.LocalExecutor", make)
    monkeypatch.setattr(ScriptedExecutor, "close", lambda self: None, raising=False)
    assert main(["calibrate", "toy", "--slots", "1", "--budget", "0.25"]) == 0
    assert set(budgets) == {0.25}


@pytest.mark.parametrize(("cores", "numbers"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_the_default_doubles_up_to_the_cores(monkeypatch, cores, numbers):
    monkeypatch.setattr(calibrating, "usable_cores", lambda: cores)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert calibrating._doubling(calibrating._most(None)) == numbers
    assert calibrating._most([0, 1]) == 16


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--slots", "2,1"], "slots is '2,1'; expected rising numbers of at least 1, such as 1,2,4"),
        (["--slots", "0"], "slots is '0'; expected rising numbers of at least 1, such as 1,2,4"),
        (["--slots", "many"], "slots is 'many'; expected rising numbers of at least 1, such as 1,2,4"),
        (["--devices", "-1"], "devices is '-1'; expected rising numbers of at least 0, such as 1,2,4"),
        (["--trials", "0"], "trials is 0; expected at least 1"),
        (["--budget", "0"], "budget is 0; expected a fraction above 0, at most 1"),
        (["--budget", "2"], "budget is 2; expected a fraction above 0, at most 1"),
    ],
)
def test_what_is_no_number_is_refused(capsys, toy, options, text):
    assert main(["calibrate", "toy", *options]) == 2
    assert capsys.readouterr().err == f"error: {text}\n"


def test_missing_data_are_said(capsys, toy):
    toy.lacking = "get the data first"
    assert main(["calibrate", "toy"]) == 2
    assert capsys.readouterr().err == "error: get the data first\n"
    assert os.listdir() == []
