"""The smallest task: handwritten digits on one core, a trial in about two seconds."""

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.applying import apply
from autodropout.conv_space import ConvSpace
from autodropout.data.digits import SIDE, load_digits
from autodropout.data.splits import Examples
from autodropout.errors import DataError
from autodropout.models.digits_net import DigitsNet
from autodropout.policy import Policy
from autodropout.result import Result
from autodropout.tasks.base import Baseline, Budget, Prepare
from autodropout.tasks.batches import shuffled_batches
from autodropout.tasks.fit import FitSettings, Fitted, cosine, fit, shortened
from autodropout.tasks.images.map_baselines import map_baselines
from autodropout.tasks.outcome import Scored, outcome

_IN_BLOCKS = ("block1.bn1", "block1.bn2", "block2.bn1", "block2.bn2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """300 real 8x8 digits to train a small residual ConvNet; reward = validation accuracy.

    The other 1,497 images are split once into 751 for validation, which give the reward, and 746 for the
    test, which are recorded only. SGD with Nesterov momentum, cosine schedule, no augmentation.

    It shows the whole machinery in minutes and is no benchmark: a good policy gains about half a point of
    test accuracy, one seed's deviation is as large, and weight decay, left out by default to make dropout
    the only regulariser, gains more (docs/results.md).

    Attributes:
        width: Channels of the network's first block.
        steps: Optimiser steps; 240 are 40 epochs.
        batch_size: Images per step.
        learning_rate: At the start.
        momentum: Of Nesterov's method.
        weight_decay: Of all parameters.
        num_train: Training images, a multiple of 10.
        measurements: Points on the curve of validation accuracy.
    """

    name: ClassVar[str] = "digits"
    summary: ClassVar[str] = "300 handwritten 8x8 digits, residual ConvNet, validation accuracy"
    needs: ClassVar[str] = "digits, 1,797 images inside scikit-learn (no download)"
    seconds: ClassVar[float] = 2.0
    floor: ClassVar[float] = 0.1
    budget: ClassVar[Budget] = Budget(trials=48, batch=4, confirm_top=4, confirm_seeds=3)
    baselines: ClassVar[tuple[Baseline, ...]] = map_baselines(
        sites=("bn", *_IN_BLOCKS), branch_ends=("block1.bn2", "block2.bn2"), block_size=3
    )

    width: int = 16
    steps: int = 240
    batch_size: int = 50
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 0.0
    num_train: int = 300
    measurements: int = 8

    @property
    def key(self) -> str:
        """What figures on this task are comparable under."""
        return self.name

    def missing(self) -> str | None:
        """Return what to do to get the data; None if they are there."""
        try:
            load_digits(self.num_train)
        except DataError as error:
            return str(error)
        return None

    def space(self) -> ConvSpace:
        """Return the standard space over the network's five sites."""
        full, half = (SIDE, SIDE), (SIDE // 2, SIDE // 2)
        sites = {"bn": full, "block1.bn1": full, "block1.bn2": full, "block2.bn1": half, "block2.bn2": half}
        return ConvSpace(sites=sites, residual=_IN_BLOCKS)

    def model(self) -> DigitsNet:
        """Return an untrained network."""
        return DigitsNet(self.width)

    def evaluate(self, policy: Policy, seed: int, budget: float = 1.0) -> Result:
        """Train one network with a policy and return its validation accuracy, the test's beside it."""
        task = replace(self, steps=shortened(self.steps, budget))
        return task.train(partial(apply, policy=policy), seed)

    def train(self, prepare: Prepare, seed: int) -> Result:
        """Train one network and return its validation accuracy, the test's beside it.

        Weights, batches and masks follow from the seed; the order of the batches and the first weights
        are the same whatever ``prepare`` does.
        """
        data = load_digits(self.num_train)
        torch.manual_seed(seed)
        net = self.model()
        prepare(net)
        fitted = self._fit(net, data.train, data.validation, seed)
        return outcome(
            fitted,
            net,
            lambda: Scored(
                reward=_accuracy(net, data.validation),
                metrics={"val_loss": _loss(net, data.validation)},
                test={"accuracy": _accuracy(net, data.test)},
            ),
        )

    def _fit(self, net: nn.Module, train: Examples, validation: Examples, seed: int) -> Fitted:
        optimiser = torch.optim.SGD(
            net.parameters(),
            self.learning_rate,
            self.momentum,
            nesterov=True,
            weight_decay=self.weight_decay,
        )
        settings = FitSettings(
            steps=self.steps,
            measure=lambda trained: _accuracy(trained, validation),
            measurements=self.measurements,
        )
        return fit(net, optimiser, cosine, shuffled_batches(train, self.batch_size, seed), settings)


@torch.no_grad()
def _accuracy(net: nn.Module, examples: Examples) -> float:
    logits: Tensor = net(examples.inputs)
    right = logits.argmax(1) == examples.labels
    return right.float().mean().item()


@torch.no_grad()
def _loss(net: nn.Module, examples: Examples) -> float:
    return F.cross_entropy(net(examples.inputs), examples.labels).item()
