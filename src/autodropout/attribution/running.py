"""Run a model for attribution: in evaluation mode, with the outputs of interest caught on the way."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from autodropout.errors import ShapeError, SiteError


def logits_of(output: object) -> Tensor:
    """Return the logits among what a model returned.

    Raises:
        ShapeError: There are none.
    """
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.ndim < 1:
        raise ShapeError(f"the model returns a {type(output).__name__}; expected a float tensor of logits")
    return logits


def chosen(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the target's logit of each example, or of each token where tokens have targets.

    Raises:
        ShapeError: Targets and logits do not fit, or there are none.
    """
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64 or targets.shape != logits.shape[:-1]:
        shape = f"{targets.dtype} {tuple(targets.shape)}" if isinstance(targets, Tensor) else repr(targets)
        raise ShapeError(
            f"targets is {shape}; expected int64 {tuple(logits.shape[:-1])}, a class for each output"
        )
    if not targets.numel():
        raise ShapeError("the batch is empty; relevance needs at least one example")
    if not 0 <= int(targets.min()) <= int(targets.max()) < logits.shape[-1]:
        raise ShapeError(
            f"targets lie from {int(targets.min())} to {int(targets.max())}; expected 0 to "
            f"{logits.shape[-1] - 1}"
        )
    classes = targets.clone() if targets.is_inference() else targets
    return logits.gather(-1, classes.to(logits.device)[..., None]).squeeze(-1)


@contextmanager
def caught(module: nn.Module, name: str, outputs: dict[str, Tensor]) -> Iterator[None]:
    """Keep the module's output; what follows gets a copy, which it may change in place.

    Of a recurrent layer that is the output of all steps, without the last state.
    """

    def catch(_: nn.Module, __: object, output: Any) -> Any:
        recurrent = isinstance(module, nn.RNNBase) and isinstance(output, tuple)
        found, rest = (output[0], output[1:]) if recurrent else (output, None)
        if not isinstance(found, Tensor):
            raise SiteError(f'site "{name}" returns a {type(found).__name__}; expected one tensor')
        if name in outputs:
            raise SiteError(
                f'site "{name}" runs more than once in a forward pass; its relevance has no one place'
            )
        outputs[name] = found
        return found.clone() if rest is None else (found.clone(), *rest)

    handle = module.register_forward_hook(catch)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def in_evaluation(model: nn.Module) -> Iterator[None]:
    """Put all of a model in evaluation mode, uncompiled, and give every module its mode back."""
    before = [(module, module.training) for module in model.modules()]
    stance: Any = nullcontext()
    if "torch._dynamo" in sys.modules:
        stance = torch.compiler.set_stance("force_eager")
    model.eval()
    try:
        with stance:
            yield
    finally:
        for module, training in before:
            module.training = training
