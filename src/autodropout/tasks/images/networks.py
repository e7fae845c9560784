"""The networks that image tasks train, each described by a few numbers."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import nn

from autodropout.families import find_sites
from autodropout.models.cifar_resnet import CifarResNet
from autodropout.models.wide_resnet import WideResNet


class Network(Hashable, Protocol):
    """A network before it is built: a frozen dataclass."""

    @property
    def title(self) -> str:
        """What people call it."""
        ...

    def build(self, num_classes: int, channels: int) -> nn.Module:
        """Return it, its first weights drawn from torch's generator."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrn:
    """A Wide ResNet.

    Attributes:
        depth: 10, 16, 22, 28, ...
        width: The widening factor.
        multiplier: Factor on all numbers of channels.
    """

    depth: int
    width: int
    multiplier: float = 1.0

    @property
    def title(self) -> str:
        """What people call it."""
        return f"WRN-{self.depth}-{self.width}" + _times(self.multiplier)

    def build(self, num_classes: int, channels: int) -> nn.Module:
        """Return it."""
        return WideResNet(
            depth=self.depth,
            width=self.width,
            num_classes=num_classes,
            channels=channels,
            multiplier=self.multiplier,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallResNet:
    """A ResNet for images of CIFAR's size.

    Attributes:
        depth: 8, 14, 20, ...
        multiplier: Factor on all numbers of channels.
    """

    depth: int = 20
    multiplier: float = 1.0

    @property
    def title(self) -> str:
        """What people call it."""
        return f"ResNet-{self.depth}" + _times(self.multiplier)

    def build(self, num_classes: int, channels: int) -> nn.Module:
        """Return it."""
        return CifarResNet(
            depth=self.depth, num_classes=num_classes, channels=channels, multiplier=self.multiplier
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNet:
    """timm's ResNet for photographs.

    Attributes:
        depth: 18 or 50.
        multiplier: Factor on all numbers of channels; the paper's proxy has a half.
    """

    depth: Literal[18, 50] = 50
    multiplier: float = 1.0

    @property
    def title(self) -> str:
        """What people call it."""
        return f"ResNet-{self.depth}" + _times(self.multiplier)

    def build(self, num_classes: int, channels: int) -> nn.Module:
        """Return it.

        Raises:
            MissingError: timm is not installed.
        """
        from autodropout.models.photograph_nets import resnet

        return resnet(self.depth, self.multiplier, num_classes, channels)


@dataclass(frozen=True, slots=True, kw_only=True)
class EfficientNet:
    """torchvision's EfficientNet, without stochastic depth, which is one of the baselines.

    The dropout before its last layer stays as published: it is part of the network in every arm.

    Attributes:
        variant: 0 to 7.
        multiplier: Factor on all numbers of channels; the paper's proxy has a half.
    """

    variant: Literal[0, 1, 2, 3, 4, 5, 6, 7] = 0
    multiplier: float = 1.0

    @property
    def title(self) -> str:
        """What people call it."""
        return f"EfficientNet-B{self.variant}" + _times(self.multiplier)

    def build(self, num_classes: int, channels: int) -> nn.Module:
        """Return it.

        Raises:
            MissingError: torchvision is not installed.
            UsageError: The images are not in colour.
        """
        from autodropout.models.photograph_nets import efficientnet

        return efficientnet(self.variant, self.multiplier, num_classes, channels)


@runtime_checkable
class HasBranchEnds(Protocol):
    """A model whose residual branches do not end in a site."""

    def branch_ends(self) -> Sequence[str]:
        """Return the names of the last modules of the residual branches, from first to last."""
        ...


def branch_ends(model: nn.Module) -> Sequence[str]:
    """Return the names of the last modules of a model's residual branches, from first to last.

    Where the model does not say, it is the last site of each block that has a shortcut.

    Args:
        model: One of the networks above.
    """
    if isinstance(model, HasBranchEnds):
        return model.branch_ends()
    last: dict[str, str] = {}
    for site in find_sites(model):
        if site.shortcut is not None:
            last[site.shortcut] = site.name
    return tuple(last.values())


def last_convolutions(model: nn.Module) -> Sequence[str]:
    """Return the last convolution of every block of an EfficientNet: it alone reads what the block scales."""
    from torchvision.models.efficientnet import MBConv  # installed, or the model could not have been built

    blocks = {name: module.block for name, module in model.named_modules() if isinstance(module, MBConv)}
    return tuple(f"{name}.block.{len(block) - 1}.0" for name, block in blocks.items())


def on_branches(model: nn.Module) -> Sequence[str]:
    """Return the sites of a model but those on projections of shortcuts."""
    found = find_sites(model)
    shortcuts = {site.shortcut for site in found if site.shortcut is not None}
    return [site.name for site in found if site.name not in shortcuts]


def _times(multiplier: float) -> str:
    return "" if multiplier == 1.0 else f" of {multiplier:g} the width"
