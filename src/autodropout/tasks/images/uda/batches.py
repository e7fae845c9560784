"""Batches for UDA: labelled images, and images without labels, once plain and once augmented."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from autodropout.data.augmentation import RandAugment
from autodropout.data.augmentation.chain import Change
from autodropout.errors import UsageError
from autodropout.tasks.batches import Batch, Seekable
from autodropout.tasks.images.batches import step_seed

_RAND_AUGMENT = RandAugment()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlabelled:
    """What is learned from images without labels, and how they are augmented.

    Attributes:
        batch_size: Images without labels per step; each is seen twice.
        augment: Changes one of the two, before both get the recipe's flips and crops; the authors' choice is
            RandAugment.

    Raises:
        UsageError: There are no images in a batch.
    """

    batch_size: int
    augment: Change = _RAND_AUGMENT

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"batch_size is {self.batch_size!r}; expected at least 1")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UdaBatches:
    """Endless batches (labelled images, labels, plain images, the same augmented), all scaled.

    The labelled part is what it is without the others. Plain and augmented images are changed each on their
    own. Each batch is a function of the seed and its step.

    Attributes:
        labelled: Batches with labels.
        pool: Batches of stored images, uint8; what they have as labels is not looked at.
        seed: Of the changes of the images without labels.
        plain: What happens to these, scaling included.
        augmented: What happens to them once more.
    """

    labelled: Seekable
    pool: Seekable
    seed: int
    plain: Change
    augmented: Change

    def __iter__(self) -> Iterator[Batch]:
        return self.starting_at(0)

    def starting_at(self, step: int) -> Iterator[Batch]:
        """Return the batches from this step on, steps counted from 0.

        Raises:
            UsageError: A batch is larger than the data.
        """
        return self._made(self.labelled.starting_at(step), self.pool.starting_at(step), step)

    def _made(self, labelled: Iterator[Batch], pool: Iterator[Batch], step: int) -> Iterator[Batch]:
        for number, ((images, labels), (drawn, known)) in enumerate(zip(labelled, pool, strict=False), step):
            generator = torch.Generator(drawn.device).manual_seed(step_seed(self.seed, number))
            plain, _ = self.plain(drawn, known, generator)
            augmented, _ = self.augmented(drawn, known, generator)
            yield images, labels, plain, augmented
