"""The known kinds of dropout on networks of feature maps, each with one strength to tune."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from autodropout.baselines import (
    DropBlock,
    Dropout,
    Placed,
    SpatialDropout,
    StochasticDepth,
    linear_decay,
    on_sites,
)
from autodropout.tasks.base import Baseline

_RATES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
_LAST_BLOCK_RATES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def map_baselines(
    *, sites: Sequence[str], branch_ends: Sequence[str], block_size: int
) -> tuple[Baseline, ...]:
    """Return Dropout, SpatialDropout, DropBlock and Stochastic Depth for a network of feature maps.

    The first three act on all sites at one strength, their drop probability. Stochastic Depth acts on the
    ends of the residual branches, its probability growing linearly with depth; the strength is the last
    block's (Huang et al. 2016).

    Args:
        sites: Names of the modules that a policy may use, too.
        branch_ends: Names of the last modules of the residual branches, from first to last.
        block_size: Side of DropBlock's blocks in pixels, the same everywhere as in its paper.
    """
    kinds: dict[str, Callable[[float], nn.Module]] = {
        "dropout": Dropout,
        "spatial-dropout": SpatialDropout,
        "dropblock": partial(DropBlock, block_size=block_size),
    }
    return (
        *(
            Baseline(name=name, strengths=_RATES, put=partial(_put, sites=tuple(sites), kind=kind))
            for name, kind in kinds.items()
        ),
        Baseline(
            name="stochastic-depth",
            strengths=_LAST_BLOCK_RATES,
            put=partial(_put_depth, branch_ends=tuple(branch_ends)),
        ),
    )


def _put(
    model: nn.Module, strength: float, *, sites: Sequence[str], kind: Callable[[float], nn.Module]
) -> Placed:
    return on_sites(model, sites, lambda _: kind(strength))


def _put_depth(model: nn.Module, strength: float, *, branch_ends: Sequence[str]) -> Placed:
    rates = linear_decay(strength, len(branch_ends))
    return on_sites(model, branch_ends, lambda block: StochasticDepth(rates[block]))
