"""ResNet and EfficientNet at any width, out of timm's and torchvision's own parts."""

from functools import partial
from typing import Any

from torch import nn

from autodropout.errors import MissingError, UsageError

_RESNET_BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
_LEAST_WIDTH = 64  # channels of a ResNet's narrowest layers

# Of EfficientNet-B0: expansion, kernel, stride, channels in and out, layers (Tan and Le 2019, Table 1).
_STAGES = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)
# Of B0 to B7: factors on channels and on layers, the dropout before the last layer.
_EFFICIENTNETS = (
    (1.0, 1.0, 0.2),
    (1.0, 1.1, 0.2),
    (1.1, 1.2, 0.3),
    (1.2, 1.4, 0.3),
    (1.4, 1.8, 0.4),
    (1.6, 2.2, 0.4),
    (1.8, 2.6, 0.5),
    (2.0, 3.1, 0.5),
)
_LARGE_FROM = 5
"""From here on norms have the momentum and epsilon of torchvision's large ones."""


def resnet(depth: int, multiplier: float = 1.0, num_classes: int = 1000, channels: int = 3) -> nn.Module:
    """Return timm's ResNet (He et al. 2016, stride 2 in the 3x3 convolution), all widths times a factor.

    Args:
        depth: 18 or 50.
        multiplier: Factor on the channels of every layer.
        num_classes: Outputs.
        channels: Of the images.

    Raises:
        MissingError: timm is not installed.
        UsageError: The depth is unknown, or the multiplier leaves a layer without channels.
    """
    if depth not in _RESNET_BLOCKS:
        raise UsageError(f"a ResNet has depth {depth!r}; expected one of {sorted(_RESNET_BLOCKS)}")
    if round(_LEAST_WIDTH * multiplier) < 1:
        raise UsageError(f"multiplier is {multiplier!r}; expected at least one channel in every layer")
    try:
        from timm.models.resnet import BasicBlock, Bottleneck, ResNet
    except ImportError as error:
        raise MissingError("this ResNet is timm's; install it with: pip install timm") from error
    block: Any = BasicBlock if depth == 18 else Bottleneck
    net: nn.Module = ResNet(block, _RESNET_BLOCKS[depth], num_classes=num_classes, in_chans=channels)
    if multiplier != 1.0:
        _narrow(net, multiplier)
    return net


def efficientnet(
    variant: int, multiplier: float = 1.0, num_classes: int = 1000, channels: int = 3
) -> nn.Module:
    """Return torchvision's EfficientNet with all its widths times a factor, without stochastic depth.

    Args:
        variant: 0 to 7.
        multiplier: Factor on the channels of every layer.
        num_classes: Outputs.
        channels: Of the images; torchvision has 3 only.

    Raises:
        MissingError: torchvision is not installed.
        UsageError: There is no such variant, or the images are not in colour.
    """
    if variant not in range(len(_EFFICIENTNETS)) or channels != 3 or not multiplier > 0.0:
        raise UsageError(
            f"an EfficientNet has variant {variant!r}, multiplier {multiplier!r} and {channels!r} channels; "
            f"expected a variant from 0 to {len(_EFFICIENTNETS) - 1}, a multiplier above 0 and 3 channels"
        )
    try:
        from torchvision.models.efficientnet import EfficientNet, MBConvConfig
    except ImportError as error:
        raise MissingError(
            "EfficientNet is torchvision's; install it with: pip install torchvision"
        ) from error
    width, depth, dropout = _EFFICIENTNETS[variant]
    stages = [MBConvConfig(*stage, width_mult=width * multiplier, depth_mult=depth) for stage in _STAGES]
    norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01) if variant >= _LARGE_FROM else nn.BatchNorm2d
    net: nn.Module = EfficientNet(stages, dropout, 0.0, num_classes=num_classes, norm_layer=norm)
    return net


def _narrow(net: Any, multiplier: float) -> None:
    """Multiply the channels of every layer of timm's ResNet, whose stem has a fixed width otherwise."""
    for name, layer in list(net.named_modules()):
        parent, _, last = name.rpartition(".")
        narrow = _narrowed(layer, multiplier, first=layer is net.conv1)
        if narrow is not None:
            setattr(net.get_submodule(parent), last, narrow)
    net.num_features = net.head_hidden_size = net.fc.in_features
    net.init_weights()


def _narrowed(layer: nn.Module, multiplier: float, *, first: bool) -> nn.Module | None:
    match layer:
        case nn.Conv2d():
            inputs = layer.in_channels if first else round(layer.in_channels * multiplier)
            outputs = round(layer.out_channels * multiplier)
            size, stride, padding = layer.kernel_size, layer.stride, layer.padding
            return nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)  # type: ignore[arg-type]
        case nn.BatchNorm2d():
            return nn.BatchNorm2d(round(layer.num_features * multiplier))
        case nn.Linear():
            return nn.Linear(round(layer.in_features * multiplier), layer.out_features)
    return None
