"""``torch.nn.MultiheadAttention``, wherever it stands: a functional call, in which no module but it runs.

Five places are made in it: query, key and value as they leave their projections, (N, T, C) whatever
``batch_first`` says; the attention weights, (N, heads, T, S); and the output. In evaluation the original
forward runs and nothing else. In training the same function is computed with the places in it. The weights
exist only while something acts on them or the caller asks for them; otherwise a fused kernel does without.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.attach import CHILD
from autodropout.errors import ShapeError, UsageError
from autodropout.families.mixing import Mixin, class_of, mix
from autodropout.site import Closing, Opening, Site

PLACES = ("query", "key", "value", "softmax", "output")


def sites_of(module: nn.Module) -> Sequence[Site] | None:
    """Return the five places of an ``nn.MultiheadAttention``; None where a subclass has its own forward."""
    if not isinstance(module, nn.MultiheadAttention):
        return None
    if class_of(module).forward is not nn.MultiheadAttention.forward:
        return None
    return [
        Site(
            name=role,
            role=role,
            layout="NTC",
            module=f"{CHILD}_{role}",
            openings=(Opening(place="", open=open_attention),),
        )
        for role in PLACES
    ]


def open_attention(module: nn.MultiheadAttention) -> Closing:
    """Make the five places reachable."""
    return mix(module, _OpenedAttention, *PLACES)


class _Options(NamedTuple):
    """What ``nn.MultiheadAttention`` takes besides query, key and value, in its order."""

    key_padding_mask: Tensor | None = None
    need_weights: bool = True
    attn_mask: Tensor | None = None
    average_attn_weights: bool = True
    is_causal: bool = False


class _Heads(NamedTuple):
    """Projected inputs, split into heads: (N, heads, T or S, C / heads)."""

    query: Tensor
    key: Tensor
    value: Tensor


class _OpenedAttention(Mixin):
    """In front of ``nn.MultiheadAttention``."""

    embed_dim: int
    num_heads: int
    dropout: float
    batch_first: bool
    add_zero_attn: bool
    in_proj_weight: Tensor | None
    in_proj_bias: Tensor | None
    bias_k: Tensor | None
    bias_v: Tensor | None
    out_proj: nn.Module
    _autodropout_softmax: nn.Module
    _autodropout_output: nn.Module

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Compute what ``nn.MultiheadAttention`` does, in training with the places in it."""
        if not self.training or query.is_nested:  # which the original refuses in training
            return cast(tuple[Tensor, Tensor | None], super().forward(query, key, value, *args, **kwargs))
        options = _Options(*args, **kwargs)
        batched = query.dim() == 3
        heads = self._heads(query, key, value, batched)
        heads, bias = self._with_extra_keys(heads, _bias(options, heads))
        attended, weights = self._attend(heads, bias, options.need_weights)
        output = self._autodropout_output(self.out_proj(attended.transpose(1, 2).flatten(2)))
        if weights is not None and options.average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            return output.squeeze(0), None if weights is None else weights.squeeze(0)
        return output if self.batch_first else output.transpose(0, 1), weights

    def _heads(self, query: Tensor, key: Tensor, value: Tensor, batched: bool) -> _Heads:
        """Project, let the places act, and split into heads."""
        projected = self._projected(query, key, value)
        canonical = projected
        if not batched:
            canonical = [h.unsqueeze(0) for h in projected]
        elif not self.batch_first:
            canonical = [h.transpose(0, 1) for h in projected]
        placed = (
            self.get_submodule(f"{CHILD}_{role}")(h) for role, h in zip(PLACES[:3], canonical, strict=True)
        )
        return _Heads(*(h.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for h in placed))

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> Sequence[Tensor]:
        if self.in_proj_weight is not None and query is key and key is value:
            return F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        if self.in_proj_weight is None:
            weights = [cast(Tensor, getattr(self, f"{name}_proj_weight")) for name in "qkv"]
        else:
            weights = list(self.in_proj_weight.chunk(3))
        biases = [None] * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        inputs = (query, key, value)
        return [F.linear(h, w, b) for h, w, b in zip(inputs, weights, biases, strict=True)]

    def _with_extra_keys(self, heads: _Heads, bias: Tensor | None) -> tuple[_Heads, Tensor | None]:
        """Append the learned key of ``add_bias_kv`` and the zero key of ``add_zero_attn``."""
        query, key, value = heads
        num_extra = 0
        if self.bias_k is not None and self.bias_v is not None:
            rows = (len(key), -1, -1, -1)
            learned_k, learned_v = (
                b.view(1, self.num_heads, 1, -1).expand(rows) for b in (self.bias_k, self.bias_v)
            )
            key, value = torch.cat([key, learned_k], 2), torch.cat([value, learned_v], 2)
            num_extra += 1
        if self.add_zero_attn:
            key, value = F.pad(key, (0, 0, 0, 1)), F.pad(value, (0, 0, 0, 1))
            num_extra += 1
        if bias is not None and num_extra:
            bias = F.pad(bias, (0, num_extra))
        return _Heads(query, key, value), bias

    def _attend(self, heads: _Heads, bias: Tensor | None, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        query, key, value = heads
        if not need_weights and CHILD not in self._autodropout_softmax._modules:
            return F.scaled_dot_product_attention(query, key, value, bias, self.dropout), None
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        weights = _softmax(scores, bias)
        weights = self._autodropout_softmax(F.dropout(weights, self.dropout))
        return weights @ value, weights if need_weights else None


def _softmax(scores: Tensor, bias: Tensor | None) -> Tensor:
    """Softmax over keys; zeros where a query may attend to none, as the fused kernel has it."""
    if bias is None:
        return scores.softmax(-1)
    scores = scores + bias
    nothing = (scores == -math.inf).all(-1, keepdim=True)
    return scores.masked_fill(nothing, 0.0).softmax(-1).masked_fill(nothing, 0.0)


def _bias(options: _Options, heads: _Heads) -> Tensor | None:
    """Merge the masks into one summand of the scores, broadcastable to (N, heads, T, S); None without any.

    Raises:
        UsageError: ``is_causal`` comes without a mask.
        ShapeError: A mask has another shape than ``nn.MultiheadAttention`` takes.
    """
    (N, H, T, _), S = heads.query.shape, heads.key.shape[2]
    attn_mask, padding = options.attn_mask, options.key_padding_mask
    bias: Tensor | None = None
    if options.is_causal and attn_mask is None:
        raise UsageError(
            "is_causal is only a hint about attn_mask, which is None; give the causal mask there"
        )
    if attn_mask is not None:
        if attn_mask.shape not in ((T, S), (N * H, T, S)):
            raise ShapeError(
                f"attn_mask has shape {tuple(attn_mask.shape)}; expected {(T, S)}, or {(N * H, T, S)} for "
                "one per sample and head"
            )
        bias = _additive(attn_mask, heads.query.dtype)
        bias = bias if attn_mask.dim() == 2 else bias.view(N, H, T, S)
    if padding is not None:
        if padding.numel() != N * S or padding.shape[-1] != S:
            raise ShapeError(
                f"key_padding_mask has shape {tuple(padding.shape)}; expected {(N, S)}, one row per sample"
            )
        columns = _additive(padding, heads.query.dtype).view(N, 1, 1, S)
        bias = columns if bias is None else bias + columns
    return bias


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask to be added: -inf where a bool mask is True."""
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -math.inf)
