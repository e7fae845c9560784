"""The known kinds of dropout on encoder-decoder Transformers, each with one strength to tune."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from autodropout.applying import apply
from autodropout.baselines import (
    DropAttention,
    Dropout,
    LayerDrop,
    Placed,
    VariationalDropout,
    WordDropout,
    on_layers,
    on_sites,
    paper_transformer_finding,
)
from autodropout.families import find_sites
from autodropout.tasks.base import Baseline
from autodropout.tasks.text.r_drop import RDrop
from autodropout.tasks.text.token_baselines import Kind, token_baselines

_STRENGTHS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
_BRANCHES = ("output", "ffn")
_EVERYWHERE = ("query", "key", "value", "output", "ffn", "residual")
_EMBEDDED = ("encoder.embedded", "decoder.embedded")
_R_DROP_WEIGHT = 5.0
"""The weight of Liang et al. in translation."""


def translation_baselines() -> tuple[Baseline, ...]:
    """Return the known methods for an ``EncoderDecoder``.

    ``dropout`` stands where Vaswani et al. (2017, section 5.4) have it: on the end of every residual branch,
    and on the sums of embeddings and places of both sides. ``variational-dropout`` stands at the same places,
    one draw for all tokens of a sentence; ``variational-everywhere`` at the embedded tokens and at all roles
    but the attention weights. ``word-dropout`` drops embedded tokens of both sides, ``layer-drop`` whole
    layers, ``drop-attention`` attention weights. ``r-drop`` is ``dropout`` with R-Drop's loss, and
    ``paper-finding`` what the AutoDropout paper says about its policy. What ``token_baselines`` has
    besides, such as augmented and adaptive dropout, is there, too.

    The strength is the drop probability throughout.
    """
    puts: dict[str, Callable[[nn.Module, float], object]] = {
        "dropout": partial(_put, roles=_BRANCHES, names=_EMBEDDED, kind=Dropout),
        "variational-dropout": partial(_put, roles=_BRANCHES, names=_EMBEDDED, kind=VariationalDropout),
        "variational-everywhere": partial(_put, roles=_EVERYWHERE, names=_EMBEDDED, kind=VariationalDropout),
        "word-dropout": partial(_put, roles=(), names=_EMBEDDED, kind=WordDropout),
        "drop-attention": partial(_put, roles=("softmax",), names=(), kind=DropAttention),
        "layer-drop": _put_layer_drop,
        "r-drop": _put_r_drop,
        "paper-finding": _put_finding,
    }
    ours = [Baseline(name=name, strengths=_STRENGTHS, put=put) for name, put in puts.items()]
    return (*ours, *(baseline for baseline in token_baselines() if baseline.name not in puts))


def _put(
    model: nn.Module, strength: float, *, roles: Sequence[str], names: Sequence[str], kind: Kind
) -> Placed:
    places = [site.name for site in find_sites(model) if site.role in roles]
    return on_sites(model, [*names, *places], lambda _: kind(strength))


def _put_layer_drop(model: nn.Module, strength: float) -> Placed:
    """The layers are what the sites of one role lie in."""
    ends = [site.name for site in find_sites(model) if site.role == "residual"]
    return on_layers(model, [name.rpartition(".")[0] for name in ends], lambda _: LayerDrop(strength))


def _put_r_drop(model: nn.Module, strength: float) -> RDrop:
    placed = _put(model, strength, roles=_BRANCHES, names=_EMBEDDED, kind=Dropout)
    return RDrop(weight=_R_DROP_WEIGHT, placed=placed)


def _put_finding(model: nn.Module, strength: float) -> object:
    return apply(model, paper_transformer_finding(strength, strength))
