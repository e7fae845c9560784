"""The known kinds of dropout on Transformers, each with one strength to tune."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from autodropout.applying import Applied, apply
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
from autodropout.errors import SiteError
from autodropout.families import find_sites
from autodropout.tasks.base import Baseline
from autodropout.tasks.text.r_drop import RDrop
from autodropout.tasks.unit_baselines import adaptive_baseline, augmented_baseline

Kind = Callable[[float], nn.Module]

_STRENGTHS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7)
_USUAL = 0.1
"""The strength that, on a policy, stands for the weight of R-Drop's authors."""

_BRANCHES = ("output", "ffn")
_EVERYWHERE = ("query", "key", "value", "output", "ffn", "residual")


def token_baselines() -> tuple[Baseline, ...]:
    """Return the known methods for a Transformer whose sites have roles.

    Dropout, Variational dropout and word dropout act at one strength, their drop probability, on the ends of
    all residual branches, where Vaswani et al. (2017) put Dropout. ``residual-words`` is word dropout on the
    residual stream instead: not a textbook method, but the best single role in prototype searches, so that a
    found policy has to beat it, too.

    Augmented and adaptive dropout act on the last linear layer of each branch: one on what it reads, which
    nothing else does, the other on what it puts out, at a mean rate, where Dropout stands. Relevance is
    gradient times activation: no rule propagates it through attention.
    """
    return (
        _at("dropout", _BRANCHES, Dropout),
        _at("variational-dropout", _BRANCHES, VariationalDropout),
        _at("word-dropout", _BRANCHES, WordDropout),
        _at("residual-words", ("residual",), WordDropout),
        augmented_baseline(_STRENGTHS, branch_ends),
        adaptive_baseline(_STRENGTHS, branch_ends, whole=False, method="gradient"),
    )


def transformer_baselines(
    *, embedded: tuple[str, ...], final: tuple[str, ...], r_drop: float
) -> tuple[Baseline, ...]:
    """Return the known methods for a Transformer whose sites have roles and whose ends are known.

    ``dropout`` and ``variational-dropout`` stand on the ends of the residual branches and on both ends of the
    network; ``variational-everywhere`` on the embedded tokens and on all roles but the attention weights;
    ``word-dropout`` drops embedded tokens, ``layer-drop`` whole layers, ``drop-attention`` attention weights.
    ``r-drop`` is ``dropout`` with R-Drop's loss, and ``paper-finding`` what the AutoDropout paper says about
    its policy. What ``token_baselines`` has besides, such as augmented and adaptive dropout, is there, too.

    The strength is the drop probability throughout, but for R-Drop on a model that has a policy: it brings no
    dropout there, its two passes are of the policy's, and a strength of .1 is the weight ``r_drop``, one of
    .2 twice that.

    Args:
        embedded: Names of the modules whose outputs are embedded tokens.
        final: Names of the modules whose outputs the softmax sees, if they are dropped, too.
        r_drop: Weight of R-Drop's loss.
    """
    branches = partial(_put, roles=_BRANCHES, names=(*embedded, *final))
    puts: dict[str, Callable[[nn.Module, float], object]] = {
        "dropout": partial(branches, kind=Dropout),
        "variational-dropout": partial(branches, kind=VariationalDropout),
        "variational-everywhere": partial(_put, roles=_EVERYWHERE, names=embedded, kind=VariationalDropout),
        "word-dropout": partial(_put, roles=(), names=embedded, kind=WordDropout),
        "drop-attention": partial(_put, roles=("softmax",), kind=DropAttention),
        "layer-drop": _put_layer_drop,
        "r-drop": partial(_put_r_drop, names=(*embedded, *final), weight=r_drop),
        "paper-finding": _put_finding,
    }
    ours = [Baseline(name=name, strengths=_STRENGTHS, put=put) for name, put in puts.items()]
    return (*ours, *(baseline for baseline in token_baselines() if baseline.name not in puts))


def branch_ends(model: nn.Module) -> tuple[str, ...]:
    """Return the last linear layer of every branch of a Transformer.

    Raises:
        SiteError: A branch has none.
    """
    return tuple(
        _last_linear(model, site.module_name) for site in find_sites(model) if site.role in _BRANCHES
    )


def _last_linear(model: nn.Module, name: str) -> str:
    inside = [
        f"{name}.{inner}" if inner else name
        for inner, module in model.get_submodule(name).named_modules()
        if isinstance(module, nn.Linear)
    ]
    if not inside:
        raise SiteError(f'site "{name}" has no linear layer inside whose units could be dropped')
    return inside[-1]


def _at(name: str, roles: tuple[str, ...], kind: Kind) -> Baseline:
    return Baseline(name=name, strengths=_STRENGTHS, put=partial(_put, roles=roles, kind=kind))


def _put(
    model: nn.Module, strength: float, *, roles: Sequence[str], kind: Kind, names: Sequence[str] = ()
) -> Placed:
    places = [site.name for site in find_sites(model) if site.role in roles]
    return on_sites(model, [*names, *places], lambda _: kind(strength))


def _put_layer_drop(model: nn.Module, strength: float) -> Placed:
    """The layers are what the sites of one role lie in."""
    ends = [site.name for site in find_sites(model) if site.role == "residual"]
    return on_layers(model, [name.rpartition(".")[0] for name in ends], lambda _: LayerDrop(strength))


def _put_r_drop(model: nn.Module, strength: float, *, names: Sequence[str], weight: float) -> RDrop:
    """On a policy the passes differ by what that drops, and the strength is one of the loss."""
    applied = Applied.of(model)
    if applied is not None and applied.policy is not None:
        return RDrop(weight=weight * strength / _USUAL, placed=applied)
    placed = _put(model, strength, roles=_BRANCHES, names=names, kind=Dropout)
    return RDrop(weight=weight, placed=placed)


def _put_finding(model: nn.Module, strength: float) -> object:
    return apply(model, paper_transformer_finding(strength, strength))
