"""UDA on photographs: the labels contain the search's, the pool is everything but validation, it trains."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autodropout import Policy
from autodropout.data import photographs
from autodropout.data.augmentation import Flips
from autodropout.data.photographs import Photographs
from autodropout.errors import UsageError
from autodropout.tasks.images.task import SPLIT
from autodropout.tasks.images.uda.batches import Unlabelled
from autodropout.tasks.images.uda.objective import Uda
from autodropout.tasks.methods.batchwise import Batchwise
from autodropout.tasks.registry import TASKS
from autodropout.tasks.saving import Saving
from tasks_of_noise import task

Image = pytest.importorskip("PIL.Image", reason="photographs are read by Pillow")
pytest.importorskip("torchvision", reason="photographs are cropped by torchvision")
FEW = Photographs(
    folder="few", classes=2, train_per_class=3, validation_per_class=2, side=16, unlabelled=True
)


@pytest.fixture
def folder(tmp_path):
    random = np.random.RandomState(0)
    for part, count in (("train", 8), ("val", 2)):
        for name in ("ant", "bee"):
            place = tmp_path / "few" / part / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = random.randint(0, 256, (20, 24, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{name}_{number}.png")
    yield str(tmp_path)
    photographs._load.cache_clear()


def uda(folder):
    made = task(Unlabelled(batch_size=4), source=FEW, steps=2, batch_size=3, augment=Flips(), objective=Uda())
    return replace(made, data=folder)


def test_the_papers_labels_contain_the_images_of_its_search():
    search, tenth = TASKS["imagenet-resnet50-half"].source, TASKS["imagenet10-uda"].source
    assert search.train_per_class < tenth.train_per_class
    assert (search.seed, search.validation_per_class) == (tenth.seed, tenth.validation_per_class)
    assert tenth.unlabelled


def test_the_pool_is_everything_but_validation(folder):
    data = FEW.load(folder)
    assert set(data.train.paths) < set(data.unlabelled.paths)
    assert not set(data.validation.paths) & set(data.unlabelled.paths)
    assert len(data.unlabelled) == 12


def test_batches_are_pairs_of_one_crop_and_any_step_stands_by_itself(folder):
    made = uda(folder).batches(FEW.load(folder), Batchwise(), 0)
    begun = made.starting_at(0)
    _, (images, labels, plain, augmented) = next(begun), next(begun)
    assert images.shape == (3, 3, 16, 16)
    assert labels.shape == (3,)
    assert plain.shape == augmented.shape == (4, 3, 16, 16)
    again = next(made.starting_at(1))
    assert all(
        torch.equal(one, other) for one, other in zip(again, (images, labels, plain, augmented), strict=True)
    )


def test_it_trains(folder):
    result = uda(folder).evaluate(Policy({}), 0)
    assert 0.0 <= result.reward <= 1.0
    assert result.test.keys() == {"accuracy"}


def test_the_names_of_what_was_drawn_are_put_beside_the_checkpoint(folder, tmp_path):
    out = tmp_path / "out"
    uda(folder).keeping(Saving(folder=out, identity="x", every=60.0)).evaluate(Policy({}), 0)
    lines = (out / SPLIT).read_text(encoding="utf8").splitlines()
    assert [line.split("/")[0] for line in lines] == [
        f"{part} {kind}"
        for part, count in (("train", 3), ("validation", 2))
        for kind in ("ant",) * count + ("bee",) * count
    ]
    assert len(set(lines)) == 10
    other = replace(uda(folder), source=replace(FEW, seed=FEW.seed + 1))
    with pytest.raises(UsageError, match="another training"):
        other.keeping(Saving(folder=out, identity="x", every=60.0)).evaluate(Policy({}), 0)
    assert (out / SPLIT).read_text(encoding="utf8").splitlines() == lines


@pytest.mark.parametrize("batch_size", [1, 3])
def test_photographs_are_scored_in_no_larger_batches_than_are_trained_on(folder, batch_size):
    """Of large networks more do not fit into memory: B7 learns from 16 at a time."""
    shown = []

    def watched(net):
        net.register_forward_pre_hook(lambda net, args: None if net.training else shown.append(len(args[0])))

    supervised = replace(task(source=FEW, steps=1, batch_size=batch_size, measurements=1), data=folder)
    supervised.train(watched, 0)
    once = [1] * 4 if batch_size == 1 else [3, 1]  # 4 photographs
    assert shown == once * 3  # for the curve, for the reward, for the test


def test_a_pool_of_photographs_that_is_smaller_than_its_batch_is_refused(folder):
    with pytest.raises(UsageError, match="there are 12 images without labels, fewer than the 13 of a batch"):
        replace(uda(folder), unlabelled=Unlabelled(batch_size=13)).evaluate(Policy({}), 0)
