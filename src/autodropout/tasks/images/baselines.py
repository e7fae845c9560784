"""The known kinds of dropout on image networks; where they go is read off the network itself."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import nn

from autodropout.attribution import Method
from autodropout.baselines import (
    DropBlock,
    Dropout,
    Placed,
    Ramped,
    SpatialDropout,
    StochasticDepth,
    linear_decay,
    on_sites,
)
from autodropout.baselines.rated import Rated
from autodropout.tasks.base import Baseline
from autodropout.tasks.images.networks import branch_ends, on_branches
from autodropout.tasks.unit_baselines import (
    Modules,
    adaptive_baseline,
    augmented_baseline,
    known_consumers,
)

Kind = Callable[[float], Rated]

_HIGH = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
_LOW = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)


def image_baselines(
    block_size: int, *, consumers: Modules = known_consumers, relevance: Method = "lrp"
) -> tuple[Baseline, ...]:
    """Return the known kinds of dropout for an image network.

    - ``dropout`` and ``spatial-dropout`` act on all sites at one rate.
    - ``dropblock`` acts on all sites, its rate rising linearly over training (Ghiasi et al. 2018).
    - ``stochastic-depth`` drops residual branches, one coin for a whole batch, the rate growing linearly
      with depth; the strength is the last block's (Huang et al. 2016).
    - ``drop-path`` drops residual branches, one coin per image, at one rate for all blocks, which rises
      linearly over training (Larsson et al. 2017; the schedule is that of Zoph et al. 2018).
    - ``augmented-dropout`` and ``adaptive-dropout`` are those of the other two papers (``unit_baselines``).

    Args:
        block_size: Side of DropBlock's blocks in pixels, the same everywhere as in its paper.
        consumers: Says which layers augmented dropout acts on; by default those behind a site.
        relevance: Source of adaptive dropout's rates.
    """
    return (
        Baseline(name="dropout", strengths=_HIGH, put=OnSites(kind=Dropout)),
        Baseline(name="spatial-dropout", strengths=_LOW, put=OnSites(kind=SpatialDropout)),
        Baseline(
            name="dropblock",
            strengths=_LOW,
            put=OnSites(kind=partial(DropBlock, block_size=block_size), ramped=True),
        ),
        Baseline(name="stochastic-depth", strengths=_HIGH, put=OnBranches(mode="batch", linear=True)),
        Baseline(name="drop-path", strengths=_HIGH, put=OnBranches(mode="row", ramped=True)),
        augmented_baseline(_HIGH, consumers),
        adaptive_baseline(_LOW, on_branches, whole=True, method=relevance),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OnSites:
    """Puts a kind of dropout on every site of a network that is not on a projection of a shortcut.

    Attributes:
        kind: Makes the module from its drop probability.
        ramped: Let the probability rise over training.
    """

    kind: Kind
    ramped: bool = False

    def __call__(self, model: nn.Module, strength: float) -> Placed:
        """Put it on."""
        return on_sites(model, on_branches(model), lambda _: _made(self.kind(strength), self.ramped))


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBranches:
    """Lets the residual branches of a network be dropped.

    Attributes:
        mode: One coin for a ``"batch"``, or one per ``"row"``, that is image.
        linear: Let the probability grow with depth instead of being the same everywhere.
        ramped: Let it rise over training.
    """

    mode: Literal["batch", "row"]
    linear: bool = False
    ramped: bool = False

    def __call__(self, model: nn.Module, strength: float) -> Placed:
        """Put it on."""
        ends = branch_ends(model)
        rates = linear_decay(strength, len(ends)) if self.linear else (strength,) * len(ends)
        return on_sites(
            model, ends, lambda block: _made(StochasticDepth(rates[block], self.mode), self.ramped)
        )


def _made(module: Rated, ramped: bool) -> nn.Module:
    return Ramped(module) if ramped else module
