"""The search space for feature maps: per site the paper's eight decisions (AutoDropout, Figure 3)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

from autodropout.errors import SpaceError
from autodropout.pattern import ConvPattern, Pattern
from autodropout.space import (
    Choice,
    Space,
    Value,
    checked,
    checked_flag,
    checked_numbers,
    checked_off,
    document,
    merged,
    token_of,
    uniform,
)
from autodropout.tilt import tilted

RelativeSize = float | Literal["pixel", "whole"]

_BOUNDS = {"strides": (0.0, 1e3), "rotates": (-360.0, 360.0), "shears": (-10.0, 10.0)}


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvSpace(Space):
    """Policies of ``ConvPattern``: eight decisions per site.

    Sizes are relative to each site's map, because absolute ones are blind to scale (a 3x3 tile is half
    of a 4x4 map and nothing on a 112x112 one). They become pixels here, at least 1; sizes that coincide
    at a site are merged.

    Attributes:
        sites: Key of each site to the (height, width) of its map in pixels.
        sizes: Side of a square tile: a share of the map's shorter side, ``"pixel"`` or ``"whole"``.
            "Off" is always there and comes first.
        strides: Kept pixels between tiles as a multiple of the tile's side; at least 1 pixel.
        repeats: Tiles along each axis, or ``"fill"``.
        rotates: Degrees.
        shears: Columns per row, and rows per column.
        residual: Keys of the sites whose block has a shortcut; None means all of them.
        rates: Rates to choose from; None leaves every rate at the paper's 1. With rates, ``"whole"``
            joins the sizes.
        backward_rates: Backward ratios to choose from, such as (0.0, 0.0002, 0.01); None leaves them at 0.
        consumed: Keys of the sites that a single layer reads, where alone there is a backward ratio; None
            means all of them.
        rectangles: Decide height and width apart, each relative to its own side.
        schedule: Decide the policy's schedule, too.
        off: Probability of "off" in the controller's starting bias.

    Raises:
        SpaceError: A site or a list of values is empty or out of range.

    Example:
        >>> len(ConvSpace(sites={"layer1.*.bn2": (32, 32), "layer2.*.bn2": (16, 16)}))
        16
    """

    sites: Mapping[str, tuple[int, int]]
    sizes: Sequence[RelativeSize] = ("pixel", 1 / 16, 1 / 8, 1 / 4, 1 / 2)
    strides: Sequence[float] = (0.5, 1.0, 2.0, 4.0)
    repeats: Sequence[int | Literal["fill"]] = (1, 2, 3, 4, "fill")
    rotates: Sequence[float] = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0)
    shears: Sequence[float] = (-0.4, -0.2, 0.0, 0.2, 0.4)
    residual: Sequence[str] | None = None
    rates: Sequence[float] | None = None
    backward_rates: Sequence[float] | None = None
    consumed: Sequence[str] | None = None
    rectangles: bool = False
    schedule: bool = False
    off: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "sites", _map_sizes(self.sites))
        for name, (low, high) in _BOUNDS.items():
            object.__setattr__(self, name, checked_numbers(name, getattr(self, name), low, high))
        if self.rates is not None:
            object.__setattr__(self, "rates", checked_numbers("rates", self.rates, 1e-6, 1.0))
        if self.backward_rates is not None:
            rates = checked_numbers("backward_rates", self.backward_rates, 0.0, 0.99)
            object.__setattr__(self, "backward_rates", rates)
        for name in ("residual", "consumed"):
            if (keys := getattr(self, name)) is not None:
                object.__setattr__(self, name, _some_of(name, keys, self.sites))
        object.__setattr__(self, "sizes", tuple(_relative(size) for size in checked("sizes", self.sizes)))
        object.__setattr__(self, "repeats", checked("repeats", self.repeats))
        object.__setattr__(self, "off", checked_off(self.off))
        for name in ("rectangles", "schedule"):
            checked_flag(name, getattr(self, name))
        self._probe()

    @property
    def searches_schedule(self) -> bool:
        """Whether the last decision is the policy's schedule."""
        return self.schedule

    @cached_property
    def site_choices(self) -> Mapping[str, tuple[Choice, ...]]:
        """Choices of each site: size (or height, width), stride, repeat, rotate, shears, flags."""
        cache: dict[tuple[int, int], tuple[tuple[float, ...], ...]] = {}
        return {key: self._choices(key, size, cache) for key, size in self.sites.items()}

    def to_json(self) -> str:
        """Return canonical JSON that ``space_from_json`` reads."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("backward_rates", "consumed"):  # they came later: older spaces keep their key
            if values[name] is None:
                del values[name]
        return document("conv", values | {"sites": list(self.sites.items())})

    def _choices(
        self, key: str, size: tuple[int, int], cache: dict[tuple[int, int], tuple[tuple[float, ...], ...]]
    ) -> tuple[Choice, ...]:
        gentle = self._strength_values(size)
        if size not in cache:
            cache[size] = tilted([len(v) for v in gentle.values()], lambda tokens: self._rates(size, tokens))
        strength = {
            name: Choice(site=key, name=name, values=values, prior=prior)
            for (name, values), prior in zip(gentle.items(), cache[size], strict=True)
        }
        first, *others = (strength.pop(name) for name in self._size_names)
        rate = strength.pop("rate", None)
        share = 1.0 - self.off
        first = Choice(
            site=key,
            name=first.name,
            values=(0, *first.values),
            prior=(self.off, *(share * p for p in first.prior)),
        )
        shortcut = (False, True) if self.residual is None or key in self.residual else (False,)
        geometry = (
            uniform(key, "rotate", self.rotates),
            uniform(key, "shear_x", self.shears),
            uniform(key, "shear_y", self.shears),
            uniform(key, "share_c", (False, True)),
            uniform(key, "residual", shortcut),
        )
        more = () if rate is None else (rate,)
        return (first, *others, *strength.values(), *geometry, *more, *self._backward(key))

    def _backward(self, key: str) -> tuple[Choice, ...]:
        if self.backward_rates is None:
            return ()
        there = self.consumed is None or key in self.consumed
        return (uniform(key, "backward_rate", self.backward_rates if there else (0.0,)),)

    @property
    def _size_names(self) -> tuple[str, ...]:
        return ("height", "width") if self.rectangles else ("size",)

    def _strength_values(self, size: tuple[int, int]) -> dict[str, tuple[Value, ...]]:
        sides = size if self.rectangles else (min(size),)
        named = {
            name: self._pixel_sizes(side) for name, side in zip(self._size_names, sides, strict=True)
        } | {"stride": tuple(self.strides), "repeat": tuple(self.repeats)}
        return named if self.rates is None else named | {"rate": tuple(self.rates)}

    def _pixel_sizes(self, side: int) -> tuple[Value, ...]:
        whole: tuple[RelativeSize, ...] = ("whole",) if self.rates is not None else ()
        return merged([_pixels(size, side) for size in (*self.sizes, *whole)])

    def _rates(self, size: tuple[int, int], tokens: tuple[int, ...]) -> list[float]:
        values = self._strength_values(size)
        chosen = {name: values[name][token] for name, token in zip(values, tokens, strict=True)}
        return [
            _build(chosen | {"rotate": rotate, "shear_x": 0.0, "shear_y": 0.0}).drop_rate(*size)
            for rotate in self.rotates
        ]

    def _pattern(self, site: str, values: Sequence[Value]) -> Pattern:
        return _build({c.name: value for c, value in zip(self.site_choices[site], values, strict=True)})

    def _site_tokens(self, site: str, pattern: Pattern) -> tuple[int, ...]:
        if not isinstance(pattern, ConvPattern):
            raise SpaceError(f"{site!r} has a TokenPattern; this is a space of ConvPattern")
        if not self.rectangles and pattern.height != pattern.width:
            raise SpaceError(
                f"{site!r} has a {pattern.height} x {pattern.width} tile; this space has squares"
            )
        if self.rates is None and pattern.rate != 1.0:
            raise SpaceError(f"{site!r} has rate {pattern.rate}; in this space every rate is 1")
        if self.backward_rates is None and pattern.backward_rate != 0.0:
            raise SpaceError(
                f"{site!r} has backward_rate {pattern.backward_rate}; in this space every backward_rate is 0"
            )
        return tuple(_token(choice, pattern) for choice in self.site_choices[site])


def _token(choice: Choice, pattern: ConvPattern) -> int:
    if choice.name == "stride":
        return _stride_token(choice, pattern)
    return token_of(choice, pattern.height if choice.name == "size" else getattr(pattern, choice.name))


def _stride_token(choice: Choice, pattern: ConvPattern) -> int:
    for token, factor in enumerate(choice.values):
        if _stride(pattern.height, pattern.width, float(factor)) == pattern.stride:
            return token
    raise SpaceError(
        f"{choice.site!r} has stride {pattern.stride} at a tile of {pattern.height} x {pattern.width}; "
        f"the space has {list(choice.values)} times the tile's side"
    )


def _build(values: Mapping[str, Any]) -> ConvPattern:
    fields_ = dict(values)
    size = fields_.pop("size", None)
    height, width = fields_.pop("height", size), fields_.pop("width", size)
    stride = _stride(height, width, fields_.pop("stride"))
    return ConvPattern(height=height, width=width, stride=stride, **fields_)


def _stride(height: Value, width: Value, factor: float) -> int:
    sides = [side for side in (height, width) if isinstance(side, int)]
    return max(1, math.floor(max(sides) * factor + 0.5)) if sides else 0


def _pixels(size: RelativeSize, side: int) -> Value:
    match size:
        case "pixel":
            return 1
        case "whole":
            return "whole"
        case share:
            return max(1, math.floor(share * side + 0.5))


def _relative(size: object) -> RelativeSize:
    match size:
        case "pixel" | "whole":
            return size
        case int(share) | float(share) if 0.0 < share <= 1.0:
            return float(share)
    raise SpaceError(f'size {size!r} is neither a share between 0 and 1 nor "pixel" nor "whole"')


def _map_sizes(sites: object) -> dict[str, tuple[int, int]]:
    if not isinstance(sites, Mapping) or not sites:
        raise SpaceError(f"sites is {sites!r}; expected at least one key with the (height, width) of its map")
    for key, size in sites.items():
        match size:
            case (int(height), int(width)) if height >= 1 and width >= 1:
                continue
        raise SpaceError(f"the map of {key!r} is {size!r}; expected (height, width), both at least 1")
    return {key: tuple(size) for key, size in sites.items()}


def _some_of(name: str, keys: object, sites: Mapping[str, object]) -> tuple[str, ...]:
    named = checked(name, keys) if keys else ()
    if unknown := [key for key in named if key not in sites]:
        raise SpaceError(f"{name} names {unknown}, which are no sites of this space: {list(sites)}")
    return tuple(key for key in sites if key in named)
