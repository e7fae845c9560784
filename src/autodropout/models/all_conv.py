"""ALL-CNN-C: nothing but convolutions (Springenberg et al. 2014, Table 1)."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.errors import UsageError
from autodropout.site import Site

_FULL = (96, 96, 96, 192, 192, 192, 192, 192)


class AllConv(nn.Module):
    """Nine convolutions with ReLUs, two of them of stride 2 in the place of pooling, and a mean over places.

    Its authors drop 20% of the image and half of what each convolution of stride 2 puts out: what ``conv1``,
    ``conv4`` and ``conv7`` read. Weights start as He et al. (2015) say; the paper does not.

    The sites are the outputs of the convolutions but the last, each read by the next alone.

    Args:
        num_classes: Outputs.
        channels: Of the images.
        multiplier: Factor on all numbers of channels.

    Raises:
        UsageError: A layer is left without channels.
    """

    def __init__(self, num_classes: int = 10, channels: int = 3, multiplier: float = 1.0) -> None:
        super().__init__()
        widths = [round(width * multiplier) for width in _FULL]
        if min(widths) < 1:
            raise UsageError(f"multiplier is {multiplier!r}; expected at least one channel in every layer")
        inputs = channels
        for number, width in enumerate(widths, 1):
            size, stride = (1, 1) if number == 8 else (3, 2 if number in (3, 6) else 1)
            padding = 1 if size == 3 and number < 7 else 0
            self.add_module(f"conv{number}", nn.Conv2d(inputs, width, size, stride, padding))
            inputs = width
        self.conv9 = nn.Conv2d(inputs, num_classes, 1)
        begin(self)

    def autodropout_sites(self) -> Sequence[Site]:
        """Return the eight sites."""
        return chain([f"conv{number}" for number in range(1, 10)])

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, channels, H, W), at least 9x9, to logits (N, num_classes)."""
        h = images
        for layer in self.children():
            h = F.relu(layer(h))
        return h.mean((2, 3))


def chain(names: Sequence[str]) -> list[Site]:
    """Return the sites of layers that follow each other, each read by the next alone."""
    return [Site(name=name, layout="NCHW", consumer=reader) for name, reader in pairwise(names)]


def begin(model: nn.Module) -> None:
    """Draw the weights of all convolutions as He et al. (2015) say for ReLUs; biases are 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.get_parameter("bias"))
