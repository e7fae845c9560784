"""Our figures beside the paper's: in percent, with the top-5 accuracy where both have it."""

import json
import math
from pathlib import Path

import pytest

from autodropout.cli import main
from autodropout.cli.quoting import beside_ours, top5_of
from autodropout.comparison import compare, read_comparison
from autodropout.comparison.quotations import quotations
from autodropout.policy import Policy
from autodropout.result import Result

FIGURES = {"none": (0.75, 0.77), "policy": (0.81, 0.82)}


def compared(tmp_path, result, **more):
    def arm(name):
        return lambda seed: result(name, seed)

    return compare(
        lambda policy, seed: 0.0,
        {name: arm(name) for name in FIGURES},
        seeds=2,
        executor="inline",
        out=tmp_path / "x",
        **more,
    )


def returning(**test):
    """A function that returns the accuracies above in turn, and these figures beside them."""
    turns = {name: iter(values) for name, values in FIGURES.items()}

    def result(name, seed):
        accuracy = next(turns[name])
        return Result(reward=accuracy, test={"accuracy": accuracy, **test})

    return result


def ours(task, place, comparison, top5):
    (quotation,) = [q for q in beside_ours(quotations(task), comparison, top5) if q.place.startswith(place)]
    return {row.arm: row.ours for row in quotation.rows if row.arm is not None}


def test_shares_are_printed_as_percent_with_their_deviation(tmp_path):
    comparison = compared(tmp_path, returning())
    found = ours("cifar10-wrn28-10", "Table 1", comparison, {})
    assert found == {
        "none": "76.00 ± 1.41",
        "policy": "81.50 ± 0.71",
        "dropblock": None,
        "stochastic-depth": None,
    }


def test_errors_are_printed_where_the_source_prints_errors(tmp_path):
    comparison = compared(tmp_path, returning())
    assert ours("cifar10-4k-uda", "results listed", comparison, {}) == {"policy": "18.50 ± 0.71"}


def test_the_top_5_accuracy_stands_beside_the_top_1(tmp_path):
    comparison = compared(tmp_path, returning(top5=0.9335))
    top5 = top5_of(tmp_path / "x")
    assert top5 == pytest.approx({"none": 0.9335, "policy": 0.9335})
    found = ours("imagenet-efficientnet-b0", "Table 1", comparison, top5)
    assert (found["none"], found["policy"]) == ("76.00 / 93.35", "81.50 / 93.35")
    assert found["dropblock"] is None


def test_of_few_classes_there_is_no_top_5(tmp_path):
    comparison = compared(tmp_path, returning())
    assert top5_of(tmp_path / "x") == {}
    assert ours("imagenet-resnet50", "Table 1", comparison, {})["policy"] == "81.50 / —"


def test_where_a_run_diverged_no_top_5_is_claimed_for_its_arm(tmp_path):
    """The mean accuracy counts that run as the floor, and of its top-5 nothing is known."""
    turns, seen = returning(top5=0.9), []

    def result(name, seed):
        seen.append(name)
        return Result(reward=math.nan) if seen == ["none"] else turns(name, seed)

    comparison = compared(tmp_path, result, floor=0.001)
    assert comparison.rows[0].floored == 1
    assert set(top5_of(tmp_path / "x")) == {"policy"}


def test_another_figure_than_the_accuracy_is_not_put_beside_accuracies(tmp_path):
    comparison = compared(tmp_path, returning(), figure="reward")
    found = ours("imagenet-resnet50", "Table 1", comparison, {})
    assert (found["policy"], found["dropblock"]) == ("—", None)


def test_a_whole_comparison_has_both(toy, monkeypatch, capsys):
    Policy({}).save("mine.json")
    quoted = quotations("imagenet-efficientnet-b0")
    monkeypatch.setattr("autodropout.cli.account.quotations", lambda task: quoted)
    monkeypatch.setattr(
        toy, "result", lambda reward, seed: Result(reward=0.5, test={"accuracy": 0.762, "top5": 0.9312})
    )
    few = ("--executor", "inline", "--baselines", "none", "--seeds", "2", "--out", "x")
    assert main(["compare", "toy", "--policy", "mine.json", *few]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "AutoDropout 77.5 / 93.8 policy 76.20 / 93.12" in text
    assert read_comparison("x").figure == "accuracy"
    rows = json.loads(Path("x/comparison.json").read_text())["quoted"][0]["rows"]
    assert [(row["arm"], row["ours"]) for row in rows] == [
        ("none", "76.20 / 93.12"),
        ("dropblock", None),
        ("stochastic-depth", None),
        ("policy", "76.20 / 93.12"),
    ]
