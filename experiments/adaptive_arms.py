"""The regularisers that adaptive.py compares, each put onto a network."""

import math
from dataclasses import dataclass, replace

from torch import nn

from autodropout.adapting import Refreshing, adaptive_dropout
from autodropout.adaptive import AdaptiveSettings, Favours
from autodropout.errors import UsageError
from autodropout.tasks.methods.penalties import penalise

NEVER = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Strengths:
    """How strong the regularisers are; the paper prints none of it.

    Attributes:
        rate: Mean drop rate, standard and adaptive.
        l1: Factor of the sum of magnitudes.
        l2: Factor of half the sum of squares, on top of the weight decay that every arm has, "none", too.

    Raises:
        UsageError: A value is out of range.
    """

    rate: float = 0.1
    l1: float = 1e-5
    l2: float = 5e-4

    def __post_init__(self) -> None:
        if not 0.0 < self.rate < 1.0:
            raise UsageError(f"rate is {self.rate!r}; expected a mean drop rate above 0 and below 1")
        for name in ("l1", "l2"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} is {getattr(self, name)!r}; expected a factor of at least 0")


USUAL = Strengths()


def regularise(
    net: nn.Module, places: tuple[str, ...], arm: str, strengths: Strengths, refreshing: Refreshing
) -> None:
    """Let the regulariser of an arm act on a network, dropout on the outputs of these places.

    Standard dropout is adaptive dropout that has no room to adapt: the coins are the same.

    Args:
        net: The network.
        places: Modules whose outputs are dropped.
        arm: Name of the regulariser.
        strengths: Of the regularisers.
        refreshing: When and how the rates of adaptive dropout are refreshed.

    Raises:
        UsageError: There is no such arm.
    """
    match arm:
        case "none":
            return
        case "l1":
            penalise(net, l1=strengths.l1)
        case "l2":
            penalise(net, l2=strengths.l2)
        case "standard":
            same = AdaptiveSettings(least=strengths.rate, most=strengths.rate, whole=False)
            once = replace(refreshing, every=NEVER)
            adaptive_dropout(net, places, strengths.rate, settings=same, refreshing=once)
        case "adaptive" | "adaptive-unimportant":
            favours: Favours = "important" if arm == "adaptive" else "unimportant"
            settings = AdaptiveSettings(favours=favours, whole=False)
            adaptive_dropout(net, places, strengths.rate, settings=settings, refreshing=refreshing)
        case _:
            raise UsageError(f"there is no arm {arm!r}; expected none, l1, l2, standard or adaptive")
