"""The decoder one token at a time, with what it has seen kept."""

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from autodropout.models.attention import Seen
from autodropout.models.encoder_decoder import EncoderDecoder
from autodropout.models.transformer_blocks import DecoderBlock


class Generation:
    """Several translations of each of some sentences, growing side by side.

    What ``step`` returns is what ``EncoderDecoder.forward`` would at the last place, within rounding.

    Args:
        net: The network, in evaluation mode.
        source: Tokens, int64, (N, S).
        beams: Translations per sentence; they are rows n * beams to (n + 1) * beams.
    """

    def __init__(self, net: EncoderDecoder, source: Tensor, beams: int) -> None:
        self._net = net
        self._blocks = [cast(DecoderBlock, block) for block in net.decoder.blocks]
        encoded, valid = net.encode(source)
        self._visible = valid[:, None, None]
        self._sources = [block.cross.seen(encoded) for block in self._blocks]
        rows = len(source) * beams
        self._pasts = [_nothing(block, rows, encoded) for block in self._blocks]

    @property
    def place(self) -> int:
        """How many tokens the translations have."""
        return self._pasts[0].key.shape[2]

    def step(self, tokens: Tensor) -> Tensor:
        """Append a token to each translation and return the logits of the next.

        Args:
            tokens: int64, (N * beams,).

        Returns:
            (N * beams, vocabulary).
        """
        net, decoder = self._net, self._net.decoder
        h = decoder.embedded(net.embed(net.embedding, tokens[:, None], self.place))
        for layer, block in enumerate(self._blocks):
            h, self._pasts[layer] = block.step(h, self._pasts[layer], self._sources[layer], self._visible)
        return F.linear(decoder.final(h)[:, 0], net.embedding.weight)

    def reorder(self, rows: Tensor) -> None:
        """Replace each translation by that of another row of the same sentence.

        Args:
            rows: int64, (N * beams,).
        """
        self._pasts = [Seen(past.key[rows], past.value[rows]) for past in self._pasts]


def _nothing(block: DecoderBlock, rows: int, like: Tensor) -> Seen:
    heads = block.attention.heads
    empty = torch.empty(rows, heads, 0, like.shape[-1] // heads, dtype=like.dtype, device=like.device)
    return Seen(empty, empty)
