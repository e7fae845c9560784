"""SVHN (Netzer et al. 2011): house numbers, 73,257 digits to train and 26,032 to test, 32x32 pixels."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from autodropout.data.drawing import SPLIT_SEED, held_out
from autodropout.data.files import VARIABLE, data_folder
from autodropout.data.images import ImageData, chosen, examples, image_data
from autodropout.data.source import ELSEWHERE
from autodropout.data.splits import Examples
from autodropout.errors import DataError, MissingError

SOURCE = "http://ufldl.stanford.edu/housenumbers/"

_FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Svhn:
    """SVHN as torchvision reads it, without its 531,131 extra images.

    The two files are looked for in the subfolder ``svhn``; torchvision compares their checksums.

    Attributes:
        num_validation: Training images set apart for the reward, the same share of each class.
        seed: Of that split.
    """

    num_classes: ClassVar[int] = 10
    channels: ClassVar[int] = 3
    side: ClassVar[int] = 32

    num_validation: int = 7325
    seed: int = SPLIT_SEED

    @property
    def needs(self) -> str:
        """Which files it needs and where they are looked for."""
        return f"SVHN, 235 MiB: svhn/{{{','.join(_FILES.values())}}} below {VARIABLE}"

    def check(self, folder: str | None) -> None:
        """Raise a DataError where the files are not there; what is in them is not read."""
        _check(data_folder(folder).absolute() / "svhn")

    def load(self, folder: str | None) -> ImageData:
        """Return the images, split."""
        return _load(data_folder(folder).absolute() / "svhn", self)


@lru_cache(maxsize=2)
def _load(folder: Path, source: Svhn) -> ImageData:
    _check(folder)
    train, test = (_read(folder, part) for part in _FILES)
    rest, held = held_out(train.labels.numpy(), source.num_validation, source.seed)
    return image_data(chosen(train, rest), chosen(train, held), test)


def _check(folder: Path) -> None:
    missing = [folder / name for name in _FILES.values() if not (folder / name).exists()]
    if missing:
        raise DataError(
            f'SVHN is not at {missing[0]}; download it with: python -c "from torchvision.datasets import '
            f"SVHN; [SVHN('{folder}', part, download=True) for part in ('train', 'test')]\" (235 MiB, "
            f"{SOURCE}), or name the folder that holds svhn/ by --data or by the environment variable "
            f"{VARIABLE}; {ELSEWHERE}"
        )


def _read(folder: Path, part: str) -> Examples:
    try:
        from torchvision.datasets import SVHN
    except ImportError as error:
        raise MissingError("SVHN is read by torchvision; install it with: pip install torchvision") from error
    try:
        found = SVHN(str(folder), part)
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(
            f"{folder / _FILES[part]} is not the file of SVHN: its checksum is another one; "
            f"remove it and download it again from {SOURCE}"
        ) from error
    return examples(found.data.transpose(0, 2, 3, 1), np.asarray(found.labels))
