"""Let code that draws from torch's default generator draw from another one."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_SEEDS = 2**62


@contextmanager
def drawn_from(generator: torch.Generator) -> Iterator[None]:
    """Seed the CPU's default generator with a draw from this one; give its state back afterwards.

    The generators of other devices are not touched, so that masks drawn there go on undisturbed.

    Args:
        generator: It moves on by one draw, whatever is drawn inside.
    """
    seed = int(torch.randint(_SEEDS, (), generator=generator, device=generator.device))
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)
