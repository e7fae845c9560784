"""Where a pattern may act: a named module, what its output looks like, and what it is part of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from autodropout.errors import SiteError
from autodropout.policy import ROLES

Layout = Literal["NCHW", "NHWC", "NTC", "TNC"]
"""Axes of a site's output: N batch, C channels, H rows, W columns, T tokens. ``"NTC"`` stands for any
(..., T, C), ``"TNC"`` for (T, N, C)."""

Sequences = tuple[Literal["own", "other"], Literal["own", "other"] | None]
"""Whose tokens stand along the last two axes of a site's output: those of the stream in which it stands, or
those of the other one, to which it attends; None for channels."""

LAYOUTS: tuple[Layout, ...] = get_args(Layout)


class Closing(Protocol):
    """What gives a place back as it was; deep copies and pickles of the model carry it along."""

    def close(self) -> None:
        """Undo. May be called twice."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What must be done to a module before a site can be reached.

    Attributes:
        place: Dotted name of the module.
        open: Does it to that module and returns what undoes it: a top-level function, or an instance of
            a frozen dataclass, so that equal openings compare equal. The module's output in evaluation
            must stay as it is.
    """

    place: str
    open: Callable[[Any], Closing]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A place whose output a pattern may touch.

    Attributes:
        name: What policies call it: the dotted name of the module whose output it is, or a name of its
            own where ``module`` is given.
        layout: Axes of that output.
        role: Its part in a Transformer, such as ``"query"``; None if it has none.
        shortcut: Dotted name of the module whose output is the shortcut branch of the site's block; None
            if the block has no shortcut or it cannot be reached.
        module: Dotted name of the module whose output it is, where that is not ``name``: several sites
            may share one module, as query, key and value of a fused projection do.
        channels: The site is only the channels [start, stop) of the output's last axis; None is all.
        openings: What must be done before the site can be reached. Its module may come into being then.
        shortcut_openings: The same for the shortcut; done only where it is used.
        shortcut_layout: Axes of the shortcut's output; None means those of the site.
        block: Dotted name of the enclosing block. Of several sites in one block whose patterns have
            ``residual``, only the last one's acts on the shortcut. None: each acts there by itself.
        consumer: Dotted name of the Linear or convolution that alone reads this output, behind an activation
            that acts on each unit by itself and keeps zeros; None where there is none or none is known. A
            ``backward_rate`` acts there.
        cross: It belongs to an attention whose keys and values come from another sequence than its queries.

    Raises:
        SiteError: A layout or the role is unknown, or the channels are no range of the last axis.

    Example:
        >>> Site(name="block1.bn2", layout="NCHW", shortcut="block1.shortcut").role is None
        True
    """

    name: str
    layout: Layout
    role: str | None = None
    shortcut: str | None = None
    module: str | None = None
    channels: tuple[int, int] | None = None
    openings: tuple[Opening, ...] = ()
    shortcut_openings: tuple[Opening, ...] = ()
    shortcut_layout: Layout | None = None
    block: str | None = None
    cross: bool = False
    consumer: str | None = None

    def __post_init__(self) -> None:
        for layout in (self.layout, self.shortcut_layout or self.layout):
            if layout not in LAYOUTS:
                raise SiteError(
                    f'site "{self.name}" has layout {layout!r}; expected one of {", ".join(LAYOUTS)}'
                )
        if self.role is not None and self.role not in ROLES:
            raise SiteError(f'site "{self.name}" has role {self.role!r}; expected one of {", ".join(ROLES)}')
        if self.channels is not None:
            self._check_channels()

    @property
    def module_name(self) -> str:
        """Dotted name of the module whose output it is."""
        return self.name if self.module is None else self.module

    @property
    def sequences(self) -> Sequences:
        """Whose tokens stand along the axes T and C: weights have keys for channels."""
        attended: Literal["own", "other"] = "other" if self.cross else "own"
        if self.role == "softmax":
            return "own", attended
        return attended if self.role in ("key", "value") else "own", None

    def _check_channels(self) -> None:
        match self.channels:
            case (int(start), int(stop)) if 0 <= start < stop:
                pass
            case _:
                raise SiteError(
                    f'site "{self.name}" has channels {self.channels!r}; expected (start, stop) with '
                    "0 <= start < stop"
                )
        if self.layout == "NCHW":
            raise SiteError(
                f'site "{self.name}" has channels {self.channels} and layout NCHW; channels are a range of '
                "the last axis, which must be C"
            )


@runtime_checkable
class HasSites(Protocol):
    """A module that knows its own sites. Write this one method to open any model to policies.

    It may stand on a whole model or on one of its blocks; names are relative to that module, and
    nothing else inside it counts as a site.
    """

    def autodropout_sites(self) -> Sequence[Site]:
        """Return the sites inside this module, in the order in which the forward pass meets them."""
        ...


@runtime_checkable
class HasTokens(Protocol):
    """A stack that knows which tokens of a batch take part, for ``Applied.follow``.

    Write this one method on an encoder or decoder of your own to keep its padding out of every mask.
    """

    def autodropout_tokens(self, *args: Any, **kwargs: Any) -> Mapping[str, Any]:
        """Return what ``forward``, which is about to be called with the same arguments, tells of tokens.

        Returns:
            Tensors (N, T) by the names that Hugging Face gives them, each only if there is one:
            ``attention_mask``, not 0 where a token takes part; ``encoder_attention_mask``, the same for the
            sequence that a decoder attends to; ``input_ids``, in which protected tokens are looked for.
        """
        ...
