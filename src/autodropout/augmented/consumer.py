"""A Linear or convolution whose two passes see its input under different noise.

    z = W (h * eps_f) + b                                       (Demystifying Dropout, Eq. 7)
    dJ/dW = delta (h * eps_b)^T,  dJ/dh = (W^T delta) * eps_b   (Eq. 9, before the activation below)

with delta = dJ/dz. Standard dropout, Eqs. 4 to 6, is eps_b = eps_f.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.errors import ShapeError

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

_Convolution = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]
"""Stride, padding, dilation and groups."""


@dataclass(frozen=True, slots=True)
class Epsilon:
    """Noise on h in one pass: 0 where dropped, ``factor`` elsewhere (Eq. 1).

    Attributes:
        dropped: Bool, of h's shape; None drops nothing.
        factor: 1 / (1 - ratio), a number or a 0-dim tensor; 1 where nothing is dropped.
    """

    dropped: Tensor | None
    factor: float | Tensor


def is_consumer(module: nn.Module) -> bool:
    """Say whether a module runs the forward of torch's Linear or Conv1d to 3d, as ``consume`` does."""
    kind = type(module)
    if kind.forward is nn.Linear.forward:
        return True
    return any(
        kind.forward is known.forward and getattr(kind, "_conv_forward", None) is known._conv_forward
        for known in _CONVOLUTIONS
        if isinstance(module, known)
    )


