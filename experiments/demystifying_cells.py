"""One cell of a table of Demystifying Dropout: a network on a data set under one kind of dropout.

Settings are the paper's as printed; what it leaves out is Caffe's, whose examples it adopts. Where we suspect
a misprint, docs/decisions.md says so.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.augmenting import augmented_dropout, backward_dropout, forward_dropout
from autodropout.data.splits import Examples
from autodropout.models.all_conv import AllConv
from autodropout.models.cifar_resnet import CifarResNet
from autodropout.models.convnet_quick import ConvNetQuick
from autodropout.models.lenet import LeNet
from autodropout.models.network_in_network import NetworkInNetwork
from autodropout.monte_carlo import mc
from autodropout.result import Result
from autodropout.tasks.batches import Batch
from autodropout.tasks.fit import FitSettings, Objective, fit
from autodropout.tasks.methods.distillation import Probabilities, distilling
from autodropout.tasks.methods.expectation_linear import ExpectationLinear
from demystifying_images import Looks, Name, Prepared, chunks, prepared
from image_runs import accuracy, step_decay

Kind = Literal["plain", "standard", "forward", "backward", "augmented", "monte-carlo", "distillation", "el"]
MONTE_CARLO = 100
DISTILLED = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A network, its data and how it is trained without dropout.

    Attributes:
        network: Returns it, from the number of classes.
        data: Name of the data set.
        looks: What the network sees.
        consumers: Layers whose input is dropped, with their ratio where the table gives none.
        steps: Optimiser steps.
        batch_size: Images per step.
        learning_rate: At the start.
        falls: Progress at which it is divided by 10.
        weight_decay: Of all parameters.
        nesterov: Whether the momentum of .9 is Nesterov's.
        bias_factor: On the learning rate of biases; Caffe's examples have 2.
        augment: Whether images are cropped out of their padding and mirrored.
        small: The number of training images if it is the small sibling; 0 is full size.
        side: Height and width of its images.
    """

    network: Callable[[int], nn.Module]
    data: Name
    looks: Looks
    consumers: tuple[tuple[str, float | None], ...]
    steps: int
    batch_size: int
    learning_rate: float
    falls: tuple[float, ...]
    weight_decay: float
    nesterov: bool = False
    bias_factor: float = 1.0
    augment: bool = False
    small: int = 0
    side: int = 32

    def images(self, folder: str | None) -> Prepared:
        """Return the images as the network sees them.

        Raises:
            DataError: They are not there, or damaged.
        """
        return prepared(self.data, self.looks, self.augment, (self.small, self.side), folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A setting under one kind of dropout; called with a seed it trains one network.

    Attributes:
        setting: The setting.
        kind: Of dropout. The last three train with standard dropout; Monte Carlo dropout then averages the
            probabilities of 100 passes, distillation trains a student for a tenth of the steps at the last
            learning rate, and ``el`` adds the expectation-linear penalty while it trains.
        rate: Ratio, of augmented dropout the forward one; None takes each consumer's own.
        backward_rate: Of augmented dropout.
        penalty: Weight of the expectation-linear penalty.
        points: Points on the curves of training and test loss.
        folder: Folder of data sets.
    """

    setting: Setting
    kind: Kind
    rate: float | None = None
    backward_rate: float = 0.0
    penalty: float = 0.1
    points: int = 1
    folder: str | None = None

    def __call__(self, seed: int) -> Result:
        """Train one network; its weights and batches follow from the seed alone."""
        return self.train(self.setting.images(self.folder), seed)

    def train(self, data: Prepared, seed: int) -> Result:
        """Train one network on some images and measure it on the test images."""
        torch.manual_seed(seed)
        net = self.setting.network(data.num_classes)
        self.put(net)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        seen = Curves(data.test, device)
        objective = ExpectationLinear(weight=self.penalty) if self.kind == "el" else None
        settings = FitSettings(
            steps=self.setting.steps,
            measure=seen.measure,
            measurements=self.points,
            objective=seen.watched(objective),
            device=device,
            channels_last=True,
        )
        batches = data.batches(self.setting.batch_size, seed)
        fitted = fit(net, optimiser(net, self.setting), self.falling, batches, settings)
        if fitted.diverged:
            return Result(reward=math.nan, metrics={"train_loss": fitted.loss}, seconds=fitted.seconds)
        judged = self.judged(net, data, seed, device)
        if judged is None:
            return Result(reward=math.nan, metrics=seen.metrics(), seconds=fitted.seconds)
        test = {"accuracy": accuracy(judged, chunks(data.test), device)}
        return Result(reward=-fitted.loss, metrics=seen.metrics(), test=test, seconds=fitted.seconds)

    def put(self, net: nn.Module) -> None:
        """Let the dropout act on a network."""
        for name, own in self.setting.consumers:
            rate = own if self.rate is None else self.rate
            if rate is None:
                raise ValueError(f"the consumer {name} has no ratio of its own; give the cell one")
            match self.kind:
                case "plain":
                    return
                case "forward":
                    forward_dropout(net, name, rate)
                case "backward":
                    backward_dropout(net, name, rate)
                case "augmented":
                    augmented_dropout(net, name, rate, self.backward_rate)
                case _:
                    augmented_dropout(net, name, rate, 0.0)

    def falling(self, progress: float) -> float:
        """Return the factor on the learning rate."""
        return step_decay(self.setting.falls, progress)

    def judged(
        self, net: nn.Module, data: Prepared, seed: int, device: str
    ) -> Callable[[Tensor], Tensor] | None:
        """Return what is tested: the network in evaluation, its Monte Carlo average, or its student.

        None if the student's training diverged.
        """
        if self.kind == "monte-carlo":
            says = Probabilities(net)
            return lambda images: mc(says, images, MONTE_CARLO).mean
        if self.kind != "distillation":
            return net
        student = self.setting.network(data.num_classes)
        student.load_state_dict(net.state_dict())
        last = replace(self.setting, learning_rate=self.setting.learning_rate * self.falling(1.0))
        settings = FitSettings(
            steps=max(1, round(DISTILLED * last.steps)),
            objective=distilling(net),
            device=device,
            channels_last=True,
        )
        batches = data.batches(self.setting.batch_size, seed + 1)
        fitted = fit(student, optimiser(student, last), lambda _: 1.0, batches, settings)
        return None if fitted.diverged else student


class Curves:
    """The training loss as the optimiser sees it, dropout and all, and the test loss, at the same steps."""

    def __init__(self, test: Examples, device: str) -> None:
        self.train: list[float] = []
        self.test: list[float] = []
        self._examples, self._device = test, device
        self._total, self._count = torch.zeros(()), 0

    def watched(self, objective: ExpectationLinear | None) -> Objective:
        """Return the objective that also adds up what it returns."""

        def watch(net: nn.Module, batch: Batch, progress: float) -> Tensor:
            if objective is None:
                given = F.cross_entropy(net(batch[0]), batch[1])
            else:
                given = objective(net, batch, progress)
            self._total, self._count = self._total.to(given.device) + given.detach(), self._count + 1
            return given

        return watch

    def measure(self, net: nn.Module) -> float:
        """Close a stretch of training: note its mean loss and the test loss now."""
        self.train.append(self._total.item() / self._count)
        self._total, self._count = torch.zeros(()), 0
        losses = [
            F.cross_entropy(net(images.to(self._device)), labels.to(self._device), reduction="sum").item()
            for images, labels in chunks(self._examples)
        ]
        self.test.append(sum(losses) / len(self._examples))
        return self.test[-1]

    def metrics(self) -> dict[str, float]:
        """Return all points by name, numbered from 1, and the last training loss."""
        named = {"train_loss": self.train[-1]}
        for kind, losses in (("train", self.train), ("test", self.test)):
            named |= {f"{kind}_loss_{number:02d}": loss for number, loss in enumerate(losses, 1)}
        return named


def optimiser(net: nn.Module, setting: Setting) -> torch.optim.SGD:
    """Return SGD with momentum .9, biases with a learning rate of their own."""
    biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
    weights = [p for name, p in net.named_parameters() if not name.endswith("bias")]
    groups = [{"params": weights}, {"params": biases, "lr": setting.learning_rate * setting.bias_factor}]
    return torch.optim.SGD(
        groups, setting.learning_rate, 0.9, weight_decay=setting.weight_decay, nesterov=setting.nesterov
    )


def lenet(num_classes: int) -> nn.Module:
    """Return Caffe's LeNet."""
    return LeNet(num_classes)


def convnet_quick(num_classes: int) -> nn.Module:
    """Return Caffe's ConvNet-Quick."""
    return ConvNetQuick(num_classes)


def resnet20(num_classes: int) -> nn.Module:
    """Return the ResNet-20 of He et al."""
    return CifarResNet(depth=20, num_classes=num_classes)


def all_conv(num_classes: int) -> nn.Module:
    """Return ALL-CNN-C."""
    return AllConv(num_classes)


def network_in_network(num_classes: int) -> nn.Module:
    """Return NiN."""
    return NetworkInNetwork(num_classes)
