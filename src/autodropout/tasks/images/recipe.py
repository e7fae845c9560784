"""How an image task trains: optimiser, schedule, what happens to batches, device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.data.augmentation.chain import Change
from autodropout.errors import DeviceError, UsageError
from autodropout.tasks.fit import Objective, Schedule, cosine, warmed_up
from autodropout.tasks.weight_decay import decay_groups


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecipe:
    """Training of an image classifier: SGD with Nesterov momentum, or RMSprop; a warm-up and a cosine.

    Whatever changes a batch is plugged in here. ``augment`` sees images as they are stored, uint8 from 0 to
    255; then the channels are scaled to mean 0 and deviation 1; then ``mix`` sees float32 images. Both are
    functions of type ``Change``, and frozen dataclasses with ``__call__`` where they have settings, so that
    recipes compare by value and travel to worker processes.

    Attributes:
        steps: Optimiser steps.
        batch_size: Images per step.
        learning_rate: At its highest.
        optimiser: ``"sgd"``, or ``"rmsprop"`` as EfficientNet has it (decay .9, epsilon .001).
        momentum: Of either; Nesterov's for SGD.
        weight_decay: L2, of all matrices and kernels, not of norms and biases.
        warmup: Share of the steps over which the learning rate rises from 0.
        augment: Changes images as they are stored, such as flips and crops; None leaves them alone.
        mix: Changes scaled images and their labels, such as Mixup; None leaves them alone.
        loss: (logits, labels or soft targets) to a scalar.
        objective: (model, batch, progress) to a scalar, in place of ``loss``; see ``FitSettings``.
        clip_norm: Largest norm of the gradient; None leaves it alone.
        measurements: Points on the curve of validation accuracy.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: a GPU where there is one.
        bf16: bfloat16 autocast, on a GPU only.
        channels_last: Keep maps and weights of convolutions in this order, which is the faster one.
        compile: Train through ``torch.compile``, on a GPU only.

    Raises:
        UsageError: A number is out of range.
    """

    steps: int
    batch_size: int = 128
    learning_rate: float = 0.1
    optimiser: Literal["sgd", "rmsprop"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.0
    augment: Change | None = None
    mix: Change | None = None
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    objective: Objective | None = None
    clip_norm: float | None = None
    measurements: int = 8
    device: Literal["auto", "cpu", "cuda"] = "auto"
    bf16: bool = True
    channels_last: bool = True
    compile: bool = True

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "measurements"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)!r}; expected at least 1")
        if not 0.0 <= self.warmup < 1.0:
            raise UsageError(f"warmup is {self.warmup!r}; expected a share of the steps, from 0 to below 1")

    @property
    def schedule(self) -> Schedule:
        """Factor on the learning rate over training."""
        return warmed_up(cosine, self.warmup)

    def torch_device(self) -> torch.device:
        """Return the device to train on.

        Raises:
            DeviceError: A GPU is asked for and there is none.
        """
        there = torch.cuda.is_available()
        if self.device == "cuda" and not there:
            raise DeviceError("the recipe asks for a GPU and PyTorch sees none; set device to auto or cpu")
        return torch.device("cpu" if self.device == "cpu" or not there else "cuda")

    def optimiser_for(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimiser over a model's parameters."""
        groups = decay_groups(model, self.weight_decay)
        if self.optimiser == "sgd":
            return torch.optim.SGD(groups, self.learning_rate, self.momentum, nesterov=self.momentum > 0.0)
        return torch.optim.RMSprop(groups, self.learning_rate, alpha=0.9, eps=1e-3, momentum=self.momentum)
