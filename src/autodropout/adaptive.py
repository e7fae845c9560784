"""Dropout whose rate follows how much each unit matters (the paper "Adaptive Dropout").

The paper sets p_i = 1 - r_i, r_i being a unit's relevance. Raw relevance is signed and tiny, so that this
would drop everything; what is made of it here stands in ``adaptive_rates``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

import torch
import torch.distributed as dist
from torch import Tensor

from autodropout.errors import DivergedError, ShapeError, UsageError
from autodropout.steered import Steered

Favours = Literal["important", "unimportant"]
"""Which units are kept more often: the important ones, as in the paper, or the others, as in Y-Drop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveSettings:
    """How rates follow relevance.

    Attributes:
        least: Smallest rate of a unit.
        most: Largest rate of a unit, below 1.
        momentum: Weight of the past in the moving average of relevance, in [0, 1).
        favours: Which units are kept more often.
        whole: Whether one coin drops a unit at all places of a sample (a channel's whole map), or every
            place of it has a coin of its own.
        saved: Whether rates and averages are buffers, which stand in ``state_dict``.

    Raises:
        UsageError: A value is out of range.
    """

    least: float = 0.0
    most: float = 0.9
    momentum: float = 0.9
    favours: Favours = "important"
    whole: bool = True
    saved: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.least <= self.most < 1.0:
            raise UsageError(
                f"least and most are {self.least!r} and {self.most!r}; expected 0 <= least <= most < 1"
            )
        if not 0.0 <= self.momentum < 1.0:
            raise UsageError(f"momentum is {self.momentum!r}; expected at least 0 and below 1")
        for name in ("whole", "saved"):
            if not isinstance(value := getattr(self, name), bool):
                raise UsageError(f"{name} is {value!r}; expected True or False")
        if self.favours not in ("important", "unimportant"):
            raise UsageError(f'favours is {self.favours!r}; expected "important" or "unimportant"')


DEFAULTS = AdaptiveSettings()


