"""A baseline whose strength grows while a model trains."""

from torch import Tensor, nn

from autodropout.baselines.rated import Rated
from autodropout.errors import UsageError


class Ramped(nn.Module):
    """A baseline module whose ``p`` rises linearly from 0 to what it was made with.

    DropBlock is published so (Ghiasi et al. 2018), and so is DropPath as NASNet has it (ScheduledDropPath,
    Zoph et al. 2018): both hurt early in training at full strength. ``fit`` sets the progress of all that
    it finds in a model.

    Args:
        module: A baseline module; its ``p`` is the strength at the end.

    Raises:
        UsageError: The module has no ``p`` of ours.

    Example:
        >>> from autodropout.baselines import StochasticDepth
        >>> ramped = Ramped(StochasticDepth(0.4))
        >>> ramped.progress = 0.5
        >>> ramped.module.p
        0.2
    """

    def __init__(self, module: Rated) -> None:
        super().__init__()
        if not isinstance(module, Rated):
            raise UsageError(
                f"a {type(module).__name__} cannot be ramped; expected a module of autodropout.baselines"
            )
        self.module = module
        self.final = module.p
        self.progress = 0.0

    @property
    def progress(self) -> float:
        """Progress of training, from 0 to 1."""
        return self._progress

    @progress.setter
    def progress(self, value: float) -> None:
        self._progress = min(max(float(value), 0.0), 1.0)
        self.module.p = self.final * self._progress

    def forward(self, x: Tensor) -> Tensor:
        """Apply the module at its present strength."""
        y: Tensor = self.module(x)
        return y
