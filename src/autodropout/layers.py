"""The pattern as a module: it draws a mask in training and does nothing in evaluation."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import fields
from functools import cache

import torch
from torch import Tensor

from autodropout.augmented.layer import AugmentedDropout
from autodropout.errors import PatternError, ShapeError
from autodropout.fused import drop_drawn
from autodropout.pattern import ConvPattern, Pattern, TokenPattern
from autodropout.site import Layout, Sequences
from autodropout.steered import Steered
from autodropout.valid_tokens import ValidTokens, valid_mask

LAYOUTS_OF: dict[type[Pattern], tuple[Layout, ...]] = {
    ConvPattern: ("NCHW", "NHWC"),
    TokenPattern: ("NTC", "TNC"),
}
"""Layouts that a kind of pattern can act on; the first is its default."""

_NUM_AXES: dict[Layout, int] = {"NCHW": 4, "NHWC": 4, "TNC": 3}
_PERMUTATIONS: dict[Layout, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "NHWC": ((0, 3, 1, 2), (0, 2, 3, 1)),
    "TNC": ((1, 0, 2), (1, 0, 2)),
}


class PatternDropout(Steered):
    """Drop a pattern from its input in training; return the input itself in evaluation.

    In training the output is ``drop(h, keep)`` with a fresh keep mask (AutoDropout, Eq. 1). The module has
    no parameters and puts nothing into ``state_dict``. Where h is infinite or NaN, what is dropped may be
    NaN instead of 0, as with ``torch.nn.Dropout``: the mask is multiplied.

    Eq. 1 divides by the share that this draw kept. Where one draw covers the whole batch (a
    whole-sample pattern and a batch of one) the factor is 1 or the output 0, so it cannot make up for
    the drops on average; that warns once per process.

    Args:
        pattern: What to drop.
        layout: Axes of the input: ``"NCHW"`` or ``"NHWC"`` for a ConvPattern, ``"NTC"`` (any (..., T, C))
            or ``"TNC"`` for a TokenPattern; None is the first of these.
        site: Name of the place where it stands, for errors and for ``seed``.
        seed: None draws from the device's default generator. A number makes every mask a pure function
            of (seed, data-parallel rank, site, step); whoever trains sets ``step`` (see ``set_step``).
        sequences: Whose tokens stand along the last two axes, for ``set_valid_tokens``.

    Attributes:
        fired: Whether it has run in training mode, or been compiled to, since it was made.
        behind: What acts on the one layer that reads the site, where the pattern has a ``backward_rate``; it
            is steered along.

    Raises:
        PatternError: The pattern is none, or does not fit the layout.

    Example:
        >>> layer = PatternDropout(ConvPattern(height=2, width=2, share_c=False))
        >>> layer(torch.ones(8, 16, 4, 4)).shape
        torch.Size([8, 16, 4, 4])
    """

    def __init__(
        self,
        pattern: Pattern,
        *,
        layout: Layout | None = None,
        site: str | None = None,
        seed: int | None = None,
        sequences: Sequences = ("own", None),
    ) -> None:
        super().__init__(site, seed)
        self.pattern = pattern
        self.layout = _checked_layout(pattern, layout)
        self.behind: AugmentedDropout | None = None
        self._sequences = sequences
        self._valid: ValidTokens = {"own": None, "other": None}

    def forward(self, h: Tensor) -> Tensor:
        """Return h with a fresh mask dropped from it, or h itself in evaluation.

        Raises:
            ShapeError: h has not the layout's axes, or is not of a float dtype.
        """
        if not self.training:
            return h
        self._check(h)
        self.note_fired()
        return h if self.pattern.off or self.is_idle() else self._dropped(h)

    def set_strength(self, strength: float) -> None:
        """Multiply the pattern's rate by ``strength``, and what acts behind it: see ``Steered``."""
        super().set_strength(strength)
        if self.behind is not None:
            self.behind.set_strength(strength)

    def set_step(self, step: int) -> None:
        """Say which step the next masks are for, here and behind: see ``Steered``."""
        super().set_step(step)
        if self.behind is not None:
            self.behind.set_step(step)

    def set_valid_tokens(self, own: Tensor | None, other: Tensor | None = None) -> None:
        """Say which tokens of the next batches a TokenPattern acts on.

        What does not belong to such a token is left as it is and counted neither in Size nor in Sum of
        Eq. 1; of attention weights that is all but what a valid query gives a valid key. Compiled code
        follows without being compiled again, as long as the shape stays.

        Args:
            own: Bool, (N, T) or (1, T), True where a token takes part; None for all.
            other: The same for the tokens of another sequence, (N, S), where the layer stands in an
                attention to it.
        """
        self._valid = {"own": own, "other": other}

    def extra_repr(self) -> str:
        """Return what differs from the pattern's defaults, and where it stands."""
        extras = {"layout": self.layout, "site": self.site, "seed": self.seed}
        named = [f"{name}={value}" for name, value in extras.items() if value is not None]
        return ", ".join([pattern_text(self.pattern), *named])

    def _dropped(self, h: Tensor) -> Tensor:
        to_canonical, back = _PERMUTATIONS.get(self.layout, (None, None))
        canonical = h if to_canonical is None else h.permute(to_canonical)
        strength: float | Tensor | None = self.strength
        if not torch.compiler.is_compiling():
            # None may spare the coins. Compiled code, which must bear any strength, draws them all the same:
            # from the default generator, the two then draw other masks.
            strength = None if self._level == 1.0 else self._level
            if _is_one_draw(self.pattern, canonical.shape):
                _warn_one_draw()
        is_tokens = isinstance(self.pattern, TokenPattern)
        valid = valid_mask(canonical, self._sequences, self._valid, self.site) if is_tokens else None
        y = drop_drawn(canonical, self.pattern, self.noise(h.device), strength, valid)
        return y if back is None else y.permute(back)

    def _check(self, h: Tensor) -> None:
        if not isinstance(h, Tensor):
            raise ShapeError(
                f"{self.where}the output is a {type(h).__name__}; a pattern takes one tensor: name a module "
                "whose output is one, inside this one or after it"
            )
        num_axes = _NUM_AXES.get(self.layout)
        if h.ndim < 2 or num_axes not in (None, h.ndim):
            expected = self.layout if num_axes else "(..., T, C)"
            raise ShapeError(
                f"{self.where}the hidden state has shape {tuple(h.shape)}; "
                f"a {type(self.pattern).__name__} there needs {expected}: leave the site out of the policy, "
                "or give the layout that it has with layouts="
            )
        if not h.is_floating_point():
            raise ShapeError(
                f"{self.where}the hidden state is {h.dtype}; expected a float dtype: leave such a site, as "
                "in a quantised model, out of the policy"
            )


