"""Trainings on text through ``autodropout train``, killed on the way and gone on with."""

import json
from dataclasses import replace

import pytest
import torch

from autodropout.cli import main
from autodropout.data.subwords import CACHE_VARIABLE
from autodropout.data.text import Corpus
from autodropout.models.transformer_xl import XlSize
from autodropout.pattern import TokenPattern
from autodropout.policy import ROLES, Policy
from autodropout.tasks import registry
from autodropout.tasks.base import Resumable
from autodropout.tasks.saving import Saving
from autodropout.tasks.text import xl_tasks
from autodropout.tasks.text.xl_tasks import PTB_TXL, XL_TASKS
from autodropout.tasks.translation.named import TRANSLATION_TASKS
from translation_toy import toy, write_toy

STEPS = 9
POLICY = Policy({f"role:{role}": TokenPattern(size=2, rate=0.3) for role in ROLES}, schedule="ramp")


class Killed(BaseException):
    """What ends a training in the middle."""


def translation(folder, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(folder / "cache"))
    write_toy(folder)
    task = toy(folder)
    return replace(task, recipe=replace(task.recipe, steps=STEPS, beams=1))


def language_model(folder, monkeypatch):
    """Of 20 words; the text begins again after 4 segments."""
    walk = torch.randint(1, 3, (200,), generator=torch.Generator().manual_seed(0)).cumsum(0) % 20
    train, validation, test = walk.split([81, 60, 59])
    corpus = Corpus(train=train, validation=validation, test=test, vocabulary=tuple(map(str, range(20))))
    text = replace(xl_tasks.TEXTS["ptb"], check=lambda data: None, load=lambda data, size: corpus)
    monkeypatch.setattr(xl_tasks, "TEXTS", {"ptb": text})
    size = XlSize(vocabulary=20, layers=2, heads=2, width=8, inner=8)
    small = {"segment": 5, "memory": 6, "steps": STEPS, "batch_size": 4, "evaluated": 3, "measurements": 3}
    return replace(PTB_TXL, recipe=replace(PTB_TXL.recipe, size=size, device="cpu", **small))


def training(folder, task, out):
    """Return the result, but for its seconds, and the weights as bytes."""
    POLICY.save(folder / "policy.json")
    words = ["train", task.name, "--policy", str(folder / "policy.json"), "--every", "0", "--out", str(out)]
    assert main(words) == 0
    document = json.loads((out / "result.json").read_text())
    assert document["summary"] == task.summary  # which says what BLEU it is
    result = document["result"]
    del result["seconds"]
    return result, (out / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("killed_after", [1, 3, 6])
@pytest.mark.parametrize("kind", [language_model, translation])
def test_a_killed_training_ends_as_one_that_was_not(tmp_path, monkeypatch, kind, killed_after):
    task = kind(tmp_path, monkeypatch)
    monkeypatch.setattr(registry, "TASKS", {task.name: task})
    whole = training(tmp_path, task, tmp_path / "whole")
    written, write = [], Saving.write

    def killed(saving, *state):
        write(saving, *state)
        written.append(saving)
        if len(written) == killed_after:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Saving, "write", killed)
        with pytest.raises(Killed):
            training(tmp_path, task, tmp_path / "again")
    assert not (tmp_path / "again" / "result.json").exists()
    assert training(tmp_path, task, tmp_path / "again") == whole
    assert len(whole[0]["curve"]) == task.recipe.measurements


def test_every_large_text_task_keeps_checkpoints(tmp_path):
    for task in (*XL_TASKS, *TRANSLATION_TASKS):
        assert isinstance(task, Resumable)
        saving = Saving(folder=tmp_path, identity="x")
        assert task.keeping(saving) == replace(task, saving=saving)
        assert task.shortened(0.5).recipe.steps == task.recipe.steps // 2
