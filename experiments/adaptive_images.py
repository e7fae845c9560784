"""One arm of the comparisons on images in adaptive.py: a ResNet, its data, its recipe and its regulariser."""

import math
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import nn

from adaptive_arms import USUAL, Strengths, regularise
from adaptive_data import Loaded, Name, load
from autodropout.adapting import Refreshing
from autodropout.families import find_sites
from autodropout.models.photograph_nets import resnet
from autodropout.result import Result
from autodropout.tasks.fit import FitSettings, fit
from image_runs import accuracy, step_decay

_REFRESHING = Refreshing(every=100, method="lrp")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRun:
    """A ResNet on images; called with a seed it trains one.

    Attributes:
        data: Data set.
        steps: Optimiser steps.
        falls: Progress at which the learning rate is divided by 10.
        arm: Name of the regulariser.
        depth: 18, with the stem for small images, or 50.
        multiplier: Factor on all numbers of channels.
        batch_size: Images per step.
        learning_rate: At the start.
        weight_decay: Of all parameters.
        refreshing: When and how the rates of adaptive dropout are refreshed.
        strengths: Of the regularisers.
        small: Whether the data are those of the sibling.
        augment: Whether images are cropped out of their padding and mirrored (ImageNet's are in any case).
        folder: Folder of data sets.
    """

    data: Name
    steps: int
    falls: tuple[float, ...]
    arm: str = "none"
    depth: Literal[18, 50] = 18
    multiplier: float = 1.0
    batch_size: int = 128
    learning_rate: float = 0.1
    weight_decay: float = 1e-4
    refreshing: Refreshing = _REFRESHING
    strengths: Strengths = USUAL
    small: bool = False
    augment: bool = False
    folder: str | None = None

    def sibling(self) -> Self:
        """Return the run that 2 cores finish: a quarter of the width, few images, few steps.

        Rates are refreshed every 10 steps, which adds about a tenth to the time of adaptive dropout: every
        100 would leave 6 refreshes, of which the first finds nothing.
        """
        often = replace(self.refreshing, every=10)
        return replace(self, multiplier=0.25, batch_size=64, steps=600, refreshing=often, small=True)

    def __call__(self, seed: int) -> Result:
        """Train one network; weights and batches follow from the seed, whatever the arm."""
        return self.train(load(self.data, self.small, self.folder, augment=self.augment), seed)

    def train(self, data: Loaded, seed: int) -> Result:
        """Train one network on some images and measure its accuracy on the test images."""
        torch.manual_seed(seed)
        net = network(self, data.num_classes)
        regularise(net, between_convolutions(net), self.arm, self.strengths, self.refreshing)
        optimiser = torch.optim.SGD(net.parameters(), self.learning_rate, 0.9, weight_decay=self.weight_decay)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        settings = FitSettings(steps=self.steps, device=device, channels_last=True)
        fitted = fit(net, optimiser, self.falling, data.batches(self.batch_size, seed), settings)
        if fitted.diverged:
            return Result(reward=math.nan, metrics={"train_loss": fitted.loss}, seconds=fitted.seconds)
        parameters = float(sum(parameter.numel() for parameter in net.parameters()))
        return Result(
            reward=-fitted.loss,
            metrics={"train_loss": fitted.loss, "parameters": parameters},
            test={"accuracy": accuracy(net, data.test(), device)},
            seconds=fitted.seconds,
        )

    def falling(self, progress: float) -> float:
        """Return the factor on the learning rate."""
        return step_decay(self.falls, progress)


def network(run: ImageRun, num_classes: int) -> nn.Module:
    """Return the ResNet; for small images its stem is one 3x3 convolution without pooling."""
    net = resnet(run.depth, run.multiplier, num_classes)
    if run.data != "imagenet" or run.small:
        stem = net.get_submodule("conv1")
        assert isinstance(stem, nn.Conv2d)
        net.conv1 = nn.Conv2d(3, stem.out_channels, 3, padding=1, bias=False)
        net.maxpool = nn.Identity()
    return net


def between_convolutions(net: nn.Module) -> tuple[str, ...]:
    """Return the norms that stand between two convolutions of a residual block: one, or two in ResNet-50."""
    return tuple(site.name for site in find_sites(net) if site.consumer is not None)
