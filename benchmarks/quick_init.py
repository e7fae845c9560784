"""Random weights at the price of a copy: drawing them is half of what building a large network takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest import mock

import torch
from torch import Tensor

_PERIOD = 1_000_003  # a prime, so that no two rows of a matrix are alike
_SMALL = 4096


@contextmanager
def quick_init() -> Iterator[None]:
    """Inside, ``normal_``, ``uniform_`` and ``erfinv_`` of large tensors take their values from a table.

    They have the mean, spread and range that were asked for; only a truncated normal, which is made of these,
    comes out somewhat narrower. They repeat after a million values, and no generator moves on.
    """
    ways = {"normal_": _normal, "uniform_": _uniform, "erfinv_": _erfinv}
    originals = {name: getattr(Tensor, name) for name in ways}

    def instead_of(name: str) -> Any:
        def fill(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            # Tensors without storage (device "meta") are left to the original, too.
            if tensor.numel() < _SMALL or not tensor.is_contiguous() or tensor.device.type != "cpu":
                return originals[name](tensor, *args, **kwargs)
            return ways[name](tensor, *args, **kwargs)

        return fill

    with mock.patch.multiple(Tensor, **{name: instead_of(name) for name in ways}):
        yield


def _normal(tensor: Tensor, mean: float = 0.0, std: float = 1.0, **_: object) -> Tensor:
    return _copied(tensor, "normal").mul_(std).add_(mean)


def _uniform(tensor: Tensor, low: float = 0.0, high: float = 1.0, **_: object) -> Tensor:
    return _copied(tensor, "uniform").mul_(high - low).add_(low)


def _erfinv(tensor: Tensor) -> Tensor:
    return tensor  # the last step but scaling of a truncated normal: uniform values will do


def _copied(tensor: Tensor, kind: str) -> Tensor:
    with torch.no_grad():
        flat, table = tensor.view(-1), _table(kind)
        whole = flat.numel() // _PERIOD * _PERIOD
        flat[:whole].view(-1, _PERIOD).copy_(table.expand(whole // _PERIOD, -1))
        flat[whole:].copy_(table[: flat.numel() - whole])
    return tensor


@cache
def _table(kind: str) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    draw = torch.randn if kind == "normal" else torch.rand
    return draw(_PERIOD, generator=generator)
