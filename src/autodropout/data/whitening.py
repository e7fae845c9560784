"""Global contrast normalisation and ZCA whitening, as usual for CIFAR-10 since Goodfellow et al. (2013)."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from autodropout.errors import ShapeError, UsageError

SCALE = 55.0
"""Euclidean norm of every image after contrast normalisation; at 3x32x32 values, a deviation of .99."""


def contrast_normalised(images: Tensor, scale: float = SCALE, least: float = 1e-8) -> Tensor:
    """Give every image mean 0 and norm ``scale`` over all its pixels and channels.

    x' = scale (x - mean(x)) / max(least, ||x - mean(x)||)

    Args:
        images: Of any dtype, (N, channels, H, W).
        scale: The norm.
        least: Smaller norms, of images that are flat, count as this.

    Returns:
        float32, of the same shape.

    Raises:
        ShapeError: The images have other axes.

    Example:
        >>> contrast_normalised(torch.tensor([0.0, 6.0, 8.0, 2.0]).reshape(1, 1, 2, 2), scale=2.0).flatten()
        tensor([-1.2649,  0.6325,  1.2649, -0.6325])
    """
    if images.ndim != 4:
        raise ShapeError(f"images have shape {tuple(images.shape)}; expected (N, channels, H, W)")
    centred = images.float() - images.float().mean((1, 2, 3), keepdim=True)
    norm = centred.square().sum((1, 2, 3), keepdim=True).sqrt()
    return centred * (scale / norm.clamp_min(least))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Zca:
    """The linear map that makes pixels uncorrelated and changes images as little as possible.

        x' = (x - m) V (L + bias)^(-1/2) V^T,   covariance of the training images = V L V^T

    (Krizhevsky 2009, Appendix A). ``fitted`` makes it; an instance is called with images.

    Attributes:
        mean: m, (pixels,), float32.
        matrix: (pixels, pixels), float32, symmetric.
    """

    mean: Tensor
    matrix: Tensor

    @classmethod
    def fitted(cls, images: Tensor, bias: float = 0.1) -> Self:
        """Return the map of these images; it takes their covariance's eigenvalues in float64.

        Args:
            images: (N, channels, H, W), at least two.
            bias: Added to every eigenvalue, above 0; tames what there is little of.

        Raises:
            ShapeError: There are fewer than two images, or these have other axes.
            UsageError: The bias is not above 0.
        """
        if images.ndim != 4 or len(images) < 2:
            raise ShapeError(
                f"images have shape {tuple(images.shape)}; expected at least 2, (N, channels, H, W)"
            )
        if not bias > 0.0:
            raise UsageError(f"bias is {bias!r}; expected a number above 0")
        flat = images.flatten(1).double()
        mean = flat.mean(0)
        flat -= mean
        values, vectors = torch.linalg.eigh(flat.t() @ flat / len(flat))
        matrix = (vectors * (values.clamp_min(0.0) + bias).rsqrt()) @ vectors.t()
        return cls(mean=mean.float(), matrix=matrix.float())

    def __call__(self, images: Tensor) -> Tensor:
        """Return whitened images, float32, of the same shape.

        Raises:
            ShapeError: They have another number of pixels.
        """
        if images[0].numel() != len(self.mean):
            raise ShapeError(
                f"images have shape {tuple(images.shape)}; expected {len(self.mean)} values each, as "
                "the images that the map was made of"
            )
        return ((images.flatten(1).float() - self.mean) @ self.matrix).reshape(images.shape)
