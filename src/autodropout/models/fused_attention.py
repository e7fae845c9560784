"""torch's own attention, which keeps no weights where it can, and when it may be called."""

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.pattern import TokenPattern

ALIGNED = 8
"""Channels of a head come in multiples of this in memory-efficient CUDA kernels: 8 in half precision, 4 in
single precision."""


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """Return softmax(q k^T / sqrt(D) + mask) v; heads whose width no CUDA kernel takes are widened for it.

    Args:
        query: (N, heads, T, D).
        key: (N, heads, S, D).
        value: (N, heads, S, D).
        mask: Bool, True where a query may look, or float, added to the scores; broadcastable to
            (N, heads, T, S). None for nothing.
        causal: Queries see keys up to their own place.

    Returns:
        (N, heads, T, D).
    """
    if query.device.type != "cuda" or query.shape[-1] % ALIGNED == 0:
        return F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal)
    return attend_widened(query, key, value, mask, causal)


def attend_widened(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """Do what ``attend`` does on heads with zeros behind their channels, which change no score."""
    width = query.shape[-1]
    query, key, value = (F.pad(part, (0, -width % ALIGNED)) for part in (query, key, value))
    scale = 1.0 / math.sqrt(width)
    attended = F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal, scale=scale)
    return attended[..., :width]


@runtime_checkable
class _HasPattern(Protocol):
    """The layer that a policy puts behind a module."""

    pattern: TokenPattern

    def note_fired(self) -> None:
        """Remember that it has run in training mode."""
        ...


def needs_weights(softmax: nn.Module, device: torch.device) -> bool:
    """Say whether something that stands on the attention weights would look at them or change them.

    A pattern that is off does neither (where a graph is compiled nobody looks), and nothing of ours does in
    evaluation. There the CPU makes the weights all the same: rewards of released trials were measured so, and
    would else move in their last digits.

    Args:
        softmax: The module whose output the weights are.
        device: Where they would be.

    Returns:
        Whether there must be weights.
    """
    hooks, children = softmax._forward_hooks, list(softmax.children())
    if not hooks or torch.compiler.is_compiling() or len(hooks) != len(children):
        return bool(hooks)  # hooks without a layer of ours are somebody else's
    off = [child for child in children if isinstance(child, _HasPattern) and child.pattern.off]
    if len(off) < len(children):
        return softmax.training or device.type == "cpu"
    if softmax.training:
        for child in off:
            child.note_fired()  # it has had its turn, or it would be reported as never reached
    return False
