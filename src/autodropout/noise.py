"""Where random draws come from: a generator's state, or a hash of what is drawn for.

A mask needs two kinds of draw, whole numbers below a bound and coins. ``GeneratorNoise`` takes them from
a generator, as ``torch.nn.Dropout`` does. ``CounterNoise`` computes them: each is a pure function of its
key and a step, so that resuming, activation checkpointing and a second call all see the same numbers.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from autodropout.errors import UsageError
from autodropout.tracing import runs_eagerly

_WORD = 0xFFFFFFFF
_INT64 = -(2**63), 2**63 - 1
_WordT = TypeVar("_WordT", int, Tensor)
_COIN_BITS = 24  # float32 holds every multiple of 2^-24 in [0, 1)


class Noise(Protocol):
    """A source of draws. Each call draws afresh; whole numbers below 1 cost no draw."""

    @property
    def device(self) -> torch.device | None:
        """Where the draws are returned; None is torch's default device."""
        ...

    def integers(self, bound: int, shape: Sequence[int]) -> Tensor:
        """Return int64 of this shape, uniform over 0 to bound - 1."""
        ...

    def coins(self, rate: float | Tensor, shape: Sequence[int]) -> Tensor:
        """Return bool of this shape, True with probability ``rate``, a float or a tensor that broadcasts."""
        ...


class GeneratorNoise:
    """Draws from a generator.

    Args:
        generator: Its state decides the draws; None is the device's default generator. One on another
            device works too: the numbers are drawn there and moved.
        device: Where the draws are needed; None is the generator's device, or torch's default device.
    """

    def __init__(
        self, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> None:
        self._generator = generator
        self._source = None if generator is None else generator.device
        self._device = self._source if device is None else torch.device(device)

    @property
    def device(self) -> torch.device | None:
        """Where the draws are returned; None is torch's default device."""
        return self._device

    def integers(self, bound: int, shape: Sequence[int]) -> Tensor:
        """Return int64 of this shape, uniform over 0 to bound - 1."""
        if bound == 1:
            return torch.zeros(tuple(shape), dtype=torch.int64, device=self._device)
        return self._words(0, bound, tuple(shape))

    def coins(self, rate: float | Tensor, shape: Sequence[int]) -> Tensor:
        """Return bool of this shape, True with probability ``rate``.

        One draw of 64 bits makes four coins: 16 bits fall below a threshold. As most rates are no multiple
        of 2^-16, each call rounds rate * 2^16 up or down at random, so that every coin has the rate asked
        for, to float32; two coins of a call are correlated by less than 2^-16.
        """
        num, source = math.prod(shape), self._source or self._device
        words = self._words(*_INT64, ((num + 3) // 4,))
        rounding = torch.rand((), generator=self._generator, device=source, dtype=torch.float32)
        threshold = (self._moved(rounding) + rate * 2.0**16).floor()
        lanes = words.view(torch.int16)[:num].reshape(tuple(shape))
        below = _is_less(lanes, (threshold - 2.0**15).clamp(max=2.0**15 - 1).to(torch.int16))
        if isinstance(rate, float) and rate <= 1.0 - 2.0**-16:
            return below
        return below | (threshold >= 2.0**16)  # beyond what 16 bits hold

    def _words(self, low: int, high: int, shape: tuple[int, ...]) -> Tensor:
        source = self._source or self._device
        if self._generator is None:  # with a generator, even None, compiled graphs refuse sizes that vary
            return torch.randint(low, high, shape, device=source)
        return self._moved(torch.randint(low, high, shape, generator=self._generator, device=source))

    def _moved(self, drawn: Tensor) -> Tensor:
        return drawn if self._device is None else drawn.to(self._device)


class CounterNoise:
    """Draws that are a pure function of (stream, rank, step, number of the draw, place in the tensor).

    Each place is hashed twice with 32-bit words of its key, in integer tensor arithmetic that neither
    overflows nor needs a generator, so compiled graphs hold it and a new step does not recompile them.

    Args:
        stream: What ``stream_key`` returned.
        rank: Data-parallel rank, so that replicas differ.
        step: 0-dim int64 tensor, at least 0, on the device where the draws are needed.
    """

    def __init__(self, stream: tuple[int, int], rank: int, step: Tensor) -> None:
        self._key = _absorbed(stream, rank)
        self._step = step
        self._draws = 0

    @property
    def device(self) -> torch.device:
        """Where the draws are returned: the step's device."""
        return self._step.device

    def integers(self, bound: int, shape: Sequence[int]) -> Tensor:
        """Return int64 of this shape, uniform over 0 to bound - 1."""
        high, low = self._words(shape), self._words(shape)
        return ((high << 31) | (low >> 1)) % bound

    def coins(self, rate: float | Tensor, shape: Sequence[int]) -> Tensor:
        """Return bool of this shape, True with probability ``rate``."""
        drawn = (self._words(shape) >> (32 - _COIN_BITS)).to(torch.float32) * 2.0**-_COIN_BITS
        return drawn < rate

    def _words(self, shape: Sequence[int]) -> Tensor:
        """Return 32 random bits per element, in int64."""
        self._draws += 1
        one, two = _absorbed(self._key, self._draws)
        low, high = self._step & _WORD, self._step >> 32
        first, second = _mixed(_mixed(low ^ one) ^ high), _mixed((_mixed(low ^ two) + high) & _WORD)
        place = torch.arange(math.prod(shape), device=self._step.device)
        inner = _mixed((place & _WORD) ^ first) ^ (place >> 32)
        return _mixed((inner + second) & _WORD).reshape(tuple(shape))


def _is_less(lanes: Tensor, bound: Tensor) -> Tensor:
    if not runs_eagerly():
        return lanes < bound
    # The processor compares four times as fast where the result is no bool.
    return torch.lt(lanes, bound, out=torch.empty_like(lanes, dtype=torch.uint8)).view(torch.bool)


def check_seed(seed: object) -> None:
    """Refuse what is no seed.

    Raises:
        UsageError: It is neither None nor a whole number.
    """
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise UsageError(
            f"seed is {seed!r}; expected a whole number (of NumPy's or torch's: int(seed)), or None"
        )


def stream_key(seed: int, site: str) -> tuple[int, int]:
    """Return two 32-bit words that stand for a seed and a site."""
    digest = hashlib.blake2b(f"{seed} {site}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:], "big")


def _absorbed(key: tuple[int, int], value: int) -> tuple[int, int]:
    one, two = key
    return _mixed(one ^ (value & _WORD)), _mixed((two + 0x3C6EF372 + value) & _WORD)


def _mixed(word: _WordT) -> _WordT:
    """Scramble 32 bits, one to one.

    Two rounds of xor-shift and multiply. Both factors are below 2^31, so that no product of theirs with a
    32-bit word overflows int64, whose overflow a compiler may assume never to happen.
    """
    word = word ^ (word >> 16)
    word = (word * 0x21F0AAAD) & _WORD
    word = word ^ (word >> 15)
    word = (word * 0x735A2D97) & _WORD
    return word ^ (word >> 15)
