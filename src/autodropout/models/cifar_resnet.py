"""The ResNets that He et al. (2016) train on CIFAR-10, every site a named module."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.errors import UsageError
from autodropout.models.residual_block import ResidualBlock
from autodropout.site import Site

_FIRST = 16


class PaddedShortcut(nn.Module):
    """The shortcut without parameters: every ``stride``-th place, new channels zero (He et al., option A).

    Args:
        inputs: Channels of x.
        outputs: Channels of the result.
        stride: Step between the places that are kept.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.before = (outputs - inputs) // 2
        self.after = outputs - inputs - self.before
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride))."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


class CifarResNet(nn.Module):
    """ResNet-depth for small images: a stem, three groups of (depth - 2) / 6 blocks, the mean over places.

    The groups have 16, 32 and 64 channels on maps of the image's size, a half and a quarter of it.
    ResNet-20 has .27 million parameters.

    Sites: the stem's norm ``bn``, ``groupG.B.bn1`` and ``groupG.B.bn2``.

    Args:
        depth: Convolutions and the linear layer, 6 n + 2.
        num_classes: Outputs.
        channels: Of the images.
        multiplier: Factor on all numbers of channels.

    Raises:
        UsageError: The depth is not 8, 14, 20, ..., or a size is below 1.
    """

    def __init__(
        self, *, depth: int = 20, num_classes: int = 10, channels: int = 3, multiplier: float = 1.0
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        widths = [round(_FIRST * multiplier) << group for group in range(3)]
        if rest or blocks < 1:
            raise UsageError(f"a ResNet for CIFAR has depth {depth}; expected 6 n + 2: 8, 14, 20, ...")
        if min(*widths, num_classes, channels) < 1:
            raise UsageError(
                f"a ResNet for CIFAR has multiplier {multiplier}, {num_classes} classes and {channels} "
                "channels; expected at least one channel everywhere"
            )
        self.conv = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        self.group1 = _group(widths[0], widths[0], blocks, 1)
        self.group2 = _group(widths[0], widths[1], blocks, 2)
        self.group3 = _group(widths[1], widths[2], blocks, 2)
        self.head = nn.Linear(widths[2], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def autodropout_sites(self) -> Sequence[Site]:
        """Return the sites; the second of each block knows the block's shortcut."""
        blocks = [name for name, module in self.named_modules() if isinstance(module, ResidualBlock)]
        inner = [
            Site(name=f"{name}.{norm}", layout="NCHW", shortcut=shortcut, consumer=consumer)
            for name in blocks
            for norm, shortcut, consumer in (
                ("bn1", None, f"{name}.conv2"),
                ("bn2", f"{name}.shortcut", None),
            )
        ]
        return [Site(name="bn", layout="NCHW"), *inner]

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, channels, H, W) to logits (N, num_classes)."""
        h = F.relu(self.bn(self.conv(images)))
        logits: Tensor = self.head(self.group3(self.group2(self.group1(h))).mean((2, 3)))
        return logits


def _group(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = ResidualBlock(inputs, outputs, stride, PaddedShortcut)
    return nn.Sequential(first, *(ResidualBlock(outputs, outputs) for _ in range(blocks - 1)))
