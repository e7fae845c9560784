"""Relevance of a model's units to the outputs of interest."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from autodropout.attach import named_module
from autodropout.attribution.against_zero import deeplift, integrated_gradients
from autodropout.attribution.lrp import Propagation
from autodropout.attribution.running import caught, chosen, in_evaluation, logits_of
from autodropout.errors import SiteError, UsageError

Method = Literal["lrp", "gradient", "integrated_gradients", "deeplift"]
"""Layer-wise relevance propagation with the epsilon rule, gradient times activation, and two that captum
computes."""

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
        method: See ``attribute``.
        axes: Name to the axis along which its output has units, for modules other than Linear, convolutions,
            batch and layer normalisation, whose output has more than two axes.

    Returns:
        Site to float tensor (units,), at least 0.

    Raises:
        SiteError: A name is no module, or did not run, or its units are not known.
        ShapeError: Targets and outputs do not fit, or there are none.
        UsageError: The method is unknown, or the network holds a function that it has no rule for.
        MissingError: captum is not installed, and the method needs it.

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

    The model runs in evaluation mode, once forward and backward by the first two methods; modes, gradients
    and statistics stay as they are. What is shared out is the target's logit of each example, so R sums to
    it at every cut through the network, less what biases contribute behind the cut.

    Args:
        model: Returns logits (..., classes), or something with ``logits``.
        inputs: What it is called with: a tensor, a tuple of arguments, or a dict of keyword arguments.
        targets: int64, the logits' shape without classes.
        sites: Names of modules, each of which runs once and returns one tensor.
        method: ``"lrp"``, or ``"gradient"``: gradient times activation. ``"integrated_gradients"`` takes
            the mean gradient on the way from zeros at the site, 16 passes for each site; ``"deeplift"``
            compares with inputs of zeros (both need the extra ``adaptive``, see ``against_zero.py``).
        epsilon: Of the epsilon rule, in units of the activations.

    Returns:
        Site to R, of the shape of the module's output; negative where it speaks against the target.

    Raises:
        SiteError: A name is no module, or did not run, ran twice or returned no tensor.
        ShapeError: Targets and outputs do not fit.
        UsageError: The method is unknown, or the network holds a function that it has no rule for.
        MissingError: captum is not installed, and the method needs it.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"model is a {type(model).__name__}; expected a torch.nn.Module")
    if method not in METHODS:
        raise UsageError(f"method is {method!r}; expected one of {', '.join(map(repr, METHODS))}")
    if not epsilon >= 0.0:
        raise UsageError(f"epsilon is {epsilon!r}; expected a number of at least 0")
    if isinstance(sites, str) or not sites:
        raise UsageError(f"sites is {sites!r}; expected a sequence of at least one name")
    with torch.inference_mode(False), in_evaluation(model), torch.enable_grad():
        match method:
            case "lrp":
                return _backward(model, inputs, targets, sites, Propagation(epsilon))
            case "gradient":
                return _backward(model, inputs, targets, sites, None)
            case "integrated_gradients":
                with torch.no_grad():
                    outputs, _ = _outputs(model, inputs, targets, sites, None)
                return integrated_gradients(model, inputs, targets, outputs)
            case "deeplift":
                with torch.no_grad():
                    _outputs(model, inputs, targets, sites, None)
                return deeplift(model, inputs, targets, sites)


def unit_axis(module: nn.Module, num_axes: int, given: int | None, name: str) -> int:
    """Return the axis along which a module's output has units.

    Raises:
        SiteError: It is not known, or the output has no such axis.
    """
    if given is not None:
        if not -num_axes <= given < num_axes:
            raise SiteError(f'site "{name}" has an output of {num_axes} axes, and none of number {given}')
        return given
    if num_axes == 2:
        return 1
    if (known := units_of(module)) is not None:
        return known.axis
    raise SiteError(
        f'site "{name}" is a {type(module).__name__} with an output of {num_axes} axes; say along which one '
        f'it has units, such as axes={{"{name}": 1}}'
    )


@dataclass(frozen=True, slots=True)
class Units:
    """The units of a module's output.

    Attributes:
        count: How many.
        axis: Along which axis of the output.
    """

    count: int
    axis: int


def units_of(module: nn.Module) -> Units | None:
    """Return the units of a module's output; None where its kind is not known."""
    match module:
        case nn.Linear():
            return Units(module.out_features, -1)
        case _ConvNd():
            return Units(module.out_channels, 1)
        case _NormBase():
            return Units(module.num_features, 1)
        case nn.GroupNorm():
            return Units(module.num_channels, 1)
        case nn.LayerNorm() | nn.RMSNorm():
            return Units(int(module.normalized_shape[-1]), 1 if _is_of_maps(module) else -1)
        case nn.Embedding():
            return Units(module.embedding_dim, -1)
        case nn.RNNBase():
            return Units((module.proj_size or module.hidden_size) * (2 if module.bidirectional else 1), -1)
    return None


def _is_of_maps(norm: nn.Module) -> bool:
    """Say whether a layer normalisation is of channels that stand first, as LayerNorm2d and its like are."""
    return "2d" in type(norm).__name__


def _backward(
    model: nn.Module,
    inputs: object,
    targets: Tensor,
    sites: Sequence[str],
    propagation: Propagation | None,
) -> dict[str, Tensor]:
    """Return relevance, or without propagation gradient times activation, by one pass of each kind."""
    outputs, logits = _outputs(model, inputs, targets, sites, propagation)
    start = logits.detach() if propagation is not None else torch.ones_like(logits)
    tensors = list(outputs.values())
    gradients = torch.autograd.grad(logits, tensors, start, allow_unused=True)
    filled = [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, gradients, strict=True)]
    if propagation is None:
        filled = [t.detach() * g for t, g in zip(tensors, filled, strict=True)]
    return dict(zip(outputs, filled, strict=True))


def _outputs(
    model: nn.Module,
    inputs: object,
    targets: Tensor,
    sites: Sequence[str],
    propagation: Propagation | None,
) -> tuple[dict[str, Tensor], Tensor]:
    """Return what the sites put out, and the targets' logits."""
    outputs: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for name in sites:
            stack.enter_context(caught(named_module(model, name), name, outputs))
        logits = chosen(_logits(model, inputs, propagation), targets)
    if missing := [name for name in sites if name not in outputs]:
        raise SiteError(f"the model did not run {', '.join(missing)}; name modules that it calls")
    if propagation is not None:
        for name, tensor in outputs.items():
            if not propagation.carries(tensor):
                raise UsageError(
                    f'what site "{name}" puts out is not traced back to float inputs, an embedding or a '
                    'layer, so that no relevance is defined there; use method="gradient"'
                )
    return outputs, logits


def _logits(model: nn.Module, inputs: object, propagation: Propagation | None) -> Tensor:
    def prepared(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        value = value.clone() if value.is_inference() else value
        if not value.is_floating_point():
            return value
        return value.detach().requires_grad_() if propagation is None else propagation.carry(value)

    args: tuple[Any, ...] = inputs if isinstance(inputs, tuple) else ()
    named: dict[str, Any] = inputs if isinstance(inputs, dict) else {}
    args = args if args or named else (inputs,)
    args, named = tuple(map(prepared, args)), {name: prepared(value) for name, value in named.items()}
    with propagation or nullcontext():
        output = model(*args, **named)
    return logits_of(output)
