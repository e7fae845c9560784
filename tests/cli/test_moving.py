"""compare with a policy that was found on another task; train has the like in test_training.py."""

import json
import shlex
from pathlib import Path
from types import MappingProxyType

import pytest

from autodropout.cli import main
from autodropout.comparison import read_comparison
from autodropout.comparison.kept import kept
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from autodropout.tasks import registry
from autodropout.tasks.images.digits import Digits

FROM_PROXY = ("stripes-large", "--policy", "found.json", "--found-on", "stripes")
SMALLEST = ("--baselines", "none", "--seeds", "2", "--executor", "inline")


def test_a_policy_is_matched_and_scaled_before_it_is_compared(family):
    """Every key of the policy exists in the deeper network, so that without --found-on it fits as it is."""
    assert main(["compare", *FROM_PROXY, *SMALLEST, "--out", "x"]) == 0
    comparison, account = read_comparison("x"), json.loads(Path("x/comparison.json").read_text())
    assert kept(Path("x")).arms["policy"] == family.moved
    assert Policy.from_json(json.dumps(account["policy"])) == family.moved
    trained = family.whole.evaluate(family.moved, comparison.seeds[0])
    assert comparison.values["policy"][0] == trained.test["accuracy"]
    assert " --policy found.json --found-on stripes --baselines none" in account["command"]
    assert main(shlex.split(account["command"])[1:]) == 0
    assert main(["compare", *FROM_PROXY[:3], *SMALLEST, "--out", "y"]) == 0
    assert kept(Path("y")).arms["policy"] == family.found


def test_the_search_of_a_proxy_keeps_the_comparison_of_its_own_task(family):
    Path("runs/proxy").mkdir(parents=True)
    Path("runs/proxy/study.db").touch()
    family.found.save("runs/proxy/best.json")
    moving = ("stripes-large", "--policy", "runs/proxy/best.json", "--found-on", "stripes")
    assert main(["compare", *moving, *SMALLEST]) == 0
    assert kept(Path("runs/stripes-large-compare")).arms["policy"] == family.moved
    assert not Path("runs/proxy/compare").exists()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("digits", "error: a policy cannot be moved from digits to toy; --found-on is for image tasks\n"),
        ("tay", "error: there is no task 'tay'; did you mean 'toy'? All are listed by: autodropout tasks\n"),
    ],
)
def test_policies_of_other_tasks_are_refused_before_anything_runs(capsys, toy, monkeypatch, source, text):
    monkeypatch.setattr(registry, "TASKS", MappingProxyType({"toy": toy, "digits": Digits()}))
    Policy({"a": ConvPattern(height=1, width=1)}).save("mine.json")
    assert main(["compare", "toy", "--policy", "mine.json", "--found-on", source, *SMALLEST]) == 2
    assert capsys.readouterr().err == text
    assert toy.evaluated == 0
    assert not Path("runs").exists()


def test_found_on_the_task_itself_is_as_it_stands(toy):
    Policy({"a": ConvPattern(height=1, width=1)}).save("mine.json")
    assert (
        main(["compare", "toy", "--policy", "mine.json", "--found-on", "toy", *SMALLEST, "--out", "x"]) == 0
    )
    assert list(kept(Path("x")).arms["policy"].sites) == ["a"]
