"""What a policy drops, as data: per site a description, the exact drop rate and a few drawn masks."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from autodropout.errors import UsageError
from autodropout.mask import conv_keep, token_keep
from autodropout.pattern import ConvPattern, Pattern, TokenPattern
from autodropout.policy import Policy

TOKEN_CHANNELS = 8
"""Channels shown of a token pattern."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SiteSample:
    """One site of a policy, ready to be drawn.

    Attributes:
        key: The policy's key.
        description: The pattern in words.
        axes: What the rows and columns of a mask are, such as ``"a map of 8 x 8"``.
        drop_rate: Exact probability that a value at this site is dropped.
        keep: Drawn masks, True = kept; each of the same (rows, columns); none where the pattern is off.
    """

    key: str
    description: str
    axes: str
    drop_rate: float
    keep: tuple[NDArray[np.bool_], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSettings:
    """How to draw samples.

    Attributes:
        size: (height, width) in pixels of the map where ``sizes`` does not say.
        sizes: Key of a conv site to the size of its map.
        tokens: Length of the sequence for token patterns.
        draws: Masks per conv site, at least 1; a token site, being wider, gets a third of them.
        seed: The same seed draws the same masks.
    """

    size: tuple[int, int] = (16, 16)
    sizes: Mapping[str, tuple[int, int]] | None = None
    tokens: int = 32
    draws: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        for height, width in (self.size, *(self.sizes or {}).values()):
            if height < 1 or width < 1:
                raise UsageError(
                    f"a map of {height} x {width} pixels cannot be drawn; expected at least 1 x 1"
                )
        for name in ("tokens", "draws"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)!r}; expected at least 1")


def sample_policy(policy: Policy, settings: SampleSettings) -> tuple[SiteSample, ...]:
    """Draw masks for every site of a policy: first those with a size of their own, in that order."""
    generator = torch.Generator().manual_seed(settings.seed)
    keys = dict.fromkeys([key for key in settings.sizes or () if key in policy.sites] + list(policy.sites))
    return tuple(_sample(key, policy.sites[key], settings, generator) for key in keys)


def describe(pattern: Pattern) -> str:
    """Return a pattern in words.

    Example:
        >>> describe(ConvPattern(height=3, width=3, stride=2, repeat=2, rotate=30.0))
        '3 x 3 tiles, 2 x 2 of them, 2 apart, rotated 30°; one draw for all channels'
    """
    if pattern.off:
        return "off"
    return _describe_conv(pattern) if isinstance(pattern, ConvPattern) else _describe_token(pattern)


def facts(sample: SiteSample) -> str:
    """Return how much of what a site drops, such as ``"drops 4.5% of a map of 8 x 8"``."""
    if not sample.keep:
        return "off"
    return f"drops {100 * sample.drop_rate:.3g}% of {sample.axes}"


def _sample(key: str, pattern: Pattern, settings: SampleSettings, generator: torch.Generator) -> SiteSample:
    if isinstance(pattern, ConvPattern):
        height, width = (settings.sizes or {}).get(key, settings.size)
        shape = (settings.draws, 1, height, width)
        keep = [] if pattern.off else list(conv_keep(pattern, shape, generator=generator)[:, 0])
        axes, rate = f"a map of {height} x {width}", pattern.drop_rate(height, width)
    else:
        size = (-(-settings.draws // 3), settings.tokens, TOKEN_CHANNELS)
        drawn = token_keep(pattern, size, generator=generator).expand(size)
        keep = [] if pattern.off else list(drawn.transpose(1, 2))
        axes, rate = f"{TOKEN_CHANNELS} channels x {settings.tokens} tokens", pattern.drop_rate()
    return SiteSample(
        key=key,
        description=describe(pattern),
        axes=axes,
        drop_rate=rate,
        keep=tuple(mask.numpy() for mask in keep),
    )


def _describe_conv(pattern: ConvPattern) -> str:
    words = [_tiles(pattern)]
    words += [f"rotated {pattern.rotate:g}°"] if pattern.rotate else []
    words += [
        f"sheared {value:g} along {axis}"
        for axis, value in (("x", pattern.shear_x), ("y", pattern.shear_y))
        if value
    ]
    words += [f"in {100 * pattern.rate:.3g}% of the draws"] if pattern.rate < 1.0 else []
    ends = ["one draw for all channels" if pattern.share_c else "one draw per channel"]
    ends += ["on the shortcut, too"] if pattern.residual else []
    return ", ".join(words) + "; " + ", ".join(ends)


def _tiles(pattern: ConvPattern) -> str:
    match pattern.height, pattern.width:
        case "whole", "whole":
            return "the whole map"
        case "whole", width:
            tile, tiles, count = f"one tile of all rows x {width}", f"tiles of all rows x {width}", "{}"
        case height, "whole":
            tile, tiles, count = (
                f"one tile of {height} x all columns",
                f"tiles of {height} x all columns",
                "{}",
            )
        case height, width:
            tile, tiles, count = f"one {height} x {width} tile", f"{height} x {width} tiles", "{} x {}"
    match pattern.repeat:
        case 1:
            return tile
        case "fill":
            return f"{tiles} all over, {pattern.stride} apart"
        case repeat:
            return f"{tiles}, {count.format(repeat, repeat)} of them, {pattern.stride} apart"


def _describe_token(pattern: TokenPattern) -> str:
    match pattern.size, pattern.stride:
        case "whole", _:
            words = "the whole sequence"
        case size, 0:
            words = "every token" if size == 1 else f"every token, in blocks of {size}"
        case size, stride:
            words = f"{size} token{'s' * (size != 1)}, then {stride} left alone, and so on"
    block = "sequence" if pattern.size == "whole" else "block"
    unit = (block if pattern.share_t else "token") + ("" if pattern.share_c else " and channel")
    return f"{words}; one coin per {unit}, dropped with probability {pattern.rate:g}"
