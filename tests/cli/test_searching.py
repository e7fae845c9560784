import os
import sqlite3
from pathlib import Path

import pytest

from autodropout.cli import main
from autodropout.engine.control import request
from autodropout.engine.executors.inline import InlineExecutor
from autodropout.engine.run import search
from autodropout.engine.study import Study
from autodropout.policy import Policy
from autodropout.tasks import registry

INLINE = ("--executor", "inline")


def failed(capsys, code: int, *arguments: str) -> str:
    """Run what must fail with this code and one line; return the line without "error: "."""
    assert main(list(arguments)) == code
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    return text[7:-1]


def test_a_whole_search(capsys, toy, tmp_path):
    assert main(["search", "toy", *INLINE, "--out", "runs/mine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    study = Study.open(tmp_path / "runs/mine")
    assert study.finished
    assert [trial.kind for trial in study.trials] == ["search"] * 8 + ["confirm"] * 4
    assert (study.task, study.record.searcher, study.record.batch) == ("toy", "reinforce", 4)
    assert study.record.options["floor"] == toy.floor
    assert lines[0] == "Searching toy in runs/mine"
    assert "searching 8/8, 0 running, 0 failed, best " in "\n".join(lines)
    assert "confirming 4/4, 0 running, 0 failed" in lines
    best = study.best
    assert (
        f"Best policy: reward {best.reward:.4f}, deviation 0.0000, over 2 fresh seeds (trial {best.trial})"
        in lines
    )
    assert Policy.load("runs/mine/best.json") == best.policy
    assert Path("runs/mine/best.png").read_bytes().startswith(b"\x89PNG")
    assert lines[-2] == "Saved: runs/mine/best.json and runs/mine/best.png"
    assert lines[-1] == (
        "Next:  autodropout compare toy --policy runs/mine/best.json   or   autodropout report runs/mine"
    )


def test_every_option_arrives(toy):
    options = "--trials 6 --searcher random --seed 7 --batch 3 --capacity 5 --workers 3"
    more = "--confirm-top 1 --confirm-seeds 3 --out x"
    assert main(["search", "toy", *INLINE, *options.split(), *more.split()]) == 0
    record = Study.open("x").record
    assert (record.trials, record.searcher, record.seed, record.batch) == (6, "random", 7, 3)
    assert record.options["capacity"] == 5
    assert record.options["workers"] == 3
    assert record.options["confirm"] == {"top": 1, "seeds": 3}


def test_devices_arrive_at_the_workers_and_are_kept(toy, monkeypatch):
    seen = []

    def make(evaluate, *, workers, devices, timeout, log_dir):
        seen.append((workers, devices))
        return InlineExecutor(evaluate, log_dir=log_dir)

    monkeypatch.setattr("autodropout.engine.run.LocalExecutor", make)
    assert main(["search", "toy", "--workers", "4", "--devices", "0,1", "--out", "x"]) == 0
    assert main(["resume", "x", "--trials", "9"]) == 0
    assert main(["resume", "x", "--trials", "10", "--devices", "2"]) == 0
    assert seen == [(4, [0, 1]), (4, [0, 1]), (4, [2])]


@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_devices_are_for_local_workers(capsys, toy, executor):
    text = failed(capsys, 2, "search", "toy", "--executor", executor, "--devices", "0")
    assert text.startswith(
        "devices is [0], but only the executor 'local' deals devices out; leave devices out"
    )
    assert not Path("runs").exists()


def test_the_papers_preset_keeps_its_own_batch(toy):
    assert main(["search", "toy", *INLINE, "--searcher", "reinforce-paper", "--out", "x"]) == 0
    assert Study.open("x").record.batch == 16


def test_without_out_every_search_has_a_directory_of_its_own(toy):
    for _ in range(3):
        assert main(["search", "toy", *INLINE, "--trials", "1", "--confirm-top", "0"]) == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["toy", "toy-2", "toy-3"]


def test_without_confirmation_it_says_so(capsys, toy):
    assert main(["search", "toy", *INLINE, "--confirm-top", "0"]) == 0
    assert ", not confirmed" in capsys.readouterr().out


def test_an_interrupt_says_how_to_go_on_and_resume_does(capsys, toy):
    toy.trouble, toy.trouble_after = KeyboardInterrupt(), 3
    assert main(["search", "toy", *INLINE, "--out", "my runs/x"]) == 130
    captured = capsys.readouterr()
    assert (
        captured.out.splitlines()[-1]
        == "Stopped; nothing is lost. Go on with: autodropout resume 'my runs/x'"
    )
    assert captured.err == ""
    toy.trouble = None
    assert main(["resume", "my runs/x"]) == 0
    assert "searching 3/8" in capsys.readouterr().out
    study = Study.open("my runs/x")
    assert study.finished
    assert toy.evaluated == 8 + 4 + 1  # the one that was interrupted ran twice
    assert [trial.attempt for trial in study.trials].count(2) == 1


def test_a_finished_search_shows_its_result_again_and_can_grow(capsys, toy):
    assert main(["search", "toy", *INLINE, "--out", "x"]) == 0
    capsys.readouterr()
    assert main(["resume", "x"]) == 0
    assert toy.evaluated == 12
    assert "Best policy: reward" in capsys.readouterr().out
    assert main(["resume", "x", "--trials", "12", "--workers", "1"]) == 0
    record = Study.open("x").record
    assert (record.trials, record.options["workers"]) == (12, 1)
    assert Study.open("x").tally("search").done == 12


def test_searching_again_into_the_same_directory_goes_on(toy):
    assert main(["search", "toy", *INLINE, "--out", "x"]) == 0
    assert main(["search", "toy", *INLINE, "--out", "x"]) == 0
    assert toy.evaluated == 12


def test_a_stop_from_outside_is_no_failure(capsys, toy, monkeypatch):
    original = toy.evaluate

    def evaluate(policy, seed):
        request("x", "stop")
        return original(policy, seed)

    monkeypatch.setattr(toy, "evaluate", evaluate)
    assert main(["search", "toy", *INLINE, "--out", "x"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Stopped on request. Go on with: autodropout resume x"


def test_without_matplotlib_everything_else_is_there(capsys, toy, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["search", "toy", *INLINE, "--out", "x"]) == 0
    text = capsys.readouterr().out
    assert "No picture was saved: a PNG needs matplotlib" in text
    assert "Saved: x/best.json\n" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nope"], "there is no task 'nope'; known tasks: toy (autodropout tasks says more)"),
        (["toy", "--workers", "0"], "workers is 0; expected a whole number of at least 1"),
        (["toy", "--trials=-5"], "trials is -5; expected a whole number of at least 1"),
        (["toy", "--batch", "0"], "batch is 0; expected a whole number of at least 1"),
        (["toy", "--capacity", "0"], "capacity is 0; expected a whole number of at least 1"),
        (["toy", "--seed=-1"], f"seed is -1; expected a whole number from 0 to {2**63 - 1}"),
        (["toy", "--timeout", "0"], "timeout is 0.0; expected seconds above 0, or None for no limit"),
        (["toy", "--timeout", "nan"], "timeout is nan; expected seconds above 0, or None for no limit"),
        (["toy", "--confirm-top=-1"], "confirm.top is -1; expected a whole number of at least 0"),
        (["toy", "--confirm-seeds", "0"], "confirm.seeds is 0; expected a whole number of at least 1"),
    ],
)
def test_wrong_use(capsys, toy, arguments, text):
    assert failed(capsys, 2, "search", *arguments) == text
    assert capsys.readouterr().out == ""
    assert not Path("runs").exists()


def test_missing_data_are_wrong_use(capsys, toy):
    toy.lacking = "install it with: pip install toys"
    assert failed(capsys, 2, "search", "toy") == "install it with: pip install toys"


def test_processes_can_be_given_a_time_limit_and_this_one_cannot(capsys, toy):
    text = failed(capsys, 2, "search", "toy", *INLINE, "--timeout", "9.5")
    assert "cannot be killed" in text


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--seed", "1", "another seed: 0 there, 1 here"),
        ("--searcher", "random", "another searcher: 'reinforce' there"),
    ],
)
def test_another_study_in_the_directory(capsys, toy, option, value, text):
    assert main(["search", "toy", *INLINE, "--out", "x"]) == 0
    capsys.readouterr()
    assert text in failed(capsys, 2, "search", "toy", "--out", "x", option, value)


