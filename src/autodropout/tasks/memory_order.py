"""Whether a network may be trained with its maps and weights in channels-last order."""

import torch
from torch import nn

_WIDTH = 8
"""Channels that oneDNN's kernels for 256-bit vectors handle at once."""


def stands_channels_last(model: nn.Module, device: torch.device) -> bool:
    """Say whether a network survives channels-last order on a device.

    On processors without AVX-512, oneDNN (as of torch 2.14) writes beyond its buffers in the backward pass of
    strided 1x1 convolutions that read fewer than 8 channels in that order, which ends the process. So no
    network with such a layer is given it on a processor, of whatever kind: figures do not depend on that.

    Args:
        model: The network.
        device: Where it trains.
    """
    return device.type != "cpu" or not any(map(_is_thin, model.modules()))


def _is_thin(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels < _WIDTH
    )
