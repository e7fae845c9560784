"""Draw the pictures of docs/space.md: each choice of the two pattern families varied alone, real masks.

    python experiments/gallery.py

Every square is a mask that ``conv_keep`` or ``token_keep`` drew; above it stand the value that is varied
and the exact drop rate. Seconds on one core.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray

from autodropout.mask import conv_keep, token_keep
from autodropout.pattern import ConvPattern, Pattern, TokenPattern

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
SIDE, TOKENS, CHANNELS = 32, 32, 12
DRAWS, SEED = 2, 1
COLOURS = ListedColormap(["#1d4e89", "#eef2f6"])
CONV = ConvPattern(height=4, width=4, stride=4, repeat="fill", share_c=False)
TOKEN = TokenPattern(size=4, stride=4, rate=0.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One choice, varied alone.

    Attributes:
        name: Of the picture's file.
        patterns: By what stands above the masks.
        branches: Whether the lines are the residual branch and its shortcut, with a draw each, instead of two
            channels.
    """

    name: str
    patterns: Mapping[str, Pattern]
    branches: bool = False


def rows() -> list[Row]:
    """Return all choices of both families."""
    return [
        _varied("conv-size", CONV, ("height", "width"), (1, 2, 4, 8, 16)),
        _varied("conv-height", CONV, ("height",), (1, 4, 16)),
        _varied("conv-width", CONV, ("width",), (1, 4, 16)),
        _varied("conv-stride", CONV, ("stride",), (2, 4, 8, 16)),
        _varied("conv-repeat", CONV, ("repeat",), (1, 2, 3, 4, "fill")),
        _varied("conv-rotate", CONV, ("rotate",), (0.0, 15.0, 30.0, 45.0, 60.0, 75.0)),
        _varied("conv-shear_x", CONV, ("shear_x",), (-0.4, -0.2, 0.0, 0.2, 0.4)),
        _varied("conv-shear_y", CONV, ("shear_y",), (-0.4, -0.2, 0.0, 0.2, 0.4)),
        _varied("conv-share_c", CONV, ("share_c",), (True, False)),
        replace(_varied("conv-residual", CONV, ("residual",), (False, True)), branches=True),
        _varied("conv-rate", CONV, ("rate",), (0.25, 0.5, 1.0)),
        _varied("token-size", TOKEN, ("size",), (1, 2, 4, 8, "whole")),
        _varied("token-stride", TOKEN, ("stride",), (0, 1, 2, 4, 8)),
        _varied("token-share_t", TOKEN, ("share_t",), (False, True)),
        _varied("token-share_c", TOKEN, ("share_c",), (False, True)),
        _varied("token-rate", TOKEN, ("rate",), (0.05, 0.1, 0.3, 0.5)),
    ]


def draw(row: Row, folder: Path) -> Path:
    """Draw one row: a column per value, a line per draw (or per channel, where channels are what matters)."""
    wide = len(row.patterns)
    conv = isinstance(next(iter(row.patterns.values())), ConvPattern)
    size = (1.55 * wide, 1.55 * DRAWS + 0.35) if conv else (2.5 * wide, 1.05 * DRAWS + 0.35)
    figure, grid = plt.subplots(DRAWS, wide, figsize=size, layout="constrained", squeeze=False)
    for column, (title, pattern) in zip(grid.T, row.patterns.items(), strict=True):
        keep = _conv(pattern, branches=row.branches) if isinstance(pattern, ConvPattern) else _tokens(pattern)
        rate = pattern.drop_rate(SIDE, SIDE) if isinstance(pattern, ConvPattern) else pattern.drop_rate()
        column[0].set_title(f"{title}\ndrops {rate:.1%}", fontsize=8)
        for axes, mask in zip(column, keep, strict=True):
            axes.imshow(mask, cmap=COLOURS, vmin=0, vmax=1, aspect="equal", interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
    if row.branches:
        for axes, word in zip(grid[:, 0], ("branch", "shortcut"), strict=True):
            axes.set_ylabel(word, fontsize=8)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"space-{row.name}.png"
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return path


def _varied(name: str, base: Pattern, fields: Sequence[str], values: Sequence[object]) -> Row:
    word = "size" if len(fields) > 1 else fields[0]
    patterns = {f"{word} {value}": replace(base, **dict.fromkeys(fields, value)) for value in values}
    return Row(name=name, patterns=patterns)


def _conv(pattern: ConvPattern, *, branches: bool) -> NDArray[np.bool_]:
    """Return masks (DRAWS, SIDE, SIDE): the first channels of one sample, which differ unless it shares.

    Of branches, the second is kept whole unless the pattern has a draw for the shortcut, too.
    """
    keep = conv_keep(pattern, (1, DRAWS, SIDE, SIDE), generator=torch.Generator().manual_seed(SEED))
    drawn = keep[0].expand(DRAWS, -1, -1).clone()
    if branches and not pattern.residual:
        drawn[1] = True
    return drawn.numpy()


def _tokens(pattern: TokenPattern) -> NDArray[np.bool_]:
    """Return masks (DRAWS, CHANNELS, TOKENS): samples, with tokens from left to right."""
    keep = token_keep(pattern, (DRAWS, TOKENS, CHANNELS), generator=torch.Generator().manual_seed(SEED))
    return keep.expand(-1, -1, CHANNELS).transpose(1, 2).numpy()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    for row in rows():
        print(draw(row, PICTURES))
