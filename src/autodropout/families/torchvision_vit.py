"""torchvision's Vision Transformers: ViT, and Swin V1 and V2.

Sites: those of the attention; ``ffn``, the last layer of the block's ``mlp``; ``residual``, the block.
A ViT's attention is an ``nn.MultiheadAttention``, its class token a token among others. Swin's is one
functional call: opened, training computes the same function with places in it, evaluation runs the original.

Inside Swin's attention the tokens are those of a window: query, key, value and output are
(N * windows, T, C), the weights (N * windows, heads, T, T). Outside, the stream is (N, H, W, C), and a token
pattern treats each row of it as a sequence: the blocks of a pattern are neighbours in the image, never the
end of one row with the beginning of the next, and ``size="whole"`` is a row.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.attach import CHILD
from autodropout.families import attention
from autodropout.families.base import within
from autodropout.families.mixing import Mixin, class_of, mix
from autodropout.site import Closing, Opening, Site


def sites_of(module: nn.Module) -> Sequence[Site] | None:
    """Return the sites of a Transformer block, or of an attention of Swin's that stands alone."""
    vit, swin = (sys.modules.get(f"torchvision.models.{name}") for name in _MODULES)
    if vit is not None and isinstance(module, vit.EncoderBlock):
        return list(_block_sites(module, "self_attention", attention.sites_of(module.self_attention)))
    if swin is not None and isinstance(module, swin.SwinTransformerBlock):
        return list(_block_sites(module, "attn", _window_sites(module.attn)))
    return _window_sites(module)


_MODULES = ("vision_transformer", "swin_transformer")


def _block_sites(block: Any, name: str, inner: Sequence[Site] | None) -> Iterator[Site]:
    yield from (within(name, site) for site in inner or ())
    yield Site(name=f"mlp.{len(block.mlp) - 1}", role="ffn", layout="NTC")
    yield Site(name="", role="residual", layout="NTC")


def _window_sites(module: nn.Module) -> Sequence[Site] | None:
    swin = sys.modules.get("torchvision.models.swin_transformer")
    if swin is None or class_of(module).forward not in (
        swin.ShiftedWindowAttention.forward,
        swin.ShiftedWindowAttentionV2.forward,
    ):
        return None
    opening = Opening(place="", open=open_windows)
    return [
        Site(name=role, role=role, layout="NTC", module=f"{CHILD}_{role}", openings=(opening,))
        for role in attention.PLACES
    ]


def open_windows(module: nn.Module) -> Closing:
    """Make the five places of a ``ShiftedWindowAttention`` reachable."""
    return mix(module, _OpenedWindows, *attention.PLACES)


class _OpenedWindows(Mixin):
    """In front of ``ShiftedWindowAttention`` and its V2."""

    window_size: list[int]
    shift_size: list[int]
    num_heads: int
    attention_dropout: float
    dropout: float
    qkv: nn.Linear
    proj: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """Compute what the attention does, in training with the places in it.

        Args:
            x: (N, H, W, C).
        """
        if not self.training:
            return cast(Tensor, super().forward(x))
        (height, width), windows = x.shape[1:3], self.window_size
        rows, columns = (-size % window for size, window in zip((height, width), windows, strict=True))
        x = F.pad(x, (0, 0, 0, columns, 0, rows))
        shift = self._shift(x)
        x = x.roll([-s for s in shift], (1, 2))
        grid = [size // window for size, window in zip(x.shape[1:3], windows, strict=True)]
        h = self._attend(_parted(x, windows), _mask(x, windows, shift))
        x = _whole(h, grid, windows).roll(shift, (1, 2))
        return x[:, :height, :width].contiguous()

    def _shift(self, x: Tensor) -> list[int]:
        """Return the shift along both axes: none where one window covers the axis."""
        sizes = zip(self.shift_size, self.window_size, x.shape[1:3], strict=True)
        return [0 if window >= size else shift for shift, window, size in sizes]

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attend within windows, (windows, T, C); mask is what is added to scores, (windows, 1, T, T)."""
        query, key, value = (
            self.get_submodule(f"{CHILD}_{role}")(h).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for role, h in zip(
                attention.PLACES, F.linear(x, self.qkv.weight, self._bias()).chunk(3, -1), strict=False
            )
        )
        scores = self._scores(query, key) + cast(Any, self).get_relative_position_bias()
        if mask is not None:
            scores = scores + mask.repeat(len(x) // len(mask), 1, 1, 1)
        weights = F.dropout(scores.softmax(-1), self.attention_dropout)
        attended = self.get_submodule(f"{CHILD}_softmax")(weights) @ value
        output = F.dropout(self.proj(attended.transpose(1, 2).flatten(2)), self.dropout)
        return cast(Tensor, self.get_submodule(f"{CHILD}_output")(output))

    def _bias(self) -> Tensor | None:
        """Return the projection's bias; V2 takes that of the key for zero."""
        if self._scale is None or self.qkv.bias is None:
            return self.qkv.bias
        query, key, value = self.qkv.bias.chunk(3)
        return torch.cat([query, torch.zeros_like(key), value])

    def _scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Return scaled dot products; in V2 scaled cosines."""
        if self._scale is None:
            return query / math.sqrt(query.shape[-1]) @ key.transpose(-1, -2)
        cosines = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-1, -2)
        return cosines * self._scale.clamp(max=math.log(100.0)).exp()

    @property
    def _scale(self) -> Tensor | None:
        return self._parameters.get("logit_scale")


def _parted(x: Tensor, window: Sequence[int]) -> Tensor:
    """Cut (N, H, W, C) into windows, (N * windows, T, C), a sample's one after the other."""
    N, H, W, C = x.shape
    tall, wide = window
    tiles = x.reshape(N, H // tall, tall, W // wide, wide, C).transpose(2, 3)
    return tiles.reshape(-1, tall * wide, C)


def _whole(h: Tensor, grid: Sequence[int], window: Sequence[int]) -> Tensor:
    """Put windows together again: (N * windows, T, C) to (N, H, W, C)."""
    tiles = h.reshape(-1, *grid, *window, h.shape[-1]).transpose(2, 3)
    return tiles.flatten(3, 4).flatten(1, 2)


def _mask(x: Tensor, window: Sequence[int], shift: Sequence[int]) -> Tensor | None:
    """Return what keeps apart, after a shift, what came from opposite edges, (windows, 1, T, T)."""
    if not any(shift):
        return None
    rows, columns = (
        sum((torch.arange(size, device=x.device) >= size - cut).to(x.dtype) for cut in (tile, moved) if moved)
        + torch.zeros(size, dtype=x.dtype, device=x.device)
        for size, tile, moved in zip(x.shape[1:3], window, shift, strict=True)
    )
    regions = _parted((3 * rows[:, None] + columns)[None, :, :, None], window)
    apart = regions != regions.transpose(1, 2)
    return torch.zeros_like(apart, dtype=x.dtype).masked_fill(apart, -100.0)[:, None]
