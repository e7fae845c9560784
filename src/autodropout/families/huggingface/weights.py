"""The attention weights of Hugging Face's models, through the registry of attention functions.

An attention looks its function up by the name in its configuration. An opened one has a copy of the
configuration that names ours. In evaluation ours calls whichever was configured; in training it computes the
weights by the model's own eager function, with its mask, scale, soft cap, sinks, position bias and dropout,
lets what stands on the place act on them, and multiplies with the values.
"""

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autodropout.attach import CHILD
from autodropout.errors import ApplyError
from autodropout.site import Closing

WEIGHTS = f"{CHILD}_weights"
"""Reserved name of the place of the attention weights, (N, heads, T, S)."""

NAME = "autodropout"
"""Ours in the registry."""

Kernel = Callable[..., tuple[Tensor, Tensor | None]]

_OPENABLE = (None, "eager", "sdpa")


class Weights(nn.Identity):
    """The place of an attention's weights, and what it needs to find its way back.

    Args:
        config: The attention's own configuration.
        eager: The model's eager attention function.
    """

    def __init__(self, config: Any, eager: Kernel) -> None:
        super().__init__()
        self.config = config
        self.eager = eager
        _register()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        _register()  # a pickle may be the first to open an attention in its process


def eager_of(attention: nn.Module) -> Kernel | None:
    """Return the eager function of an attention that uses the registry; None where it does not."""
    if "config" not in vars(attention):
        return None
    files = (sys.modules.get(cls.__module__) for cls in type(attention).__mro__)
    return next((vars(file)["eager_attention_forward"] for file in files if _is_registered(file)), None)


def open_weights(attention: nn.Module) -> Closing:
    """Open an attention's weights. Their place is the child ``WEIGHTS``.

    Raises:
        ApplyError: Its kernel never holds the weights.
    """
    config, eager = vars(attention)["config"], eager_of(attention)
    assert eager is not None
    _check(attention, config._attn_implementation)
    attention.add_module(WEIGHTS, Weights(config, eager).train(attention.training))
    ours = copy.copy(config)
    # Not by its property, which would reach the configurations inside, and these are shared.
    ours._attn_implementation_internal = NAME
    attention.config = ours
    return _ConfigAgain(attention)


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    """Compute attention: as configured in evaluation, with the weights past their place in training.

    Args:
        module: The attention.
        query: (N, heads, T, C).
        key: (N, heads, S, C), possibly fewer heads.
        value: (N, heads, S, C), possibly fewer heads.
        mask: What the configured function takes for it.
        kwargs: What else it takes.

    Returns:
        (N, T, heads, C), and the weights, (N, heads, T, S), or None.
    """
    place: Any = module.get_submodule(WEIGHTS)
    configured = place.config._attn_implementation
    if not place.training:
        kernel: Kernel = place.eager if configured in (None, "eager") else _registry()[configured]
        return kernel(module, query, key, value, mask, **kwargs)
    if configured == "sdpa":
        mask = _additive(module, query, key, mask, kwargs)
    # Its product with the values goes unused. They are given all the same: some scale by their width.
    _, weights = place.eager(module, query, key, value, mask, **kwargs)
    weights = place(weights)
    values = value.repeat_interleave(weights.shape[1] // value.shape[1], dim=1)
    return (weights @ values).transpose(1, 2).contiguous(), weights


def _additive(
    module: nn.Module, query: Tensor, key: Tensor, mask: Tensor | None, kwargs: dict[str, Any]
) -> Tensor | None:
    """Turn what the fused kernel takes, a bool mask or none and a flag, into a summand of the scores."""
    if mask is None:
        given = kwargs.get("is_causal")
        is_causal = getattr(module, "is_causal", True) if given is None else given
        if not is_causal or query.shape[2] == 1:
            return None
        size = query.shape[2], key.shape[2]
        mask = torch.ones(size, dtype=torch.bool, device=query.device).tril()[None, None]
    if mask.dtype != torch.bool:
        return mask
    lowest = torch.finfo(query.dtype).min
    return torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, lowest)


def _check(attention: nn.Module, implementation: str | None) -> None:
    if implementation not in _OPENABLE:
        raise ApplyError(
            f"the attention weights of {type(attention).__name__} never exist in the kernel "
            f'"{implementation}", so no pattern can act on them; call model.set_attn_implementation("sdpa") '
            "before apply, or leave the role softmax out of the policy"
        )
    if implementation == "eager" and getattr(attention, "reorder_and_upcast_attn", False):
        raise ApplyError(
            f"{type(attention).__name__} with reorder_and_upcast_attn=True computes its weights in a way "
            "of its own; set it to False in the model's configuration, or leave the role softmax out of the "
            "policy"
        )


@dataclass(slots=True)
class _ConfigAgain:
    attention: nn.Module

    def close(self) -> None:
        place: Any = self.attention._modules.pop(WEIGHTS, None)
        if place is not None:
            self.attention.config = place.config


def _is_registered(file: Any) -> bool:
    return file is not None and {"eager_attention_forward", "ALL_ATTENTION_FUNCTIONS"} <= set(vars(file))


def _registry() -> Any:
    return sys.modules["transformers.modeling_utils"].ALL_ATTENTION_FUNCTIONS


def _register() -> None:
    registry = _registry()
    if NAME not in registry:
        registry.register(NAME, attend)
