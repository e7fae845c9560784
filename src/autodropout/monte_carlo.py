"""Predictions with dropout left on: their mean, and how far they spread."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from autodropout.attach import CHILD, RATES, with_rates
from autodropout.errors import UsageError
from autodropout.existing import rates_of
from autodropout.handles import handles
from autodropout.probing import call
from autodropout.steered import Steered

_MAX_STEP = 2**31


class Prediction(NamedTuple):
    """What ``mc`` returns, each of the shape of the model's output.

    Attributes:
        mean: Mean over the passes.
        spread: Standard deviation over the passes (divided by their number less 1).
    """

    mean: Tensor
    spread: Tensor


def mc(model: nn.Module, inputs: object, samples: int) -> Prediction:
    """Run a model several times with dropout on and everything else as in evaluation (Gal, Ghahramani 2016).

    Only the patterns that were applied and the model's own dropout are in training mode: normalisation uses
    its running statistics and changes nothing. There are no gradients. Afterwards every mode is as it was.
    ``torch.manual_seed`` before it makes it repeatable, also where the policy was applied with ``seed=``:
    the steps of its masks are then drawn. A compiled model runs uncompiled.

    Args:
        model: The model; its output is a float tensor, or has one called ``logits``.
        inputs: What it is called with: a tensor, a tuple of arguments, or a dict of keyword arguments.
        samples: Number of passes, at least 2.

    Raises:
        UsageError: There are too few samples, the output is no tensor, or nothing in the model drops.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2))
        >>> mean, spread = mc(net, torch.ones(4, 3), samples=20)
        >>> mean.shape, bool((spread > 0).all())
        (torch.Size([4, 2]), True)
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 2:
        raise UsageError(f"samples is {samples!r}; expected a whole number of at least 2")
    with torch.no_grad(), _uncompiled(), _only_dropout(model) as seeded:
        for count in range(1, samples + 1):
            for layer in seeded:
                layer.set_step(int(torch.randint(_MAX_STEP, ())))
            out = _tensor_of(call(model, inputs))
            if count == 1:
                mean, squares = torch.zeros_like(out), torch.zeros_like(out)
            deviation = out - mean
            mean = mean + deviation / count
            squares = squares + deviation * (out - mean)
    return Prediction(mean, (squares / (samples - 1)).sqrt())


@contextmanager
def _only_dropout(model: nn.Module) -> Iterator[list[Steered]]:
    """Put dropout in training mode and all else in evaluation mode; yield the layers that want a step."""
    before = [(module, module.training) for _, module in model.named_modules()]
    layers = [module for _, module in model.named_modules() if isinstance(module, Steered)]
    fired, steps = [layer.fired for layer in layers], [layer.step for layer in layers]
    numbers = [None if step is None else int(step) for step in steps]
    ran = [(one, one._ran) for module, _ in before for one in handles(module)]  # these passes are no training
    with ExitStack() as undo:
        try:
            model.eval()
            drops = [_switched_on(module, undo) for module, _ in before]
            if not any(drops):
                raise UsageError(
                    "nothing in the model drops; apply a policy, or give it dropout with a rate above 0"
                )
            yield [layer for layer in layers if layer.step is not None]
        finally:
            for module, training in before:
                module.training = training
            for one, was in ran:
                one._ran = was
            for layer, was, number in zip(layers, fired, numbers, strict=True):
                layer.fired = was
                if number is not None:
                    layer.set_step(number)


def _switched_on(module: nn.Module, undo: ExitStack) -> bool:
    """Put a module in training mode if it drops by itself or was opened; let what stands on it act.

    Returns:
        Whether anything there drops.
    """
    has_rate = any(True for _ in rates_of(module)) and not isinstance(module, _NormBase)
    own = has_rate or isinstance(module, Steered)
    places = [
        place for name, place in module._modules.items() if name.startswith(f"{CHILD}_") and name != RATES
    ]
    opened = bool(places)
    if own or opened or _takes_fused_ways(module):
        module.training = True
    children = {name: child for name in _CALLS if (child := module._modules.get(name)) is not None}
    for name, child in children.items():
        child.train()
        if not module.training:  # its own hook keeps to the module's mode, which must stay evaluation
            undo.callback(module.register_forward_hook(_CALLS[name]).remove)
    for place in places:
        if place is not None:
            place.training = True
    return own or bool(children)


def _takes_fused_ways(module: nn.Module) -> bool:
    """Say whether a module runs past the dropout inside it while it is in evaluation mode."""
    if not isinstance(module, nn.TransformerEncoderLayer):
        return False
    return any(True for inner in module.modules() for _ in rates_of(inner))


def _call_child_anyway(module: nn.Module, _: object, output: object) -> object:
    return module.get_submodule(CHILD)(output)


def _call_rates_anyway(module: nn.Module, _: object, output: object) -> object:
    return with_rates(module, output)


_CALLS = {CHILD: _call_child_anyway, RATES: _call_rates_anyway}


def _uncompiled() -> "nullcontext[None]":
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: nullcontext[None] = torch.compiler.set_stance("force_eager")
    return stance


def _tensor_of(output: object) -> Tensor:
    found = getattr(output, "logits", output)
    if not isinstance(found, Tensor) or not found.is_floating_point():
        kind = str(found.dtype) if isinstance(found, Tensor) else type(output).__name__
        raise UsageError(
            f"the model returns a {kind}; expected a float tensor or something with one called logits: wrap "
            "the model in a module that returns the tensor of interest"
        )
    return found if found.dtype == torch.float64 else found.float()
