"""Networks whose whole training step is measured."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


class PreActivated(nn.Module):
    """Block of a wide residual net: norm, ReLU, convolution, twice."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """Return the block's output."""
        inner = self.conv1(F.relu(self.bn1(h)))
        return self.conv2(F.relu(self.bn2(inner))) + self.shortcut(h)


class WideNet(nn.Module):
    """WRN-28-2 for images of 32 x 32; its sites are the 25 normalisations."""

    def __init__(self) -> None:
        super().__init__()
        widths, blocks = (16, 32, 64, 128), []
        for stage in range(3):
            for block in range(4):
                inputs = widths[stage] if block == 0 else widths[stage + 1]
                blocks.append(PreActivated(inputs, widths[stage + 1], 2 if stage and not block else 1))
        self.stem = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.blocks, self.bn, self.head = nn.Sequential(*blocks), nn.BatchNorm2d(128), nn.Linear(128, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        return self.head(F.relu(self.bn(self.blocks(self.stem(images)))).mean((2, 3)))


class Attending(nn.Module):
    """Transformer block with a module at every place that a token pattern may touch."""

    def __init__(self, width: int, heads: int, drop: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drops = nn.ModuleList(drop() for _ in range(6))

    def forward(self, h: Tensor) -> Tensor:
        """Return the block's output, (N, T, C)."""
        x = self.norm1(h)
        parts = [drop(part(x)) for part, drop in zip(self._parts(), self.drops, strict=False)]
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        weights = self.drops[3]((q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1))
        h = h + self.drops[4](self.output((weights @ v).transpose(1, 2).flatten(2)))
        return h + self.drops[5](self.down(F.relu(self.up(self.norm2(h)))))

    def _parts(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        return self.query, self.key, self.value
