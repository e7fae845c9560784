"""The basic block of residual ConvNets (He et al. 2016)."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F


def projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Return the shortcut that learns: a 1x1 convolution.

    Args:
        inputs: Channels of x.
        outputs: Channels of the result.
        stride: Of the convolution.
    """
    return nn.Conv2d(inputs, outputs, 1, stride, bias=False)


class ResidualBlock(nn.Module):
    """relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)), a basic block of He et al. (2016).

    The sites are the outputs of ``bn1`` and ``bn2``. ``shortcut`` is a module also where it is the
    identity, so that a pattern with ``residual`` reaches it; it belongs to ``bn2``.

    Args:
        inputs: Channels of x.
        outputs: Channels of the result.
        stride: Of the first convolution and the shortcut; 2 halves the map.
        shortcut: Called as shortcut(inputs, outputs, stride) where shape or channels change.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int = 1,
        shortcut: Callable[[int, int, int], nn.Module] = projection,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride))."""
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + self.shortcut(x))
