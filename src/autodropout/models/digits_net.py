"""A small residual ConvNet for 8x8 digits."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.models.residual_block import ResidualBlock
from autodropout.site import Site


class DigitsNet(nn.Module):
    """Stem, two residual blocks, one linear layer over all places of the last map.

    A site after each BatchNorm: ``bn``, ``block1.bn1``, ``block1.bn2`` on 8x8 maps, ``block2.bn1``,
    ``block2.bn2`` on 4x4 maps. The head sees every place on its own instead of an average over places:
    such a network overfits a few hundred images, which is what dropout is for.

    Args:
        width: Channels of the first block; the second has twice as many.
        num_classes: Outputs.
        side: Height and width of the images in pixels, even.
    """

    def __init__(self, width: int = 16, num_classes: int = 10, side: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.block1 = ResidualBlock(width, width)
        self.block2 = ResidualBlock(width, 2 * width, stride=2)
        self.head = nn.Linear(2 * width * (side // 2) ** 2, num_classes)

    def autodropout_sites(self) -> Sequence[Site]:
        """Return the five sites; those in a block know its shortcut, the first also its only reader."""
        blocks = [
            Site(name=f"{block}.{norm}", layout="NCHW", shortcut=f"{block}.shortcut", consumer=consumer)
            for block in ("block1", "block2")
            for norm, consumer in (("bn1", f"{block}.conv2"), ("bn2", None))
        ]
        return [Site(name="bn", layout="NCHW"), *blocks]

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 1, side, side) to logits (N, num_classes)."""
        h = F.relu(self.bn(self.conv(images)))
        h = self.block2(self.block1(h))
        logits: Tensor = self.head(h.flatten(1))
        return logits
