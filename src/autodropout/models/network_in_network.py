"""Network in Network for CIFAR-10 (Lin et al. 2013), in the shape of its authors' Caffe model."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.errors import UsageError
from autodropout.models.all_conv import begin
from autodropout.site import Site

_FULL = ((192, 160, 96), (192, 192, 192), (192, 192))
_SIZES = (5, 5, 3)


class NetworkInNetwork(nn.Module):
    """Three groups of a convolution and two 1x1 ones, pooling between them, and a mean over places.

    Every convolution has a ReLU behind it. Its authors drop half of what each pooling puts out: what
    ``conv4`` and ``conv7`` read. Weights start as He et al. (2015) say.

    The sites are the outputs of the convolutions but the last; where no pooling follows, the next
    convolution alone reads them.

    Args:
        num_classes: Outputs.
        channels: Of the images.
        multiplier: Factor on all numbers of channels.

    Raises:
        UsageError: A layer is left without channels.
    """

    def __init__(self, num_classes: int = 10, channels: int = 3, multiplier: float = 1.0) -> None:
        super().__init__()
        groups = [[round(width * multiplier) for width in group] for group in _FULL]
        if min(map(min, groups)) < 1:
            raise UsageError(f"multiplier is {multiplier!r}; expected at least one channel in every layer")
        inputs, number = channels, 0
        for size, widths in zip(_SIZES, groups, strict=True):
            for place, width in enumerate(widths):
                number += 1
                side = 1 if place else size
                self.add_module(f"conv{number}", nn.Conv2d(inputs, width, side, padding=side // 2))
                inputs = width
        self.conv9 = nn.Conv2d(inputs, num_classes, 1)
        begin(self)

    def autodropout_sites(self) -> Sequence[Site]:
        """Return the eight sites."""
        return [
            Site(
                name=f"conv{number}",
                layout="NCHW",
                consumer=None if number in (3, 6) else f"conv{number + 1}",
            )
            for number in range(1, 9)
        ]

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, channels, H, W), at least 8x8, to logits (N, num_classes)."""
        h = images
        for number, layer in enumerate(self.children(), 1):
            h = F.relu(layer(h))
            if number == 3:
                h = F.max_pool2d(h, 3, 2, ceil_mode=True)
            if number == 6:
                h = F.avg_pool2d(h, 3, 2, ceil_mode=True)
        return h.mean((2, 3))
