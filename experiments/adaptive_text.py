"""One arm of the comparisons on text in adaptive.py: a small language model and its regulariser."""

import math
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adaptive_arms import USUAL, Strengths, regularise
from autodropout.adapting import Refreshing
from autodropout.data.pydoc_text import load_pydoc
from autodropout.data.splits import Examples
from autodropout.data.text import CorpusSize, windows
from autodropout.models.decoder import Decoder
from autodropout.result import Result
from autodropout.tasks.batches import shuffled_batches
from autodropout.tasks.fit import FitSettings, cosine, fit
from autodropout.tasks.text.token_baselines import branch_ends

CHUNK = 250

_REFRESHING = Refreshing(every=10, method="gradient")


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRun:
    """A small language model on the help texts of Python, an LSTM or a decoder.

    Attributes:
        network: Which of the two.
        arm: Name of the regulariser.
        steps: Optimiser steps.
        context: Tokens per window.
        width: Of the network.
        batch_size: Windows per step.
        learning_rate: Of AdamW at the start of its cosine.
        refreshing: When and how the rates of adaptive dropout are refreshed.
        strengths: Of the regularisers.
    """

    network: Literal["recurrent", "transformer"]
    arm: str = "none"
    steps: int = 800
    context: int = 32
    width: int = 96
    batch_size: int = 10
    learning_rate: float = 2e-3
    refreshing: Refreshing = _REFRESHING
    strengths: Strengths = USUAL

    def sibling(self) -> Self:
        """Return the run of a minute: fewer steps, and rates refreshed as many more times."""
        return replace(self, steps=150, refreshing=replace(self.refreshing, every=5))

    def __call__(self, seed: int) -> Result:
        """Train one network and return the test text's perplexity."""
        size = CorpusSize(validation=16_000, test=16_000)
        corpus = load_pydoc(size)
        train, test = (windows(part, self.context) for part in (corpus.train, corpus.test))
        torch.manual_seed(seed)
        net: nn.Module
        if self.network == "recurrent":
            net = Recurrent(size.vocabulary, self.width)
            places: tuple[str, ...] = ("embedding", "lstm")
        else:
            net = Decoder(
                vocabulary=size.vocabulary, context=self.context, layers=1, width=self.width, heads=4
            )
            places = branch_ends(net)
        regularise(net, places, self.arm, self.strengths, self.refreshing)
        optimiser = torch.optim.AdamW(net.parameters(), self.learning_rate, weight_decay=0.01)
        settings = FitSettings(steps=self.steps, loss=token_loss, clip_norm=1.0)
        batches = shuffled_batches(train, self.batch_size, seed)
        fitted = fit(net, optimiser, cosine, batches, settings)
        if fitted.diverged:
            return Result(reward=math.nan, metrics={"train_loss": fitted.loss}, seconds=fitted.seconds)
        perplexity = math.exp(mean_loss(net, test))
        return Result(
            reward=-fitted.loss,
            metrics={"train_loss": fitted.loss},
            test={"perplexity": perplexity},
            seconds=fitted.seconds,
        )


class Recurrent(nn.Module):
    """Embedding, one LSTM layer, a linear head."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (N, T) to logits (N, T, vocabulary)."""
        logits: Tensor = self.head(self.lstm(self.embedding(tokens))[0])
        return logits


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy per token."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


@torch.no_grad()
def mean_loss(net: nn.Module, part: Examples) -> float:
    """Return the mean cross-entropy per token of a text."""
    chunks = zip(part.inputs.split(CHUNK), part.labels.split(CHUNK), strict=True)
    total = sum(token_loss(net(inputs), labels).item() * labels.numel() for inputs, labels in chunks)
    return total / part.labels.numel()
