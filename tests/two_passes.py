"""Eqs. 4 to 10 of Demystifying Dropout in loops, for layers that are linear in what they consume."""

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}

Connection = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Index of an output, of a unit that it sees, and of the weight between them."""


def connections(layer: nn.Module, h: Tensor) -> Iterator[Connection]:
    """Every product of a unit and a weight, by the definition of the layer; h is (N, in) or (N, C, ...)."""
    if isinstance(layer, nn.Linear):
        for n, j, i in itertools.product(range(len(h)), range(layer.out_features), range(layer.in_features)):
            yield (n, j), (n, i), (j, i)
        return
    units = np.arange(h[0, 0].numel()).reshape(h.shape[2:])
    padding = layer.padding
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        amounts = [(total // 2, total - total // 2) for total in totals]
    else:
        amounts = [
            (0, 0) if padding == "valid" else (p, p)
            for p in ((0,) * units.ndim if padding == "valid" else padding)
        ]
    mode = PAD_MODES[layer.padding_mode]
    padded = np.pad(units, amounts, mode, **({"constant_values": -1} if mode == "constant" else {}))
    per_group_in = layer.in_channels // layer.groups
    per_group_out = layer.out_channels // layer.groups
    spans = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    outputs = [
        (size - span) // s + 1 for size, span, s in zip(padded.shape, spans, layer.stride, strict=True)
    ]
    for n, o in itertools.product(range(len(h)), range(layer.out_channels)):
        for place in itertools.product(*map(range, outputs)):
            for c, kernel in itertools.product(
                range(per_group_in), itertools.product(*map(range, layer.kernel_size))
            ):
                at = tuple(
                    p * s + k * d
                    for p, s, k, d in zip(place, layer.stride, kernel, layer.dilation, strict=True)
                )
                if padded[at] >= 0:
                    unit = np.unravel_index(padded[at], units.shape)
                    channel = o // per_group_out * per_group_in + c
                    yield (n, o, *place), (n, channel, *map(int, unit)), (o, c, *kernel)


def forward(layer: nn.Module, h: Tensor, eps_forward: Tensor, z: Tensor) -> Tensor:
    """Eq. 7: z = W (h * eps_f) + b; the given z only lends its shape."""
    out = torch.zeros_like(z)
    if layer.bias is not None:
        out += layer.bias.detach().reshape(1, -1, *[1] * (z.ndim - 2))
    for output, unit, weight in connections(layer, h):
        out[output] += layer.weight[weight].item() * h[unit].item() * eps_forward[unit].item()
    return out


def backward(
    layer: nn.Module, h: Tensor, eps_backward: Tensor, delta: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Eq. 9: dW = delta (h * eps_b)^T and dh = (W^T delta) * eps_b; and db = sum of delta."""
    of_weight, of_h = torch.zeros_like(layer.weight), torch.zeros_like(h)
    for output, unit, weight in connections(layer, h):
        of_weight[weight] += delta[output].item() * h[unit].item() * eps_backward[unit].item()
        of_h[unit] += layer.weight[weight].item() * delta[output].item() * eps_backward[unit].item()
    return of_weight.detach(), of_h.detach(), delta.transpose(0, 1).flatten(1).sum(1)
