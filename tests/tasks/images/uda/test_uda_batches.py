"""Batches of UDA: the labelled ones untouched by the others, pairs of the same images, any step by itself."""

import itertools

import pytest
import torch

from autodropout import Policy
from autodropout.data.augmentation import Chained, Crops, Flips, RandAugment
from autodropout.data.images import scaled
from autodropout.errors import UsageError
from autodropout.tasks.images.uda.batches import Unlabelled
from autodropout.tasks.images.uda.objective import Uda
from autodropout.tasks.methods.baselines import method_baselines
from autodropout.tasks.methods.batchwise import Batchwise
from oracles import assert_share
from tasks_of_noise import POOL, SIDE, SOURCE, Drawn, task

pytest.importorskip("torchvision")
UDA = task(Unlabelled(batch_size=10), augment=Chained((Flips(), Crops(padding=1))), objective=Uda())
DATA = SOURCE.load(None)


def rows(image):
    return image.flatten().tolist()


def first(batches, number, start=0):
    return list(itertools.islice(batches.starting_at(start), number))


def assert_equal(one, other):
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_a_batch_is_labelled_images_labels_and_two_of_each_other_image():
    images, labels, plain, augmented = first(UDA.batches(DATA, Batchwise(), 0), 1)[0]
    assert images.shape == (6, 3, SIDE, SIDE)
    assert labels.shape == (6,)
    assert plain.shape == augmented.shape == (10, 3, SIDE, SIDE)
    assert {part.dtype for part in (images, plain, augmented)} == {torch.float32}


def test_the_labelled_part_is_that_of_supervised_training():
    supervised = task(augment=UDA.recipe.augment)
    plain = first(supervised.batches(DATA, Batchwise(), 5), 5)
    assert_equal([batch[:2] for batch in first(UDA.batches(DATA, Batchwise(), 5), 5)], plain)


def test_each_batch_is_a_function_of_seed_and_step():
    all_of_them = first(UDA.batches(DATA, Batchwise(), 3), 9)
    assert_equal(first(UDA.batches(DATA, Batchwise(), 3), 3, start=6), all_of_them[6:])
    other = first(UDA.batches(DATA, Batchwise(), 4), 1)[0]
    assert not torch.equal(other[2], all_of_them[0][2])


def test_without_augmentation_both_are_the_pool_in_an_order_of_its_own():
    still = task(Unlabelled(batch_size=20, augment=Chained(())), objective=Uda())
    batches = first(still.batches(DATA, Batchwise(), 0), 3)
    assert_equal([batch[2:3] for batch in batches], [batch[3:] for batch in batches])
    seen = torch.cat([batch[2] for batch in batches])
    pool = scaled(DATA.unlabelled.inputs, DATA.mean, DATA.deviation)
    assert sorted(map(rows, seen)) == sorted(map(rows, pool))  # one epoch: every image once
    assert len(seen) == POOL
    assert not torch.equal(seen, pool)


def test_augmented_images_are_those_of_rand_augment_before_flips_and_crops():
    settings = {"objective": Uda(), "augment": None}
    augmented = task(Unlabelled(batch_size=10, augment=RandAugment(magnitude=20)), **settings)
    _, _, plain, changed = first(augmented.batches(DATA, Batchwise(), 0), 1)[0]
    same = (plain == changed).flatten(1).all(1)
    assert not same.all()
    still = task(Unlabelled(batch_size=10, augment=RandAugment(num_ops=0)), **settings)
    _, _, left, right = first(still.batches(DATA, Batchwise(), 0), 1)[0]
    assert torch.equal(left, right)
    assert torch.equal(left, plain)


def test_each_step_is_flipped_afresh_and_the_two_of_an_image_apart():
    flips = task(Unlabelled(batch_size=POOL, augment=Chained(())), objective=Uda(), augment=Flips())
    pool = set(map(str, map(rows, scaled(DATA.unlabelled.inputs, DATA.mean, DATA.deviation))))
    masks = [
        tuple(str(rows(image)) in pool for image in part)
        for batch in first(flips.batches(DATA, Batchwise(), 0), 3)
        for part in batch[2:]
    ]
    assert len(set(masks)) == 6
    for mask in masks:
        assert_share(sum(mask), POOL, 0.5)


def test_a_policy_trains_and_the_same_seed_gives_the_same_result():
    one, two, other = (UDA.evaluate(Policy({}), seed) for seed in (0, 0, 1))
    assert one.reward == two.reward
    assert one.metrics == two.metrics
    assert one.metrics != other.metrics
    assert 0.0 <= one.test["accuracy"] <= 1.0


def test_methods_that_mix_labels_are_refused_and_those_that_do_not_are_not():
    known = {baseline.name: baseline for baseline in method_baselines(3)}
    with pytest.raises(UsageError) as caught:
        UDA.train(known["mixup"].at(0.2), 0)
    assert str(caught.value) == (
        "the task 'drawn' learns from few labels, which cannot be mixed or smoothed there; leave out Mixup, "
        "CutMix, Manifold Mixup, MoEx and label smoothing"
    )
    assert UDA.train(known["rand-augment"].at(5.0), 0).reward >= 0.0


def test_a_source_that_knows_all_labels_is_refused():
    with pytest.raises(UsageError) as caught:
        task(Unlabelled(batch_size=2), source=Drawn(), objective=Uda()).evaluate(Policy({}), 0)
    assert str(caught.value) == "the images all have labels; use a source with few of them (FewLabelled)"


def test_an_empty_batch_is_refused():
    with pytest.raises(UsageError) as caught:
        Unlabelled(batch_size=0)
    assert str(caught.value) == "batch_size is 0; expected at least 1"


def test_a_pool_that_is_smaller_than_its_batch_is_refused():
    with pytest.raises(UsageError) as caught:
        task(Unlabelled(batch_size=POOL + 1), objective=Uda()).evaluate(Policy({}), 0)
    assert str(caught.value) == (
        f"there are {POOL} images without labels, fewer than the {POOL + 1} of a batch; make the batch_size "
        "of Unlabelled smaller, or give the source more images"
    )
    whole = task(Unlabelled(batch_size=POOL), steps=1, objective=Uda())
    assert whole.evaluate(Policy({}), 0).reward >= 0.0
