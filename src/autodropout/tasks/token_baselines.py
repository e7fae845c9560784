"""The known kinds of dropout on Transformers, each with one strength to tune."""

from collections.abc import Callable
from functools import partial

from torch import nn

from autodropout.baselines import Dropout, Placed, VariationalDropout, WordDropout, on_sites
from autodropout.families import find_sites
from autodropout.tasks.base import Baseline

Kind = Callable[[float], nn.Module]

_STRENGTHS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
_BRANCHES = ("output", "ffn")


def token_baselines() -> tuple[Baseline, ...]:
    """Return Dropout, Variational dropout and word dropout for a Transformer whose sites have roles.

    The three act at one strength, their drop probability, on the ends of all residual branches, where
    Vaswani et al. (2017) put Dropout. ``residual-words`` is word dropout on the residual stream instead:
    not a textbook method, but the best single role in prototype searches, so that a found policy has to
    beat it, too.
    """
    return (
        _at("dropout", _BRANCHES, Dropout),
        _at("variational-dropout", _BRANCHES, VariationalDropout),
        _at("word-dropout", _BRANCHES, WordDropout),
        _at("residual-words", ("residual",), WordDropout),
    )


def _at(name: str, roles: tuple[str, ...], kind: Kind) -> Baseline:
    return Baseline(name=name, strengths=_STRENGTHS, put=partial(_put, roles=roles, kind=kind))


def _put(model: nn.Module, strength: float, *, roles: tuple[str, ...], kind: Kind) -> Placed:
    places = [site for site in find_sites(model) if site.role in roles]
    return on_sites(model, places, lambda _: kind(strength))
