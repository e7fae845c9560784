"""What a trial returns of a training: figures that every task has, and the task's own."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from autodropout.result import Result
from autodropout.tasks.fit import Fitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What a trained model is worth.

    Attributes:
        reward: The number to maximise.
        metrics: More figures on validation data.
        test: Figures on held-out data.
    """

    reward: float
    metrics: Mapping[str, float]
    test: Mapping[str, float]


def outcome(fitted: Fitted, net: nn.Module, score: Callable[[], Scored]) -> Result:
    """Return the result of a training, NaN where it diverged.

    Args:
        fitted: What training led to.
        net: The trained network.
        score: Measures it; called where training did not diverge.
    """
    metrics = {
        "train_loss": fitted.loss,
        "parameters": float(sum(parameter.numel() for parameter in net.parameters())),
    }
    if fitted.diverged:
        return Result(reward=math.nan, metrics=metrics, curve=fitted.curve, seconds=fitted.seconds)
    scored = score()
    return Result(
        reward=scored.reward,
        metrics=metrics | dict(scored.metrics),
        test=scored.test,
        curve=fitted.curve,
        seconds=fitted.seconds,
    )
