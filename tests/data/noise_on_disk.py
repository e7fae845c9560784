"""Images of noise and strips of them, and what a test of files that are missing asks."""

import re

import numpy as np
import pytest

from autodropout.errors import DataError


def pixels(count, seed):
    return np.random.RandomState(seed).randint(0, 256, (count, 32, 32, 3)).astype(np.uint8)


def write_strip(file, images):
    image = pytest.importorskip("PIL.Image", reason="strips are read by Pillow, which comes with torchvision")
    image.fromarray(images.reshape(-1, 32, 3)).save(file, lossless=True)


def refuses(source, folder, text):
    """Assert that a source says this when it looks for its files, and when it reads them."""
    for asked in (source.check, source.load):
        with pytest.raises(DataError, match=re.escape(text)):
            asked(str(folder))
