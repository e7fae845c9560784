"""How a Transformer-XL is trained on a running text: segments with a memory, Adam, a cosine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self, cast

import torch
from torch import Tensor, nn

from autodropout.data.streams import IGNORED, num_segments, segments, stream_batches, streams
from autodropout.data.text import Corpus
from autodropout.errors import UsageError
from autodropout.models.memory import Memory
from autodropout.models.transformer_xl import TransformerXL, XlSize
from autodropout.policy import ROLES
from autodropout.result import Result
from autodropout.tasks.base import Prepare
from autodropout.tasks.fit import FitSettings, Fitted, cosine, fit, shortened, warmed_up
from autodropout.tasks.saving import Saving
from autodropout.tasks.text.r_drop import RDrop, language_model_objective, token_loss
from autodropout.tasks.text.reward import perplexity_outcome, uniform_reward
from autodropout.tasks.text.vocabulary import check_vocabulary
from autodropout.token_space import TokenSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class XlRecipe:
    """Transformer-XL as Dai et al. (2019) have it on Penn Treebank; reward = 80 / validation perplexity.

    The text stands in ``batch_size`` streams side by side; a step is a segment of each, the memory holds what
    came before it. Where the text ends it begins again with an empty memory. Perplexities are of every token
    but the first, each predicted once, in single precision whatever training has.

    Attributes:
        size: Of the network.
        segment: Tokens per segment.
        memory: Tokens that each layer remembers.
        steps: Optimiser steps.
        batch_size: Streams side by side in training.
        evaluated: Streams side by side in evaluation, where each but the first begins without what is before.
        learning_rate: Adam's, at its highest.
        warmup: Share of the steps over which it rises.
        clip_norm: Largest norm of the gradient.
        consistency: Weight of R-Drop's loss beside whatever dropout there is; 0 leaves it out.
        measurements: Points on the curve of validation perplexity.
        device: Where it is trained; None is the first GPU if there is one, and the CPU otherwise.
        bf16: Forward passes in bfloat16; None is so on a GPU only.

    Raises:
        UsageError: A number is below 1, or the weight negative.
    """

    size: XlSize
    segment: int = 70
    memory: int = 70
    steps: int = 160_000
    batch_size: int = 16
    evaluated: int = 10
    learning_rate: float = 2.5e-4
    warmup: float = 0.0
    clip_norm: float = 0.25
    consistency: float = 0.0
    measurements: int = 20
    device: str | None = None
    bf16: bool | None = None

    def __post_init__(self) -> None:
        for name in ("segment", "steps", "batch_size", "evaluated"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)!r}; expected at least 1")
        RDrop(weight=self.consistency)  # refuses what is no weight

    @property
    def floor(self) -> float:
        """Reward of a model that learned nothing: all words equally likely."""
        return uniform_reward(self.size.vocabulary)

    def space(self) -> TokenSpace:
        """Return the standard space over all seven roles."""
        return TokenSpace(sites=ROLES)

    def model(self) -> TransformerXL:
        """Return an untrained network."""
        return TransformerXL(self.size)

    def shortened(self, budget: float) -> Self:
        """Return the recipe with this fraction of the steps, in (0, 1]; the cosine shrinks with it."""
        return replace(self, steps=shortened(self.steps, budget))

    def train(self, corpus: Corpus, prepare: Prepare, seed: int, saving: Saving | None = None) -> Result:
        """Train one network; return 80 / validation perplexity, the test's perplexity beside it.

        Weights and masks follow from the seed; the first weights are the same whatever ``prepare`` does,
        and so are the batches, whatever the seed.

        Args:
            corpus: The text, over a vocabulary of the network's size.
            prepare: Changes the fresh network; what it returns may be an ``RDrop``.
            seed: Of everything random.
            saving: Where to keep a checkpoint, from which the same call goes on; None keeps none.

        Raises:
            UsageError: The vocabularies differ, a token is outside its own, a text is shorter than its
                streams are many, or the checkpoint is of another training.
        """
        check_vocabulary(corpus, self.size.vocabulary)
        torch.manual_seed(seed)
        net = self.model()
        prepared = prepare(net)
        validated, tested = map(self.perplexity_on, (corpus.validation, corpus.test))
        reading = _Reading(self.memory, num_segments(len(corpus.train), self.batch_size, self.segment))
        settings = self._settings(reading, prepared, validated, saving)
        fitted = self._fit(net, corpus.train, settings)
        return perplexity_outcome(fitted, net, lambda: {"perplexity": tested(net)})

    def perplexity_on(self, tokens: Tensor) -> Callable[[nn.Module], float]:
        """Return what measures exp(mean cross-entropy per token) of a network in evaluation mode."""
        parts = segments(*streams(tokens, self.evaluated), self.segment)

        @torch.no_grad()
        def perplexity(net: nn.Module) -> float:
            memory, device = Memory(self.memory), next(net.parameters()).device
            total = torch.zeros((), dtype=torch.float64, device=device)
            for inputs, labels in parts:
                known = (labels != IGNORED).sum().item()
                with torch.autocast(device.type, enabled=False):
                    loss = token_loss(net(inputs.to(device), memory).float(), labels.to(device))
                total += loss.double() * known if known else 0.0
            return (total / (len(tokens) - 1)).exp().item()  # infinite where math.exp would raise

        return perplexity

    def _settings(
        self,
        reading: "_Reading",
        prepared: object,
        measure: Callable[[nn.Module], float],
        saving: Saving | None,
    ) -> FitSettings:
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        on_gpu = not device.startswith("cpu")
        return FitSettings(
            steps=self.steps,
            measure=measure,
            measurements=min(self.measurements, self.steps),
            objective=language_model_objective(reading, prepared, self.consistency),
            clip_norm=self.clip_norm,
            device=device,
            bf16=on_gpu if self.bf16 is None else self.bf16,
            saving=saving,
            carried=reading,
        )

    def _fit(self, net: nn.Module, train: Tensor, settings: FitSettings) -> Fitted:
        optimiser = torch.optim.Adam(net.to(settings.device).parameters(), self.learning_rate, fused=True)
        schedule = warmed_up(cosine, self.warmup)
        batches = stream_batches(train, self.batch_size, self.segment)
        return fit(net, optimiser, schedule, batches, settings)


class _Reading:
    """Calls a network with the memory of the text so far, empty where the text begins again."""

    def __init__(self, length: int, num_segments: int) -> None:
        self._memory = Memory(length)
        self._num_segments = num_segments
        self._read = 0

    def __call__(self, net: nn.Module, tokens: Tensor) -> Tensor:
        if self._read % self._num_segments == 0:
            self._memory.clear()
        self._read += 1
        return cast(Tensor, net(tokens, self._memory))

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the memory and how much was read, see ``Carried``."""
        states = {f"memory.{layer}": state for layer, state in enumerate(self._memory.states)}
        return {"read": torch.tensor(self._read), **states}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from there."""
        self._read = int(tensors["read"])
        self._memory.states = [tensors[f"memory.{layer}"] for layer in range(len(tensors) - 1)]
