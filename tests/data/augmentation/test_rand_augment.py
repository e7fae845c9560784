"""RandAugment: operations equal to torchvision's, drawn for each image on its own, evenly."""

import pytest
import torch

from autodropout.data.augmentation import RandAugment, rand_augment
from autodropout.data.augmentation import vision as vision_module
from autodropout.data.augmentation.rand_augment import STRONGEST, Move, changed, operations, strength_of
from autodropout.errors import MissingError, ShapeError, UsageError
from oracles import assert_share

v2 = pytest.importorskip("torchvision.transforms.v2")
NAMES = tuple(v2.RandAugment._AUGMENTATION_SPACE)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(num, dtype=torch.uint8, channels=3, shape=(16, 12)):
    drawn = torch.randint(0, 256, (num, channels, *shape), generator=generator(9), dtype=torch.uint8)
    return drawn if dtype == torch.uint8 else drawn.to(dtype) / 255


def signed_(operation):
    return isinstance(operation, Move) or operation.signed


def theirs(name, batch, magnitude, negative, fill=None):
    """The same operation by torchvision's own class, the draws taken out of its hands."""
    transform = v2.RandAugment(fill=fill)
    strengths, _ = transform._AUGMENTATION_SPACE[name]
    every = strengths(STRONGEST + 1, *batch.shape[2:])
    strength = 0.0 if every is None else float(every[magnitude])
    return transform._apply_image_or_video_transform(
        batch, name, -strength if negative else strength, transform.interpolation, transform._fill
    )


def test_the_operations_are_torchvisions():
    assert tuple(operations()) == NAMES
    signed = {name for name, (_, signed) in v2.RandAugment._AUGMENTATION_SPACE.items() if signed}
    assert {name for name, operation in operations().items() if signed_(operation)} == signed


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("name", NAMES)
def test_each_operation_equals_torchvisions(name, dtype, channels):
    batch = images(5, dtype, channels)
    operation = operations()[name]
    fill = 0.25 if dtype == torch.float32 else 50
    for magnitude in (0, 1, 5, 9, 14, 22, 27, 30):
        for negative in {False, signed_(operation)}:
            strength = strength_of(operation, magnitude, *batch.shape[2:])
            found = changed(batch, [(operation, -strength if negative else strength)] * 5, fill)
            expected = theirs(name, batch, magnitude, negative, fill)
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_each_image_gets_one_of_the_operations_evenly(dtype):
    """One image, repeated, one operation each: every outcome is torchvision's, as often as it should be."""
    num, magnitude = 5600, 14
    image = images(1, dtype)
    found = rand_augment(image.expand(num, -1, -1, -1), generator(1), 1, magnitude)
    outcomes = {}
    for name, operation in operations().items():
        for negative in {False, signed_(operation)}:
            expected = theirs(name, image, magnitude, negative)
            share = 1 / len(NAMES) / (2 if signed_(operation) else 1)
            key = expected.numpy().tobytes()
            outcomes[key] = (expected, outcomes.get(key, (None, 0.0))[1] + share)
    assert sum(share for _, share in outcomes.values()) == pytest.approx(1.0)
    total = 0
    for expected, share in outcomes.values():
        hits = int((found == expected).flatten(1).all(1).sum())
        assert_share(hits, num, share)
        total += hits
    assert total == num


def test_two_operations_follow_each_other():
    batch = images(40)
    source = generator(2)
    step_by_step = rand_augment(rand_augment(batch, source, 1, 9), source, 1, 9)
    assert torch.equal(rand_augment(batch, generator(2), 2, 9), step_by_step)
    assert torch.equal(rand_augment(batch, generator(2), 0), batch)


def test_what_happens_to_an_image_does_not_hang_on_the_others():
    batch = images(30)
    others = torch.cat([batch[:10], images(20).flip(0)])
    assert torch.equal(rand_augment(batch, generator(3))[:10], rand_augment(others, generator(3))[:10])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_shape_dtype_range_and_the_original_are_kept(dtype, channels):
    batch = images(64, dtype, channels)
    before = batch.clone()
    found = rand_augment(batch, generator(4), 3, STRONGEST)
    assert found.shape == batch.shape
    assert found.dtype == dtype
    assert found.min() >= 0
    assert found.max() <= (255 if dtype == torch.uint8 else 1)
    assert torch.equal(batch, before)
    assert rand_augment(batch[:0], generator()).shape == (0, channels, 16, 12)


def test_equal_generators_make_equal_batches_and_torch_is_not_drawn_from():
    batch, labels = images(20), torch.arange(20)
    state = torch.get_rng_state()
    augment = RandAugment(num_ops=2, magnitude=12, fill=128)
    first, kept = augment(batch, labels, generator(5))
    assert torch.equal(first, augment(batch, labels, generator(5))[0])
    assert torch.equal(first, rand_augment(batch, generator(5), 2, 12, 128))
    assert not torch.equal(first, augment(batch, labels, generator(6))[0])
    assert kept is labels
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, g: rand_augment(x, g, -1), "num_ops is -1; expected at least 0"),
        (lambda x, g: rand_augment(x, g, 2, 31), "magnitude is 31; expected 0 to 30"),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(UsageError) as caught:
        call(images(2), generator())
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (
            torch.zeros(2, 4, 8, 8, dtype=torch.uint8),
            "images have 4 channels of torch.uint8; RandAugment takes 1 or 3 channels of torch.uint8, or of "
            "floating point from 0 to 1",
        ),
        (
            torch.zeros(2, 3, 8, 8, dtype=torch.int64),
            "images have 3 channels of torch.int64; RandAugment takes 1 or 3 channels of torch.uint8, or of "
            "floating point from 0 to 1",
        ),
        (torch.zeros(3, 8, 8), "images have shape (3, 8, 8); expected (examples, channels, height, width)"),
    ],
)
def test_other_tensors_are_refused(batch, message):
    with pytest.raises(ShapeError) as caught:
        rand_augment(batch, generator())
    assert str(caught.value) == message


def test_without_torchvision_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchvision.transforms", None)
    with pytest.raises(MissingError) as caught:
        vision_module.vision()
    assert str(caught.value) == (
        "torchvision is not installed, and Mixup, CutMix and RandAugment come from it; "
        "pip install 'autodropout[images]'"
    )
