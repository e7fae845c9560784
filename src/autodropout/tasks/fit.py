"""The one training loop."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.adapting import Adaptive
from autodropout.applying import Applied
from autodropout.errors import UsageError
from autodropout.handles import handles

Schedule = Callable[[float], float]
"""Progress of training, 0 at the first step and below 1, to a factor on every learning rate."""

Objective = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(model, inputs, targets) to the scalar that a step minimises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How to run the loop, whatever the model.

    Attributes:
        steps: Optimiser steps, at least 1; the batches must suffice.
        measure: Called with the model in eval mode and without gradients; its figures make the curve.
        measurements: Points on the curve, evenly spread, the last one after the last step.
        loss: (outputs, targets) to a scalar.
        objective: Takes the place of ``loss`` and calls the model itself, such as with a memory, or twice;
            None is loss(model(inputs), targets).
        device: Where model and batches are put, such as ``"cpu"`` or ``"cuda:1"``.
        bf16: Run forward passes under bfloat16 autocast.
        clip_norm: Largest norm of the gradient over all parameters; None leaves it alone.
        check_every: Steps between two looks at the loss for divergence; a look waits for the device.
        stop: Called with the curve after every measurement; True ends training there. It sees nothing but
            this curve, so that a trial stays a pure function of policy, seed and budget.
    """

    steps: int
    measure: Callable[[nn.Module], float] | None = None
    measurements: int = 1
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    objective: Objective | None = None
    device: str = "cpu"
    bf16: bool = False
    clip_norm: float | None = None
    check_every: int = 10
    stop: Callable[[Sequence[float]], bool] | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "measurements", "check_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)!r}; expected at least 1")


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
    batches: Iterable[tuple[Tensor, Tensor]],
    settings: FitSettings,
) -> Fitted:
    """Train a model in place and return its curve.

    Before each step the learning rates are set to schedule(progress) times what they were at the start,
    and ``progress`` of the policy that is applied to the model, if any, is set too; adaptive dropout
    observes the step's batch and refreshes its rates when they are due. Training ends early when
    the loss is no longer finite, or when ``settings.stop`` says so.

    Args:
        model: Called with a batch's inputs. Moved to the device; left in eval mode.
        optimiser: Over the model's parameters.
        schedule: Factor on the learning rates.
        batches: (inputs, targets), one pair per step.
        settings: Everything else.

    Raises:
        UsageError: There are fewer batches than steps.
    """
    started = time.perf_counter()
    model.to(settings.device)
    loop = _Loop(model, optimiser, schedule, settings)
    steps = 0
    for steps, (inputs, targets) in zip(range(1, settings.steps + 1), batches, strict=False):
        loop.step((steps - 1) / settings.steps, inputs, targets)
        if not loop.look(steps):
            break
    if loop.finite and not loop.stopped and steps < settings.steps:
        raise UsageError(f"the batches ended after {steps} steps of {settings.steps}; give a batch for each")
    model.eval()
    return Fitted(
        curve=tuple(loop.curve),
        loss=loop.loss,
        diverged=not loop.finite,
        stopped=loop.stopped and steps < settings.steps,
        steps=steps,
        seconds=time.perf_counter() - started,
    )


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


class _Loop:
    """State of one ``fit``: the curve so far and whether the loss is still finite."""

    def __init__(
        self, model: nn.Module, optimiser: torch.optim.Optimizer, schedule: Schedule, settings: FitSettings
    ) -> None:
        self.model, self.optimiser, self.schedule, self.settings = model, optimiser, schedule, settings
        self.rates = [group["lr"] for group in optimiser.param_groups]
        self.applied = Applied.of(model)
        self.adaptive = [handle for handle in handles(model) if isinstance(handle, Adaptive)]
        self.device = torch.device(settings.device)
        self.curve: list[float] = []
        self.loss = math.nan
        self.finite, self.stopped = True, False
        # Summed on the device and looked at now and then: reading each step's loss would stall a GPU. A
        # loss that was not finite once keeps the sum from being finite.
        self.total = torch.zeros((), device=self.device)
        self.since = 0

    def step(self, progress: float, inputs: Tensor, targets: Tensor) -> None:
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.schedule(progress)
        if self.applied is not None:
            self.applied.progress = progress
        self.model.train()
        inputs, targets = (part.to(self.device, non_blocking=True) for part in (inputs, targets))
        for adaptive in self.adaptive:
            adaptive.observe(inputs, targets)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16):
            loss = self._loss(inputs, targets)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimiser.step()
        self.total += loss.detach()
        self.since += 1

    def _loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        if self.settings.objective is not None:
            return self.settings.objective(self.model, inputs, targets)
        return self.settings.loss(self.model(inputs), targets)

    def look(self, steps: int) -> bool:
        """Check the loss and measure where it is time to; return whether to go on."""
        points, last = self.settings.measurements, self.settings.steps
        due = steps * points // last > (steps - 1) * points // last
        if due or steps % self.settings.check_every == 0:
            self.loss = self.total.item() / self.since
            self.finite = math.isfinite(self.loss)
        if due and self.finite:
            self._measure()
            self.total.zero_()
            self.since = 0
            self.stopped = self.settings.stop is not None and self.settings.stop(tuple(self.curve))
        return self.finite and not self.stopped

    def _measure(self) -> None:
        if self.settings.measure is None:
            return
        self.model.eval()
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16):
            self.curve.append(self.settings.measure(self.model))
