"""The known kinds of dropout on Transformers, each with one strength to tune."""

from collections.abc import Callable
from functools import partial

from torch import nn

from autodropout.baselines import Dropout, Placed, VariationalDropout, WordDropout, on_sites
from autodropout.errors import SiteError
from autodropout.families import find_sites
from autodropout.tasks.base import Baseline
from autodropout.tasks.unit_baselines import adaptive_baseline, augmented_baseline

Kind = Callable[[float], nn.Module]

_STRENGTHS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
_BRANCHES = ("output", "ffn")


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


def _put(model: nn.Module, strength: float, *, roles: tuple[str, ...], kind: Kind) -> Placed:
    places = [site for site in find_sites(model) if site.role in roles]
    return on_sites(model, places, lambda _: kind(strength))
