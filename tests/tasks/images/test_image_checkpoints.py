"""Trainings on images that are killed and gone on with, to the last bit of the weights; what is refused."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.nn import functional as F

from autodropout.cli import main
from autodropout.data.augmentation import Chained, Crops, Flips
from autodropout.errors import UsageError
from autodropout.policy import Policy
from autodropout.tasks import registry
from autodropout.tasks.images.batches import ImageBatches
from autodropout.tasks.images.identity import described
from autodropout.tasks.images.imagenet import IMAGENET_TASKS
from autodropout.tasks.images.named import IMAGE_TASKS
from autodropout.tasks.images.networks import Wrn
from autodropout.tasks.images.uda.batches import UdaBatches, Unlabelled
from autodropout.tasks.images.uda.named import UDA_TASKS
from autodropout.tasks.images.uda.objective import Uda
from autodropout.tasks.saving import CHECKPOINT, Saving, saved_weights
from stripes import POLICY, TASK, Stripes
from tasks_of_noise import task as noise

STEPS = 40
FLIPS_AND_CROPS = Chained((Flips(), Crops(padding=1)))
SUPERVISED = replace(TASK, recipe=replace(TASK.recipe, steps=STEPS, augment=FLIPS_AND_CROPS))

SLOWLY = """
import sys, time
from test_image_checkpoints import SUPERVISED, ImageBatches, command, registry
made = ImageBatches._made
def slowly(self, order, step):
    for batch in made(self, order, step):
        time.sleep(0.1)
        yield batch
