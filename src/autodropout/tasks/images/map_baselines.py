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
from autodropout.tasks.unit_baselines import adaptive_baseline, augmented_baseline

Kind = Callable[[float], nn.Module]

# Single units and single branches are the mildest things to drop, and bear the highest rates.
_HIGH = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
_LOW = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)


def map_baselines(
    *, sites: Sequence[str], branch_ends: Sequence[str], block_size: int
) -> tuple[Baseline, ...]:
    """Return the known methods for a network of feature maps.

    These are Dropout, SpatialDropout, DropBlock, Stochastic Depth, augmented and adaptive dropout. The first
    three act on all sites at one strength, their drop probability. Stochastic Depth acts on the
    ends of the residual branches, its probability growing linearly with depth; the strength is the last
    block's (Huang et al. 2016). Augmented dropout acts where a single convolution reads a site, which is
    between two convolutions; adaptive dropout on the channels of all sites, at a mean rate.

    Args:
        sites: Names of the modules that a policy may use, too.
        branch_ends: Names of the last modules of the residual branches, from first to last.
        block_size: Side of DropBlock's blocks in pixels, the same everywhere as in its paper.
    """
    blocks = partial(DropBlock, block_size=block_size)
    return (
        _everywhere("dropout", _HIGH, sites, Dropout),
        _everywhere("spatial-dropout", _LOW, sites, SpatialDropout),
        _everywhere("dropblock", _LOW, sites, blocks),
        Baseline(
            name="stochastic-depth",
            strengths=_HIGH,
            put=partial(_put_depth, branch_ends=tuple(branch_ends)),
        ),
        augmented_baseline(_HIGH),
        adaptive_baseline(_LOW, partial(_named, names=tuple(sites)), whole=True, method="lrp"),
    )


def _named(_: nn.Module, *, names: tuple[str, ...]) -> tuple[str, ...]:
    return names


def _everywhere(name: str, strengths: tuple[float, ...], sites: Sequence[str], kind: Kind) -> Baseline:
    return Baseline(name=name, strengths=strengths, put=partial(_put, sites=tuple(sites), kind=kind))


def _put(model: nn.Module, strength: float, *, sites: Sequence[str], kind: Kind) -> Placed:
    return on_sites(model, sites, lambda _: kind(strength))


def _put_depth(model: nn.Module, strength: float, *, branch_ends: Sequence[str]) -> Placed:
    rates = linear_decay(strength, len(branch_ends))
    return on_sites(model, branch_ends, lambda block: StochasticDepth(rates[block]))
