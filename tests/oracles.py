"""Slow, obvious versions of everything, written from the definitions, to compare the fast ones with."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from autodropout.pattern import ConvPattern, TokenPattern

RARE = 1e-6


def assert_share(hits: int, trials: int, probability: float) -> None:
    """Fail if so many or so few hits in independent trials are rarer than one in a million."""
    low = stats.binom.ppf(RARE / 2, trials, probability)
    high = stats.binom.isf(RARE / 2, trials, probability)
    assert low <= hits <= high, f"{hits} of {trials}; expected {low:.0f} to {high:.0f} at {probability}"


def assert_distribution(drawn: Tensor, expected: Mapping[tuple[bool, ...], float]) -> None:
    """Fail unless rows of bools, drawn independently, have this distribution over whole rows."""
    counts = Counter(map(tuple, drawn.flatten(1).tolist()))
    assert set(counts) <= {row for row, share in expected.items() if share > 0}
    assert math.isclose(sum(expected.values()), 1.0)
    for row, share in expected.items():
        assert_share(counts[row], len(drawn), share)


def independent(probability: float, places: int) -> dict[tuple[bool, ...], float]:
    """Distribution of independent coins that are True with this probability."""
    return {
        row: math.prod(probability if kept else 1 - probability for kept in row)
        for row in itertools.product((False, True), repeat=places)
    }


def spread(distribution: Mapping[tuple[bool, ...], float], times: int) -> dict[tuple[bool, ...], float]:
    """Distribution in which every place of a row stands for so many equal places."""
    return {
        tuple(itertools.chain.from_iterable([kept] * times for kept in row)): share
        for row, share in distribution.items()
    }


def source(y: int, x: int, pattern: ConvPattern, height: int, width: int) -> tuple[int, int]:
    """Row and column that pixel (y, x) shows: A^-1 about the centre, rounded; right and down are positive."""
    angle = math.radians(pattern.rotate)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    shear_y = np.array([[1.0, 0.0], [pattern.shear_y, 1.0]])
    shear_x = np.array([[1.0, pattern.shear_x], [0.0, 1.0]])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    right, down = np.linalg.inv(turn @ shear_y @ shear_x) @ (np.array([x, y]) - centre) + centre
    return math.floor(round(down, 9) + 0.5), math.floor(round(right, 9) + 0.5)


def offsets(pattern: ConvPattern, height: int, width: int) -> tuple[list[int], list[int]]:
    """All row offsets and all column offsets that are drawn from, ascending."""
    sources = [source(y, x, pattern, height, width) for y in range(height) for x in range(width)]
    rows, columns = {row for row, _ in sources}, {column for _, column in sources}
    return _offsets(pattern, pattern.height, rows), _offsets(pattern, pattern.width, columns)


def _offsets(pattern: ConvPattern, size: int | str, sources: set[int]) -> list[int]:
    if size == "whole":
        return [0]
    if pattern.repeat == "fill":
        return list(range(size + pattern.stride))
    extent = pattern.repeat * size + (pattern.repeat - 1) * pattern.stride
    box = range(min(sources), max(sources) + 1)
    wide = range(min(box) - extent - 3, max(box) + extent + 3)
    return [o for o in wide if set(range(o, o + extent)) & set(box)]


def conv_mask(pattern: ConvPattern, height: int, width: int, row: int, column: int) -> list[list[bool]]:
    """Keep mask of the tiles that begin at source row ``row`` and source column ``column``."""
    keep = []
    for y in range(height):
        keep.append([])
        for x in range(width):
            source_row, source_column = source(y, x, pattern, height, width)
            in_row = _in_a_tile(source_row - row, pattern.height, pattern)
            in_column = _in_a_tile(source_column - column, pattern.width, pattern)
            keep[-1].append(not (in_row and in_column))
    return keep


def _in_a_tile(distance: int, size: int | str, pattern: ConvPattern) -> bool:
    if size == "whole":
        return True
    tiles = range(-99, 99) if pattern.repeat == "fill" else range(pattern.repeat)
    begins = [tile * (size + pattern.stride) for tile in tiles]
    return any(begin <= distance < begin + size for begin in begins)


def token_mask(
    pattern: TokenPattern, t: int, phase: int, coins: Sequence[Sequence[bool]]
) -> list[list[bool]]:
    """Keep mask (T, C) of a sequence whose first token is the ``phase``-th of its period."""
    keep = []
    for token in range(t):
        if pattern.size == "whole":
            affected, block = True, 0
        else:
            place = phase + token
            block, within = divmod(place, pattern.size + pattern.stride)
            affected = within < pattern.size
        coin = coins[block if pattern.share_t else token]
        keep.append([not (affected and dropped) for dropped in coin])
    return keep


def dropped(h: Tensor, keep: Tensor) -> Tensor:
    """Drop(h, m) = h * m * Size(m) / Sum(m), place by place in Python's floats; zeros where Sum is 0."""
    mask = keep.expand(h.shape).flatten().tolist()
    total = sum(mask)
    factor = len(mask) / total if total else 0.0
    values = [float(v) * factor if kept else 0.0 for v, kept in zip(h.flatten().tolist(), mask, strict=True)]
    return torch.tensor(values, dtype=torch.float64).reshape(h.shape)


def shares(masks: Iterable[Sequence[Sequence[bool]]]) -> list[list[float]]:
    """Share of the masks that drop each place."""
    return (1.0 - np.mean(list(masks), axis=0)).tolist()
