"""The recipe that translation tasks share: an encoder-decoder Transformer as in Vaswani et al. (2017)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import nn

from autodropout.applying import Applied
from autodropout.data.sentences import NumberedPairs, PairBatches, in_batches
from autodropout.data.subwords import BEGIN, END, PAD
from autodropout.errors import UsageError
from autodropout.models.beam_search import BeamSettings, translate
from autodropout.models.encoder_decoder import EncoderDecoder
from autodropout.models.transformer_blocks import TransformerSize
from autodropout.policy import ROLES
from autodropout.result import Result
from autodropout.tasks.base import Prepare
from autodropout.tasks.fit import (
    FitSettings,
    Fitted,
    Schedule,
    cosine,
    fit,
    inverse_sqrt,
    shortened,
    warmed_up,
)
from autodropout.tasks.saving import Saving
from autodropout.tasks.text.r_drop import RDrop
from autodropout.tasks.text.reward import perplexity_outcome, uniform_reward
from autodropout.tasks.translation.bleu import Tokenisation, corpus_bleu
from autodropout.tasks.translation.corpus import CorpusSettings, TranslationCorpus
from autodropout.tasks.translation.loss import TranslationLoss, forced, summed_loss
from autodropout.token_space import TokenSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslationRecipe:
    """Model, training, and how it is measured; reward = 80 / validation perplexity.

    Perplexities are per subword of the target, its end included, without label smoothing, in single precision
    whatever training has: they compare only under one vocabulary.

    Attributes:
        size: Of the network.
        corpus: What is made of the text; its longest sentence is the longest translation, too.
        steps: Optimiser steps.
        batch_tokens: Most tokens in a batch's source and in its target.
        learning_rate: Adam's, at its highest.
        schedule: What follows the warm-up: a fall with the root of the steps made, or a cosine.
        warmup: Share of the steps over which it rises.
        beta2: Adam's second decay.
        weight_decay: AdamW's, of all parameters.
        label_smoothing: Share of each label that is spread over the vocabulary.
        consistency: Weight of R-Drop's loss beside whatever dropout there is; 0 leaves it out.
        clip_norm: Largest norm of the gradient; None leaves it alone.
        measurements: Points on the curve of validation perplexity.
        beams: Of beam search on the test set.
        alpha: Its length penalty.
        tokenisation: What BLEU does to texts first.
        device: Where it is trained; None is the first GPU if there is one, and the CPU otherwise.
        bf16: Forward passes in bfloat16; None is so on a GPU only.

    Raises:
        UsageError: A batch has no room for the longest sentence, the warm-up is no share, R-Drop's weight is
            negative, or beam search is asked for the impossible.
    """

    size: TransformerSize
    corpus: CorpusSettings
    steps: int
    batch_tokens: int
    learning_rate: float
    warmup: float
    tokenisation: Tokenisation
    schedule: Literal["inverse-sqrt", "cosine"] = "inverse-sqrt"
    beta2: float = 0.98
    weight_decay: float = 0.0
    label_smoothing: float = 0.1
    consistency: float = 0.0
    clip_norm: float | None = None
    measurements: int = 4
    beams: int = 4
    alpha: float = 0.6
    device: str | None = None
    bf16: bool | None = None

    def __post_init__(self) -> None:
        if self.batch_tokens < self.corpus.longest:
            raise UsageError(
                f"batch_tokens is {self.batch_tokens}; expected room for the longest sentence, "
                f"{self.corpus.longest} tokens"
            )
        if not 0.0 < self.warmup < 1.0:
            raise UsageError(f"warmup is {self.warmup!r}; expected a share of the steps, above 0 and below 1")
        RDrop(weight=self.consistency)  # refuses what is no weight
        self.beam_settings()  # refuses what would else be found after training

    @property
    def floor(self) -> float:
        """Reward of a model that learned nothing: all subwords equally likely."""
        return uniform_reward(self.corpus.subwords.size)

    def space(self) -> TokenSpace:
        """Return the standard space over all seven roles."""
        return TokenSpace(sites=ROLES)

    def model(self) -> EncoderDecoder:
        """Return an untrained network."""
        return EncoderDecoder(
            vocabulary=self.corpus.subwords.size, size=self.size, pad=PAD, longest=self.corpus.longest
        )

    def shortened(self, budget: float) -> Self:
        """Return the recipe with this fraction of the steps, in (0, 1]; the schedule shrinks with it."""
        return replace(self, steps=shortened(self.steps, budget))

    def beam_settings(self) -> BeamSettings:
        """Return how the test set is translated."""
        return BeamSettings(
            begin=BEGIN, end=END, beams=self.beams, alpha=self.alpha, longest=self.corpus.longest
        )

    def train(
        self, corpus: TranslationCorpus, prepare: Prepare, seed: int, saving: Saving | None = None
    ) -> Result:
        """Train one network; return 80 / validation perplexity, the test's BLEU and perplexity beside it.

        Weights, batches and masks follow from the seed; the order of the batches and the first weights
        are the same whatever ``prepare`` does. Padding is kept out of a policy's masks.

        Args:
            corpus: The text, made by this recipe's settings.
            prepare: Changes the fresh network; what it returns may be an ``RDrop``.
            seed: Of everything random.
            saving: Where to keep a checkpoint, from which the same call goes on; None keeps none.

        Raises:
            UsageError: The checkpoint is of another training.
        """
        torch.manual_seed(seed)
        net = self.model()
        prepared = prepare(net)
        applied = Applied.of(net)
        if applied is not None and applied.policy is not None and applied.layers:
            applied.follow()
        measure = self.perplexity_on(corpus.validation)
        settings = self._settings(prepared, measure, saving)
        fitted = self._fit(net, corpus.train, seed, settings)
        return perplexity_outcome(
            fitted,
            net,
            lambda: {"bleu": self.bleu(net, corpus), "perplexity": self.perplexity_on(corpus.test)(net)},
        )

    def bleu(self, net: EncoderDecoder, corpus: TranslationCorpus) -> float:
        """Return the BLEU of a network's translations of the test set."""
        translations = corpus.subwords.decode(self.translations(net, corpus.test))
        return corpus_bleu(translations, corpus.references, self.tokenisation)

    def translations(self, net: EncoderDecoder, pairs: NumberedPairs) -> list[list[int]]:
        """Return a network's translations of some sentences, in their order."""
        settings = self.beam_settings()
        found: dict[int, list[int]] = {}
        for rows in in_batches(pairs, self.batch_tokens, torch.arange(len(pairs))):
            source = pairs.source.chosen(rows).to(net.codes.device)
            found |= zip(rows.tolist(), translate(net, source, settings), strict=True)
        return [found[row] for row in range(len(pairs))]

    def perplexity_on(self, pairs: NumberedPairs) -> Callable[[nn.Module], float]:
        """Return what measures exp(mean cross-entropy per subword) of a network in evaluation mode."""
        batches = in_batches(pairs, self.batch_tokens, torch.arange(len(pairs)))
        num_labels = int((pairs.target.lengths - 1).sum())

        @torch.no_grad()
        def perplexity(net: nn.Module) -> float:
            device = next(net.parameters()).device
            total = torch.zeros((), dtype=torch.float64, device=device)
            for rows in batches:
                source, target = (part.chosen(rows).to(device) for part in (pairs.source, pairs.target))
                with torch.autocast(device.type, enabled=False):
                    total += summed_loss(net, source, target)
            return (total / num_labels).exp().item()  # infinite where math.exp would raise

        return perplexity

    def _settings(
        self, prepared: object, measure: Callable[[nn.Module], float], saving: Saving | None
    ) -> FitSettings:
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        on_gpu = not device.startswith("cpu")
        return FitSettings(
            steps=self.steps,
            measure=measure,
            measurements=min(self.measurements, self.steps),
            objective=TranslationLoss.of(prepared, self.label_smoothing, self.consistency),
            observed=forced,
            device=device,
            bf16=on_gpu if self.bf16 is None else self.bf16,
            saving=saving,
            clip_norm=self.clip_norm,
        )

    def _fit(self, net: EncoderDecoder, train: NumberedPairs, seed: int, settings: FitSettings) -> Fitted:
        optimiser = torch.optim.AdamW(
            net.to(settings.device).parameters(),
            self.learning_rate,
            betas=(0.9, self.beta2),
            eps=1e-9,
            weight_decay=self.weight_decay,
            fused=True,
        )
        batches = PairBatches(pairs=train, num_tokens=self.batch_tokens, seed=seed)
        return fit(net, optimiser, self._learning_rate(), batches, settings)

    def _learning_rate(self) -> Schedule:
        if self.schedule == "cosine":
            return warmed_up(cosine, self.warmup)
        return inverse_sqrt(self.warmup)
