"""Which rule of relevance propagation each torch function falls under."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import resolve_name

Rule = Literal["layer", "norm", "sum", "product", "quotient", "passing", "routing"]

_RULES: dict[Rule, tuple[Callable[..., Any], ...]] = {
    "layer": (
        *(F.linear, F.conv1d, F.conv2d, F.conv3d),
        *(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
    ),
    "norm": (F.batch_norm,),
    "sum": (
        *(F.avg_pool1d, F.avg_pool2d, F.avg_pool3d),
        *(F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),
        *(torch.mean, torch.sum, torch.add, torch.sub, torch.neg),
        *(Tensor.mean, Tensor.sum, Tensor.add, Tensor.sub, Tensor.neg, Tensor.__neg__),
        *(Tensor.__add__, Tensor.__radd__, Tensor.__sub__, Tensor.__rsub__, Tensor.add_, Tensor.sub_),
    ),
    "product": (
        *(torch.mul, torch.matmul, Tensor.mul, Tensor.matmul, Tensor.mul_),
        *(Tensor.__mul__, Tensor.__rmul__, Tensor.__matmul__),
    ),
    "quotient": (torch.div, Tensor.div, Tensor.div_, Tensor.__truediv__),
    "passing": (
        *(F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.softplus, F.prelu),
        *(F.hardtanh, F.hardswish, F.hardsigmoid, F.logsigmoid, F.sigmoid, F.tanh),
        *(torch.relu, torch.relu_, torch.sigmoid, torch.tanh, torch.clamp, torch.clamp_min),
        *(Tensor.relu, Tensor.relu_, Tensor.sigmoid, Tensor.tanh, Tensor.clamp, Tensor.clamp_min),
    ),
    "routing": (
        *(torch.flatten, torch.reshape, torch.transpose, torch.permute, torch.squeeze, torch.unsqueeze),
        *(torch.cat, torch.stack, torch.chunk, torch.split, torch.clone),
        *(Tensor.flatten, Tensor.reshape, Tensor.view, Tensor.transpose, Tensor.permute, Tensor.squeeze),
        *(Tensor.unsqueeze, Tensor.chunk, Tensor.split, Tensor.clone, Tensor.contiguous, Tensor.expand),
        *(Tensor.__getitem__, Tensor.to, Tensor.float, Tensor.double, Tensor.unflatten),
        *(F.max_pool1d, F.max_pool2d, F.max_pool3d, F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.pad),
        *(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout),
    ),
}
_RULE_OF: dict[Callable[..., Any], Rule] = {f: rule for rule, functions in _RULES.items() for f in functions}


def rule_of(function: Callable[..., Any], places: Sequence[int]) -> Rule | None:
    """Return the rule of a torch function; None if it has none.

    A product of two hidden states has none: how the two factors share what they make is anyone's choice. Nor
    has a quotient by a hidden state, in which it is not linear.

    Args:
        function: The function.
        places: Those of the hidden states among its arguments.
    """
    rule = _RULE_OF.get(function)
    if rule == "product" and len(places) > 1:
        return None
    return None if rule == "quotient" and tuple(places) != (0,) else rule


def name_of(function: Callable[..., Any]) -> str:
    """Return what users call a torch function."""
    return str(resolve_name(function) or getattr(function, "__name__", repr(function)))


def is_in_place(function: Callable[..., Any], named: dict[str, Any]) -> bool:
    """Say whether a call changes its first argument."""
    name = getattr(function, "__name__", "")
    return bool(named.get("inplace")) or (name.endswith("_") and not name.endswith("__"))
