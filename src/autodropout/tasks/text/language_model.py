"""The recipe that language-model tasks share: a small Transformer on little text, which it overfits."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self, cast

import torch
from torch import Tensor, nn

from autodropout.data.splits import Examples
from autodropout.data.text import Corpus, CorpusSize, windows
from autodropout.models.decoder import Decoder
from autodropout.policy import ROLES
from autodropout.result import Result
from autodropout.tasks.base import Prepare
from autodropout.tasks.batches import shuffled_batches
from autodropout.tasks.fit import FitSettings, Fitted, Objective, cosine, fit, shortened, warmed_up
from autodropout.tasks.text.r_drop import RDrop, language_model_objective, token_loss
from autodropout.tasks.text.reward import perplexity_outcome, uniform_reward
from autodropout.tasks.text.vocabulary import check_vocabulary
from autodropout.tasks.weight_decay import decay_groups
from autodropout.token_space import TokenSpace

_SIZE = CorpusSize()
_EVALUATED = 128  # windows at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModelRecipe:
    """A decoder-only Transformer, AdamW, a short warm-up, a cosine; reward = 80 / validation perplexity.

    The text is cut into windows once; each is predicted on its own, so that the first tokens of a window
    have little before them. Perplexities are over the vocabulary of the corpus, in which every other word
    is ``<unk>``: they compare with one another and not with figures on the full vocabulary.

    Attributes:
        size: How much of the text there is.
        context: Tokens per window.
        layers: Layers of the Transformer.
        width: Its width.
        heads: Its attention heads.
        steps: Optimiser steps.
        batch_size: Windows per step.
        learning_rate: At its highest.
        warmup: Share of the steps over which it rises.
        weight_decay: AdamW's, of all matrices.
        clip_norm: Largest norm of the gradient.
        consistency: Weight of R-Drop's loss beside whatever dropout there is; 0 leaves it out.
        measurements: Points on the curve of validation perplexity.

    Raises:
        UsageError: The weight is negative.
    """

    size: CorpusSize = _SIZE
    context: int = 32
    layers: int = 1
    width: int = 96
    heads: int = 4
    steps: int = 400
    batch_size: int = 10
    learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    consistency: float = 0.0
    measurements: int = 2

    def __post_init__(self) -> None:
        RDrop(weight=self.consistency)  # refuses what is no weight

    @property
    def floor(self) -> float:
        """Reward of a model that learned nothing: all words equally likely."""
        return uniform_reward(self.size.vocabulary)

    def space(self) -> TokenSpace:
        """Return the standard space over all seven roles."""
        return TokenSpace(sites=ROLES)

    def model(self) -> Decoder:
        """Return an untrained network."""
        return Decoder(
            vocabulary=self.size.vocabulary,
            context=self.context,
            layers=self.layers,
            width=self.width,
            heads=self.heads,
        )

    def shortened(self, budget: float) -> Self:
        """Return the recipe with this fraction of the steps and of the training text, but for a whole batch.

        Warm-up and cosine shrink along, and every token is seen as often: with fewer steps on the whole text
        nothing overfits, and rewards may foretell the opposite (docs/search.md).

        Args:
            budget: The fraction, in (0, 1].
        """
        steps = shortened(self.steps, budget)  # refuses what is no fraction
        least = min(self.size.train, self.batch_size * self.context + 1)
        train = max(least, round(self.size.train * budget))
        return replace(self, steps=steps, size=replace(self.size, train=train))

    def train(self, corpus: Corpus, prepare: Prepare, seed: int) -> Result:
        """Train one network; return 80 / validation perplexity, the test's perplexity beside it.

        Weights, batches and masks follow from the seed; the order of the batches and the first weights
        are the same whatever ``prepare`` does.

        Args:
            corpus: The text, of this recipe's size.
            prepare: Changes the fresh network; what it returns may be an ``RDrop``.
            seed: Of everything random.

        Raises:
            UsageError: The vocabularies differ, a token is outside its own, or a text is too short.
        """
        check_vocabulary(corpus, self.size.vocabulary)
        train, validation, test = (
            windows(part, self.context) for part in (corpus.train, corpus.validation, corpus.test)
        )
        torch.manual_seed(seed)
        net = self.model()
        objective = language_model_objective(_called, prepare(net), self.consistency)
        fitted = self._fit(net, train, objective, _perplexity_on(validation), seed)
        return perplexity_outcome(fitted, net, lambda: {"perplexity": _perplexity_on(test)(net)})

    def _fit(
        self,
        net: nn.Module,
        train: Examples,
        objective: Objective,
        measure: Callable[[nn.Module], float],
        seed: int,
    ) -> Fitted:
        optimiser = torch.optim.AdamW(
            decay_groups(net, self.weight_decay), self.learning_rate, betas=(0.9, 0.99), fused=True
        )
        settings = FitSettings(
            steps=self.steps,
            measure=measure,
            measurements=self.measurements,
            objective=objective,
            clip_norm=self.clip_norm,
        )
        batches = shuffled_batches(train, self.batch_size, seed)
        return fit(net, optimiser, warmed_up(cosine, self.warmup), batches, settings)


def _called(net: nn.Module, tokens: Tensor) -> Tensor:
    return cast(Tensor, net(tokens))


def _perplexity_on(examples: Examples) -> Callable[[nn.Module], float]:
    """Return what measures exp(mean cross-entropy per token) of a network in evaluation mode."""

    @torch.no_grad()
    def perplexity(net: nn.Module) -> float:
        total = sum(
            token_loss(net(inputs), labels).item() * labels.numel()
            for inputs, labels in zip(
                torch.split(examples.inputs, _EVALUATED),
                torch.split(examples.labels, _EVALUATED),
                strict=True,
            )
        )
        mean = torch.tensor(total / examples.labels.numel(), dtype=torch.float64)
        return mean.exp().item()  # infinite where math.exp would raise

    return perplexity
