"""ConvNet-Quick: the small network of Caffe's CIFAR-10 example, as Demystifying Dropout trains it."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.site import Site


class ConvNetQuick(nn.Module):
    """Three convolutions with overlapping pooling, two fully connected layers; 145,578 parameters.

    The first pooling takes maxima before its ReLU, the other two take means after theirs; there is no ReLU
    between the fully connected layers. The paper drops the inputs of both, ``fc1`` and ``fc2``. Weights
    start normal with deviation .0001 (``conv1``), .01 (``conv2``, ``conv3``) and .1 (``fc1``, ``fc2``),
    biases at 0, as in that example.

    The sites are the outputs of the three convolutions.

    Args:
        num_classes: Outputs.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 32, 5, padding=2)
        self.conv3 = nn.Conv2d(32, 64, 5, padding=2)
        self.fc1 = nn.Linear(64 * 4 * 4, 64)
        self.fc2 = nn.Linear(64, num_classes)
        starts: dict[nn.Module, float] = {self.conv1: 0.0001, self.conv2: 0.01, self.conv3: 0.01}
        starts |= {self.fc1: 0.1, self.fc2: 0.1}
        for layer, deviation in starts.items():
            nn.init.normal_(layer.get_parameter("weight"), std=deviation)
            nn.init.zeros_(layer.get_parameter("bias"))

    def autodropout_sites(self) -> Sequence[Site]:
        """Return the three sites."""
        return [Site(name=f"conv{number}", layout="NCHW") for number in (1, 2, 3)]

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, 32, 32) to logits (N, num_classes)."""
        h = F.relu(F.max_pool2d(self.conv1(images), 3, 2, ceil_mode=True))
        h = F.avg_pool2d(F.relu(self.conv2(h)), 3, 2, ceil_mode=True)
        h = F.avg_pool2d(F.relu(self.conv3(h)), 3, 2, ceil_mode=True)
        logits: Tensor = self.fc2(self.fc1(h.flatten(1)))
        return logits
