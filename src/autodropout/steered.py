"""What the layers of one handle share: a strength that never recompiles, a step for seeded draws."""

from collections.abc import Callable
from typing import Self

import torch
import torch.distributed as dist
from torch import Tensor, nn

from autodropout.errors import UsageError
from autodropout.noise import CounterNoise, GeneratorNoise, Noise, check_seed, stream_key
from autodropout.tracing import at_trace_time


class Steered(nn.Module):
    """Base of layers that drop at a rate times a strength. No parameters, nothing in ``state_dict``.

    Args:
        site: Name of the place where it stands, for errors and for ``seed``; None if it has none.
        seed: None draws from the device's default generator. A number makes every mask a pure function
            of (seed, data-parallel rank, site, step).

    Raises:
        UsageError: The seed is no whole number.

    Attributes:
        fired: Whether it has run in training mode, or been compiled to, since it was made.
    """

    strength: Tensor
    step: Tensor | None

    def __init__(self, site: str | None, seed: int | None) -> None:
        super().__init__()
        check_seed(seed)
        self.site = site
        self.seed = seed
        self.fired = False
        self._level, self._number = 1.0, 0  # of strength and step: the tensors are for compiled graphs
        self._stream = None if seed is None else stream_key(seed, site or "")
        # No buffers: an averaged copy pairs a model's buffers with its own by position.
        self.strength = torch.tensor(1.0)
        self.step = None if seed is None else torch.tensor(0)

    def set_strength(self, strength: float) -> None:
        """Multiply the rates by ``strength`` from now on, 0 being an exact identity.

        Compiled code follows without being compiled again.

        Args:
            strength: 0 to 1.

        Raises:
            UsageError: It is out of range.
        """
        if not 0.0 <= strength <= 1.0:
            raise UsageError(f"strength is {strength!r}; expected a number from 0 to 1")
        self._level = float(strength)
        self.strength.fill_(self._level)

    def set_step(self, step: int) -> None:
        """Say which step the next masks are for; it must differ from one micro-batch to the next.

        A second call within a step draws the same mask again: that is what makes activation checkpointing
        safe.

        Args:
            step: At least 0.

        Raises:
            UsageError: The step is negative, or the layer has no seed.
        """
        if self.step is None:
            raise UsageError("the layer has no seed, so it takes no step; give it one with seed=")
        if step < 0:
            raise UsageError(f"step is {step!r}; expected a whole number of at least 0")
        self._number = int(step)
        self.step.fill_(self._number)

    @property
    def where(self) -> str:
        """How an error begins that concerns this place."""
        return "" if self.site is None else f'site "{self.site}": '

    @at_trace_time
    def note_fired(self) -> None:
        """Remember that the layer has run in training mode."""
        # Run when a graph is traced, not by the graph: a graph under activation checkpointing may not
        # change an attribute.
        self.fired = True

    def is_idle(self) -> bool:
        """Say whether the strength is 0 and may be taken for a constant."""
        return not torch.compiler.is_compiling() and self._level == 0.0

    def current_strength(self) -> float | Tensor:
        """Return the strength: a number, or in compiled graphs the tensor, which they follow."""
        return self.strength if torch.compiler.is_compiling() else self._level

    def noise(self, device: torch.device) -> Noise:
        """Return where the draws of one call come from."""
        if self._stream is None or self.step is None:
            return GeneratorNoise(device=device)
        return CounterNoise(self._stream, _data_parallel_rank(), self.step.to(device))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        # Of what is done to a model's tensors, these two only follow to the device.
        device = fn(self.strength).device
        self.strength = torch.tensor(self._level, device=device)
        if self.step is not None:
            self.step = torch.tensor(self._number, device=device)
        return self


def _data_parallel_rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