class AdaptiveDropout(Steered):
    """Drop each unit with a rate of its own, and scale it by 1 / (1 - p_i).

    Before the first ``observe`` all units have the layer's mean rate, which makes it standard dropout of
    whole units. It never looks at relevance by itself: give it what ``autodropout.relevance`` returns, or
    let ``adaptive_dropout`` do so for a whole model.

    Args:
        num_channels: Number of units.
        rate: Mean rate over the units, which is kept.
        settings: How rates follow relevance.
        axis: Axis of the input along which units stand; axis 0 is the batch.
        site: Name of the place where it stands, for errors and for ``seed``.
        seed: None draws from the device's default generator; a number makes masks a pure function of
            (seed, data-parallel rank, site, step).

    Raises:
        UsageError: A number is out of range.

    Example:
        >>> layer = AdaptiveDropout(4, rate=0.3)
        >>> layer.observe(torch.tensor([0.0, 1.0, 2.0, 4.0]))
        >>> layer.rates
        tensor([0.5333, 0.4000, 0.2667, 0.0000])
        >>> layer(torch.ones(2, 4, 8, 8)).shape
        torch.Size([2, 4, 8, 8])
    """

    batch_axis = 0
    """Axis of the batch; 1 in recurrent layers and Transformers that have the steps first."""

    rates: Tensor
    average: Tensor
    observed: Tensor

    def __init__(
        self,
        num_channels: int,
        rate: float = 0.2,
        settings: AdaptiveSettings = DEFAULTS,
        *,
        axis: int = 1,
        site: str | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(site, seed)
        if isinstance(num_channels, bool) or not isinstance(num_channels, int) or num_channels < 1:
            raise UsageError(f"num_channels is {num_channels!r}; expected a whole number of at least 1")
        _check_rate(rate, settings)
        if axis == 0:
            raise UsageError("axis is 0, that of the batch; expected the one along which units stand")
        self.num_channels, self.rate, self.settings, self.axis = num_channels, float(rate), settings, axis
        for name, tensor in self._unobserved().items():
            if settings.saved:
                self.register_buffer(name, tensor)
            else:  # no buffer, as in ``Steered``
                setattr(self, name, tensor)

    def forward(self, h: Tensor) -> Tensor:
        """Return h with units dropped and the others scaled, or h itself in evaluation.

        Raises:
            ShapeError: The axis does not have so many units, or h is of no float dtype.
        """
        if not self.training:
            return h
        self._check(h)
        self.note_fired()
        if self.is_idle():
            return h
        axis = self.axis % h.ndim
        along = [1] * h.ndim
        along[axis] = self.num_channels
        rates = (self.rates * self.current_strength()).reshape(along)
        apart = (self.batch_axis, axis)
        cells = [n if place in apart or not self.settings.whole else 1 for place, n in enumerate(h.shape)]
        keep = ~self.noise(h.device).coins(rates, cells)
        return h * (keep / (1.0 - rates)).to(h.dtype)

    def observe(self, relevance: Tensor) -> None:
        """Take in a new estimate of how much each unit matters and set the rates by it.

        In data-parallel training every process must call it; they share the mean of their estimates.
        Compiled code follows without being compiled again.

        Args:
            relevance: Float, (num_channels,), of any scale; its size counts.

        Raises:
            ShapeError: It has another shape.
            DivergedError: It is not finite.
        """
        if not isinstance(relevance, Tensor) or relevance.shape != (self.num_channels,):
            shape = tuple(relevance.shape) if isinstance(relevance, Tensor) else relevance
            raise ShapeError(f"{self.where}relevance has shape {shape}; expected ({self.num_channels},)")
        new = relevance.detach().abs().to(self.average)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(new)
            new /= dist.get_world_size()
        if not bool(new.isfinite().all()):
            raise DivergedError(
                f"{self.where}relevance is not finite; has training diverged, or is epsilon too small for "
                "the dtype?"
            )
        weight = self.settings.momentum if int(self.observed) else 0.0
        self.restore(self.average * weight + new * (1.0 - weight), int(self.observed) + 1)

    def restore(self, average: Tensor, observed: int) -> None:
        """Set the moving average of relevance, and the rates by it.

        Args:
            average: (num_channels,), at least 0.
            observed: How many estimates it holds; with 0 all units have the mean rate.
        """
        self.average.copy_(average)
        self.observed.fill_(observed)
        self.rates.copy_(adaptive_rates(self.average, self.rate, self.settings))

    def extra_repr(self) -> str:
        """Return units, mean rate and where it stands."""
        extras = {"site": self.site, "seed": self.seed}
        named = [f"{name}={value}" for name, value in extras.items() if value is not None]
        return ", ".join([str(self.num_channels), f"rate={self.rate:g}", *named])

    def _check(self, h: Tensor) -> None:
        if not isinstance(h, Tensor) or not h.is_floating_point():
            what = str(h.dtype) if isinstance(h, Tensor) else type(h).__name__
            raise ShapeError(f"{self.where}the hidden state is {what}; expected a float tensor")
        if h.ndim < 2 or not -h.ndim <= self.axis < h.ndim or h.shape[self.axis] != self.num_channels:
            raise ShapeError(
                f"{self.where}the hidden state has shape {tuple(h.shape)}; expected {self.num_channels} "
                f"units along axis {self.axis}, and the batch along axis 0"
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        kept = {"rates": self.rates, "average": self.average, "observed": self.observed}
        super()._apply(fn, recurse)
        # half() would round rates and averages, and to_empty() loses what was on a meta device.
        device = self.strength.device
        if kept["rates"].is_meta and device.type != "meta":
            kept = self._unobserved()
        for name, tensor in kept.items():
            setattr(self, name, tensor.to(device))
        return self

    def _unobserved(self) -> dict[str, Tensor]:
        """Return rates and averages as they are before anything was observed."""
        return {
            "rates": torch.full((self.num_channels,), self.rate),
            "average": torch.zeros(self.num_channels),
            "observed": torch.tensor(0),
        }


def adaptive_rates(relevance: Tensor, rate: float, settings: AdaptiveSettings = DEFAULTS) -> Tensor:
    """Return a drop rate for each unit whose mean is the one asked for.

        p_i = clamp(a (1 - r_i), least, most),   r_i = |R_i| / max_j |R_j|

    with a found by bisection. The paper has a = 1 and neither bounds nor normalisation. With
    ``favours="unimportant"`` r_i stands for 1 - r_i. Where even the largest a drops too little, because too
    many units have a factor of 0 (in the extreme all are equally relevant), those units share the rest.

    Args:
        relevance: (units,), of any sign and scale; all zeros give every unit the mean rate.
        rate: Mean rate, from ``least`` to ``most``.
        settings: Bounds and direction.

    Returns:
        float64 (units,), on the CPU: to look for a there spares a GPU hundreds of waits.

    Raises:
        UsageError: The rate is out of range.

    Example:
        >>> adaptive_rates(torch.tensor([1.0, 3.0, 4.0]), 0.2)
        tensor([0.4500, 0.1500, 0.0000], dtype=torch.float64)
    """
    _check_rate(rate, settings)
    r = relevance.detach().to("cpu", torch.float64).abs()
    largest = r.max()
    if largest == 0:
        return torch.full_like(r, rate)
    r = r / largest
    factor = 1.0 - r if settings.favours == "important" else r
    factor = torch.where(factor < 1e-9, 0.0, factor)  # beyond that, no scale a could tell them from 0

    if rate == settings.least:
        return torch.full_like(r, rate)

    def rates(a: float) -> Tensor:
        return (a * factor).clamp(settings.least, settings.most)

    above_0 = factor[factor > 0]
    top = settings.most / float(above_0.min()) if len(above_0) else 0.0
    if float(rates(top).mean()) < rate:
        rest = rates(top)
        rest[factor == 0] = (rate * len(r) - float(rest[factor > 0].sum())) / int((factor == 0).sum())
        return rest
    return rates(_root(lambda a: float(rates(a).mean()) - rate, top))


def _root(rising: Callable[[float], float], high: float) -> float:
    """Return where a function that rises from at most 0 at 0 to at least 0 at ``high`` is 0."""
    low, middle = 0.0, high / 2
    while low < middle < high:  # until no number lies between
        low, high = (low, middle) if rising(middle) >= 0 else (middle, high)
        middle = (low + high) / 2
    return high


def _check_rate(rate: object, settings: AdaptiveSettings) -> None:
    given = isinstance(rate, int | float) and not isinstance(rate, bool) and math.isfinite(rate)
    if not given or not settings.least <= float(rate) <= settings.most:  # type: ignore[arg-type]
        raise UsageError(
            f"rate is {rate!r}; expected a mean drop rate from least {settings.least} to most {settings.most}"
        )