ImageBatches._made = slowly
registry.TASKS = {SUPERVISED.name: SUPERVISED}
command(sys.argv[1])
"""


def command(out):
    """Train through the command line, with a checkpoint after every step."""
    Policy(POLICY.sites, "ramp").save(Path(out).with_suffix(".json"))
    words = ("--policy", str(Path(out).with_suffix(".json")), "--every", "0", "--out", str(out))
    assert main(["train", SUPERVISED.name, *words]) == 0


def kept(out):
    """The result, but for its seconds, and the weights as bytes."""
    result = json.loads((out / "result.json").read_text())["result"]
    del result["seconds"]
    return result, (out / "weights.safetensors").read_bytes()


def killed(out):
    """Train in a process of its own, and kill that after some steps; return how many are kept."""
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parents[1])])
    process = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, str(out)],
        env=dict(os.environ, PYTHONPATH=paths),
        stdout=subprocess.DEVNULL,
    )
    began = time.monotonic()
    while not (out / CHECKPOINT).exists() and process.poll() is None and time.monotonic() - began < 200:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with safe_open(out / CHECKPOINT, "pt") as file:
        return json.loads(file.metadata()["training"])["steps"]


def test_a_training_in_a_killed_process_ends_with_the_same_weights_file(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "TASKS", {SUPERVISED.name: SUPERVISED})
    command(tmp_path / "whole")
    steps = killed(tmp_path / "again")
    assert 0 < steps < STEPS
    assert not (tmp_path / "again" / "weights.safetensors").exists()
    begun, starting_at = [], ImageBatches.starting_at
    monkeypatch.setattr(
        ImageBatches, "starting_at", lambda self, step: begun.append(step) or starting_at(self, step)
    )
    command(tmp_path / "again")
    assert begun == [steps]
    assert kept(tmp_path / "again") == kept(tmp_path / "whole")


def weights(task, folder):
    """Train with a checkpoint after every step; return the weights."""
    task.keeping(Saving(folder=folder, identity="x", every=0.0)).evaluate(POLICY, 1)
    return saved_weights(folder)


@pytest.mark.parametrize("stopped_at", [1, 4])
def test_a_training_with_few_labels_that_was_stopped_ends_with_the_same_weights(tmp_path, stopped_at):
    pytest.importorskip("torchvision", reason="RandAugment is torchvision's")
    task = noise(Unlabelled(batch_size=10), steps=6, augment=FLIPS_AND_CROPS, objective=Uda(confidence=0.3))
    whole = weights(task, tmp_path / "whole")
    made = UdaBatches._made

    def stopping(self, labelled, pool, step):
        for number, batch in enumerate(made(self, labelled, pool, step), step):
            if number == stopped_at:
                raise KeyboardInterrupt
            yield batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UdaBatches, "_made", stopping)
        with pytest.raises(KeyboardInterrupt):
            weights(task, tmp_path / "again")
    again = weights(task, tmp_path / "again")
    assert again.keys() == whole.keys()
    assert all(torch.equal(again[name], whole[name]) for name in whole)


@dataclass(frozen=True, kw_only=True)
class OtherStripes(Stripes):
    """Images by another name."""


UNLABELLED = noise(Unlabelled(batch_size=10), steps=2, objective=Uda())


@pytest.mark.parametrize(
    ("task", "other"),
    [
        (TASK, replace(TASK, recipe=replace(TASK.recipe, learning_rate=0.05))),
        (TASK, replace(TASK, recipe=replace(TASK.recipe, augment=Crops(padding=1)))),
        (TASK, replace(TASK, recipe=replace(TASK.recipe, loss=F.multi_margin_loss))),
        (TASK, replace(TASK, source=OtherStripes())),
        (TASK, replace(TASK, network=Wrn(depth=10, width=1))),
        (UNLABELLED, replace(UNLABELLED, unlabelled=Unlabelled(batch_size=11))),
    ],
    ids=["rate", "augmentation", "loss", "images", "network", "unlabelled batch"],
)
def test_the_checkpoint_of_another_recipe_network_or_set_of_images_is_refused(tmp_path, task, other):
    before = weights(task, tmp_path)
    with pytest.raises(UsageError, match="holds the checkpoint of another training: x, ") as caught:
        weights(other, tmp_path)
    assert str(caught.value).endswith("; name another directory")
    after = saved_weights(tmp_path)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_the_refusal_says_how_the_trainings_differ(tmp_path):
    weights(TASK, tmp_path)
    with pytest.raises(UsageError) as caught:
        weights(replace(TASK, recipe=replace(TASK.recipe, batch_size=8)), tmp_path)
    digests = "data [0-9a-f]{8}, recipe [0-9a-f]{8}"
    network = "WRN-10-1 of 0.25 the width"
    assert re.fullmatch(
        f"{re.escape(str(tmp_path))} holds the checkpoint of another training: x, {network}, 8 steps of 16 "
        f"images, {digests}; this one is x, {network}, 8 steps of 8 images, {digests}; name another "
        "directory",
        str(caught.value),
    )


def test_a_description_holds_every_setting_and_no_address():
    text = described(
        (TASK.recipe, UNLABELLED.unlabelled, {"a": partial(F.cross_entropy, label_smoothing=0.1)})
    )
    assert "learning_rate=0.1" in text
    assert "loss=torch.nn.functional.cross_entropy" in text
    assert "{'a': partial(torch.nn.functional.cross_entropy, (), {'label_smoothing': 0.1})}" in text
    assert described(UNLABELLED.source).startswith(
        "autodropout.data.few_labelled.FewLabelled(source=tasks_of_noise.Drawn(), num_labels=12"
    )
    for task in (*IMAGE_TASKS, *UDA_TASKS, *IMAGENET_TASKS):
        assert " at 0x" not in described((task.network, task.source, task.recipe, task.unlabelled))


def test_settings_of_objects_and_nameless_functions_are_told_apart():
    def power(exponent):
        return lambda x: x**exponent

    pairs = [
        (torch.nn.CrossEntropyLoss(label_smoothing=0.1), torch.nn.CrossEntropyLoss(label_smoothing=0.2)),
        (power(2), power(3)),
        (lambda x: x + 1, lambda x: x + 2),
        (Path("a"), Path("b")),
        (torch.float32, torch.float64),
        (torch.ones(2), torch.zeros(2)),
        ("abc".upper, "abd".upper),
        (torch.nn.Linear(1, 1).forward, torch.nn.Linear(1, 2).forward),
    ]
    for one, other in pairs:
        assert described(one) != described(other)
        assert described(one) == described(one)
        assert " at 0x" not in described(one)
