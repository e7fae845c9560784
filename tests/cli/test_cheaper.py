"""Halving, warm starts and common seeds from the command line."""

from autodropout.cli import main
from autodropout.engine.study import Study

INLINE = ("--executor", "inline", "--confirm-top", "0")


def test_halving_survives_a_resume(capsys, toy):
    assert main(["search", "toy", *INLINE, "--out", "x", "--halving"]) == 0
    assert "searching 8/8, 0 running, 0 failed, best " in capsys.readouterr().out
    assert {trial.budget for trial in Study("x").trials} == {1 / 9, 1 / 3, 1.0}
    assert main(["resume", "x", "--trials", "9"]) == 0
    assert "searching 9/9" in capsys.readouterr().out
    assert Study("x").tally().done == 9
    assert main(["search", "toy", *INLINE, "--out", "x", "--trials", "9"]) == 2
    assert "x holds a study with another halving" in capsys.readouterr().err


def test_a_warm_start_survives_a_resume(capsys, toy):
    assert main(["search", "toy", *INLINE, "--out", "first", "--searcher", "random"]) == 0
    assert main(["search", "toy", *INLINE, "--out", "second", "--warm-start", "first"]) == 0
    assert Study("second").record.warm["trials"] == 8
    assert main(["resume", "second", "--trials", "9"]) == 0
    assert Study("second").tally().done == 9
    capsys.readouterr()
    assert main(["search", "toy", *INLINE, "--out", "third", "--warm-start", "nothing"]) == 1
    assert capsys.readouterr().err == (
        "error: nothing holds no study: there is no study.db; check the directory's name\n"
    )


def test_a_common_seed_survives_a_resume(capsys, toy):
    assert main(["search", "toy", *INLINE, "--out", "x", "--common-seed"]) == 0
    assert main(["resume", "x", "--trials", "9"]) == 0
    assert len(Study("x").trials) == 9
    assert len({trial.seed for trial in Study("x").trials}) == 1
    capsys.readouterr()
    assert main(["search", "toy", *INLINE, "--out", "x", "--trials", "9"]) == 2
    assert "x holds a study with another common seed: True there, False here" in capsys.readouterr().err
