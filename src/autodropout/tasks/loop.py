"""The inside of ``fit``: one step, one look at the loss, one checkpoint."""

import logging
import math
import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from autodropout.adapting import Adaptive, Refreshing
from autodropout.baselines import Ramped
from autodropout.durations import in_words
from autodropout.errors import DeviceError, DivergedError
from autodropout.handles import handles
from autodropout.tasks.batches import Batch
from autodropout.tasks.fit_settings import FitSettings, Schedule
from autodropout.tasks.memory_order import stands_channels_last
from autodropout.tasks.saving import Saved

_PAUSE, _SHARE = 10.0, 0.1
"""Seconds between two lines about the course of a training: so many, or so much of the time spent."""

LEAST_REFRESHES = 30
"""Of adaptive dropout's rates in a training: a short one has them more often than was asked for."""

_log = logging.getLogger(__name__)


class Loop:
    """State of one ``fit``: the curve so far and whether the loss is still finite.

    Args:
        model: On the settings' device.
        optimiser: Over the model's parameters.
        schedule: Factor on the learning rates.
        settings: Everything else.
    """

    def __init__(
        self, model: nn.Module, optimiser: torch.optim.Optimizer, schedule: Schedule, settings: FitSettings
    ) -> None:
        self.model, self.optimiser, self.schedule, self.settings = model, optimiser, schedule, settings
        self.called: Any = torch.compile(model) if settings.compile else model
        self.rates = [group["lr"] for group in optimiser.param_groups]
        self.applied = handles(model)
        self.adaptive = [handle for handle in self.applied if isinstance(handle, Adaptive)]
        for handle in self.adaptive:
            handle.refreshing = often_enough(handle.refreshing, settings.steps)
        self.ramped = [module for module in model.modules() if isinstance(module, Ramped)]
        self.device = torch.device(settings.device)
        self.channels_last = settings.channels_last and stands_channels_last(model, self.device)
        self.curve: list[float] = []
        self.loss = math.nan
        self.finite, self.stopped = True, False
        # Summed on the device and looked at now and then: reading each step's loss would stall a GPU. A
        # loss that was not finite once keeps the sum from being finite.
        self.total = torch.zeros((), device=self.device)
        self.since = 0
        self.began, self.before, self.saved_at = time.perf_counter(), 0.0, 0.0
        self.made, self.said_at = 0, 0.0

    @property
    def seconds(self) -> float:
        """Time spent, that before a restart included."""
        return self.before + time.perf_counter() - self.began

    @property
    def going(self) -> bool:
        """Whether there is a reason to go on."""
        return self.finite and not self.stopped

    def step(self, progress: float, batch: Batch) -> None:
        """Make one optimiser step at this progress of training, below 1."""
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.schedule(progress)
        for applied in self.applied:
            applied.progress = progress
        for module in self.ramped:
            module.progress = progress
        self.model.train()
        try:
            self._learn(batch, progress)
        except DivergedError as error:
            _log.warning("the training counts as diverged: %s", error)
            self.total.fill_(math.nan)
            self.finite, self.loss = False, math.nan
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"the memory of {self.device} does not suffice for batches of {len(batch[0])}; make "
                "batch_size smaller, use bf16, or run fewer trials on this device at a time"
            ) from error
        self.since += 1

    def _learn(self, batch: Batch, progress: float) -> None:
        parts = tuple(self._placed(part) for part in batch)
        for adaptive in self.adaptive:
            adaptive.observe(*self._observed(parts))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16):
            loss = self._loss(parts, progress)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimiser.step()
        self.total += loss.detach()

    def _observed(self, batch: Batch) -> tuple[object, Tensor]:
        return (batch[0], batch[1]) if self.settings.observed is None else self.settings.observed(batch)

    def _loss(self, batch: Batch, progress: float) -> Tensor:
        settings = self.settings
        if settings.objective is not None:
            return settings.objective(self.called, batch, progress)
        inputs, targets = batch[:2]
        return settings.loss(self.called(inputs), targets)

    def _placed(self, part: Tensor) -> Tensor:
        if self.channels_last and part.ndim == 4:
            return part.to(self.device, non_blocking=True, memory_format=torch.channels_last)
        return part.to(self.device, non_blocking=True)

    def look(self, steps: int) -> bool:
        """Check the loss and measure where it is time to; return whether to go on."""
        points, last = self.settings.measurements, self.settings.steps
        due = steps * points // last > (steps - 1) * points // last
        if due or steps % self.settings.check_every == 0:
            self.loss = self.total.item() / self.since
            self.finite = math.isfinite(self.loss)
            if self.finite:
                self._say(steps)
        if due and self.finite:
            self._measure()
            self.total.zero_()
            self.since = 0
            self.stopped = self.settings.stop is not None and self.settings.stop(tuple(self.curve))
        return self.going

    def _say(self, steps: int) -> None:
        """Log how far training is, more and more rarely."""
        seconds, last = self.seconds, self.settings.steps
        if steps == last or seconds - self.said_at < max(_PAUSE, _SHARE * seconds):
            return
        self.said_at = seconds
        left = (last - steps) * (seconds - self.before) / (steps - self.made)
        _log.info("step %d of %d, loss %.4g, %s left", steps, last, self.loss, in_words(left))

    def _measure(self) -> None:
        if self.settings.measure is None:
            return
        self.model.eval()
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16):
            self.curve.append(self.settings.measure(self.model))

    def restore(self) -> int:
        """Go back to the last checkpoint, if there is one; return the steps that were made."""
        saving, carried = self.settings.saving, self.settings.carried
        saved = None if saving is None else saving.read(self.model, self.optimiser, carried)
        if saved is None:
            return 0
        self.curve, self.loss = list(saved.curve), saved.loss
        self.before = self.saved_at = self.said_at = saved.seconds
        self.made = saved.steps
        for handle, state in zip(self.adaptive, saved.adaptive, strict=True):
            handle.load_state_dict(state)
        self.total.fill_(saved.total)
        self.since, self.finite, self.stopped = saved.since, saved.finite, saved.stopped
        return saved.steps

    def save(self, steps: int, *, last: bool) -> None:
        """Keep a checkpoint where it is time to, or at the end."""
        saving = self.settings.saving
        if saving is None or not (last or self.seconds - self.saved_at >= saving.every):
            return
        self.saved_at = self.seconds
        saving.write(
            self.model,
            self.optimiser,
            Saved(
                steps=steps,
                curve=tuple(self.curve),
                loss=self.loss,
                total=self.total.item(),
                since=self.since,
                finite=self.finite,
                stopped=self.stopped,
                seconds=self.seconds,
                adaptive=tuple(handle.state_dict() for handle in self.adaptive),
            ),
            self.settings.carried,
        )


def often_enough(refreshing: Refreshing, steps: int) -> Refreshing:
    """Return a period at which a training of so many steps has ``LEAST_REFRESHES``, or the one given."""
    return replace(refreshing, every=max(1, min(refreshing.every, steps // LEAST_REFRESHES)))
