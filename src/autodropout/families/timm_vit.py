"""timm's Vision Transformers: ViT, DeiT, BEiT, EVA and DINOv3, SAM's, Gemma's, Swin V1 and V2.

Sites: query, key and value, channels of the fused projection where there is one; the attention weights,
behind timm's own ``attn_drop``; ``output``, the output projection; ``ffn``, the block's ``mlp``;
``residual``, the block. Attention weights exist only where the fused kernel is off: a pattern on them turns
it off for training. Evaluation keeps the kernel and every bit of its output.

T is what the model calls tokens. Class and register tokens are tokens among others. In Swin's and SAM's
attention they are those of a window, (N * windows, T, C); the stream as it leaves such a block is
(N, H, W, C), and a token pattern treats each row of it as a sequence.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.attach import CHILD
from autodropout.families.base import within
from autodropout.families.mixing import InPlaceOf, Mixin, class_of, mix
from autodropout.families.norms import full_name
from autodropout.site import Closing, Opening, Site

_PROJECTIONS = ("query", "key", "value")
_QKV = f"{CHILD}_qkv"

_ATTENTIONS = frozenset(
    {
        "timm.layers.attention.Attention",
        "timm.layers.attention.AttentionRope",
        "timm.layers.diff_attention.DiffAttention",
        "timm.models.beit.Attention",
        "timm.models.eva.EvaAttention",
        "timm.models.gemma4_vit.Gemma4Attention",
        "timm.models.swin_transformer.WindowAttention",
        "timm.models.swin_transformer_v2.WindowAttention",
        "timm.models.swin_transformer_v2_cr.WindowMultiHeadAttention",
        "timm.models.vision_transformer_relpos.RelPosAttention",
        "timm.models.vision_transformer_sam.Attention",
    }
)
"""Attentions with one projection, of all of query, then all of key, then all of value, or with three."""

_SCALING = frozenset(
    {
        "timm.models.vision_transformer.ParallelScalingBlock",
        "timm.models.vision_transformer.DiffParallelScalingBlock",
    }
)
_THINGS = "timm.models.vision_transformer.ParallelThingsBlock"


def sites_of(module: nn.Module) -> Sequence[Site] | None:
    """Return the sites of a Transformer block of timm's, or of one of its attentions that stands alone."""
    name = forward_name(module)
    if not name.startswith("timm."):
        return None
    if name in _ATTENTIONS:
        return list(_attention_sites(module))
    if name in _SCALING:
        return list(_scaling_sites(module))
    if name == _THINGS:
        return list(_things_sites(module))
    attn = module._modules.get("attn")
    if attn is None or forward_name(attn) not in _ATTENTIONS:
        return None
    return list(_block_sites(attn))


def forward_name(module: nn.Module) -> str:
    """Return the full name of the class that a module has its forward from, by which it is known."""
    return full_name(next(kind for kind in class_of(module).__mro__ if "forward" in vars(kind)))


def open_softmax(module: nn.Module) -> Closing:
    """Compute attention weights in training, which the fused kernel does without."""
    return mix(module, _Opened)


def open_biased(module: nn.Module) -> Closing:
    """The same, with a place behind a projection whose bias is put together outside it."""
    return mix(module, _Opened, "qkv")


class _Opened(Mixin):
    """In front of an attention, or of a block that is one."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Compute what the module does, in training by the way on which its places are met."""
        if not self.training:
            return cast(Tensor, super().forward(*args, **kwargs))
        return cast(Tensor, class_of(self).forward(_Training(self), *args, **kwargs))


class _Training(InPlaceOf):
    """What an opened module's own forward sees in training."""

    @property
    def fused_attn(self) -> bool:
        """Not where something acts on the attention weights."""
        return bool(self._module.fused_attn) and CHILD not in self._module.attn_drop._modules

    @property
    def q_bias(self) -> None:
        """None: ``qkv`` has all biases in it."""

    @property
    def qkv(self) -> Callable[[Tensor], Tensor] | None:
        """The projection, biases and place included; None where there are three."""
        return self._biased if _is_biased(self._module) else cast(Any, self._module.qkv)

    def _biased(self, x: Tensor) -> Tensor:
        module = self._module
        bias = torch.cat((module.q_bias, module.k_bias, module.v_bias))
        return cast(Tensor, module.get_submodule(_QKV)(F.linear(x, module.qkv.weight, bias)))


def _is_biased(attn: Any) -> bool:
    """Say whether query and value have biases of their own, which timm gives to a functional call."""
    return getattr(attn, "q_bias", None) is not None


def _attention_sites(attn: Any) -> Iterator[Site]:
    biased = _is_biased(attn)
    openings = (Opening(place="", open=open_biased if biased else open_softmax),)
    if getattr(attn, "qkv", None) is None:
        for role, name in zip(_PROJECTIONS, ("q_proj", "k_proj", "v_proj"), strict=True):
            yield Site(name=name, role=role, layout="NTC")
    else:
        width = attn.qkv.out_features // 3
        yield from _slices(_QKV if biased else "qkv", 0, width, openings if biased else ())
    fusible = "fused_attn" in vars(attn)
    yield Site(name="attn_drop", role="softmax", layout="NTC", openings=openings if fusible else ())
    output = "o_proj" if "o_proj" in attn._modules else "proj"
    yield Site(name=output, role="output", layout="NTC")


def _slices(module: str, start: int, width: int, openings: tuple[Opening, ...] = ()) -> Iterator[Site]:
    for role in _PROJECTIONS:
        channels = (start, start + width)
        yield Site(name=role, role=role, layout="NTC", module=module, channels=channels, openings=openings)
        start += width


def _block_sites(attn: nn.Module) -> Iterator[Site]:
    yield from (within("attn", site) for site in _attention_sites(attn))
    yield Site(name="mlp", role="ffn", layout="NTC")
    yield Site(name="", role="residual", layout="NTC")


def _things_sites(block: Any) -> Iterator[Site]:
    """Sites of a block of several attentions and several ``mlp`` side by side."""
    for place, branch in enumerate(block.attns):
        if forward_name(branch.attn) in _ATTENTIONS:
            yield from (within(f"attns.{place}.attn", site) for site in _attention_sites(branch.attn))
    for place in range(len(block.ffns)):
        yield Site(name=f"ffns.{place}.mlp", role="ffn", layout="NTC")
    yield Site(name="", role="residual", layout="NTC")


def _scaling_sites(block: Any) -> Iterator[Site]:
    """Sites of a block whose one projection feeds attention and ``mlp`` alike, the latter first."""
    hidden, width, *_ = block.in_split
    yield from _slices("in_proj", hidden, width)
    opening = Opening(place="", open=open_softmax)
    yield Site(name="attn_drop", role="softmax", layout="NTC", openings=(opening,))
    if block.out_proj is None:
        yield Site(name="attn_out_proj", role="output", layout="NTC")
        yield Site(name="mlp_out_proj", role="ffn", layout="NTC")
    yield Site(name="", role="residual", layout="NTC")