def test_a_directory_that_cannot_be_made(capsys, toy, tmp_path):
    (tmp_path / "file").write_text("")
    for place in ("file", "file/x"):
        text = "file is a file; expected a directory, so name another"
        assert failed(capsys, 2, "search", "toy", "--out", place) == text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written(capsys, toy, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "locked" in failed(capsys, 1, "search", "toy", "--out", "locked/x")


def test_an_evaluation_that_always_raises_stops_with_its_error(capsys, toy):
    toy.trouble = ValueError("no such layer")
    assert main(["search", "toy", *INLINE, "--out", "x"]) == 1
    captured = capsys.readouterr()
    assert "trial 1 has failed: ValueError: no such layer" in captured.out
    (line,) = captured.err.splitlines()
    assert line.startswith("error: 3 trials in a row raised (ValueError: no such layer)")
    assert "resume" in line
    assert "Traceback" in Path("x/logs/trial-000001-1.log").read_text()


def test_no_finite_reward_at_all(capsys, toy, monkeypatch):
    monkeypatch.setattr(toy, "evaluate", lambda policy, seed: float("nan"))
    text = failed(capsys, 1, "search", "toy", *INLINE, "--out", "x")
    assert text == "no trial returned a finite reward; see x/logs"


COMMANDS_ON_A_STUDY = (
    "resume",
    "status",
    "pause",
    "stop",
    "report",
    "report --follow",
    "logs 1",
    "logs 1 --follow",
    "export --to csv",
)


@pytest.mark.parametrize("command", COMMANDS_ON_A_STUDY)
def test_a_directory_without_a_study_is_wrong_use(capsys, toy, command):
    Path("empty").mkdir()
    Path("afile").write_text("")
    name, *rest = command.split()
    for folder in ("empty", "missing", "afile"):
        assert main([name, folder, *rest]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err == (
            f"error: {folder} holds no study (there is no study.db); check its name, or begin one with: "
            "autodropout search\n"
        )


def test_the_tasks_batch_is_for_its_own_number_of_trials(toy):
    for out, options, batch in (
        ("own", (), 4),
        ("same", ("--trials", "8"), 4),
        ("more", ("--trials", "80"), 8),
        ("random", ("--searcher", "random"), 1),
    ):
        assert main(["search", "toy", *INLINE, "--confirm-top", "0", "--out", out, *options]) == 0
        assert Study.open(out).record.batch == batch
    assert main(["search", "toy", *INLINE, "--confirm-top", "0", "--out", "more"]) == 0


def test_paths_and_errors_are_printed_as_they_are(capsys, toy):
    for out in ("a[/b]", "[bold]x", "p:key:q"):
        assert main(["search", "toy", *INLINE, "--out", out]) == 0
        text = capsys.readouterr().out
        assert f"Searching toy in {out}\n" in text
        assert f"Saved: {out}/best.json and {out}/best.png\n" in text
    toy.trouble, toy.trouble_after = ValueError("no role:key: in [/b]"), toy.evaluated
    assert main(["search", "toy", *INLINE, "--out", "x"]) == 1
    assert "trial 1 has failed: ValueError: no role:key: in [/b]\n" in capsys.readouterr().out


def test_a_picture_that_cannot_be_saved_is_no_failure(capsys, toy):
    Path("x/best.png").mkdir(parents=True)
    assert main(["search", "toy", *INLINE, "--out", "x"]) == 0
    text = capsys.readouterr().out
    assert "No picture was saved: x/best.png cannot be written (Is a directory); name another file\n" in text
    assert "Saved: x/best.json\n" in text


def test_a_policy_that_cannot_be_saved_is_one_sentence_after_the_result(capsys, toy):
    Path("x/best.json").mkdir(parents=True)
    assert main(["search", "toy", *INLINE, "--out", "x"]) == 2
    captured = capsys.readouterr()
    assert "Best policy: reward" in captured.out
    assert captured.err == (
        "error: x/best.json cannot be written (Is a directory); make room or name another file\n"
    )


def test_resuming_a_damaged_ledger(capsys, toy):
    assert main(["search", "toy", *INLINE, "--out", "x"]) == 0
    capsys.readouterr()
    Path("x/study.db").write_bytes(b"this is no database, but it is long enough" * 50)
    for leftover in ("x/study.db-wal", "x/study.db-shm"):
        Path(leftover).unlink(missing_ok=True)
    assert "x/study.db" in failed(capsys, 1, "resume", "x")


def test_resuming_a_search_of_a_script(capsys, toy):
    for label, words in ((None, "without a task"), ("their own", "of 'their own'")):
        out = f"x-{label}"
        search(toy.evaluate, toy.space(), trials=1, executor="inline", out=out, task=label)
        assert failed(capsys, 2, "resume", out) == (
            f"{out} holds a search {words}, which the command line does not know; "
            "to go on, run the script or notebook that began it again"
        )


def test_resuming_a_search_on_an_executor_of_a_script(capsys, toy):
    assert main(["search", "toy", *INLINE, "--out", "x"]) == 0
    capsys.readouterr()
    with sqlite3.connect("x/study.db") as ledger:
        ledger.execute("UPDATE study SET options = json_set(options, '$.executor', 'Cluster')")
    assert "on the executor Cluster; run the script that began it again" in failed(capsys, 2, "resume", "x")


def test_a_second_loop_on_one_ledger_is_refused(capsys, toy, monkeypatch):
    original, refusals = toy.evaluate, []

    def evaluate(policy, seed):
        if not refusals:
            refusals.append(main(["resume", "x"]))
        return original(policy, seed)

    monkeypatch.setattr(toy, "evaluate", evaluate)
    assert main(["search", "toy", *INLINE, "--out", "x"]) == 0
    assert refusals == [1]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: another search is running in x")


def test_the_tasks_that_exist_are_the_real_ones():
    assert {"digits", "ptb-small", "pydoc-lm", "cifar10-small", "wikitext2-small", "ptb-txl"} <= set(
        registry.TASKS
    )
    assert "toy" not in registry.TASKS
