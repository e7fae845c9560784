import hashlib
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from noise_on_disk import pixels, refuses, write_strip

from autodropout.data import cifar, cifar_small
from autodropout.data.cifar import Cifar
from autodropout.data.cifar_small import CifarSmall
from autodropout.data.files import VARIABLE
from autodropout.errors import DataError

pytest.importorskip("PIL.Image", reason="strips are read by Pillow, which comes with torchvision")
torchvision = pytest.importorskip("torchvision", reason="CIFAR is read by torchvision")
FOLDER = Path(os.environ.get(VARIABLE, ""))
needs_data = pytest.mark.skipif(
    not (FOLDER / cifar.SMALL_FILE).exists(), reason=f"CIFAR-10 is not in the folder that {VARIABLE} names"
)


@pytest.fixture(autouse=True)
def forgetful():
    yield
    cifar._whole.cache_clear()
    cifar_small._part.cache_clear()


@pytest.fixture
def whole(tmp_path, monkeypatch):
    """A folder that torchvision finds CIFAR in: 40 images to train, 20 for the test."""
    train, test = pixels(40, 0), pixels(20, 1)

    def made(root, *, train):
        assert root == str(tmp_path)
        data, count = (train_images, 40) if train else (test, 20)
        return SimpleNamespace(data=data, targets=[place % 10 for place in range(count)])

    train_images = train
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", made)
    downloaded(tmp_path, 10)
    return SimpleNamespace(folder=str(tmp_path), train=train, test=test)


def downloaded(folder, classes):
    """Make files that are as long as torchvision's, and take no place on the disk."""
    place = folder / ("cifar-10-batches-py" if classes == 10 else "cifar-100-python")
    place.mkdir()
    for name, size in cifar._LEAST_SIZES[classes].items():
        (place / name).touch()
        os.truncate(place / name, size)
    return place


def test_the_whole_set_is_split_by_class(whole):
    data = Cifar(num_validation=10).load(whole.folder)
    splits = data.splits
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [30, 10, 20]
    assert splits.validation.labels.bincount().tolist() == [1] * 10
    both = np.concatenate([splits.train.inputs.numpy(), splits.validation.inputs.numpy()])
    found = {image.transpose(1, 2, 0).tobytes() for image in both}
    assert found == {image.tobytes() for image in whole.train}
    assert splits.test.inputs[3].numpy().transpose(1, 2, 0).tobytes() == whole.test[3].tobytes()


def test_a_missing_set_says_what_to_do_where_it_goes_and_what_else_can_be_run(tmp_path):
    place = tmp_path / "cifar-10-batches-py"
    for found in (Cifar().check, CifarSmall().check, Cifar().load, CifarSmall().load):
        with pytest.raises(DataError) as caught:
            found(str(tmp_path))
        text = str(caught.value)
        assert text.startswith(f"CIFAR-10 is not at {place}; download it with: python -c")
        assert f"CIFAR10('{tmp_path}', download=True)" in text
        assert "--data" in text
        assert VARIABLE in text
        assert text.endswith(
            "meanwhile the tasks digits and pydoc-lm need no download (autodropout tasks lists all)"
        )
    with pytest.raises(DataError, match=r"CIFAR-100 is not at .*cifar-100-python; .*CIFAR100"):
        Cifar(classes=100).check(str(tmp_path))


def test_another_download_is_refused(tmp_path):
    downloaded(tmp_path, 10)
    Cifar().check(str(tmp_path))
    text = f"CIFAR-10 in {tmp_path} is not whole: a file is missing, or its checksum is another one; remove"
    with pytest.raises(DataError, match=re.escape(text)):
        Cifar().load(str(tmp_path))


@pytest.mark.parametrize("classes", [10, 100])
def test_an_empty_folder_and_half_a_download_are_refused(tmp_path, classes):
    source, remedy = Cifar(classes=classes), f"CIFAR{classes}('{tmp_path}', download=True)"
    place = downloaded(tmp_path, classes)
    source.check(str(tmp_path))
    last = place / ("test_batch" if classes == 10 else "test")
    os.truncate(last, 30_000_000)
    name = f"CIFAR-{classes} in {tmp_path} is not whole: {place.name}"
    wrong = f"{name}/{last.name} has 30,000,000 bytes; expected at least 30,720,000; remove {place} and"
    for asked in (source, CifarSmall(classes=classes)):
        refuses(asked, tmp_path, wrong)
        refuses(asked, tmp_path, remedy)
    for file in place.iterdir():
        file.unlink()
    first = "data_batch_1" if classes == 10 else "train"
    refuses(source, tmp_path, f"{name}/{first} is missing; remove {place} and download it again with: python")


