"""Pairs of arms that are named beforehand: their differences, their p-values, and what is kept of them."""

import json
import re

import pytest

import comparing
from autodropout.comparison import compare
from autodropout.errors import DataError
from autodropout.result import Result
from autodropout.significance import holm, paired_difference

PAIRS = [("b", "a"), ("c", "a")]
FAMILIES = [PAIRS, [("c", "b")]]


def found(out, seeds=4):
    def arm(lift):
        return lambda seed: Result(reward=0.0, test={"accuracy": (seed % 7) / 100 + lift * (1 + seed % 3)})

    arms = {"a": arm(0.0), "b": arm(0.01), "c": arm(0.001)}
    return compare(comparing.refuse, arms, seeds=seeds, executor="inline", out=out, task="x")


def test_each_pair_has_its_own_paired_test(tmp_path):
    comparison = found(tmp_path)
    rows = comparing.answers(comparison, FAMILIES)
    every = [pair for family in FAMILIES for pair in family]
    assert [(row.arm, row.against) for row in rows] == every
    assert [row.family for row in rows] == [0, 0, 1]
    expected = [paired_difference(comparison.values[a], comparison.values[b]) for a, b in every]
    assert [row.paired for row in rows] == expected
    assert tuple(row.adjusted_p for row in rows[:2]) == holm([paired.p for paired in expected[:2]])
    assert rows[2].adjusted_p == expected[2].p
    assert rows[0].paired.difference > rows[1].paired.difference > 0


def test_it_is_kept_with_what_made_it_and_printed(tmp_path, capsys):
    comparing.conduct(lambda: found(tmp_path), lambda names: [PAIRS] if "a" in names else [], tmp_path)
    kept = json.loads((tmp_path / "comparison.json").read_text())
    about = {"schema", "command", "commit", "setting", "versions", "machine"}
    assert set(kept) == about | {"comparison", "pairs"}
    assert kept["setting"] == "x"
    assert re.fullmatch("[0-9a-f]{40}", kept["commit"])
    assert [(row["arm"], row["paired"]["n"]) for row in kept["pairs"]] == [("b", 4), ("c", 4)]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| b | a | 4 | +0.0")]
    assert len(lines) == 1
    assert lines[0] in (tmp_path / "comparison.md").read_text()


def test_figures_are_kept_where_there_is_no_history_and_no_git(tmp_path, monkeypatch):
    monkeypatch.setattr(comparing, "ROOT", tmp_path)
    assert comparing.commit() == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert comparing.commit() == "unknown"


def test_what_the_paper_prints_stands_beside_it(tmp_path):
    text = comparing.keep(found(tmp_path), FAMILIES, tmp_path, {"a": 0.5})
    kept = json.loads((tmp_path / "comparison.json").read_text())
    assert kept["printed"] == {"a": 0.5}
    first, second = (line for line in text.splitlines() if line.startswith(("| a | 0", "| b | -")))
    mean = sum(kept["comparison"]["arms"][0]["values"]) / 4
    assert first.startswith(f"| a | 0.5000 | {mean:.4f} | ")
    assert second.endswith(" | 4 |")
    assert "p (Holm) is adjusted over the rows of one question" in text


def test_seeds_that_are_left_out_are_said():
    half = comparing.Answer(
        arm="a", against="b", family=0, paired=paired_difference([1.0, 2.0], [0.0, 0.5]), adjusted_p=0.3
    )
    assert "lack" not in comparing.table("accuracy", [half], 2)
    assert "Pairs with fewer than 4 seeds lack those on which an arm has no figure" in comparing.table(
        "accuracy", [half], 4
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DataError("no images"), "error: no images"),
        (KeyboardInterrupt(), "Stopped; nothing is lost. The same"),
    ],
)
def test_what_ends_it_is_said_in_one_line(tmp_path, error, text):
    def make():
        raise error

    with pytest.raises(SystemExit, match=text):
        comparing.conduct(make, lambda names: FAMILIES, tmp_path)


def test_no_arm_is_a_policy():
    with pytest.raises(TypeError, match="every arm is a run of its own"):
        comparing.refuse(None, 0)
