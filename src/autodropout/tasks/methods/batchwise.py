"""How a method that changes batches joins a training: what prepares the model returns it."""

from dataclasses import dataclass

from torch import nn

from autodropout.data.augmentation.chain import Change
from autodropout.tasks.base import Prepare


@dataclass(frozen=True, slots=True, kw_only=True)
class Batchwise:
    """What a method does to the batches that a prepared model is trained on.

    A ``Prepare`` that returns one asks for it; whatever else it returns asks for nothing.

    Attributes:
        images: Applied to images as they are stored, before the task's own flips and crops.
        mixing: Applied to scaled images and their labels, last.
    """

    images: tuple[Change, ...] = ()
    mixing: tuple[Change, ...] = ()


def batchwise(prepared: object) -> Batchwise:
    """Return what a ``Prepare`` asked for by what it returned."""
    return prepared if isinstance(prepared, Batchwise) else Batchwise()


@dataclass(frozen=True, slots=True)
class Together:
    """Several methods on one model, such as a policy and RandAugment; a ``Prepare`` itself.

    Attributes:
        prepares: Called from first to last. What they ask for is done in this order, too.
    """

    prepares: tuple[Prepare, ...]

    def __call__(self, model: nn.Module) -> Batchwise:
        """Change the model by all of them and return what they ask for."""
        asked = [batchwise(prepare(model)) for prepare in self.prepares]
        return Batchwise(
            images=tuple(change for one in asked for change in one.images),
            mixing=tuple(change for one in asked for change in one.mixing),
        )
