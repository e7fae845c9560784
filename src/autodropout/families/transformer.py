"""``torch.nn.TransformerEncoderLayer`` and ``TransformerDecoderLayer``, alone or in torch's stacks of them.

Sites: those of their attentions; ``ffn``, what the feed-forward block adds to the stream; ``residual``, the
stream as it leaves the layer, after the last norm where norms come last. All are (N, T, C), whatever
``batch_first`` says.

In evaluation an encoder layer may take a fused kernel for the whole of it, and does so only where nothing
inside bears a hook. Every pattern here stands on a place made for it, and an opened layer does not count
these places among its modules while it is in evaluation: it takes the same way as before, and its output is
the same to the last bit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from torch import Tensor, nn

from autodropout.attach import CHILD
from autodropout.families import attention
from autodropout.families.base import within
from autodropout.families.mixing import Mixin, mix
from autodropout.site import Closing, Opening, Site

PLACES = ("ffn", "residual")
_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


def sites_of(module: nn.Module) -> Sequence[Site] | None:
    """Return the sites of an encoder or decoder layer."""
    if not isinstance(module, _LAYERS) or not isinstance(module.self_attn, nn.MultiheadAttention):
        return None
    here = Opening(place="", open=open_layer)
    inner = [
        replace(site, openings=(here, *site.openings), cross=name == "multihead_attn")
        for name in ("self_attn", "multihead_attn")
        if name in module._modules
        for site in (within(name, one) for one in attention.sites_of(module.get_submodule(name)) or ())
    ]
    own = [
        Site(name=role, role=role, layout="NTC", module=f"{CHILD}_{role}", openings=(here,))
        for role in PLACES
    ]
    return [*inner, *own]


def open_layer(module: nn.TransformerEncoderLayer | nn.TransformerDecoderLayer) -> Closing:
    """Make ``ffn`` and ``residual`` reachable."""
    return mix(module, _OpenedLayer, *PLACES)


class _OpenedLayer(Mixin):
    """In front of an encoder or decoder layer."""

    self_attn: nn.MultiheadAttention

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Compute what the layer does, in training with the stream through its place."""
        return self._at("residual", super().forward(*args, **kwargs))

    def _ff_block(self, x: Tensor) -> Tensor:
        return self._at("ffn", super()._ff_block(x))  # type: ignore[misc]

    def _at(self, role: str, h: Tensor) -> Tensor:
        if not self.training:
            return h
        place = self.get_submodule(f"{CHILD}_{role}")
        if self.self_attn.batch_first or h.dim() < 3:
            return cast(Tensor, place(h))
        return cast(Tensor, place(h.transpose(0, 1)).transpose(0, 1))

    def modules(self, remove_duplicate: bool = True) -> Iterator[nn.Module]:
        """Yield the modules inside; in evaluation not those that were added, which do nothing there."""
        for name, module in self.named_modules(remove_duplicate=remove_duplicate):
            if self.training or CHILD not in name:
                yield module
