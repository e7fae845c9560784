"""Which handles a model bears: those of a policy and of other dropout may stand side by side."""

from typing import Any

from torch import nn

_HANDLES = "_autodropout_applied"


def handles(model: nn.Module) -> tuple[Any, ...]:
    """Return what is applied to a model, in the order of application."""
    found: tuple[Any, ...] = model.__dict__.get(_HANDLES, ())
    return found


def remember(model: nn.Module, handle: object) -> None:
    """Let a model bear a handle; its deep copies and pickles will bear their own."""
    model.__dict__[_HANDLES] = (*handles(model), handle)


def forget(model: nn.Module, handle: object) -> None:
    """Take a handle off a model; nothing remains of the last one."""
    others = tuple(other for other in handles(model) if other is not handle)
    if others:
        model.__dict__[_HANDLES] = others
    else:
        model.__dict__.pop(_HANDLES, None)
