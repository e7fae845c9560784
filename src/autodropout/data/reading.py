"""Read photographs in worker processes: cropped at random to learn from, from the middle to be scored."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from autodropout.cores import share_of_cores, usable_cores
from autodropout.data.augmentation.defaults import drawn_from
from autodropout.data.photographs import Files
from autodropout.errors import DataError, MissingError

Wanted = tuple[int, int | None]
"""Place of a photograph and the seed of its crop; None crops from the middle."""

_MIDDLE = 0.875
"""Side of the crop from the middle over the shorter side of the photograph, as everybody evaluates."""


def random_crops(files: Files, wanted: Iterable[Sequence[Wanted]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of photographs, each cropped to between 8% and all of its area (Szegedy et al. 2015).

    Args:
        files: The photographs.
        wanted: For each batch, places and seeds of the crops. A crop is a function of its seed, whichever
            process makes it.

    Returns:
        uint8 images, (batch, 3, side, side), and int64 labels, in pinned memory where there is a GPU.

    Raises:
        DataError: A photograph is damaged.
        MissingError: torchvision is not installed.
    """
    return _loaded(files, wanted)


def middle_crops(files: Files, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all photographs in their order, cropped from the middle.

    Args:
        files: The photographs.
        size: How many at a time.

    Returns:
        As ``random_crops``.
    """
    places = range(len(files))
    return _loaded(files, [[(place, None) for place in places[at : at + size]] for at in places[::size]])


def num_readers() -> int:
    """Return how many processes read: the cores that fall to this trial, less one for training, 1 to 16.

    On a machine of one or two cores none: there the process that trains reads, too.
    """
    return 0 if usable_cores() <= 2 else min(max(1, share_of_cores() - 1), 16)


@dataclass(frozen=True, slots=True, eq=False)
class _Photographs(Dataset[Any]):
    files: Files

    def __getitem__(self, wanted: Wanted) -> tuple[Tensor, int] | DataError:
        place, seed = wanted
        try:
            return _read(self.files.paths[place], self.files.side, seed), self.files.labels[place]
        except DataError as error:
            return error  # raised by a worker process, its text would be a traceback

    def __len__(self) -> int:
        return len(self.files)


def _loaded(files: Files, wanted: Iterable[Sequence[Wanted]]) -> Iterator[tuple[Tensor, Tensor]]:
    loader: Any = DataLoader(
        _Photographs(files),
        batch_sampler=wanted,  # type: ignore[arg-type]
        num_workers=num_readers(),
        pin_memory=torch.cuda.is_available(),
        collate_fn=_together,
        generator=torch.Generator(),  # its own, or each start would move the one that masks are drawn from
    )
    for batch in loader:
        if isinstance(batch, DataError):
            raise batch
        images, labels = batch
        yield images, labels


def _together(examples: Sequence[tuple[Tensor, int] | DataError]) -> Any:
    """Return a batch, or the first error among its examples."""
    errors = [example for example in examples if isinstance(example, DataError)]
    return errors[0] if errors else default_collate(list(examples))


def _read(path: Path, side: int, seed: int | None) -> Tensor:
    try:
        from PIL import Image
        from torchvision.transforms import v2
    except ImportError as error:
        raise MissingError(
            "photographs are read by torchvision; install it with: pip install torchvision"
        ) from error
    try:
        with Image.open(path) as picture:
            image = picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # all are Pillow's
        raise DataError(f"{path} cannot be read as a picture ({error}); copy it again") from error
    if seed is None:
        change = v2.Compose([v2.Resize(round(side / _MIDDLE)), v2.CenterCrop(side)])
        return cast(Tensor, v2.functional.pil_to_tensor(change(image)))
    with drawn_from(torch.Generator().manual_seed(seed)):
        return cast(Tensor, v2.functional.pil_to_tensor(v2.RandomResizedCrop(side)(image)))
