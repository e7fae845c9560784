"""Relevance of a model's units to the outputs of interest."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from autodropout.attach import named_module
from autodropout.attribution.lrp import Propagation
from autodropout.errors import ShapeError, SiteError, UsageError

Method = Literal["lrp", "gradient"]
"""Layer-wise relevance propagation with the epsilon rule, or gradient times activation."""

METHODS: tuple[Method, ...] = get_args(Method)


def relevance(
    model: nn.Module,
    inputs: object,
    targets: Tensor,
    sites: Sequence[str],
    method: Method = "lrp",
    *,
    axes: Mapping[str, int] | None = None,
) -> dict[str, Tensor]:
    """Return how much each unit at some sites matters: the mean of |R| over the batch and all places.

    A unit is a channel of a feature map or a neuron of a dense layer. See ``attribute`` for R.

    Args:
        model: A classifier, see ``attribute``.
        inputs: What it is called with.
        targets: The classes of interest.
        sites: Names of modules whose output units are meant.
        method: ``"lrp"`` or ``"gradient"``.
        axes: Name to the axis along which its output has units, for modules other than Linear, convolutions,
            batch and layer normalisation, whose output has more than two axes.

    Returns:
        Site to float tensor (units,), at least 0.

    Raises:
        SiteError: A name is no module, or did not run, or its units are not known.
        ShapeError: Targets and outputs do not fit.
        UsageError: The method is unknown, or the network holds a function that it has no rule for.

    Example:
        >>> net = nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))
        >>> found = relevance(net, torch.randn(4, 8), torch.tensor([0, 1, 2, 0]), ["0"])
        >>> found["0"].shape
        torch.Size([5])
    """
    full = attribute(model, inputs, targets, sites, method)
    found = {}
    for name, r in full.items():
        axis = unit_axis(named_module(model, name), r.ndim, (axes or {}).get(name), name)
        found[name] = r.abs().movedim(axis, 0).flatten(1).mean(1)
    return found


def attribute(
    model: nn.Module,
    inputs: object,
    targets: Tensor,
    sites: Sequence[str],
    method: Method = "lrp",
    *,
    epsilon: float = 1e-6,
) -> dict[str, Tensor]:
    """Return the relevance R of every output of some modules to the logits of the targets.

    The model runs once, forward and backward, in evaluation mode; modes, gradients and statistics stay as
    they are. What is shared out is the target's logit of each example, so R sums to it at every cut
    through the network, less what biases contribute behind the cut.

    Args:
        model: Returns logits (..., classes), or something with ``logits``.
        inputs: What it is called with: a tensor, a tuple of arguments, or a dict of keyword arguments.
        targets: int64, the logits' shape without classes.
        sites: Names of modules, each of which runs once and returns one tensor.
        method: ``"lrp"`` or ``"gradient"``.
        epsilon: Of the epsilon rule, in units of the activations.

    Returns:
        Site to R, of the shape of the module's output; negative where it speaks against the target.

    Raises:
        SiteError: A name is no module, or did not run, ran twice or returned no tensor.
        ShapeError: Targets and outputs do not fit.
        UsageError: The method is unknown, or the network holds a function that it has no rule for.
    """
    if method not in METHODS:
        raise UsageError(f"method is {method!r}; expected one of {', '.join(map(repr, METHODS))}")
    if not epsilon >= 0.0:
        raise UsageError(f"epsilon is {epsilon!r}; expected a number of at least 0")
    if isinstance(sites, str) or not sites:
        raise UsageError(f"sites is {sites!r}; expected a sequence of at least one name")
    propagation = Propagation(epsilon) if method == "lrp" else None
    with _evaluation(model), torch.enable_grad(), ExitStack() as stack:
        outputs: dict[str, Tensor] = {}
        for name in sites:
            stack.enter_context(_caught(named_module(model, name), name, outputs))
        chosen = _chosen(_logits(model, inputs, propagation), targets)
    if missing := [name for name in sites if name not in outputs]:
        raise SiteError(f"the model did not run {', '.join(missing)}; name modules that it calls")
    start = chosen.detach() if propagation is not None else torch.ones_like(chosen)
    tensors = list(outputs.values())
    gradients = torch.autograd.grad(chosen, tensors, start, allow_unused=True)
    filled = [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, gradients, strict=True)]
    if propagation is None:
        filled = [t.detach() * g for t, g in zip(tensors, filled, strict=True)]
    return dict(zip(outputs, filled, strict=True))


def unit_axis(module: nn.Module, num_axes: int, given: int | None, name: str) -> int:
    """Return the axis along which a module's output has units.

    Raises:
        SiteError: It is not known, or the output has no such axis.
    """
    if given is not None:
        if not -num_axes <= given < num_axes:
            raise SiteError(f'site "{name}" has an output of {num_axes} axes, and none of number {given}')
        return given
    if (
        isinstance(module, _ConvNd | nn.modules.batchnorm._BatchNorm | nn.GroupNorm | _NormBase)
        or num_axes == 2
    ):
        return 1
    if isinstance(module, nn.Linear | nn.LayerNorm | nn.RMSNorm | nn.Embedding):
        return -1
    raise SiteError(
        f'site "{name}" is a {type(module).__name__} with an output of {num_axes} axes; say along which one '
        f'it has units, such as axes={{"{name}": 1}}'
    )


def _logits(model: nn.Module, inputs: object, propagation: Propagation | None) -> Tensor:
    def prepared(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        return value.detach().requires_grad_() if propagation is None else propagation.carry(value)

    args: tuple[Any, ...] = inputs if isinstance(inputs, tuple) else ()
    named: dict[str, Any] = inputs if isinstance(inputs, dict) else {}
    args = args if args or named else (inputs,)
    args, named = tuple(map(prepared, args)), {name: prepared(value) for name, value in named.items()}
    with propagation or nullcontext():
        output = model(*args, **named)
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.ndim < 1:
        raise ShapeError(f"the model returns a {type(output).__name__}; expected a float tensor of logits")
    return logits


def _chosen(logits: Tensor, targets: Tensor) -> Tensor:
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64 or targets.shape != logits.shape[:-1]:
        shape = f"{targets.dtype} {tuple(targets.shape)}" if isinstance(targets, Tensor) else repr(targets)
        raise ShapeError(
            f"targets is {shape}; expected int64 {tuple(logits.shape[:-1])}, a class for each output"
        )
    if targets.numel() and not 0 <= int(targets.min()) <= int(targets.max()) < logits.shape[-1]:
        raise ShapeError(
            f"targets lie from {int(targets.min())} to {int(targets.max())}; expected 0 to "
            f"{logits.shape[-1] - 1}"
        )
    return logits.gather(-1, targets.to(logits.device)[..., None]).squeeze(-1)


@contextmanager
def _caught(module: nn.Module, name: str, outputs: dict[str, Tensor]) -> Iterator[None]:
    """Keep the module's output; what follows gets a copy, which it may change in place."""

    def catch(_: nn.Module, __: object, output: object) -> Tensor:
        if not isinstance(output, Tensor):
            raise SiteError(f'site "{name}" returns a {type(output).__name__}; expected one tensor')
        if name in outputs:
            raise SiteError(
                f'site "{name}" runs more than once in a forward pass; its relevance has no one place'
            )
        outputs[name] = output
        return output.clone()

    handle = module.register_forward_hook(catch)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
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
