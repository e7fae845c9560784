"""R-Drop, a loss beside any dropout: passes under two draws of it shall agree (Liang et al. 2021)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.errors import UsageError
from autodropout.tasks.batches import Batch
from autodropout.tasks.fit import Objective

Forward = Callable[[nn.Module, Tensor], Tensor]
"""(model, tokens) to logits (N, T, vocabulary)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RDrop:
    """What a baseline's ``put`` returns to have a language model trained with R-Drop.

    Attributes:
        weight: Of the second term, alpha; 0 is plain training.
        placed: The dropout that makes the two passes differ.

    Raises:
        UsageError: The weight is negative or no number.
    """

    weight: float
    placed: object = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight < float("inf"):
            raise UsageError(f"R-Drop's weight is {self.weight!r}; expected a number of at least 0")


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy per token; labels of -100 are left out.

    Args:
        logits: (N, T, vocabulary).
        labels: int64, (N, T).
    """
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def agreement(first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
    """Return half the sum of both Kullback-Leibler divergences, mean per token.

    (KL(P1 || P2) + KL(P2 || P1)) / 2                          (R-Drop, Eq. 1)

    Args:
        first: Logits of one pass, (N, T, vocabulary).
        second: Logits of the other.
        labels: int64, (N, T); tokens with a label of -100 are left out.
    """
    log_p, log_q = first.float().log_softmax(-1), second.float().log_softmax(-1)
    # Both divergences in one: KL(p || q) + KL(q || p) = sum of (p - q)(log p - log q).
    both = ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1)
    return both[labels != -100].mean() / 2


def language_model_objective(forward: Forward, prepared: object, weight: float = 0.0) -> Objective:
    """Return the loss of a language model, with R-Drop where it is asked for.

    mean of both passes' cross-entropies + weight * agreement

    That is the paper's Eq. 4 with half of its first term, so that without dropout the loss, and with it the
    meaning of a learning rate, is that of one pass. The two passes are one, of the batch twice.

    Args:
        forward: Calls the model.
        prepared: What the preparation of the model returned; an ``RDrop`` brings a weight of its own.
        weight: Otherwise this one; 0 makes one pass.
    """
    alpha = prepared.weight if isinstance(prepared, RDrop) else weight

    def objective(model: nn.Module, batch: Batch, _progress: float) -> Tensor:
        tokens, labels = batch
        if alpha == 0.0:
            return token_loss(forward(model, tokens), labels)
        logits = forward(model, torch.cat([tokens, tokens]))
        first, second = logits.chunk(2)
        loss = token_loss(logits, torch.cat([labels, labels]))
        return loss + alpha * agreement(first, second, labels)

    return objective