def pattern_text(pattern: Pattern) -> str:
    """Return the fields of a pattern that differ from their defaults, such as ``"height=3, width=3"``."""
    named = [(field.name, getattr(pattern, field.name), field.default) for field in fields(pattern)]
    return ", ".join(f"{name}={value!r}" for name, value, default in named if value != default)


def _checked_layout(pattern: Pattern, layout: Layout | None) -> Layout:
    if not isinstance(pattern, ConvPattern | TokenPattern):
        raise PatternError(f"the pattern is {pattern!r}; expected a ConvPattern or a TokenPattern")
    fitting = LAYOUTS_OF[type(pattern)]
    if layout is not None and layout not in fitting:
        raise PatternError(
            f"layout is {layout!r}; a {type(pattern).__name__} takes one of {', '.join(fitting)}"
        )
    return layout or fitting[0]


def _is_one_draw(pattern: Pattern, shape: Sequence[int]) -> bool:
    """Say whether the batch is a single sample that is kept or dropped as a whole."""
    if isinstance(pattern, ConvPattern):
        return shape[0] == 1 and pattern.share_c and pattern.height == pattern.width == "whole"
    whole = pattern.size == "whole" and pattern.share_t and pattern.share_c
    return whole and math.prod(shape[:-2]) == 1


@cache
def _warn_one_draw() -> None:
    warnings.warn(
        "a pattern drops whole samples in a batch of one: Eq. 1 leaves such a sample as it is or all zeros, "
        "never scaled up to make up for the zeros; use larger micro-batches or a pattern that is not whole",
        stacklevel=2,
    )
