import numpy as np
import pytest
import torch

from autodropout.data.images import chosen, examples, image_data, scaled, shrunk
from autodropout.errors import DataError, UsageError


def part(count=20, side=4, channels=3, seed=0):
    random = np.random.RandomState(seed)
    return examples(
        random.randint(0, 256, (count, side, side, channels)).astype(np.uint8), np.arange(count) % 5
    )


def test_channels_come_first_and_bytes_stay():
    pixels = np.random.RandomState(0).randint(0, 256, (2, 3, 5, 4)).astype(np.uint8)
    found = examples(pixels, [1, 0])
    assert found.inputs.dtype == torch.uint8
    assert found.inputs.is_contiguous()
    assert found.inputs[1, 3, 2, 4] == pixels[1, 2, 4, 3]
    assert found.labels.tolist() == [1, 0]


def test_mean_and_deviation_are_those_of_the_training_images():
    train = part(seed=1)
    data = image_data(train, part(seed=2), part(seed=3))
    pixels = train.inputs.double() / 255
    assert data.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist())
    assert data.deviation == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist())
    assert data.num_classes == 5
    images = scaled(train.inputs, data.mean, data.deviation)
    assert images.dtype == torch.float32
    assert torch.allclose(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(images.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)


def test_a_pixel_of_a_smaller_image_is_the_rounded_mean_of_its_block():
    whole = part(side=8)
    small = shrunk(whole, 4).inputs
    for y, x in ((0, 0), (3, 1)):
        block = whole.inputs[7, 2, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].double()
        assert small[7, 2, y, x] == torch.floor(block.mean() + 0.5)
    assert shrunk(whole, 8) is whole
    white = examples(np.full((1, 8, 8, 1), 255, np.uint8), [0])
    assert shrunk(white, 2).inputs.tolist() == [[[[255, 255], [255, 255]]]]


@pytest.mark.parametrize("side", [3, 0, 16])
def test_a_side_that_does_not_divide(side):
    with pytest.raises(UsageError, match=f"8x8 cannot be shrunk to side {side}; expected a divisor of 8"):
        shrunk(part(side=8), side)


def test_examples_in_an_order():
    found = chosen(part(), [3, 1])
    assert found.labels.tolist() == [3, 1]
    assert torch.equal(found.inputs[1], part().inputs[1])


def test_one_class_only_is_refused():
    one = examples(np.random.RandomState(0).randint(0, 9, (6, 2, 2, 3)).astype(np.uint8), [7] * 6)
    with pytest.raises(
        DataError, match="all 6 training images are of class 7; expected at least two classes"
    ):
        image_data(one, part(), part())


def test_no_images_and_no_contrast_are_refused():
    with pytest.raises(DataError, match="there are no training images"):
        image_data(chosen(part(), []), part(), part())
    black = examples(np.zeros((4, 2, 2, 3), np.uint8), [0, 1, 2, 3])
    with pytest.raises(DataError, match="all training images are alike in a channel"):
        image_data(black, part(), part())
