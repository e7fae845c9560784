"""Small models for tests of what is applied to models."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.site import Site


class Block(nn.Module):
    """A residual block that describes itself; its shortcut is an Identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity()

    def autodropout_sites(self) -> list[Site]:
        return [Site(name="bn", layout="NCHW", shortcut="shortcut")]

    def forward(self, h: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(h)) + self.shortcut(h))


class SmallNet(nn.Module):
    """Stem, two blocks, a pooled head with dropout of its own. Sites: norm, blocks.0.bn, blocks.1.bn."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.blocks = nn.Sequential(Block(channels), Block(channels))
        self.dropout = nn.Dropout(0.25)
        self.head = nn.Linear(channels, 3)

    def forward(self, images: Tensor) -> Tensor:
        h = self.blocks(F.relu(self.norm(self.stem(images))))
        return self.head(self.dropout(h.mean((2, 3))))


class SmallAttention(nn.Module):
    """One attention layer over (T, N, C) with sites for two roles."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def autodropout_sites(self) -> list[Site]:
        return [
            Site(name="query", layout="TNC", role="query"),
            Site(name="value", layout="TNC", role="value"),
        ]

    def forward(self, h_TNC: Tensor) -> Tensor:
        q, k, v = (layer(h_TNC).transpose(0, 1) for layer in (self.query, self.key, self.value))
        return torch.softmax(q @ k.transpose(1, 2), -1) @ v
