"""Small networks that translate, and sentences for them."""

from functools import cache

import torch
from torch.nn import functional as F

from autodropout.models.encoder_decoder import EncoderDecoder
from autodropout.models.transformer_blocks import TransformerSize

TINY = TransformerSize(layers=2, width=12, heads=3, hidden=20)
PAD, BEGIN, END = 0, 1, 2


def small(vocabulary=11, spread=1.0, **options):
    """An untrained network in float64; ``spread`` makes its attentions less even."""
    torch.manual_seed(0)
    net = EncoderDecoder(**{"vocabulary": vocabulary, "size": TINY, "longest": 16} | options).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(spread if parameter.ndim > 1 else 1.0)
    return net


def sentences(lengths, vocabulary=11, seed=1):
    """Tokens from 3 on, padded with 0 to the longest."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(3, vocabulary, (len(lengths), max(lengths)), generator=generator)
    return rows.masked_fill_(torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None], PAD)


@cache
def taught(vocabulary=11, steps=40):
    """A network that has learned a little of how to write sentences backwards, in evaluation mode."""
    net = small(vocabulary)
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    lengths = [1 + n % 6 for n in range(48)]
    for step in range(steps):
        source = sentences(lengths, vocabulary, seed=step)
        target = torch.full((48, 8), PAD)
        target[:, 0] = BEGIN
        for row, length in enumerate(lengths):
            target[row, 1 : length + 1] = source[row, :length].flip(0)
            target[row, length + 1] = END
        loss = F.cross_entropy(net(source, target[:, :-1]).transpose(1, 2), target[:, 1:], ignore_index=PAD)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()
