import os
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from noise_on_disk import refuses

from autodropout.data import photographs, reading
from autodropout.data.files import VARIABLE
from autodropout.data.photographs import Photographs
from autodropout.data.reading import middle_crops, random_crops
from autodropout.errors import DataError, UsageError
from autodropout.tasks.images.batches import Changes
from autodropout.tasks.images.photograph_batches import PhotographBatches
from autodropout.tasks.registry import TASKS

Image = pytest.importorskip("PIL.Image", reason="photographs are read by Pillow")
pytest.importorskip("torchvision", reason="photographs are cropped by torchvision")
SAMPLE = Path(os.environ.get(VARIABLE, ""), "imagenette-sample", "imagenette-224-sample.zip")
FEW = Photographs(folder="few", classes=2, train_per_class=3, validation_per_class=2, side=16)


@pytest.fixture
def folder(tmp_path):
    """Eight photographs to train and two for the test in each of two classes."""
    random = np.random.RandomState(0)
    for part, count in (("train", 8), ("val", 2)):
        for name in ("bee", "ant"):
            place = tmp_path / "few" / part / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = random.randint(0, 256, (24, 40, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{name}_{number}.png")
    yield tmp_path
    photographs._load.cache_clear()
    photographs._check_imagenet.cache_clear()


def names(files):
    return [f"{path.parent.name}/{path.name}" for path in files.paths]


def test_classes_are_in_the_order_of_the_alphabet_and_the_parts_share_nothing(folder):
    data = FEW.load(str(folder))
    assert (len(data.train), len(data.validation), len(data.test)) == (6, 4, 4)
    assert data.train.labels == (0, 0, 0, 1, 1, 1)
    assert all(
        name.startswith("ant") == (label == 0)
        for name, label in zip(names(data.train), data.train.labels, strict=True)
    )
    assert not set(names(data.train)) & set(names(data.validation))
    assert all("val" in path.parts for path in data.test.paths)


def test_a_smaller_draw_is_within_a_larger_and_validation_is_the_same(folder):
    """As the paper's 80,000 images are within its 10%."""
    search, tenth, whole = (
        Photographs(folder="few", classes=2, train_per_class=count, validation_per_class=2, side=16).load(
            str(folder)
        )
        for count in (3, 5, None)
    )
    assert set(names(search.train)) < set(names(tenth.train)) < set(names(whole.train))
    assert len(whole.train) == 12
    assert names(search.validation) == names(tenth.validation) == names(whole.validation)


def test_all_others_are_there_without_labels(folder):
    data = Photographs(
        folder="few", classes=2, train_per_class=3, validation_per_class=2, side=16, unlabelled=True
    ).load(str(folder))
    assert len(data.unlabelled) == 12
    assert set(names(data.train)) < set(names(data.unlabelled))
    assert not set(names(data.unlabelled)) & set(names(data.validation))
    assert FEW.load(str(folder)).unlabelled is None


def test_the_draw_depends_on_names_and_seed_alone(folder, tmp_path):
    first = names(FEW.load(str(folder)).train)
    photographs._load.cache_clear()
    for path in (folder / "few" / "train" / "ant").iterdir():
        path.touch()
    assert names(FEW.load(str(folder)).train) == first
    FEW.write_split(str(folder), tmp_path / "split.txt")
    lines = (tmp_path / "split.txt").read_text().splitlines()
    assert lines[: len(first)] == [f"train {name}" for name in first]
    assert len(lines) == 10


def test_missing_half_unpacked_and_wrong_folders(folder, tmp_path):
    with pytest.raises(
        DataError, match=re.escape(f"there are no photographs at {tmp_path}/imagenet/train")
    ) as caught:
        Photographs().check(str(tmp_path))
    assert VARIABLE in str(caught.value)
    assert str(caught.value).endswith("(autodropout tasks lists all)")
    with pytest.raises(
        DataError, match=r"few/train has 2 folders of classes; expected 3: is it the right folder"
    ):
        Photographs(folder="few", classes=3).check(str(folder))
    with pytest.raises(
        DataError, match=r"ant has 8 images; expected at least 11, 2 of them for validation; was it"
    ):
        Photographs(folder="few", classes=2, train_per_class=9, validation_per_class=2).load(str(folder))


def test_a_class_that_is_in_one_part_only_is_refused(folder):
    place = folder / "few"
    same = "; expected the same classes in train/ and val/: was it unpacked to the end"
    (place / "val" / "wasp").mkdir()
    refuses(FEW, folder, f"{place}/train has no folder of wasp{same}")
    (place / "val" / "bee").rename(place / "elsewhere")
    refuses(FEW, folder, f"{place}/val has no folder of bee{same}")
    (place / "val" / "wasp").rmdir()
    (place / "val" / "ant").rename(place / "nowhere")
    refuses(FEW, folder, f"{place}/val has no folder of ant, bee{same}")


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_class_without_images_is_refused(folder, part):
    for image in (folder / "few" / part / "bee").iterdir():
        image.rename(image.with_suffix(".txt"))
    refuses(
        FEW, folder, f"{part} has no images (.jpg, .jpeg, .png, .webp) of bee; expected some of each class"
    )


def test_many_classes_that_are_missing_are_counted_and_a_few_named(folder):
    for number in range(4):
        (folder / "few" / "train" / f"c{number}").mkdir()
    (folder / "few" / "val" / "bee").rename(folder / "elsewhere")
    refuses(replace(FEW, classes=6), folder, "val has no folder of bee, c0, c1 and 2 more;")


def test_a_folder_that_may_not_be_read_is_named(folder, monkeypatch):
    def refuse(path):
        if Path(path).name == "ant":
            raise PermissionError(13, "Permission denied")
        return names(path)

    names = os.listdir
    monkeypatch.setattr(photographs.os, "listdir", refuse)
    refuses(FEW, folder, "ant cannot be read (Permission denied); check its permissions")


def test_imagenet_has_as_many_images_as_were_published(folder, monkeypatch):
    """Two classes pass for its thousand, 16 and 4 images for its 1,281,167 and 50,000."""
    assert photographs._PUBLISHED == {"train": 1_281_167, "val": 50_000}
    (folder / "few").rename(folder / "imagenet")
    place, source = folder / "imagenet", replace(FEW, folder="imagenet")
    (place / "train" / "bee" / "bee_7.png").rename(folder / "elsewhere.png")
    source.check(str(folder))  # of two classes, it is a folder of one's own
    monkeypatch.setattr(photographs, "_IMAGENET_CLASSES", 2)
    monkeypatch.setattr(photographs, "_PUBLISHED", {"train": 16, "val": 4})
    refuses(
        source,
        folder,
        f"{place}/train has 15 images; expected the 16 of ImageNet (ILSVRC 2012): the download is "
        "incomplete, or was not unpacked to the end; get the rest. A set of your own belongs in a folder of",
    )
    (folder / "elsewhere.png").rename(place / "train" / "bee" / "bee_7.png")
    source.check(str(folder))
    (place / "val" / "ant" / "more.JPEG").touch()
    photographs._check_imagenet.cache_clear()
    refuses(source, folder, "val has 5 images; expected the 4 of ImageNet (ILSVRC 2012): images of another")
    (place / "val" / "ant").rename(folder / "few")
    refuses(source, folder, f"{place}/val has no folder of ant")


def test_the_tasks_on_imagenet_want_all_of_it():
    sources = [task.source for name, task in TASKS.items() if name.startswith("imagenet")]
    assert len(sources) > 10
    assert all(photographs._is_imagenet(source) for source in sources)
    assert Photographs().needs.startswith("ImageNet (ILSVRC 2012), 145 GiB: imagenet/train/CLASS/*.JPEG")
    assert Photographs(classes=10).needs.startswith("photographs: imagenet/train/CLASS/*.JPEG")


def test_crops_are_functions_of_their_seed(folder):
    files = FEW.load(str(folder)).train
    state = torch.get_rng_state()
    (first, labels), (again, _) = (next(random_crops(files, [[(0, 5), (4, 6)]])) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.shape == (2, 3, 16, 16)
    assert first.dtype == torch.uint8
    assert labels.tolist() == [0, 1]
    assert torch.equal(first, again)
    other, _ = next(random_crops(files, [[(0, 7), (4, 6)]]))
    assert not torch.equal(first[0], other[0])
    assert torch.equal(first[1], other[1])


def test_worker_processes_make_the_same_crops(folder, monkeypatch):
    files = FEW.load(str(folder)).train
    wanted = [[(0, 5), (4, 6)], [(1, 1)]]
    alone = list(random_crops(files, wanted))
    monkeypatch.setattr(reading, "num_readers", lambda: 2)
    for (images, labels), (theirs, others) in zip(alone, random_crops(files, wanted), strict=True):
        assert torch.equal(images, theirs)
        assert torch.equal(labels, others)


def test_all_in_order_from_the_middle(folder):
    files = FEW.load(str(folder)).test
    parts = list(middle_crops(files, 3))
    assert [len(images) for images, _ in parts] == [3, 1]
    assert torch.cat([labels for _, labels in parts]).tolist() == list(files.labels)
    images = torch.cat([images for images, _ in parts])
    assert images.shape == (4, 3, 16, 16)
    assert torch.equal(images, torch.cat([images for images, _ in middle_crops(files, 4)]))


def test_batches_begin_at_any_step(folder):
    data = FEW.load(str(folder))
    batches = PhotographBatches(
        files=data.train,
        batch_size=2,
        seed=3,
        change=Changes(mean=data.mean, deviation=data.deviation),
        device=torch.device("cpu"),
    )
    whole = iter(batches)
    drawn = [next(whole) for _ in range(5)]
    images, labels = next(batches.starting_at(4))
    assert torch.equal(drawn[4][0], images)
    assert torch.equal(drawn[4][1], labels)
    assert images.dtype == torch.float32


def test_fewer_photographs_than_a_batch_are_refused_before_any_is_read(folder, monkeypatch):
    data = FEW.load(str(folder))
    monkeypatch.setattr(reading, "_read", lambda *given: pytest.fail("a photograph was read"))
    batches = PhotographBatches(
        files=data.train,
        batch_size=7,
        seed=3,
        change=Changes(mean=data.mean, deviation=data.deviation),
        device=torch.device("cpu"),
    )
    with pytest.raises(UsageError) as caught:
        iter(batches)
    assert str(caught.value) == "batch_size is 7; expected 1 to 6, the number of examples"


@pytest.mark.parametrize("readers", [0, 1])
def test_a_damaged_photograph_is_named(folder, monkeypatch, readers):
    monkeypatch.setattr(reading, "num_readers", lambda: readers)
    files = FEW.load(str(folder)).train
    files.paths[0].write_bytes(b"half")
    good = files.paths[1].read_bytes()
    files.paths[1].write_bytes(good[: len(good) // 2])
    for place in (0, 1):
        with pytest.raises(DataError) as caught:
            list(random_crops(files, [[(2, 1)], [(place, 1), (3, 1)]]))
        assert str(caught.value).startswith(f"{files.paths[place]} cannot be read as a picture (")
        assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("classes", 1), ("train_per_class", 0), ("validation_per_class", -1), ("side", 0)]
)
def test_a_number_that_is_too_small(name, value):
    with pytest.raises(UsageError, match=f"{name} is {value}; expected at least {value + 1}"):
        Photographs(**{name: value})


@pytest.mark.skipif(not SAMPLE.exists(), reason=f"{VARIABLE} names no folder with imagenette-sample/")
def test_real_photographs(tmp_path):
    with zipfile.ZipFile(SAMPLE) as archive:
        archive.extractall(tmp_path / "imagenette")
    source = Photographs(folder="imagenette", classes=10, validation_per_class=2, side=32)
    source.check(str(tmp_path))
    data = source.load(str(tmp_path))
    assert [len(part) for part in (data.train, data.validation, data.test)] == [40, 20, 40]
    assert data.test.labels == tuple(label for label in range(10) for _ in range(4))
    assert data.test.paths[0].parent.name == "n01440764"  # the tench
    images = torch.cat([images for images, _ in middle_crops(data.test, 16)]).double() / 255
    assert images.mean((0, 2, 3)).tolist() == pytest.approx(data.mean, abs=0.1)
    assert images.std((0, 2, 3)).tolist() == pytest.approx(data.deviation, abs=0.1)
    crops, labels = next(random_crops(data.train, [[(place, place) for place in range(40)]]))
    assert crops.shape == (40, 3, 32, 32)
    assert labels.bincount().tolist() == [4] * 10
