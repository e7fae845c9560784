"""Hugging Face Transformers: the layers of its models, encoders, decoders and both.

Per layer: ``query, key, value``, as they leave their projections; ``softmax``, the attention weights,
(N, heads, T, S); ``output``, the attention's output projection; ``ffn``, the feed-forward's last projection;
``residual``, the stream as it leaves the layer. A layer with a second attention, to an encoder's output, has
these roles twice.

In evaluation the model computes what it did before, to the last bit. In training, a pattern on ``softmax``
has the weights computed one operation after the other instead of by a fused kernel, and one on ``ffn`` the
feed-forward in one piece (``chunk_size_feed_forward``): the same within rounding, with more memory.
"""

from collections.abc import Iterator, Sequence

from torch import nn

from autodropout.families.huggingface.places import (
    FIRST,
    IN_ROW,
    PARTS,
    HeadsApart,
    open_chunked,
    open_first,
    open_row,
)
from autodropout.families.huggingface.structures import (
    Attention,
    Projection,
    attentions_of,
    feed_forward_of,
    is_in_row,
    submodule,
)
from autodropout.families.huggingface.weights import WEIGHTS, eager_of, open_weights
from autodropout.site import Opening, Site

_PACKAGES = (
    "transformers.models.",
    "transformers_modules.",
)  # the latter holds code fetched with a checkpoint
_OWN_DROPOUTS = ("attn_dropout", "attention_dropout", "dropout")


def sites_of(module: nn.Module) -> Sequence[Site] | None:
    """Return the sites of one of its layers, in the order of the forward pass."""
    if not any(cls.__module__.startswith(_PACKAGES) for cls in type(module).__mro__):
        return None
    attentions, feed_forward = attentions_of(module), feed_forward_of(module)
    if not attentions or feed_forward is None:
        return None
    sites = [site for attention in attentions for site in _attention_sites(module, attention)]
    return [*sites, _feed_forward_site(module, feed_forward), _first_of("residual", "")]


def _attention_sites(layer: nn.Module, attention: Attention) -> Iterator[Site]:
    at = layer.get_submodule(attention.place)
    for projection in attention.projections:
        yield from _projection_sites(at, attention, projection)
    if (softmax := _softmax_site(at, attention)) is not None:
        yield softmax
    yield Site(name=attention.output, layout="NTC", role="output")


def _projection_sites(at: nn.Module, attention: Attention, projection: Projection) -> Iterator[Site]:
    module = f"{attention.place}.{projection.name}"
    if len(projection.roles) == 1:
        yield Site(name=module, layout="NTC", role=projection.roles[0], cross=attention.cross)
        return
    if projection.order == "heads":
        opening = Opening(place=module, open=HeadsApart(_num_heads(at)))
        for role in projection.roles:
            place = f"{module}.{PARTS}.{role}"
            name = f"{attention.place}.{role}"
            yield Site(name=name, layout="NTC", role=role, module=place, openings=(opening,))
        return
    start = 0
    for role, width in zip(projection.roles, _widths(at, projection), strict=True):
        yield Site(
            name=f"{attention.place}.{role}",
            layout="NTC",
            role=role,
            module=module,
            channels=(start, start + width),
            cross=attention.cross,
        )
        start += width


def _softmax_site(at: nn.Module, attention: Attention) -> Site | None:
    name = f"{attention.place}.softmax"
    if eager_of(at) is not None:
        return Site(
            name=name,
            layout="NTC",
            role="softmax",
            module=f"{attention.place}.{WEIGHTS}",
            openings=(Opening(place=attention.place, open=open_weights),),
            cross=attention.cross,
        )
    # Elsewhere the weights pass through a dropout module of the model's own, if it has one.
    for child in _OWN_DROPOUTS:
        if isinstance(submodule(at, child), nn.Dropout):
            module = f"{attention.place}.{child}"
            return Site(name=name, layout="NTC", role="softmax", module=module, cross=attention.cross)
    return None


def _feed_forward_site(layer: nn.Module, name: str) -> Site:
    if is_in_row(layer):
        opening = Opening(place="", open=open_row)
        return Site(name=name, layout="NTC", role="ffn", module=IN_ROW, openings=(opening,))
    if vars(layer).get("chunk_size_feed_forward"):
        return Site(name=name, layout="NTC", role="ffn", openings=(Opening(place="", open=open_chunked),))
    if name != "mlp":
        return Site(name=name, layout="NTC", role="ffn")
    return _first_of("ffn", name)  # some mixtures of experts return more than the stream


def _first_of(role: str, place: str) -> Site:
    child = f"{place}.{FIRST}" if place else FIRST
    return Site(
        name=place or role,
        layout="NTC",
        role=role,
        module=child,
        openings=(Opening(place=place, open=open_first),),
    )


def _num_heads(at: nn.Module) -> int:
    """Return how many heads an attention has, by whichever name it calls them."""
    holders = (at, vars(at).get("config"))
    names = ("num_attention_heads", "num_heads", "n_heads")
    found = (getattr(holder, name, None) for holder in holders for name in names)
    return next(number for number in found if isinstance(number, int))


def _widths(at: nn.Module, projection: Projection) -> Sequence[int]:
    """Return the channels of each role in a projection fused by blocks."""
    module, config = submodule(at, projection.name), vars(at).get("config")
    heads = _num_heads(at)
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    shares = [heads if role == "query" else key_heads for role in projection.roles]
    channels = next(
        number for name in ("out_features", "nf") if isinstance(number := getattr(module, name, None), int)
    )
    return [share * (channels // sum(shares)) for share in shares]
