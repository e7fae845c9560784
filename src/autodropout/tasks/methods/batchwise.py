"""How a method that changes batches joins a training: what prepares the model returns it."""

from dataclasses import dataclass

from autodropout.data.augmentation.chain import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Batchwise:
    """What a method does to the batches that a prepared model is trained on.

    A ``Prepare`` (``tasks.base``) that returns one asks for it; whatever else it returns asks for nothing.

    Attributes:
        images: Applied to images as they are stored, before the task's own flips and crops.
        mixing: Applied to scaled images and their labels, last.
    """

    images: tuple[Change, ...] = ()
    mixing: tuple[Change, ...] = ()


def batchwise(prepared: object) -> Batchwise:
    """Return what a ``Prepare`` asked for by what it returned."""
    return prepared if isinstance(prepared, Batchwise) else Batchwise()
