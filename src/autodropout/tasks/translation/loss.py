"""What training on sentence pairs minimises: cross-entropy with smoothed labels, and R-Drop's term."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.data.subwords import PAD
from autodropout.tasks.batches import Batch
from autodropout.tasks.text.r_drop import RDrop, agreement

_IGNORED = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslationLoss:
    """Mean loss per token of the target, its beginning and padding left out; an ``Objective`` of ``fit``.

    Attributes:
        smoothing: Share of each label that is spread over the vocabulary (Vaswani et al. 2017, section 5.4).
        weight: Of R-Drop's agreement of two passes; 0 makes one pass.
    """

    smoothing: float
    weight: float = 0.0

    @classmethod
    def of(cls, prepared: object, smoothing: float, weight: float = 0.0) -> "TranslationLoss":
        """Return the loss that the preparation of a network asks for, or else one with this weight."""
        return cls(smoothing=smoothing, weight=prepared.weight if isinstance(prepared, RDrop) else weight)

    def __call__(self, net: nn.Module, batch: Batch, _progress: float) -> Tensor:
        """Return the loss of a batch.

        Args:
            net: Called with source and target.
            batch: Source, int64, (N, S), and target, int64, (N, T + 1), between its ends.
        """
        source, target = batch
        before, labels = target[:, :-1], _labels(target)
        if self.weight == 0.0:
            return self._mean(net(source, before), labels)
        # The two passes are one, of the batch twice.
        logits = net(torch.cat([source, source]), torch.cat([before, before]))
        first, second = logits.chunk(2)
        loss = self._mean(logits, torch.cat([labels, labels]))
        return loss + self.weight * agreement(first, second, labels)

    def _mean(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=self.smoothing)


def forced(batch: Batch) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Return what a network is called with to tell each token of the target, and these tokens.

    Args:
        batch: Source and target, each int64, (N, tokens).
    """
    source, target = batch
    return (source, target[:, :-1]), target[:, 1:]


def summed_loss(net: nn.Module, source: Tensor, target: Tensor) -> Tensor:
    """Return the sum of the cross-entropies of all tokens of a batch, in float64."""
    logits, labels = net(source, target[:, :-1]), _labels(target)
    return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="sum").double()


def _labels(target: Tensor) -> Tensor:
    labels = target[:, 1:]
    return labels.masked_fill(labels == PAD, _IGNORED)
