"""The one training loop."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import nn

from autodropout.errors import UsageError
from autodropout.tasks.batches import Batch, Seekable
from autodropout.tasks.fit_settings import FitSettings as FitSettings
from autodropout.tasks.fit_settings import Objective as Objective
from autodropout.tasks.fit_settings import Schedule as Schedule
from autodropout.tasks.loop import Loop


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What training led to.

    Attributes:
        curve: What ``measure`` returned, oldest first; its last value is the final model's.
        loss: Mean training loss since the last point of the curve; NaN or infinite if it diverged.
        diverged: Whether the loss became NaN or infinite; training ended there, without a last measure.
        stopped: Whether ``stop`` ended training before its last step.
        steps: Optimiser steps made.
        seconds: Wall-clock time.
    """

    curve: tuple[float, ...]
    loss: float
    diverged: bool
    stopped: bool
    steps: int
    seconds: float


def fit(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: Schedule,
    batches: Iterable[Batch],
    settings: FitSettings,
) -> Fitted:
    """Train a model in place and return its curve.

    Before each step the learning rates are set to schedule(progress) times what they were at the start, and
    ``progress`` of all that is applied to the model, policies and other dropout, and of its ``Ramped``
    baselines is set too; adaptive dropout observes the step's batch and refreshes its rates when they are
    due, in short trainings more often, so that they are refreshed 30 times. Training ends early when the loss
    is no longer finite, or when ``settings.stop`` says so.

    With ``settings.saving`` a run that was killed goes on where its last checkpoint was and ends with the
    weights that it would have had, to the last bit where the device's arithmetic repeats itself. The batches
    must then be the same again; those that are ``Seekable`` need not be made once more up to that step.

    It prints nothing; how far it is is logged at the level INFO, every ten seconds at first, then more
    rarely.

    Args:
        model: Called with a batch's inputs. Moved to the device; left in eval mode.
        optimiser: Over the model's parameters.
        schedule: Factor on the learning rates.
        batches: (inputs, targets), one pair per step; more tensors may follow for an ``objective``.
        settings: Everything else.

    Raises:
        UsageError: There are fewer batches than steps, or the checkpoint is of another training.
        DeviceError: The device's memory does not suffice.
    """
    model.to(settings.device)
    loop = Loop(model, optimiser, schedule, settings)
    if loop.channels_last:
        model.to(memory_format=torch.channels_last)
    made = steps = loop.restore()
    left = range(made + 1, settings.steps + 1) if loop.going else ()
    for steps, batch in zip(left, _beginning_at(batches, made), strict=False):
        loop.step((steps - 1) / settings.steps, batch)
        going = loop.look(steps)
        loop.save(steps, last=not going or steps == settings.steps)
        if not going:
            break
    if loop.going and steps < settings.steps:
        raise UsageError(f"the batches ended after {steps} steps of {settings.steps}; give a batch for each")
    model.eval()
    return Fitted(
        curve=tuple(loop.curve),
        loss=loop.loss,
        diverged=not loop.finite,
        stopped=loop.stopped and steps < settings.steps,
        steps=steps,
        seconds=loop.seconds,
    )


def _beginning_at(batches: Iterable[Batch], step: int) -> Iterator[Batch]:
    if isinstance(batches, Seekable):
        return batches.starting_at(step)
    return islice(batches, step, None)


def shortened(steps: int, budget: float) -> int:
    """Return the optimiser steps of a fraction of a training, at least 1.

    ``fit`` with fewer steps runs the whole schedule over them: a short training is one of its own and not
    the beginning of a long one, so that its reward says what little training can reach.

    Args:
        steps: Of the whole training.
        budget: The fraction, in (0, 1].

    Raises:
        UsageError: The fraction is out of range.
    """
    if not 0.0 < budget <= 1.0:
        raise UsageError(
            f"budget is {budget!r}; expected a fraction of a full training, above 0 and at most 1"
        )
    return max(1, round(steps * budget))


def cosine(progress: float) -> float:
    """Return (1 + cos(pi * progress)) / 2, from 1 down to 0 (Loshchilov and Hutter, 2017; no restarts)."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def warmed_up(schedule: Schedule, share: float) -> Schedule:
    """Return the schedule with a linear rise from 0 over the first ``share`` of training before it.

    Args:
        schedule: What follows; its progress runs from 0 to 1 over what is left.
        share: From 0 (no warm-up) to below 1.
    """
    return lambda p: p / share if p < share else schedule((p - share) / (1.0 - share))


def inverse_sqrt(share: float) -> Schedule:
    """Return min(p / share, sqrt(share / p)): a linear rise, then a fall with the root of the steps made.

    The learning rate of Vaswani et al. (2017), Eq. 3, over its highest value.

    Args:
        share: Of training over which it rises, above 0 and at most 1.
    """
    return lambda p: p / share if p < share else math.sqrt(share / p)
