"""Take the place of a consumer's forward, so that its two passes see different noise, and give it back."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autodropout.attach import CHILD
from autodropout.augmented.layer import AugmentedDropout
from autodropout.errors import ApplyError

CONSUMER = f"{CHILD}_consumer"
"""Reserved name of the child that a consumer receives."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Gives a consumer its own forward back.

    Attributes:
        module: The consumer.
        child: The layer that calls it.
        place: Dotted name that the consumer had in the model.
    """

    module: nn.Module
    child: nn.Module
    place: str

    def close(self) -> None:
        """Do so. May be called twice."""
        self.module.__dict__.pop("forward", None)
        self.module._modules.pop(CONSUMER, None)


def put(module: nn.Module, name: str, layer: AugmentedDropout) -> Taken:
    """Let a layer call a consumer in training and in evaluation, until what is returned is closed.

    Args:
        module: The consumer.
        name: Its name, for errors.
        layer: The layer; it becomes a child of the consumer.

    Raises:
        ApplyError: The consumer has such a layer already, or another library has exchanged its forward.
    """
    if CONSUMER in module._modules:
        raise ApplyError(f'"{name}" already has such dropout; remove() what was applied before')
    if "forward" in module.__dict__:
        raise ApplyError(
            f'"{name}" has a forward of its own on the instance (a hook of another library?); apply the '
            "dropout first"
        )
    tensor = next(module.parameters(), None)
    device = torch.device("cpu") if tensor is None else tensor.device
    module.add_module(CONSUMER, layer.to(device).train(module.training))
    # Not a hook: those see the output only when it is there, or the input before the weights meet it. Of a
    # partial, unlike a closure, there are deep copies and pickles.
    module.__dict__["forward"] = functools.partial(_forward, module)
    return Taken(module, layer, name)


def _forward(module: nn.Module, input: Tensor) -> Tensor:  # noqa: A002 - torch's name, which callers may use
    z: Tensor = module.get_submodule(CONSUMER)(module, input)
    return z