@pytest.fixture
def compact(tmp_path, monkeypatch):
    """All of CIFAR-10 in strips and a small file, of whose 60,000 images all but 60 are black."""
    place = tmp_path / "cifar10"
    place.mkdir()
    images, labels = np.zeros((60_000, 32, 32, 3), np.uint8), (np.arange(60_000) % 10).astype(np.uint8)
    places = {"train": np.arange(0, 20), "valid": np.arange(20, 30), "test": np.arange(50_000, 50_010)}
    rest = np.arange(100, 120)
    for number, chosen in enumerate((*places.values(), rest)):
        images[chosen] = pixels(len(chosen), number)
    for number, half in enumerate((rest[:10], rest[10:])):
        write_strip(place / f"rest-{number:03}.webp", images[half])
    np.savez(place / "index.npz", y=labels, rest=rest)
    arrays = {f"x_{part}": images[chosen] for part, chosen in places.items()}
    arrays |= {f"idx_{part}": chosen - 50_000 * (part == "test") for part, chosen in places.items()}
    np.savez(tmp_path / cifar.SMALL_FILE, **arrays)
    found = {"x_train": images[:50_000], "y_train": labels[:50_000]}
    found |= {"x_test": images[50_000:], "y_test": labels[50_000:]}
    sums = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in found.items()}
    monkeypatch.setattr(cifar, "_CHECKSUMS", sums)
    monkeypatch.setattr(cifar, "_STRIPS", 2)
    return SimpleNamespace(folder=tmp_path, images=images, labels=labels)


def test_the_compact_form_gives_all_images_in_the_original_order(compact):
    Cifar().check(str(compact.folder))
    images, labels, test_images, test_labels = cifar.read_cifar(compact.folder, 10)
    assert np.array_equal(np.concatenate([images, test_images]), compact.images)
    assert np.array_equal(np.concatenate([labels, test_labels]), compact.labels)


def test_a_compact_form_that_is_not_whole_is_refused(compact):
    place, small = compact.folder / "cifar10", compact.folder / cifar.SMALL_FILE
    last, index = place / "rest-001.webp", place / "index.npz"
    whole = last.read_bytes()
    last.write_bytes(whole[:-100])
    refuses(Cifar(), compact.folder, f"{last} is no WebP picture, or not copied to the end; copy it again")
    last.write_bytes(b"")
    refuses(Cifar(), compact.folder, f"{last} is no WebP picture, or not copied to the end")
    last.unlink()
    refuses(Cifar(), compact.folder, f"{place} has 1 files rest-*.webp; expected 2: copy the whole folder")
    index.write_bytes(index.read_bytes()[:-100])
    refuses(Cifar(), compact.folder, f"{index} is damaged (")
    index.unlink()
    refuses(Cifar(), compact.folder, f"{index} is not there; copy it again with the files that")
    np.savez(small, x_train=np.zeros(3))
    refuses(Cifar(), compact.folder, f"{small} has no array 'x_valid'; expected x_train, x_valid")
    small.unlink()
    text = f"{small} is not there, and {place} holds only the images that are not in it; copy it there, or"
    for source in (Cifar(), CifarSmall()):
        refuses(source, compact.folder, text)
        refuses(source, compact.folder, f"CIFAR10('{compact.folder}', download=True)")


def test_strips_of_another_number_of_images_are_refused(compact):
    place = compact.folder / "cifar10"
    write_strip(place / "rest-001.webp", pixels(9, 3))
    with pytest.raises(
        DataError,
        match=re.escape(f"the strips in {place} hold 19 images; expected 20: copy the whole folder"),
    ):
        Cifar().load(str(compact.folder))


def test_other_strips_than_cifars_are_refused(compact):
    write_strip(compact.folder / "cifar10" / "rest-001.webp", pixels(10, 9))
    with pytest.raises(
        DataError, match=r"CIFAR-10's x_train in .* has checksum .*: the files are damaged or"
    ):
        Cifar().load(str(compact.folder))


@needs_data
@pytest.mark.slow
def test_the_real_cifar10_and_the_same_small_part_drawn_from_it():
    data = Cifar().load(None)
    assert [len(part) for part in (data.splits.train, data.splits.validation)] == [45_000, 5000]
    assert data.splits.train.labels.bincount().tolist() == [4500] * 10
    assert data.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=1e-3)
    drawn = cifar_small._drawn_from(cifar.read_cifar(FOLDER.absolute(), 10))
    for array, checksum in zip(drawn, cifar_small._SMALL_CHECKSUMS.values(), strict=True):
        assert hashlib.sha256(array.tobytes()).hexdigest() == checksum
