"""The reward of all tasks on text, which is the paper's: 80 / validation perplexity."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import nn

from autodropout.result import Result
from autodropout.tasks.fit import Fitted
from autodropout.tasks.outcome import Scored, outcome

_SCALE = 80.0


def uniform_reward(vocabulary: int) -> float:
    """Return the reward of a model that learned nothing: all words equally likely."""
    return _SCALE / vocabulary


def perplexity_outcome(fitted: Fitted, net: nn.Module, test: Callable[[], Mapping[str, float]]) -> Result:
    """Return the result of a training whose curve is validation perplexity; an infinite one diverged.

    Args:
        fitted: What training led to.
        net: The trained network.
        test: Returns figures on held-out text.
    """
    if fitted.curve and not math.isfinite(fitted.curve[-1]):
        fitted = replace(fitted, diverged=True)

    def score() -> Scored:
        perplexity = fitted.curve[-1]
        return Scored(reward=_SCALE / perplexity, metrics={"val_perplexity": perplexity}, test=test())

    return outcome(fitted, net, score)
