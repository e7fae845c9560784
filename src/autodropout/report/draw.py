"""Draw a policy's patterns: in the terminal, and as a PNG."""

import os
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from autodropout.errors import UsageError
from autodropout.report.samples import SiteSample, facts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TERMINAL_SIDE = 48  # of larger masks the upper left is drawn
_PNG_SIDE = 256
_GRIDDED_SIDE = 40
_WIDTH, _MARGIN, _HEADER, _TEXT, _LINE, _GAP = 8.4, 0.3, 1.0, 0.44, 0.14, 0.12  # inches
_TALLEST, _LARGEST_DOT = 2.4, 0.35  # inches
_KEY_CHARACTERS, _LINE_CHARACTERS = 54, 118
_KEPT, _DROPPED, _GRID, _INK, _FAINT = "#eef2f6", "#1d4e89", "#c9d3dd", "#1a1a1a", "#5c6670"


def terminal_picture(samples: Sequence[SiteSample]) -> Group:
    """Return the samples as something that rich prints: a dark dot is dropped, an empty one kept.

    It uses no background colours, so that it reads the same on light and dark terminals and in a file.
    """
    if not samples:
        return Group(Text("The policy is empty: nothing is dropped anywhere."))
    return Group(*(part for sample in samples for part in _terminal_site(sample)))


