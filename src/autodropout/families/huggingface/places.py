"""Places in Hugging Face's layers that no module stands on.

These are the stream, projections fused by heads, what a feed-forward of all tokens in one row returns, and
the whole of what one returns in chunks.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from autodropout.attach import CHILD
from autodropout.families.mixing import InPlaceOf, Mixin, class_of, mix
from autodropout.opening import HookedChild
from autodropout.site import Closing

FIRST = f"{CHILD}_first"
"""Reserved name of the place of a module's output, or of the first entry of it if that is a tuple."""


def open_first(module: nn.Module) -> Closing:
    """Open a module's output, or the first of it if it is a tuple; its place is the child ``FIRST``."""
    module.add_module(FIRST, nn.Identity().train(module.training))
    return HookedChild(module, FIRST, module.register_forward_hook(_through_first))


def _through_first(module: nn.Module, _: object, output: Any) -> Any:
    """Forward hook: top-level, so that a model that bears it can be pickled."""
    place = module.get_submodule(FIRST)
    if not place.training:
        return output
    return (place(output[0]), *output[1:]) if isinstance(output, tuple) else place(output)


@dataclass(frozen=True, slots=True)
class HeadsApart:
    """Opens a fused projection whose output has query, key and value of one head after the other.

    The places are ``Parts.query`` and so on, as (..., T, heads * width of a head), in the child ``PARTS``.

    Attributes:
        heads: How many there are.
    """

    heads: int

    def __call__(self, module: nn.Module) -> Closing:
        """Put the places there."""
        module.add_module(PARTS, Parts(self.heads).train(module.training))
        return HookedChild(module, PARTS, module.register_forward_hook(_through_parts))


PARTS = f"{CHILD}_parts"
"""Reserved name of the places of a projection fused head by head."""


class Parts(nn.Module):
    """Takes query, key and value out of a fused projection's output, each past a place of its own.

    Args:
        heads: How many heads there are.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = nn.Identity(), nn.Identity(), nn.Identity()

    def forward(self, fused: Tensor) -> Tensor:
        """Map (..., heads * 3 * width) to the same shape."""
        parts = fused.view(*fused.shape[:-1], self.heads, 3, -1).unbind(-2)
        places = (self.query, self.key, self.value)
        passed = [place(part.flatten(-2)) for place, part in zip(places, parts, strict=True)]
        apart = [part.view(*part.shape[:-1], self.heads, -1) for part in passed]
        return torch.stack(apart, dim=-2).flatten(-3)


def _through_parts(module: nn.Module, _: object, output: Tensor) -> Tensor:
    """Forward hook: top-level, so that a model that bears it can be pickled."""
    parts = module.get_submodule(PARTS)
    return cast(Tensor, parts(output)) if parts.training else output


def open_chunked(layer: nn.Module) -> Closing:
    """Open a layer that has its feed-forward act on a few tokens at a time (``chunk_size_feed_forward``)."""
    return mix(layer, _OpenedChunked)


class _OpenedChunked(Mixin):
    """In front of such a layer."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute what the layer does, in training with all tokens in one piece."""
        if not self.training:
            return super().forward(*args, **kwargs)
        return class_of(self).forward(_InOnePiece(self), *args, **kwargs)


class _InOnePiece(InPlaceOf):
    """What the layer's own forward sees in training."""

    forward = None  # as of ``_InRow``
    chunk_size_feed_forward = 0


IN_ROW = f"{CHILD}_ffn"
"""Reserved name of the place of what a feed-forward of all tokens in one row returns, as (N, T, C)."""


def open_row(layer: nn.Module) -> Closing:
    """Open a layer that has its ``fc2`` act on (N * T, C); its place is the child ``IN_ROW``."""
    return mix(layer, _OpenedRow, "ffn")


class _OpenedRow(Mixin):
    """In front of such a layer."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute what the layer does, in training with the place behind ``fc2``."""
        if not self.training:
            return super().forward(*args, **kwargs)
        stream = args[0] if args else kwargs["hidden_states"]
        return class_of(self).forward(_InRow(self, stream.shape), *args, **kwargs)


class _InRow(InPlaceOf):
    """What the layer's own forward sees in training."""

    # By this its wrapper tells who checkpoints activations: whoever was called from outside, never this one.
    forward = None

    def __init__(self, layer: nn.Module, shape: torch.Size) -> None:
        super().__init__(layer)
        self._shape = shape

    def fc2(self, h: Tensor) -> Tensor:
        """Map (N * T, hidden) to (N * T, C)."""
        projected = self._module.fc2(h).view(*self._shape[:-1], -1)
        return cast(Tensor, self._module.get_submodule(IN_ROW)(projected)).flatten(0, -2)
