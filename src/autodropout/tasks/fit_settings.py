"""How to run the training loop, whatever the model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.errors import UsageError
from autodropout.tasks.batches import Batch
from autodropout.tasks.saving import Carried, Saving

Schedule = Callable[[float], float]
"""Progress of training, 0 at the first step and below 1, to a factor on every learning rate."""

Objective = Callable[[nn.Module, Batch, float], Tensor]
"""(model, batch of any number of tensors, progress of training) to the scalar that a step minimises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How to run the loop, whatever the model.

    Attributes:
        steps: Optimiser steps, at least 1; the batches must suffice.
        measure: Called with the model in eval mode and without gradients; its figures make the curve.
        measurements: Points on the curve, evenly spread, the last one after the last step.
        loss: (outputs, targets) to a scalar.
        objective: Takes the place of ``loss`` and calls the model itself: where that takes a memory or two
            passes, a batch has more than inputs and targets, or the loss changes over training. None is
            loss(model(inputs), targets).
        observed: What adaptive dropout is shown of a batch: what the model is called with, and the classes;
            None is inputs and targets.
        device: Where model and batches are put, such as ``"cpu"`` or ``"cuda:1"``.
        bf16: Run forward passes under bfloat16 autocast.
        channels_last: Keep weights of convolutions and maps in this order, which GPUs and most CPUs like,
            unless the network cannot stand it (``memory_order``).
        compile: Train through ``torch.compile``; what is measured stays eager.
        saving: Where to keep a checkpoint, from which the same call goes on; None keeps none.
        carried: What a checkpoint keeps beside model and optimiser; None for nothing.
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
    observed: Callable[[Batch], tuple[object, Tensor]] | None = None
    device: str = "cpu"
    bf16: bool = False
    channels_last: bool = False
    compile: bool = False
    saving: Saving | None = None
    carried: Carried | None = None
    clip_norm: float | None = None
    check_every: int = 10
    stop: Callable[[Sequence[float]], bool] | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "measurements", "check_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)!r}; expected at least 1")
