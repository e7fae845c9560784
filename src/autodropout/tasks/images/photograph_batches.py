"""Batches of photographs that are read from disk while a network trains."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from autodropout.data.augmentation.chain import Change
from autodropout.data.photographs import Files
from autodropout.data.reading import Wanted, random_crops
from autodropout.tasks.batches import shuffled_places
from autodropout.tasks.images.batches import step_seed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PhotographBatches:
    """``ImageBatches`` whose images are read and cropped by worker processes.

    Attributes:
        files: The photographs.
        batch_size: Photographs per batch.
        seed: Of order, crops and changes.
        change: What happens to each batch, on the device that trains.
        device: That device.
    """

    files: Files
    batch_size: int
    seed: int
    change: Change
    device: torch.device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.starting_at(0)

    def starting_at(self, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Return the batches from this step on, steps counted from 0.

        Raises:
            UsageError: The batch is larger than the data.
        """
        order = shuffled_places(len(self.files), self.batch_size, self.seed, step)
        return self._made(order, step)

    def _made(self, order: Iterator[Tensor], step: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator(self.device)
        read = random_crops(self.files, self._wanted(order, step))
        for number, (images, labels) in enumerate(read, step):
            generator.manual_seed(step_seed(self.seed, number))
            there = images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)
            yield self.change(*there, generator)

    def _wanted(self, order: Iterator[Tensor], step: int) -> Iterator[list[Wanted]]:
        for number, places in enumerate(order, step):
            first = step_seed(self.seed, number) // 2
            yield [(place, first + position) for position, place in enumerate(places.tolist())]