def save_png(samples: Sequence[SiteSample], path: str | os.PathLike[str], title: str = "") -> None:
    """Save the samples as a picture, one row per site.

    Raises:
        UsageError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            "a PNG needs matplotlib, which is not installed; install it with: pip install matplotlib"
        ) from error
    figure = _figure(Figure, samples, title)
    dpi = min(130.0, 60_000 / figure.get_figheight())
    try:
        figure.savefig(path, format="png", dpi=dpi, facecolor="white")
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}); name another file") from error


def _terminal_site(sample: SiteSample) -> Iterator[RenderableType]:
    yield Text.assemble((sample.key, "bold"), "   ", facts(sample))
    if sample.keep:
        yield Padding(Text(_words(sample, _TERMINAL_SIDE), style="dim"), (0, 0, 0, 2))
        yield _OneRow(sample.keep)
    yield Text()


@dataclass(frozen=True, slots=True)
class _OneRow:
    """As many of the masks as fit side by side, at least one."""

    keep: tuple[NDArray[np.bool_], ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        masks = [_terminal_mask(keep) for keep in self.keep]
        width = Measurement.get(console, options, masks[0]).maximum + 1
        yield Columns(masks[: max(1, options.max_width // width)], padding=(0, 1))


def _terminal_mask(keep: NDArray[np.bool_]) -> Panel:
    dropped = ~keep[:_TERMINAL_SIDE, :_TERMINAL_SIDE]
    if len(dropped) % 2:
        dropped = np.vstack([dropped, np.zeros_like(dropped[:1])])
    lines = (
        "".join(" ▀▄█"[int(upper) + 2 * int(lower)] for upper, lower in zip(top, bottom, strict=True))
        for top, bottom in zip(dropped[::2], dropped[1::2], strict=True)
    )
    return Panel.fit(Text("\n".join(lines), style="blue"), box=box.SQUARE, padding=0, border_style="dim")


def _words(sample: SiteSample, side: int) -> str:
    """Describe a site; where its masks are larger than ``side``, say which part of them is drawn.

    Leaving out rows and columns would show periods that the pattern does not have.
    """
    rows, columns = sample.keep[0].shape
    if max(rows, columns) <= side:
        return sample.description
    return f"{sample.description}; drawn: the upper left {min(rows, side)} x {min(columns, side)}"


def _figure(figure_class: "type[Figure]", samples: Sequence[SiteSample], title: str) -> "Figure":
    heights = [_site_height(sample) for sample in samples]
    total = _HEADER + sum(heights) + _MARGIN
    figure = figure_class(figsize=(_WIDTH, total))
    page = figure.add_axes((0.0, 0.0, 1.0, 1.0), frameon=False, xticks=[], yticks=[])
    page.set(xlim=(0.0, _WIDTH), ylim=(0.0, total), autoscale_on=False)  # so coordinates are inches
    page.text(_MARGIN, total - _MARGIN, title, va="top", size=12, weight="bold", color=_INK)
    _legend(page, total)
    if not samples:
        page.text(_MARGIN, _MARGIN, "The policy is empty: nothing is dropped anywhere.", color=_INK)
    tops = accumulate(heights, lambda top, height: top - height, initial=total - _HEADER)
    for sample, top in zip(samples, tops, strict=False):
        _site(page, sample, top)
    return figure


def _site_height(sample: SiteSample) -> float:
    if not sample.keep:
        return _TEXT
    return _TEXT + _LINE * (len(_wrapped(sample)) - 1) + _mask_size(sample)[1] + 2 * _GAP


def _wrapped(sample: SiteSample) -> list[str]:
    return textwrap.wrap(_words(sample, _PNG_SIDE), _LINE_CHARACTERS)


def _mask_size(sample: SiteSample) -> tuple[float, float]:
    rows, columns = sample.keep[0][:_PNG_SIDE, :_PNG_SIDE].shape
    width = (_WIDTH - 2 * _MARGIN + _GAP) / len(sample.keep) - _GAP
    height = min(width * rows / columns, _LARGEST_DOT * rows, _TALLEST)
    return height * columns / rows, height


def _legend(page: "Axes", total: float) -> None:
    from matplotlib.patches import Patch

    kept = Patch(facecolor=_KEPT, edgecolor=_GRID, label="kept")
    dropped = Patch(facecolor=_DROPPED, label="dropped")
    page.legend(
        handles=[kept, dropped],
        loc="upper left",
        bbox_to_anchor=(_MARGIN / _WIDTH, 1.0 - (_MARGIN + 0.22) / total),
        ncols=2,
        frameon=False,
        fontsize=9,
        borderpad=0.2,
        borderaxespad=0.0,
    )


def _site(page: "Axes", sample: SiteSample, top: float) -> None:
    key = sample.key if len(sample.key) <= _KEY_CHARACTERS else f"...{sample.key[-_KEY_CHARACTERS:]}"
    page.text(_MARGIN, top, key, va="top", size=10.5, weight="bold", color=_INK)
    page.text(_WIDTH - _MARGIN, top, facts(sample), va="top", ha="right", size=9, color=_INK)
    if not sample.keep:
        return
    lines = _wrapped(sample)
    page.text(_MARGIN, top - 0.21, "\n".join(lines), va="top", size=8, color=_FAINT)
    width, height = _mask_size(sample)
    bottom = top - _TEXT - _LINE * (len(lines) - 1) - height
    for place, keep in enumerate(sample.keep):
        left = _MARGIN + place * (width + _GAP)
        _mask(page, keep, (left, left + width, bottom, bottom + height))


def _mask(page: "Axes", keep: NDArray[np.bool_], extent: tuple[float, float, float, float]) -> None:
    from matplotlib.colors import ListedColormap

    left, right, bottom, top = extent
    keep = keep[:_PNG_SIDE, :_PNG_SIDE]
    rows, columns = keep.shape
    colours = ListedColormap([_DROPPED, _KEPT])
    page.imshow(
        keep, cmap=colours, vmin=0, vmax=1, interpolation="nearest", extent=extent, aspect="auto", zorder=1
    )
    if max(rows, columns) <= _GRIDDED_SIDE:
        page.hlines(np.linspace(bottom, top, rows + 1)[1:-1], left, right, color=_GRID, linewidth=0.4)
        page.vlines(np.linspace(left, right, columns + 1)[1:-1], bottom, top, color=_GRID, linewidth=0.4)
    page.plot(
        [left, right, right, left, left], [bottom, bottom, top, top, bottom], color=_FAINT, linewidth=0.8
    )
