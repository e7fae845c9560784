"""Wide ResNet (Zagoruyko and Komodakis 2016), every site a named module."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.errors import UsageError
from autodropout.site import Site

_FIRST = 16  # channels of the stem, and of the first group at width 1


class WideBlock(nn.Module):
    """conv2(relu(bn2(conv1(relu(bn1(x)))))) + shortcut, normalisation before each convolution.

    Where shape or channels change, the shortcut is a 1x1 convolution of relu(bn1(x)), otherwise x itself;
    it is a module, ``shortcut``, either way.

    The sites are the outputs of ``bn1`` and ``bn2``. The shortcut belongs to ``bn2``, the last one before
    the addition.

    Args:
        inputs: Channels of x.
        outputs: Channels of the result.
        stride: Of the first convolution and the shortcut; 2 halves the map.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if self.same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride))."""
        first = F.relu(self.bn1(x))
        branch: Tensor = self.conv2(F.relu(self.bn2(self.conv1(first))))
        shortcut: Tensor = self.shortcut(x if self.same else first)
        return branch + shortcut


class WideResNet(nn.Module):
    """WRN-depth-width: a 3x3 stem, three groups of (depth - 4) / 6 blocks, a norm, the mean over places.

    The groups have 16, 32 and 64 times ``width`` channels and work on maps of the image's size, a half and
    a quarter of it. WRN-28-10 on CIFAR-10 has 36.5 million parameters. First weights are normal with
    variance 2 / (fan out), as in the paper's code.

    Sites: ``groupG.B.bn1`` and ``groupG.B.bn2`` for groups 1 to 3 and blocks from 0, and the last norm,
    ``bn``.

    Args:
        depth: Convolutions and the linear layer, 6 n + 4.
        width: The widening factor.
        num_classes: Outputs.
        channels: Of the images.
        multiplier: Factor on all numbers of channels, the stem's too; the paper's ImageNet proxies have a
            half.

    Raises:
        UsageError: The depth is not 10, 16, 22, 28, ..., or a size is below 1.

    Example:
        >>> net = WideResNet(depth=10, width=1)
        >>> sum(parameter.numel() for parameter in net.parameters())
        77850
    """

    def __init__(
        self,
        *,
        depth: int,
        width: int,
        num_classes: int = 10,
        channels: int = 3,
        multiplier: float = 1.0,
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise UsageError(f"a Wide ResNet has depth {depth}; expected 6 n + 4: 10, 16, 22, 28, ...")
        first = round(_FIRST * multiplier)
        widths = [round(_FIRST * width * multiplier) << group for group in range(3)]
        if min(first, *widths, num_classes, channels) < 1:
            raise UsageError(
                f"a Wide ResNet has width {width}, multiplier {multiplier}, {num_classes} classes and "
                f"{channels} channels; expected at least one channel everywhere"
            )
        self.conv = nn.Conv2d(channels, first, 3, padding=1, bias=False)
        self.group1 = _group(first, widths[0], blocks, 1)
        self.group2 = _group(widths[0], widths[1], blocks, 2)
        self.group3 = _group(widths[1], widths[2], blocks, 2)
        self.bn = nn.BatchNorm2d(widths[2])
        self.head = nn.Linear(widths[2], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.head.bias)

    def autodropout_sites(self) -> Sequence[Site]:
        """Return the sites; the second of each block knows the block's shortcut."""
        blocks = [
            Site(name=f"{name}.{norm}", layout="NCHW", shortcut=shortcut, consumer=consumer)
            for name, block in self._blocks().items()
            for norm, shortcut, consumer in (
                # In a block that changes shape, the shortcut reads the first norm, too.
                ("bn1", None, f"{name}.conv1" if block.same else None),
                ("bn2", f"{name}.shortcut", f"{name}.conv2"),
            )
        ]
        return [*blocks, Site(name="bn", layout="NCHW")]

    def branch_ends(self) -> Sequence[str]:
        """Return the names of the last modules of the residual branches, from first to last."""
        return [f"{block}.conv2" for block in self._blocks()]

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, channels, H, W) to logits (N, num_classes)."""
        h = self.group3(self.group2(self.group1(self.conv(images))))
        logits: Tensor = self.head(F.relu(self.bn(h)).mean((2, 3)))
        return logits

    def _blocks(self) -> dict[str, WideBlock]:
        return {name: module for name, module in self.named_modules() if isinstance(module, WideBlock)}


def _group(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = WideBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(WideBlock(outputs, outputs) for _ in range(blocks - 1)))
