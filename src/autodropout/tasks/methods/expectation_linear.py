"""Expectation-linear dropout (Ma et al. 2016): a penalty on what one mask changes beside the mean network."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.errors import UsageError
from autodropout.tasks.batches import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationLinear:
    """The objective of a network with dropout, for ``FitSettings.objective``.

        cross-entropy(H(x, mask)) + weight * mean over x of |H(x, mask) - H(x, E[mask])|^2

    H are the logits; with the mean mask they are those of evaluation. The paper also estimates its penalty,
    the squared distance of the mean over masks from H(x, E[mask]), from above by single masks; it says it of
    the last hidden state.

    Attributes:
        weight: lambda of the paper, at least 0.

    Raises:
        UsageError: It is negative.

    Example:
        >>> net = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3))
        >>> ExpectationLinear(weight=0.1)(net, (torch.randn(2, 4), torch.tensor([0, 1])), 0.0).shape
        torch.Size([])
    """

    weight: float

    def __post_init__(self) -> None:
        if not self.weight >= 0.0:
            raise UsageError(f"weight is {self.weight!r}; expected at least 0")

    def __call__(self, model: nn.Module, batch: Batch, _progress: float) -> Tensor:
        """Return the loss of a batch; the model is in training mode before and after."""
        inputs, targets = batch
        noisy: Tensor = model(inputs)
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        try:
            mean: Tensor = model(inputs)
        finally:
            for module, training in modes:
                module.training = training
        distance = (noisy - mean).square().flatten(1).sum(1).mean()
        return F.cross_entropy(noisy, targets) + self.weight * distance
