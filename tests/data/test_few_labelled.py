"""Few labels: drawn once, even over classes, apart from validation; all images stay, without labels."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autodropout.data.cifar_small import CifarSmall
from autodropout.data.few_labelled import FewLabelled
from autodropout.data.images import image_data
from autodropout.data.splits import Examples
from autodropout.errors import UsageError
from autodropout.tasks.registry import TASKS

HERE = os.environ.get("AUTODROPOUT_DATA", "")
needs_cifar = pytest.mark.skipif(
    not HERE or not (Path(HERE) / "cifar10-small.npz").exists(),
    reason="AUTODROPOUT_DATA has no cifar10-small.npz",
)


class Numbered:
    """Images that hold their own number; classes come in turns."""

    num_classes, channels, side, needs = 4, 1, 2, "nothing"

    def check(self, folder):
        raise UsageError(f"looked in {folder}")

    def load(self, folder):
        def part(start, num):
            numbers = torch.arange(start, start + num, dtype=torch.uint8)
            inputs = numbers[:, None, None, None].expand(num, 1, 2, 2).contiguous()
            return Examples(inputs=inputs, labels=torch.arange(num) % 4)

        return image_data(part(0, 80), part(100, 8), part(200, 12))


def numbers(images):
    return images[:, 0, 0, 0].tolist()


def test_labels_are_even_over_classes_and_apart_from_validation():
    data = FewLabelled(source=Numbered(), num_labels=40, num_validation=8).load(None)
    train, validation = data.splits.train, data.splits.validation
    assert train.labels.bincount().tolist() == [8, 8, 8, 8]
    assert validation.labels.bincount().tolist() == [2, 2, 2, 2]
    assert not set(numbers(train.inputs)) & set(numbers(validation.inputs))
    for part in (train, validation):
        assert [number % 4 for number in numbers(part.inputs)] == part.labels.tolist()
    assert numbers(data.splits.test.inputs) == list(range(200, 212))


def test_all_training_images_are_there_without_labels_and_scale_the_channels():
    plain = Numbered().load(None)
    data = FewLabelled(source=Numbered(), num_labels=40).load(None)
    assert numbers(data.unlabelled.inputs) == list(range(80))
    assert (data.mean, data.deviation, data.num_classes) == (plain.mean, plain.deviation, plain.num_classes)
    assert numbers(data.splits.validation.inputs) == list(range(100, 108))
    assert plain.unlabelled is None


def test_the_draw_follows_from_its_seed():
    few = FewLabelled(source=Numbered(), num_labels=20)
    assert numbers(few.load(None).splits.train.inputs) == numbers(few.load(None).splits.train.inputs)
    other = replace(few, seed=1).load(None)
    assert numbers(few.load(None).splits.train.inputs) != numbers(other.splits.train.inputs)


def test_everything_else_is_the_other_sources():
    few = FewLabelled(source=Numbered(), num_labels=20)
    assert (few.num_classes, few.channels, few.side, few.needs) == (4, 1, 2, "nothing")
    with pytest.raises(UsageError, match="looked in there"):
        few.check("there")


def test_more_validation_than_labels_is_refused():
    with pytest.raises(UsageError) as caught:
        FewLabelled(source=Numbered(), num_labels=20, num_validation=20)
    assert str(caught.value) == "num_validation is 20; expected 0 to 19, fewer than there are labels"


@needs_cifar
@pytest.mark.slow
def test_the_small_tasks_labels_are_what_its_supervised_sibling_trains_on():
    small, uda = TASKS["cifar10-small"].source, TASKS["cifar10-small-uda"].source
    assert isinstance(small, CifarSmall)
    supervised, few = small.load(HERE), uda.load(HERE)
    assert torch.equal(few.splits.train.inputs, supervised.splits.train.inputs)
    assert torch.equal(few.splits.train.labels, supervised.splits.train.labels)
    assert torch.equal(few.splits.validation.inputs, supervised.splits.validation.inputs)
    assert len(few.unlabelled) == 12_000


@needs_cifar
@pytest.mark.slow
def test_the_papers_split_of_4000_labels():
    if not (Path(HERE) / "cifar10").exists():
        pytest.skip("AUTODROPOUT_DATA has no cifar10")
    data = TASKS["cifar10-4k-uda"].source.load(HERE)
    assert data.splits.train.labels.bincount().tolist() == [360] * 10
    assert data.splits.validation.labels.bincount().tolist() == [40] * 10
    assert (len(data.splits.test), len(data.unlabelled)) == (10_000, 50_000)
