"""Dropout distillation (Bulo, Porzi, Kontschieder 2016): a network without it learns from one with it."""

from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.errors import UsageError
from autodropout.monte_carlo import mc
from autodropout.tasks.batches import Batch
from autodropout.tasks.fit_settings import Objective

LEAST = 2
"""Fewest passes of ``mc``."""


class Probabilities(nn.Module):
    """A classifier that returns probabilities, so that Monte Carlo passes average these.

    Args:
        classifier: Returns logits (..., classes).
    """

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs to (..., classes)."""
        probabilities: Tensor = self.classifier(inputs).softmax(-1)
        return probabilities


def distilling(teacher: nn.Module, samples: int = LEAST) -> Objective:
    """Return the objective of a student: the cross-entropy to the teacher's random predictions.

        E over x and masks of KL(p_teacher(. | x, mask) || p_student(. | x))

    whose part that the student can change is linear in p_teacher: the mean of ``samples`` fresh masks a step
    has the expectation of one, with less variance. At its minimum the student says what the average over all
    masks says, in one pass. The labels are not looked at.

    Args:
        teacher: A trained classifier with dropout, its own or applied, which stays on.
        samples: Masks a step, at least 2.

    Returns:
        For ``FitSettings.objective``.

    Raises:
        UsageError: There are too few samples.

    Example:
        >>> teacher = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3))
        >>> student = nn.Linear(4, 3)
        >>> distilling(teacher)(student, (torch.randn(2, 4), torch.tensor([0, 1])), 0.0).shape
        torch.Size([])
    """
    if samples < LEAST:
        raise UsageError(f"samples is {samples!r}; expected at least {LEAST}")
    says = Probabilities(teacher)

    def objective(student: nn.Module, batch: Batch, _progress: float) -> Tensor:
        inputs = batch[0]
        return F.cross_entropy(student(inputs), mc(says, inputs, samples).mean)

    return objective
