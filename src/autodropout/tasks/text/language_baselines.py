"""The known kinds of dropout on language models, each with one strength to tune."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
_R_DROP_WEIGHT = 1.0
"""The weight of Liang et al. in language modelling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Where a language model begins and ends; modules, by name.

    Attributes:
        embedding: Its output is the embedded tokens.
        final: Its output is what the softmax sees.
    """

    embedding: str
    final: str


def language_baselines(ends: Ends) -> tuple[Baseline, ...]:
    """Return the known methods for a language model whose sites have roles.

    ``dropout`` stands where Transformer-XL has it: on the embedded tokens, on the ends of the residual
    branches and before the softmax. ``variational-dropout`` stands at the same places, one draw for all
    tokens of a segment, as Transformer-XL has it on Penn Treebank; ``variational-everywhere`` acts on the
    embedded tokens and on all roles but the attention weights, the residual stream among them, as Gal and
    Ghahramani (2016) drop everywhere in a recurrent network: inputs, states and outputs. (They also drop word
    types; this does not.) ``word-dropout`` drops embedded tokens, ``layer-drop`` whole layers,
    ``drop-attention`` attention weights. ``r-drop`` is ``dropout`` with R-Drop's loss, weight 1, and
    ``paper-finding`` what the AutoDropout paper says about its policy. What ``token_baselines`` has
    besides, such as augmented and adaptive dropout, is there, too.

    The strength is the drop probability throughout.

    Args:
        ends: Of the model.
    """
    outer = (ends.embedding, ends.final)
    puts: dict[str, Callable[[nn.Module, float], object]] = {
        "dropout": partial(_put, roles=_BRANCHES, names=outer, kind=Dropout),
        "variational-dropout": partial(_put, roles=_BRANCHES, names=outer, kind=VariationalDropout),
        "variational-everywhere": partial(_put, roles=_EVERYWHERE, names=outer[:1], kind=VariationalDropout),
        "word-dropout": partial(_put, roles=(), names=(ends.embedding,), kind=WordDropout),
        "drop-attention": partial(_put, roles=("softmax",), names=(), kind=DropAttention),
        "layer-drop": _put_layer_drop,
        "r-drop": partial(_put_r_drop, names=outer),
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


def _put_r_drop(model: nn.Module, strength: float, *, names: Sequence[str]) -> RDrop:
    placed = _put(model, strength, roles=_BRANCHES, names=names, kind=Dropout)
    return RDrop(weight=_R_DROP_WEIGHT, placed=placed)


def _put_finding(model: nn.Module, strength: float) -> object:
    return apply(model, paper_transformer_finding(strength, strength))
