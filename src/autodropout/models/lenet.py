"""The LeNet of Caffe's MNIST example, as Demystifying Dropout trains it."""

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.site import Site


class LeNet(nn.Module):
    """Two convolutions with max pooling, two fully connected layers; 431,080 parameters.

    Unlike LeCun's, it has no non-linearity behind the convolutions but the pooling, and one ReLU between the
    fully connected layers. The paper counts five layers and drops the input of the last, ``fc2``. Weights
    start uniform over +-sqrt(3 / inputs of a unit), biases at 0, as in that example.

    The sites are the outputs of ``conv1`` and ``conv2``.

    Args:
        num_classes: Outputs.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(50 * 4 * 4, 500)
        self.fc2 = nn.Linear(500, num_classes)
        for layer in (self.conv1, self.conv2, self.fc1, self.fc2):
            bound = math.sqrt(3.0 / layer.weight[0].numel())
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.get_parameter("bias"))

    def autodropout_sites(self) -> Sequence[Site]:
        """Return the two sites."""
        return [Site(name="conv1", layout="NCHW"), Site(name="conv2", layout="NCHW")]

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 1, 28, 28) to logits (N, num_classes)."""
        h = F.max_pool2d(self.conv1(images), 2)
        h = F.max_pool2d(self.conv2(h), 2)
        logits: Tensor = self.fc2(F.relu(self.fc1(h.flatten(1))))
        return logits
