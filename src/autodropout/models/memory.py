"""What a Transformer-XL carries from one segment of a text to the next."""

from collections.abc import Sequence

import torch
from torch import Tensor

from autodropout.errors import ShapeError, UsageError


class Memory:
    """The latest inputs of each layer, without their gradients (Dai et al. 2019, section 3.2).

    It belongs to one run through one batch of texts; the network holds none itself.

    Args:
        length: Tokens that are kept; 0 keeps none.

    Raises:
        UsageError: The length is negative or no whole number.

    Example:
        >>> memory = Memory(2)
        >>> memory.keep([torch.zeros(1, 3, 8)])
        >>> memory.past(0, torch.zeros(1, 3, 8)).shape
        torch.Size([1, 2, 8])
    """

    def __init__(self, length: int) -> None:
        if isinstance(length, bool) or not isinstance(length, int) or length < 0:
            raise UsageError(f"the memory's length is {length!r}; expected a whole number of at least 0")
        self.length = length
        self._states: tuple[Tensor, ...] = ()

    @property
    def states(self) -> tuple[Tensor, ...]:
        """What it holds: of each layer the latest inputs, (N, up to ``length``, C); empty at the beginning.

        Setting it goes on from what another memory held.
        """
        return self._states

    @states.setter
    def states(self, states: Sequence[Tensor]) -> None:
        self._states = tuple(states)

    def check(self, num_layers: int, width: int) -> None:
        """Refuse to be read by a network of other sizes than the one that wrote it.

        Args:
            num_layers: Of the network.
            width: Channels of its stream.

        Raises:
            ShapeError: It holds another number of layers or channels.
        """
        if not self._states:
            return
        layers, channels = len(self._states), self._states[0].shape[-1]
        if (layers, channels) != (num_layers, width):
            raise ShapeError(
                f"the memory is of {layers} layers of {channels} channels, the network has {num_layers} of "
                f"{width}; take a new Memory for each network"
            )

    def past(self, layer: int, x: Tensor) -> Tensor:
        """Return what a layer's input was before this segment, (N, up to ``length``, C).

        Args:
            layer: Number of the layer.
            x: Its input now, (N, T, C).

        Raises:
            ShapeError: It holds a batch of another size.
        """
        if not self._states:
            return x.detach()[:, :0]
        state = self._states[layer]
        if len(state) != len(x):
            raise ShapeError(
                f"the memory is of a batch of {len(state)}, the tokens are a batch of {len(x)}; take a new "
                "Memory, or clear() it, where other texts begin"
            )
        return state

    def keep(self, inputs: Sequence[Tensor]) -> None:
        """Add each layer's input of a segment, and forget what lies further back than ``length``."""
        if self.length == 0:
            return
        self._states = tuple(
            torch.cat([self.past(layer, x), x.detach()], dim=1)[:, -self.length :]
            for layer, x in enumerate(inputs)
        )

    def clear(self) -> None:
        """Forget everything, as where the text begins again."""
        self._states = ()
