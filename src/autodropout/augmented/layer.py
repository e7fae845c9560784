"""Forward, backward and augmented dropout as one module: two ratios, and how they meet."""

import math

import torch
from torch import Tensor, nn

from autodropout.augmented.consumer import Epsilon, consume, is_consumer
from autodropout.errors import ShapeError, SiteError, UsageError
from autodropout.noise import Noise
from autodropout.steered import Steered

NO_NOISE = Epsilon(None, 1.0)


class AugmentedDropout(Steered):
    """Call a Linear or convolution with different noise in its two passes.

    eps_f drops with the ratio ``rate``, eps with ``backward_rate``, and eps_b = eps_f * eps (Demystifying
    Dropout, Section 5), so that the backward pass drops 1 - (1 - rate) (1 - backward_rate) of the units.
    With ``multiply=False`` eps_b = eps by itself: that is Eq. 10 as it is printed, and with one ratio 0
    Definitions 1 (forward dropout) and 2 (backward dropout). Kept units are scaled by the expected share.

    Args:
        rate: Forward ratio, 0 <= rate < 1.
        backward_rate: Backward ratio, 0 <= backward_rate < 1.
        multiply: Whether the backward noise contains the forward noise.
        site: Name of the consumer, for errors and for ``seed``.
        seed: None draws from the device's default generator; a number makes masks a pure function of
            (seed, data-parallel rank, site, step).

    Raises:
        UsageError: A ratio is out of range, or a value is not of its type.

    Example:
        >>> layer, linear = AugmentedDropout(0.2, 0.0002), nn.Linear(8, 3)
        >>> layer(linear, torch.randn(4, 8)).shape
        torch.Size([4, 3])
    """

    def __init__(
        self,
        rate: float = 0.2,
        backward_rate: float = 0.0002,
        *,
        multiply: bool = True,
        site: str | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(site, seed)
        self.rate = _checked_ratio("rate", rate)
        self.backward_rate = _checked_ratio("backward_rate", backward_rate)
        if not isinstance(multiply, bool):
            raise UsageError(f"multiply is {multiply!r}; expected True or False")
        self.multiply = multiply

    @property
    def drop_rates(self) -> tuple[float, float]:
        """Probability that a unit is dropped in the forward and in the backward pass, at this strength."""
        forward, own = self.rate * self._level, self.backward_rate * self._level
        return forward, 1.0 - (1.0 - forward) * (1.0 - own) if self.multiply else own

    def forward(self, consumer: nn.Module, h: Tensor) -> Tensor:
        """Return what ``consumer`` makes of h; in evaluation exactly that.

        Args:
            consumer: An ``nn.Linear``, ``nn.Conv1d``, ``nn.Conv2d`` or ``nn.Conv3d``.
            h: What it consumes.

        Raises:
            SiteError: The consumer is another module.
            ShapeError: h does not fit, or is of no float dtype.
        """
        if not is_consumer(consumer):
            raise SiteError(f"{self.where}{unsupported_text(consumer)}")
        if not self.training:
            return _plain(consumer, h)
        if not isinstance(h, Tensor) or not h.is_floating_point():
            what = str(h.dtype) if isinstance(h, Tensor) else type(h).__name__
            raise ShapeError(f"{self.where}what it consumes is {what}; expected a float tensor")
        self.note_fired()
        if self.is_idle() or self.rate == self.backward_rate == 0.0:
            return _plain(consumer, h)
        try:
            return consume(consumer, h, *self.draw(h))
        except ShapeError as error:
            raise ShapeError(f"{self.where}{error}") from error

    def draw(self, h: Tensor) -> tuple[Epsilon, Epsilon]:
        """Draw eps_f and eps_b for a hidden state."""
        noise, strength = self.noise(h.device), self.current_strength()
        forward = _drawn(self.rate, strength, h, noise)
        own = _drawn(self.backward_rate, strength, h, noise)
        return forward, _product(forward, own) if self.multiply else own

    def extra_repr(self) -> str:
        """Return the ratios, and where it stands."""
        extras = {"site": self.site, "seed": self.seed}
        named = [f"{name}={value}" for name, value in extras.items() if value is not None]
        ratios = [f"rate={self.rate:g}", f"backward_rate={self.backward_rate:g}"]
        return ", ".join([*ratios, *([] if self.multiply else ["multiply=False"]), *named])


def unsupported_text(module: nn.Module) -> str:
    """Say why a module cannot be the consumer."""
    kind, wraps = type(module), "base_layer" in module._modules  # as PEFT's adapters do
    if wraps or isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        instead = 'its "base_layer"' if wraps else "a layer that runs torch's"
        return f"{kind.__module__}.{kind.__qualname__} has a forward of its own; name {instead}"
    return (
        f"{kind.__name__} is no Linear, Conv1d, Conv2d or Conv3d; name the layer that multiplies the dropped "
        "features by its weights"
    )


def _plain(consumer: nn.Module, h: Tensor) -> Tensor:
    # Not consumer(h): this may itself be running in the place of the consumer's forward.
    z: Tensor = type(consumer).forward(consumer, h)
    return z


def _drawn(rate: float, strength: float | Tensor, h: Tensor, noise: Noise) -> Epsilon:
    if rate == 0.0:
        return NO_NOISE
    if isinstance(strength, Tensor):  # float32 holds the strengths that matter, but not every 1 / (1 - rate)
        strength = strength.to(torch.promote_types(h.dtype, torch.float32))
    ratio = rate * strength
    return Epsilon(noise.coins(ratio, h.shape), 1.0 / (1.0 - ratio))


def _product(first: Epsilon, second: Epsilon) -> Epsilon:
    if first.dropped is None or second.dropped is None:
        return second if first.dropped is None else first
    return Epsilon(first.dropped | second.dropped, first.factor * second.factor)


def _checked_ratio(name: str, ratio: object) -> float:
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not math.isfinite(ratio):
        raise UsageError(f"{name} is {ratio!r}; expected a drop ratio of at least 0 and below 1")
    if not 0.0 <= ratio < 1.0:
        raise UsageError(
            f"{name} is {ratio!r}; expected at least 0 and below 1: at 1 nothing is left to scale up, in "
            "neither pass"
        )
    return float(ratio)
