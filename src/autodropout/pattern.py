"""What is dropped at one site: tiled rectangles on a map, or blocks of tokens in a sequence."""

import math
import sys
from dataclasses import dataclass, replace
from typing import Literal, Self, TypeVar

from autodropout import geometry
from autodropout.errors import PatternError

Size = int | Literal["whole"]
Repeat = int | Literal["fill"]
_SizeT = TypeVar("_SizeT", int, Size)

_LARGEST = 2**30  # keeps every sum and product of these numbers within 64 bits
_STEEPEST = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvPattern:
    """Tiled rectangles over a feature map, sheared and rotated (AutoDropout, Figures 1 and 2).

    ``repeat`` x ``repeat`` tiles of ``height`` x ``width`` are laid out with ``stride`` kept positions
    between them, sheared along x, then along y, then rotated, all about the map's centre. Where the
    tiles begin is drawn afresh for each sample, and for each channel unless ``share_c``.

    Attributes:
        height: Rows of a tile in pixels, at least 1; 0 = off; ``"whole"`` = the whole axis.
        width: Columns of a tile, likewise.
        stride: Kept pixels between two tiles, at least 0.
        repeat: Tiles along each axis, at least 1; ``"fill"`` tiles the whole map.
        rotate: Degrees, counter-clockwise as the picture is seen.
        shear_x: Columns moved per row, at most a million either way.
        shear_y: Rows moved per column, likewise.
        share_c: One draw for all channels of a sample.
        residual: Apply the pattern, with a draw of its own, to the block's shortcut branch too.
        rate: Probability that a draw receives the pattern at all; the paper's is 1.
        backward_rate: Share of the units that the backward pass of the one layer that reads the site drops
            beside the pattern, at least 0 and below 1 ("Demystifying Dropout", eps_b = eps_f * eps).

    Raises:
        PatternError: A value is out of range or of the wrong type.

    Example:
        >>> ConvPattern(height=3, width=3, stride=2, repeat=2).drop_rate(32, 32)
        0.02366863905325444
    """

    height: Size
    width: Size
    stride: int = 0
    repeat: Repeat = 1
    rotate: float = 0.0
    shear_x: float = 0.0
    shear_y: float = 0.0
    share_c: bool = True
    residual: bool = False
    rate: float = 1.0
    backward_rate: float = 0.0

    def __post_init__(self) -> None:
        _check_size("height", self.height)
        _check_size("width", self.width)
        _check_int("stride", self.stride, least=0)
        if self.repeat != "fill":
            _check_int("repeat", self.repeat, least=1, word="fill")
        object.__setattr__(self, "rotate", _finite("rotate", self.rotate))
        object.__setattr__(self, "shear_x", _shear("shear_x", self.shear_x))
        object.__setattr__(self, "shear_y", _shear("shear_y", self.shear_y))
        _check_bool("share_c", self.share_c)
        _check_bool("residual", self.residual)
        object.__setattr__(self, "rate", _probability("rate", self.rate))
        object.__setattr__(self, "backward_rate", _ratio("backward_rate", self.backward_rate))

    @property
    def off(self) -> bool:
        """Whether the pattern never drops anything; then the backward pass drops nothing either."""
        return self.height == 0 or self.width == 0 or self.rate == 0.0

    def drop_rate(self, height: int, width: int) -> float:
        """Return the exact probability that a pixel is dropped, the same for every pixel.

        rate * prod over both axes of repeat * size / (R + E - 1), R being the number of rounded
        source coordinates along the axis and E = repeat * size + (repeat - 1) * stride;
        size / (size + stride) per axis where ``repeat`` is ``"fill"``, 1 where the size is ``"whole"``.

        Args:
            height: Rows of the map, at least 1.
            width: Columns of the map, at least 1.
        """
        _check_int("map height", height, least=1)
        _check_int("map width", width, least=1)
        if self.off:
            return 0.0
        spans = geometry.source_span(height, width, self.rotate, self.shear_x, self.shear_y)
        shares = (
            geometry.covered_offsets(size, self.repeat)
            / geometry.num_offsets(largest - smallest + 1, size, self.stride, self.repeat)
            for (smallest, largest), size in zip(spans, (self.height, self.width), strict=True)
        )
        return self.rate * math.prod(shares)

    def scaled(self, factor: float) -> Self:
        """Return the pattern for a map ``factor`` times as large: sizes and stride grow with it."""
        _check_factor(factor)
        return replace(
            self,
            height=_grown(self.height, factor),
            width=_grown(self.width, factor),
            stride=_grown(self.stride, factor),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPattern:
    """Blocks of tokens along a sequence (AutoDropout, Figure 4).

    ``size`` tokens are affected, ``stride`` tokens skipped, and so on to the end of the sequence; the
    phase is uniform over the period and drawn per sample. A unit of an affected token is dropped with
    probability ``rate``.

    Attributes:
        size: Affected tokens per block, at least 1; 0 = off; ``"whole"`` = one block, the whole sequence.
        stride: Skipped tokens between blocks, at least 0.
        share_t: One draw for all tokens of a block, otherwise one per token.
        share_c: One coin for all channels, otherwise one per channel.
        rate: Probability that a unit of an affected token is dropped.

    Raises:
        PatternError: A value is out of range or of the wrong type.

    Example:
        >>> TokenPattern(size=2, stride=2, rate=0.1).drop_rate()
        0.05
    """

    size: Size
    stride: int = 0
    share_t: bool = False
    share_c: bool = False
    rate: float = 0.1

    def __post_init__(self) -> None:
        _check_size("size", self.size)
        _check_int("stride", self.stride, least=0)
        _check_bool("share_t", self.share_t)
        _check_bool("share_c", self.share_c)
        object.__setattr__(self, "rate", _probability("rate", self.rate))

    @property
    def off(self) -> bool:
        """Whether the pattern never drops anything."""
        return self.size == 0 or self.rate == 0.0

    def drop_rate(self) -> float:
        """Return the exact probability that a unit is dropped: rate * size / (size + stride)."""
        if self.off:
            return 0.0
        affected = 1.0 if isinstance(self.size, str) else self.size / (self.size + self.stride)
        return self.rate * affected

    def scaled(self, factor: float) -> Self:
        """Return the pattern for a sequence ``factor`` times as long: size and stride grow with it."""
        _check_factor(factor)
        return replace(self, size=_grown(self.size, factor), stride=_grown(self.stride, factor))


Pattern = ConvPattern | TokenPattern


def _check_size(name: str, value: object) -> None:
    if value != "whole":
        _check_int(name, value, least=0, word="whole")


def _check_int(name: str, value: object, *, least: int, word: str | None = None) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _LARGEST:
        other = f', or "{word}"' if word else ""
        raise PatternError(f"{name} is {value!r}; expected a whole number from {least} to {_LARGEST}{other}")


def _check_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise PatternError(f"{name} is {value!r}; expected True or False")


def _finite(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise PatternError(f"{name} is {value!r}; expected a finite number")
    return float(value) + 0.0  # -0.0 becomes 0.0, so that equal patterns have equal JSON


def _shear(name: str, value: object) -> float:
    number = _finite(name, value)
    if abs(number) > _STEEPEST:
        raise PatternError(f"{name} is {value!r}; expected a number from {-_STEEPEST:.0f} to {_STEEPEST:.0f}")
    return number


def _probability(name: str, value: object) -> float:
    number = _finite(name, value)
    if not 0.0 <= number <= 1.0:
        raise PatternError(f"{name} is {value!r}; expected a probability between 0 and 1")
    return number


def _ratio(name: str, value: object) -> float:
    number = _finite(name, value)
    if not 0.0 <= number < 1.0:
        raise PatternError(f"{name} is {value!r}; expected at least 0 and below 1")
    return number


def _check_factor(factor: float) -> None:
    if _finite("factor", factor) <= 0.0:
        raise PatternError(f"factor is {factor!r}; expected a positive number")


def _grown(size: _SizeT, factor: float) -> _SizeT:
    if not isinstance(size, int) or size == 0:
        return size
    return max(1, math.floor(min(size * factor, _LARGEST) + 0.5))
