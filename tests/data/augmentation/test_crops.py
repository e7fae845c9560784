"""Flips and crops: each image drawn for on its own, all places equally likely, pixels only moved."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from autodropout.data.augmentation import Chained, Crops, Flips, cropped, flipped
from autodropout.errors import ShapeError, UsageError
from oracles import assert_share

SHAPE = (6, 3, 5, 7)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def distinct(shape, dtype=torch.float32):
    """Images without two equal pixels, none of them zero."""
    return (torch.arange(torch.Size(shape).numel()) + 1).reshape(shape).to(dtype)


def pieces(image, padding, border):
    """All crops of one image, by slicing, from left to right and then down."""
    mode = {"zeros": "constant", "reflect": "reflect"}[border]
    around = F.pad(image[None], [padding] * 4, mode=mode)[0]
    height, width = image.shape[1:]
    places = itertools.product(range(2 * padding + 1), repeat=2)
    return [around[:, top : top + height, left : left + width] for top, left in places]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("change", [flipped, cropped, lambda x, g: cropped(x, g, 2, "reflect")])
def test_shape_dtype_and_the_original_are_kept(change, dtype):
    images = torch.randint(0, 255, SHAPE).to(dtype)
    before = images.clone()
    found = change(images, generator())
    assert found.shape == SHAPE
    assert found.dtype == dtype
    assert torch.equal(images, before)


@pytest.mark.parametrize("num", [0, 1])
def test_batches_of_none_and_of_one(num):
    images = torch.rand(num, 1, 4, 4)
    assert cropped(images, generator()).shape == images.shape
    assert flipped(images, generator()).shape == images.shape


@pytest.mark.parametrize("border", ["zeros", "reflect"])
def test_each_crop_is_a_piece_of_its_own_image_and_all_are_equally_likely(border):
    padding, num = 1, 9000
    image = distinct((2, 3, 4))
    found = cropped(image.expand(num, -1, -1, -1), generator(1), padding, border)
    expected = torch.stack(pieces(image, padding, border))
    which = (found[:, None] == expected).flatten(2).all(2)
    assert torch.equal(which.sum(1), torch.ones(num, dtype=torch.int64))
    for count in which.sum(0).tolist():
        assert_share(count, num, 1 / 9)


def test_crops_of_neighbours_in_a_batch_are_independent():
    image = distinct((1, 2, 2))
    found = cropped(image.expand(16_000, -1, -1, -1), generator(2), 1)
    same = (found[0::2] == found[1::2]).flatten(1).all(1)
    assert_share(int(same.sum()), len(same), 1 / 9)


def test_without_padding_nothing_is_cropped():
    images = torch.rand(SHAPE)
    assert torch.equal(cropped(images, generator(), 0), images)


def test_flips_mirror_whole_images_in_the_share_asked_for():
    num = 8000
    image = distinct((2, 2, 3))
    found = flipped(image.expand(num, -1, -1, -1), generator(3), 0.3)
    mirrored = (found == image.flip(-1)).flatten(1).all(1)
    assert torch.equal(~mirrored, (found == image).flatten(1).all(1))
    assert_share(int(mirrored.sum()), num, 0.3)
    assert_share(int((mirrored[0::2] & mirrored[1::2]).sum()), num // 2, 0.09)


def test_flip_rates_of_none_and_of_all():
    images = torch.rand(SHAPE)
    assert torch.equal(flipped(images, generator(), 0.0), images)
    assert torch.equal(flipped(images, generator(), 1.0), images.flip(-1))


@pytest.mark.parametrize("augment", [Flips(), Crops(padding=2), Crops(padding=2, border="reflect")])
def test_equal_generators_make_equal_batches_and_torch_is_not_drawn_from(augment):
    images, labels = torch.rand(SHAPE), torch.arange(6)
    state = torch.get_rng_state()
    first, kept = augment(images, labels, generator(4))
    second, _ = augment(images, labels, generator(4))
    other, _ = augment(images, labels, generator(5))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert kept is labels
    assert torch.equal(torch.get_rng_state(), state)


def test_the_twins_are_the_functions():
    images, labels = torch.rand(SHAPE), torch.arange(6)
    assert torch.equal(Flips(rate=0.7)(images, labels, generator())[0], flipped(images, generator(), 0.7))
    found = Crops(padding=1, border="reflect")(images, labels, generator())[0]
    assert torch.equal(found, cropped(images, generator(), 1, "reflect"))


def test_a_chain_applies_from_first_to_last_with_one_generator():
    images, labels = torch.rand(SHAPE), torch.arange(6)
    found, kept = Chained((Flips(), Crops(padding=2)))(images, labels, generator(6))
    source = generator(6)
    assert torch.equal(found, cropped(flipped(images, source), source, 2))
    assert kept is labels
    same, _ = Chained(())(images, labels, generator())
    assert same is images


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, g: flipped(x, g, 1.5), "rate is 1.5; expected a probability, from 0 to 1"),
        (lambda x, g: cropped(x, g, -1), "padding is -1; expected at least 0"),
        (
            lambda x, g: cropped(x, g, 5, "reflect"),
            "padding is 5; expected 0 to 4 for reflections of these images",
        ),
        (lambda x, g: cropped(x, g, 1, "wrap"), "border is 'wrap'; expected 'zeros' or 'reflect'"),
    ],
)
def test_what_is_out_of_range_is_refused(change, message):
    with pytest.raises(UsageError) as caught:
        change(torch.rand(SHAPE), generator())
    assert str(caught.value) == message


@pytest.mark.parametrize("change", [flipped, cropped])
def test_a_single_image_is_refused(change):
    with pytest.raises(ShapeError) as caught:
        change(torch.rand(3, 5, 7), generator())
    assert str(caught.value) == "images have shape (3, 5, 7); expected (examples, channels, height, width)"
