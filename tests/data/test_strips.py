import re

import numpy as np
import pytest
from noise_on_disk import pixels, write_strip

from autodropout.data.strips import check_arrays, read_arrays, read_strips, strip_files
from autodropout.errors import DataError

Image = pytest.importorskip("PIL.Image", reason="strips are read by Pillow, which comes with torchvision")


def test_strips_are_read_in_the_order_of_their_names(tmp_path):
    images = pixels(10, 0)
    write_strip(tmp_path / "a-01.webp", images[6:])
    write_strip(tmp_path / "a-00.webp", images[:6])
    write_strip(tmp_path / "b-00.webp", images)
    assert np.array_equal(read_strips(strip_files(tmp_path, "a", 2)), images)


def test_a_strip_too_many_or_too_few(tmp_path):
    write_strip(tmp_path / "a-00.webp", pixels(1, 0))
    for count in (0, 2):
        text = f"{tmp_path} has 1 files a-*.webp; expected {count}: copy the whole folder again"
        with pytest.raises(DataError, match=re.escape(text)):
            strip_files(tmp_path, "a", count)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no picture at all", b"RIFF\x04\0\0\0WEBPtoo long"])
def test_a_strip_that_is_cut_off_or_none(tmp_path, content):
    file = tmp_path / "a-00.webp"
    file.write_bytes(content)
    text = f"{file} is no WebP picture, or not copied to the end; copy it again"
    with pytest.raises(DataError, match=re.escape(text)):
        strip_files(tmp_path, "a", 1)


def test_no_strips_at_all():
    with pytest.raises(DataError, match="there are no strips of images to read; expected at least one: copy"):
        read_strips([])


def test_a_strip_that_is_none(tmp_path):
    file = tmp_path / "train-00.webp"
    file.write_bytes(b"no picture")
    with pytest.raises(DataError, match=re.escape(f"{file} cannot be read as a picture")):
        read_strips([file])
    Image.fromarray(np.zeros((40, 32, 3), np.uint8)).save(file, lossless=True)
    with pytest.raises(DataError, match=r"has 32x40 pixels; expected a strip 32 wide"):
        read_strips([file])


@pytest.mark.parametrize("look", [check_arrays, read_arrays])
def test_arrays_that_are_missing_or_cut_off(tmp_path, look):
    file = tmp_path / "arrays.npz"
    with pytest.raises(DataError, match=re.escape(f"{file} is not there; copy it again with the files that")):
        look(file, ("x",))
    np.savez(file, x=np.arange(3), z=np.arange(2))
    look(file, ("z", "x"))
    with pytest.raises(DataError, match=re.escape(f"{file} has no array 'y'; expected x, y: copy it again")):
        look(file, ("x", "y"))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=re.escape(f"{file} is damaged (")):
        look(file, ("x",))
