"""Handwritten digits that ship with scikit-learn: what the examples train on, without a download."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import TensorDataset


def grey_levels() -> tuple[Tensor, Tensor]:
    """Return the pixels (1797, 64), whole numbers from 0 to 16, and the labels (1797,)."""
    pixels, labels = load_digits(return_X_y=True)
    return torch.tensor(pixels).long(), torch.tensor(labels)


def images(side: int = 8, channels: int = 1) -> tuple[TensorDataset, TensorDataset]:
    """Return training and test images, (channels, side, side) each; side is a multiple of 8."""
    pixels, labels = grey_levels()
    maps = (pixels.float() / 16.0 - 0.3).reshape(-1, 1, 8, 8).expand(-1, channels, -1, -1)
    maps = nn.functional.interpolate(maps, scale_factor=side // 8)
    return TensorDataset(maps[:1000], labels[:1000]), TensorDataset(maps[1000:], labels[1000:])


def small_net() -> nn.Sequential:
    """Return a ConvNet of 20,000 parameters for images of 8 x 8; its sites are "1" and "4"."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )


@torch.no_grad()
def accuracy(model: nn.Module, test: TensorDataset) -> float:
    """Return the share of the test images that the model names."""
    maps, labels = test.tensors
    return (model.eval()(maps).argmax(1) == labels).float().mean().item()
