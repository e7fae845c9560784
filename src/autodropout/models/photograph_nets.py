"""ResNet and EfficientNet at any width, out of timm's and torchvision's own parts."""

from functools import partial
from typing import Any

from torch import nn

from autodropout.errors import MissingError, UsageError

_RESNET_BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
_RESNET_CHANNELS = (64, 128, 256, 512)

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
    widths = tuple(round(width * multiplier) for width in _RESNET_CHANNELS)
    if widths[0] < 1:
        raise UsageError(f"multiplier is {multiplier!r}; expected at least one channel in every layer")
    try:
        from timm.models.resnet import BasicBlock, Bottleneck, ResNet
    except ImportError as error:
        raise MissingError("this ResNet is timm's; install it with: pip install timm") from error
    block: Any = BasicBlock if depth == 18 else Bottleneck
    net: nn.Module = ResNet(
        block,
        _RESNET_BLOCKS[depth],
        num_classes=num_classes,
        in_chans=channels,
        channels=widths,
    )
    if widths[0] != _RESNET_CHANNELS[0]:
        _narrow_stem(net, widths[0])
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


def _narrow_stem(net: Any, width: int) -> None:
    """Give the stem of timm's ResNet another width than its fixed 64, and draw the first weights again."""
    first = net.layer1[0]
    net.conv1 = _widened(net.conv1, net.conv1.in_channels, width)
    net.bn1 = nn.BatchNorm2d(width)
    first.conv1 = _widened(first.conv1, width, first.conv1.out_channels)
    if first.downsample is not None:
        first.downsample[0] = _widened(first.downsample[0], width, first.downsample[0].out_channels)
    net.init_weights()


def _widened(conv: nn.Conv2d, inputs: int, outputs: int) -> nn.Conv2d:
    size, stride, padding = conv.kernel_size, conv.stride, conv.padding
    return nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)  # type: ignore[arg-type]
