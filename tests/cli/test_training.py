import json
import logging
import re
from dataclasses import replace

import pytest
from safetensors.torch import load_file

from autodropout.cli import main
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from autodropout.tasks import loop, registry
from stripes import POLICY, TASK


@pytest.fixture
def stripes(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "TASKS", {"stripes": TASK})
    monkeypatch.chdir(tmp_path)
    POLICY.save("mine.json")
    return tmp_path


def failed(capsys, code, *arguments):
    assert main(list(arguments)) == code
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def test_a_training_keeps_weights_and_result(stripes, capsys):
    assert main(["train", "stripes", "--policy", "mine.json", "--out", "x", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert "if it is stopped, go on with: " in out
    assert "train stripes --policy mine.json --out x --seed 3" in out
    found = json.loads((stripes / "x" / "result.json").read_text())
    expected = TASK.evaluate(POLICY, 3)
    assert found["result"]["reward"] == expected.reward
    assert found["result"]["test"] == dict(expected.test)
    assert found["policy"] == POLICY.key
    assert found["command"] == "autodropout train stripes --policy mine.json --out x --seed 3"
    assert Policy.load(stripes / "x" / "policy.json") == POLICY
    TASK.model().load_state_dict(load_file(stripes / "x" / "weights.safetensors"))


def test_the_same_command_shows_a_complete_training_again(stripes, capsys):
    command = ["train", "stripes", "--out", "x", "--json"]
    assert main(command) == 0
    first = json.loads(capsys.readouterr().out)
    assert main(command) == 0
    again = json.loads(capsys.readouterr().out)
    assert first["result"]["curve"] == again["result"]["curve"]
    assert first["result"]["test"] == again["result"]["test"]


def test_a_training_that_diverged_is_called_so(stripes, capsys, monkeypatch):
    wild = replace(TASK, recipe=replace(TASK.recipe, learning_rate=1e20, steps=12))
    monkeypatch.setattr(registry, "TASKS", {"stripes": wild})
    assert main(["train", "stripes", "--out", "x"]) == 0
    assert "The training diverged: its loss is no longer finite" in capsys.readouterr().out
    assert json.loads((stripes / "x" / "result.json").read_text())["result"]["reward"] is None


def test_it_says_how_far_it_is(stripes, capsys, monkeypatch):
    monkeypatch.setattr(loop, "_PAUSE", 0.0)
    level, handlers = (
        logging.getLogger("autodropout.tasks").level,
        list(logging.getLogger("autodropout.tasks").handlers),
    )
    assert main(["train", "stripes", "--out", "x"]) == 0
    out = capsys.readouterr().out
    assert re.search(rf"^step \d+ of {TASK.recipe.steps}, loss [\d.]+, \d+ s left$", out, re.MULTILINE)
    assert logging.getLogger("autodropout.tasks").level == level
    assert logging.getLogger("autodropout.tasks").handlers == handlers


def test_another_training_in_that_directory_is_refused(stripes, capsys):
    assert main(["train", "stripes", "--out", "x", "--budget", "0.5"]) == 0
    line = failed(capsys, 2, "train", "stripes", "--out", "x", "--seed", "1")
    assert "x holds the checkpoint of another training: task stripes, policy" in line
    assert "seed 0, budget 0.5, WRN-10-1 of 0.25 the width, 4 steps of 16 images, data " in line
    assert "; this one is task stripes, policy" in line


def test_a_policy_of_the_task_itself_stays_as_it_is(stripes, capsys):
    assert main(["train", "stripes", "--policy", "mine.json", "--found-on", "stripes", "--out", "x"]) == 0
    assert Policy.load(stripes / "x" / "policy.json") == POLICY


def test_a_policy_is_matched_and_scaled_for_a_deeper_network_on_larger_images(family, tmp_path):
    command = ["train", "stripes-large", "--policy", "found.json", "--found-on", "stripes", "--out", "x"]
    assert main(command) == 0
    assert Policy.load(tmp_path / "x" / "policy.json") == family.moved
    found = json.loads((tmp_path / "x" / "result.json").read_text())
    assert found["policy"] == family.moved.key
    assert found["result"]["curve"] == list(family.whole.evaluate(family.moved, 0).curve)
    assert found["command"] == f"autodropout {' '.join(command)}"
    assert main([*command[:4], "--out", "y"]) == 0
    assert Policy.load(tmp_path / "y" / "policy.json") == family.found  # nothing is guessed


def test_a_policy_for_another_model_is_refused_before_anything_runs(stripes, capsys):
    Policy({"layer1.0.bn1": ConvPattern(height=1, width=1)}).save("other.json")
    assert "layer1.0.bn1" in failed(capsys, 2, "train", "stripes", "--policy", "other.json", "--out", "x")
    assert not (stripes / "x").exists()


def test_a_task_that_keeps_no_checkpoint(toy, capsys):
    assert main(["train", "toy", "--out", "x"]) == 0
    assert "the task toy keeps no checkpoint and no weights" in capsys.readouterr().out
    toy.lacking = "fetch it"
    assert "fetch it" in failed(capsys, 2, "train", "toy", "--out", "y")


def test_only_image_tasks_share_policies(toy, capsys, monkeypatch):
    monkeypatch.setattr(registry, "TASKS", {"toy": toy, "stripes": TASK})
    line = failed(capsys, 2, "train", "toy", "--found-on", "stripes", "--out", "x")
    assert "a policy cannot be moved from stripes to toy; --found-on is for image tasks" in line
