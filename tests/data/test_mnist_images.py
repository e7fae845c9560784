import pytest
import torch

from autodropout.data import mnist_images
from autodropout.data.mnist_images import Mnist
from autodropout.data.splits import Examples, Splits
from autodropout.errors import DataError


@pytest.fixture
def digits(monkeypatch):
    stored = torch.randint(0, 256, (60, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    part = Examples(inputs=stored.float() / 255, labels=torch.arange(60) % 10)
    splits = Splits(train=part, validation=part, test=part)
    monkeypatch.setattr(mnist_images, "load_mnist", lambda folder: splits)
    mnist_images._load.cache_clear()
    yield stored.byte()
    mnist_images._load.cache_clear()


def test_images_are_the_stored_bytes_and_the_parts_share_none(digits):
    data = Mnist(num_train=30, num_validation=20).load("x")
    splits = data.splits
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [30, 20, 60]
    assert torch.equal(splits.test.inputs, digits)
    seen = [{image.numpy().tobytes() for image in part.inputs} for part in (splits.train, splits.validation)]
    assert not seen[0] & seen[1]
    assert splits.train.labels.bincount().tolist() == [3] * 10


def test_a_lower_resolution(digits):
    assert Mnist(num_train=30, num_validation=20, small_side=14).load("x").splits.train.inputs.shape[2:] == (
        14,
        14,
    )


@pytest.mark.parametrize("empty", [None, "mnist", "MNIST/raw"])
def test_a_missing_set_says_what_else_can_be_run(tmp_path, empty):
    if empty is not None:
        (tmp_path / empty).mkdir(parents=True)
    for asked in (Mnist().check, Mnist().load):
        with pytest.raises(
            DataError, match=r"MNIST is not at .*meanwhile the tasks digits and pydoc-lm need no"
        ):
            asked(str(tmp_path))