def consume(consumer: nn.Module, h: Tensor, forward: Epsilon, backward: Epsilon) -> Tensor:
    """Return what a Linear or convolution makes of h * eps_f, with the gradients of h * eps_b.

    The gradient of the bias is the usual one. The backward pass may itself be differentiated: what comes out
    is the derivative of the gradients above. Under autocast h, weight and bias are cast first, and the noise
    acts in the lower precision.

    Args:
        consumer: An ``nn.Linear``, ``nn.Conv1d``, ``nn.Conv2d`` or ``nn.Conv3d``, whose hooks do not run.
        h: What it consumes: (..., in) for a Linear, (N, in, ...) or (in, ...) for a convolution.
        forward: eps_f.
        backward: eps_b.

    Returns:
        z, as the consumer returns it.

    Raises:
        ShapeError: h does not fit the consumer.

    Example:
        >>> linear, h, none = nn.Linear(3, 2), torch.randn(4, 3), Epsilon(None, 1.0)
        >>> torch.equal(consume(linear, h, none, none), linear(h))
        True
    """
    if isinstance(consumer, nn.Linear):
        if h.ndim < 1 or h.shape[-1] != consumer.in_features:
            raise ShapeError(f"h has shape {tuple(h.shape)}; expected (..., {consumer.in_features})")
        return _applied(consumer, h, forward, backward, None)
    assert isinstance(consumer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    num_axes = len(consumer.kernel_size)
    if h.ndim not in (num_axes + 1, num_axes + 2):
        raise ShapeError(f"h has shape {tuple(h.shape)}; expected (N, C, and {num_axes} axes of space)")
    if h.ndim == num_axes + 1:
        one = [
            Epsilon(e.dropped if e.dropped is None else e.dropped[None], e.factor)
            for e in (forward, backward)
        ]
        return consume(consumer, h[None], *one)[0]
    padding = _padding_inside(consumer)
    if padding is None:
        padding = (0,) * num_axes
        h, forward, backward = _padded(consumer, h, forward, backward)
    convolution = (consumer.stride, padding, consumer.dilation, consumer.groups)
    return _applied(consumer, h, forward, backward, convolution)


def _applied(
    consumer: nn.Module, h: Tensor, forward: Epsilon, backward: Epsilon, convolution: _Convolution | None
) -> Tensor:
    weight: Tensor = consumer.weight  # type: ignore[assignment]
    bias: Tensor | None = consumer.bias  # type: ignore[assignment]
    kind = h.device.type
    if torch.is_autocast_enabled(kind) and h.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(kind)
        h, weight, bias = h.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    if torch.compiler.is_compiling():
        forward = _anchored(forward, backward, h)
    other = None if backward is forward else backward
    z: Tensor = _Consumed.apply(h, weight, bias, convolution, other is None, *_parts(forward), *_parts(other))
    return z


def _anchored(forward: Epsilon, backward: Epsilon, h: Tensor) -> Epsilon:
    """Let the forward pass depend on what was drawn for the backward pass, without a change of value.

    AOTAutograd otherwise may move a draw that only gradients need into the backward graph, twice: torch 2.15
    forbids to repeat random operations of the forward pass alone. The two gradients then saw different masks.
    """
    if backward.dropped is None or backward is forward:
        return forward
    one = (backward.dropped[:1].sum(dtype=torch.int64) >= 0).to(torch.promote_types(h.dtype, torch.float32))
    return Epsilon(forward.dropped, one * forward.factor)


def _parts(epsilon: Epsilon | None) -> tuple[Tensor | None, float | Tensor]:
    return (None, 1.0) if epsilon is None else (epsilon.dropped, epsilon.factor)


def _padding_inside(consumer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> tuple[int, ...] | None:
    """Return the zeros that the convolution adds on both sides itself; None if h must be padded first."""
    if consumer.padding_mode != "zeros":
        return None
    if not isinstance(consumer.padding, str):
        return consumer.padding
    both = consumer._reversed_padding_repeated_twice[::-1]
    ends, starts = both[0::2], both[1::2]
    return tuple(starts) if starts == ends else None


def _padded(
    consumer: nn.Conv1d | nn.Conv2d | nn.Conv3d, h: Tensor, forward: Epsilon, backward: Epsilon
) -> tuple[Tensor, Epsilon, Epsilon]:
    """Pad h and its noise alike: a unit's copies in the padding are dropped where the unit is."""
    amounts = consumer._reversed_padding_repeated_twice
    mode = "constant" if consumer.padding_mode == "zeros" else consumer.padding_mode

    def padded(epsilon: Epsilon) -> Epsilon:
        if epsilon.dropped is None:
            return epsilon
        return Epsilon(F.pad(epsilon.dropped.to(h.dtype), amounts, mode).to(torch.bool), epsilon.factor)

    return F.pad(h, amounts, mode), padded(forward), padded(backward)


class _Consumed(torch.autograd.Function):
    """z and its gradients. Keeps h, which is there anyway, and one byte for each element of it."""

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        h, weight, bias, convolution, _, dropped, factor, *_ = inputs
        return _transformed(_noised(h, dropped, factor), weight, bias, convolution)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004 - torch's signature
        h, weight, bias, ctx.convolution, same = inputs[:5]
        dropped, factor = inputs[5:7] if same else inputs[7:]
        ctx.has_bias = bias is not None
        ctx.factor = None if isinstance(factor, Tensor) else factor
        ctx.save_for_backward(h, weight, dropped, factor if ctx.factor is None else None)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        delta = gradients[0]
        h, weight, dropped, factor = ctx.saved_tensors
        factor = factor if ctx.factor is None else ctx.factor
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.has_bias and ctx.needs_input_grad[2]]
        seen = _noised(h, dropped, factor) if wanted[1] else h
        of_seen, of_weight, of_bias = _gradients(delta, seen, weight, ctx.convolution, wanted)
        of_h = None if of_seen is None else _noised(of_seen, dropped, factor)
        return of_h, of_weight, of_bias, None, None, None, None, None, None


def _noised(h: Tensor, dropped: Tensor | None, factor: float | Tensor) -> Tensor:
    """Return h * eps."""
    if dropped is None:
        return h * factor if isinstance(factor, Tensor) else h
    keep = (~dropped).to(h.dtype)
    if isinstance(factor, float):
        return torch.addcmul(h.new_zeros(()), h, keep, value=factor)
    return h * keep * factor


def _transformed(u: Tensor, weight: Tensor, bias: Tensor | None, convolution: _Convolution | None) -> Tensor:
    if convolution is None:
        return F.linear(u, weight, bias)
    stride, padding, dilation, groups = convolution
    zeros = (0,) * len(stride)
    return torch.convolution(u, weight, bias, stride, padding, dilation, False, zeros, groups)


def _gradients(
    delta: Tensor, seen: Tensor, weight: Tensor, convolution: _Convolution | None, wanted: list[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return W^T delta, delta seen^T and the sum of delta, or None for what is not wanted."""
    if convolution is not None:
        stride, padding, dilation, groups = convolution
        zeros, sizes = [0] * len(stride), [weight.shape[0]]
        found: tuple[Tensor | None, Tensor | None, Tensor | None] = torch.ops.aten.convolution_backward(
            delta, seen, weight, sizes, stride, padding, dilation, False, zeros, groups, wanted
        )
        return found
    rows = delta.reshape(-1, delta.shape[-1])
    return (
        delta @ weight if wanted[0] else None,
        rows.t() @ seen.reshape(-1, seen.shape[-1]) if wanted[1] else None,
        rows.sum(0) if wanted[2] else None,
    )
