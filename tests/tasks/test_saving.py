import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from autodropout.applying import apply
from autodropout.errors import DataError, UsageError
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from autodropout.tasks.fit import FitSettings, cosine, fit
from autodropout.tasks.saving import CHECKPOINT, Saving, saved_weights

POLICY = Policy({"1": ConvPattern(height=2, width=2, share_c=False)}, schedule="ramp")
STEPS = 12


class Killed(BaseException):
    """What ends a training in the middle."""


class Batches:
    """Batches that are functions of their step; the end comes at a step of its own."""

    def __init__(self, end=None):
        self.end, self.made = end, []

    def __iter__(self):
        return self.starting_at(0)

    def starting_at(self, step):
        for number in range(step, STEPS):
            if number == self.end:
                raise Killed
            self.made.append(number)
            generator = torch.Generator().manual_seed(number)
            inputs = torch.randn(8, 1, 6, 6, generator=generator)
            yield inputs, inputs.mean((1, 2, 3)).gt(0).long()


def trained(folder, batches, *, kind=torch.optim.SGD, identity="one", every=0.0, **settings):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(64, 2)
    )
    apply(model, POLICY)
    optimiser = (
        kind(model.parameters(), 0.1, momentum=0.9) if kind is torch.optim.SGD else kind(model.parameters())
    )
    saving = None if folder is None else Saving(folder=folder, identity=identity, every=every)
    probe = torch.ones(1, 1, 6, 6)
    chosen = FitSettings(
        steps=STEPS, measure=lambda m: m(probe)[0, 0].item(), measurements=4, saving=saving, **settings
    )
    return model, fit(model, optimiser, cosine, batches, chosen)


def same(first, second):
    return set(first) == set(second) and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop])
@pytest.mark.parametrize("end", [1, 5, 11])
def test_a_training_that_was_killed_ends_with_the_weights_of_one_that_was_not(tmp_path, kind, end):
    whole, fitted = trained(None, Batches(), kind=kind)
    with pytest.raises(Killed):
        trained(tmp_path, Batches(end), kind=kind)
    batches = Batches()
    resumed, again = trained(tmp_path, batches, kind=kind)
    assert same(whole.state_dict(), resumed.state_dict())
    assert (again.curve, again.loss, again.steps) == (fitted.curve, fitted.loss, STEPS)
    assert batches.made == list(range(end, STEPS))


def test_without_randomness_kept_it_would_differ(tmp_path, monkeypatch):
    """The test above can fail: masks go on where they were only because generators are kept."""
    whole, _ = trained(None, Batches())
    with pytest.raises(Killed):
        trained(tmp_path, Batches(6))
    monkeypatch.setattr("autodropout.tasks.saving._restore_generators", lambda tensors: None)
    assert not same(whole.state_dict(), trained(tmp_path, Batches())[0].state_dict())


def test_batches_that_cannot_seek_are_made_again(tmp_path):
    whole, _ = trained(None, Batches())
    with pytest.raises(Killed):
        trained(tmp_path, Batches(5))
    assert same(whole.state_dict(), trained(tmp_path, list(Batches()))[0].state_dict())


def test_a_training_that_is_complete_is_not_gone_on_with(tmp_path):
    model, fitted = trained(tmp_path, Batches(), every=60.0)
    batches = Batches()
    again, found = trained(tmp_path, batches)
    assert batches.made == []
    assert same(model.state_dict(), again.state_dict())
    assert (found.curve, found.loss, found.steps) == (fitted.curve, fitted.loss, STEPS)
    assert 0.5 * fitted.seconds < found.seconds
    assert same(model.state_dict(), saved_weights(tmp_path))


def test_a_training_that_diverged_stays_so(tmp_path):
    settings = {"loss": lambda outputs, targets: outputs.sum() * math.nan, "check_every": 2}
    assert trained(tmp_path, Batches(), **settings)[1].diverged
    batches = Batches()
    found = trained(tmp_path, batches, **settings)[1]
    assert found.diverged
    assert (found.steps, batches.made) == (2, [])


def test_another_trainings_checkpoint_is_refused(tmp_path):
    trained(tmp_path, Batches())
    text = (
        f"{tmp_path} holds the checkpoint of another training: one; this one is two; name another directory"
    )
    with pytest.raises(UsageError, match=re.escape(text)):
        trained(tmp_path, Batches(), identity="two")


def test_a_damaged_checkpoint_is_named(tmp_path):
    trained(tmp_path, Batches())
    file = tmp_path / CHECKPOINT
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=re.escape(f"the checkpoint {file} is damaged")):
        trained(tmp_path, Batches())


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match=r"cannot be written .*make room or name another directory"):
        trained(tmp_path / "file", Batches())


def test_nothing_is_left_beside_the_checkpoint(tmp_path):
    trained(tmp_path, Batches())
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]


SCRIPT = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_saving import Batches, trained
class Slow(Batches):
    def starting_at(self, step):
        for batch in super().starting_at(step):
            time.sleep(0.2)
            yield batch
trained(Path(sys.argv[1]), Slow())
"""


def test_a_real_kill(tmp_path):
    whole, _ = trained(None, Batches())
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(Path(__file__).parent)]
    process = subprocess.Popen(command, env=dict(os.environ, OMP_NUM_THREADS="1"))
    waited = time.monotonic()
    while not (tmp_path / CHECKPOINT).exists() and process.poll() is None and time.monotonic() - waited < 200:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    batches = Batches()
    resumed, _ = trained(tmp_path, batches)
    assert batches.made[0] > 0
    assert same(whole.state_dict(), resumed.state_dict())
