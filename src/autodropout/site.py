"""Where a pattern may act: a named module, what its output looks like, and what it is part of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

from autodropout.errors import SiteError
from autodropout.policy import ROLES

Layout = Literal["NCHW", "NHWC", "NTC", "TNC"]
"""Axes of a site's output: N batch, C channels, H rows, W columns, T tokens. ``"NTC"`` stands for any
(..., T, C), ``"TNC"`` for (T, N, C)."""

LAYOUTS: tuple[Layout, ...] = get_args(Layout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A place whose output a pattern may touch.

    Attributes:
        name: Dotted name of the module whose output it is.
        layout: Axes of that output.
        role: Its part in a Transformer, such as ``"query"``; None if it has none.
        shortcut: Dotted name of the module whose output is the shortcut branch of the site's block; None
            if the block has no shortcut or no module stands on it.

    Raises:
        SiteError: The layout or the role is unknown.

    Example:
        >>> Site(name="block1.bn2", layout="NCHW", shortcut="block1.shortcut").role is None
        True
    """

    name: str
    layout: Layout
    role: str | None = None
    shortcut: str | None = None

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise SiteError(
                f'site "{self.name}" has layout {self.layout!r}; expected one of {", ".join(LAYOUTS)}'
            )
        if self.role is not None and self.role not in ROLES:
            raise SiteError(f'site "{self.name}" has role {self.role!r}; expected one of {", ".join(ROLES)}')


@runtime_checkable
class HasSites(Protocol):
    """A module that knows its own sites. Write this one method to open any model to policies.

    It may stand on a whole model or on one of its blocks; names are relative to that module, and
    nothing else inside it counts as a site.
    """

    def autodropout_sites(self) -> Sequence[Site]:
        """Return the sites inside this module, in the order in which the forward pass meets them."""
        ...
