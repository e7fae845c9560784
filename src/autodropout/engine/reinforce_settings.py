"""What REINFORCE can be told, and two presets: the paper's, and ours for few trials."""

import math
from dataclasses import dataclass
from typing import Self

from autodropout.engine.advantage import MODES, Mode
from autodropout.errors import UsageError

_SMALL_BATCHES = ((64, 4), (512, 8))
"""(most trials, M): enough updates to learn from; 48 trials at the paper's 16 would be three."""

_PAPER_BATCH = 16

_NETWORK_TRAVEL, _NETWORK_RATE = 0.6, 2e-3
_BIAS_TRAVEL, _BIAS_RATE = 12.0, 0.3
"""Step size is travel over number of updates, at most rate. Adam moves a parameter by up to one step size
an update, so the travel is how far a search may go: 12 turns a logit from hopeless to certain. Measured on
planted problems with interactions and noise, see docs/decisions.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinforceSettings:
    """Settings of REINFORCE.

    Attributes:
        batch: M, finished trials per update. 16 in the paper.
        advantage: ``"ema"`` (the paper's moving average of the reward), ``"standardised"`` or ``"rank"``;
            the last two compare the trials of a batch with one another and need at least 2.
        bound: Largest importance weight; None for the bare ratio of Eq. 3.
        entropy: Weight of the entropy bonus, per nat of a whole sequence. The first author's earlier
            controllers (ENAS) had 1e-4 to 1e-3.
        decay: Decay of the moving average per trial. ENAS: .99.
        learning_rate: Adam's step size for the Transformer. ENAS: 1e-3 to 3.5e-3.
        bias_learning_rate: Adam's step size for the free bias; unused without it.
        layers: Layers of the Transformer.
        width: Its width, a multiple of ``heads``.
        heads: Its attention heads.
        prior: Start from the space's bias instead of uniformly.
        bias: Give the controller a free bias for every value of every decision.

    Raises:
        UsageError: A setting is out of range.
    """

    batch: int = 8
    advantage: Mode = "rank"
    bound: float | None = 5.0
    entropy: float = 1e-3
    decay: float = 0.99
    learning_rate: float = 2e-3
    bias_learning_rate: float = 0.2
    layers: int = 1
    width: int = 32
    heads: int = 2
    prior: bool = True
    bias: bool = True

    def __post_init__(self) -> None:
        least = 1 if self.advantage == "ema" else 2
        _check("advantage", self.advantage, self.advantage in MODES, f"one of {', '.join(MODES)}")
        _check("batch", self.batch, _whole(self.batch, least), f"a whole number >= {least}")
        bounded = self.bound is None or (_number(self.bound) and self.bound > 0)
        _check("bound", self.bound, bounded, "a positive number or None")
        for name in ("entropy", "learning_rate", "bias_learning_rate"):
            _check(name, getattr(self, name), _number(getattr(self, name)), "a number >= 0")
        decays = _number(self.decay) and self.decay < 1
        _check("decay", self.decay, decays, "a number from 0 up to, not including, 1")
        for name in ("layers", "width", "heads"):
            _check(name, getattr(self, name), _whole(getattr(self, name), 1), "a whole number >= 1")
        _check("width", self.width, self.width % self.heads == 0, f"a multiple of the {self.heads} heads")
        for name in ("prior", "bias"):
            _check(name, getattr(self, name), isinstance(getattr(self, name), bool), "True or False")

    @classmethod
    def default(cls, trials: int, *, batch: int | None = None) -> Self:
        """Return what a search of so many trials starts with.

        M is 4 up to 64 trials, 8 up to 512, else the paper's 16; step sizes follow from the number of
        updates, trials / M.

        Args:
            trials: Trials of the whole search, at least 1.
            batch: M, if not by that rule.

        Raises:
            UsageError: trials is below 1, or the batch below 2.
        """
        _check("trials", trials, _whole(trials, 1), "a whole number >= 1")
        if batch is None:
            batch = next((m for most, m in _SMALL_BATCHES if trials <= most), _PAPER_BATCH)
        _check("batch", batch, _whole(batch, 2), "a whole number >= 2")
        updates = trials / batch
        return cls(
            batch=batch,
            learning_rate=min(_NETWORK_TRAVEL / updates, _NETWORK_RATE),
            bias_learning_rate=min(_BIAS_TRAVEL / updates, _BIAS_RATE),
        )

    @classmethod
    def paper(cls, *, batch: int = _PAPER_BATCH) -> Self:
        """Return the paper's: the bare Transformer from a uniform start, Eqs. 2 and 3 as printed.

        The paper prints M = 16 and nothing else; the rest is from the first author's earlier controllers.
        """
        return cls(
            batch=batch,
            advantage="ema",
            bound=None,
            entropy=1e-4,
            learning_rate=1e-3,
            bias_learning_rate=0.0,
            prior=False,
            bias=False,
        )


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _check(name: str, value: object, valid: bool, expected: str) -> None:
    if not valid:
        raise UsageError(f"{name} is {value!r}; expected {expected}")
