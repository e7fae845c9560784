"""Mixup and CutMix: what torchvision computes, from draws of ours, in the papers' distributions."""

import pytest
import torch
from scipy import stats

from autodropout.data.augmentation import CutMix, LabelSmoothing, Mixup, one_hot, smoothed
from autodropout.data.augmentation.defaults import drawn_from
from autodropout.errors import ShapeError, UsageError
from oracles import RARE

pytest.importorskip("torchvision")
CLASSES = 5


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(num=6, side=8):
    return torch.rand(num, 3, side, side, generator=generator(7)), torch.arange(num) % CLASSES


def shares(augment, num, labels=None):
    """What each of many batches keeps of its first example, read from the labels."""
    source, images = generator(3), torch.rand(2, 1, 16, 16, generator=generator(8))
    labels = torch.tensor([0, 1]) if labels is None else labels
    return torch.stack([augment(images, labels, source)[1][0, 0] for _ in range(num)]).double()


@pytest.mark.parametrize("kind", [Mixup, CutMix])
def test_labels_are_probabilities_and_shapes_are_kept(kind):
    images, labels = batch()
    before = images.clone()
    for seed in range(20):
        found, targets = kind(num_classes=CLASSES)(images, labels, generator(seed))
        assert found.shape == images.shape
        assert found.dtype == images.dtype
        assert targets.shape == (6, CLASSES)
        torch.testing.assert_close(targets.sum(1), torch.ones(6))
        assert torch.equal(images, before)


def test_mixup_mixes_images_and_labels_by_one_share():
    images, labels = batch()
    found, targets = Mixup(num_classes=CLASSES, alpha=1.0)(images, labels, generator(1))
    share = targets[1, 1]
    assert 0 < share < 1
    torch.testing.assert_close(found, share * images + (1 - share) * images.roll(1, 0))
    truth = torch.nn.functional.one_hot(labels, CLASSES).float()
    torch.testing.assert_close(targets, share * truth + (1 - share) * truth.roll(1, 0))


@pytest.mark.parametrize("alpha", [0.3, 1.0, 2.0])
def test_mixups_share_has_the_beta_distribution(alpha):
    drawn = shares(Mixup(num_classes=2, alpha=alpha), 1500)
    assert stats.kstest(drawn.numpy(), stats.beta(alpha, alpha).cdf).pvalue > RARE


def test_cutmix_pastes_one_rectangle_and_labels_tell_its_area():
    images, labels = batch(side=16)
    pasted_once = False
    for seed in range(30):
        found, targets = CutMix(num_classes=CLASSES)(images, labels, generator(seed))
        own = (found == images).all(1)
        other = (found == images.roll(1, 0)).all(1)
        assert (own | other).all()
        pasted = ~own[0]
        assert torch.equal(~own, pasted.expand_as(own))
        rows, columns = pasted.any(1), pasted.any(0)
        assert torch.equal(pasted, rows[:, None] & columns)
        assert targets[1, 1].item() == pytest.approx(1 - pasted.sum().item() / 256, abs=1e-6)
        pasted_once |= bool(pasted.any())
    assert pasted_once


def test_cutmixs_centre_is_uniform_so_its_mean_area_is_known():
    """The mean over all centres and sizes of what is left, by enumeration, within bounds at 1e-6."""
    side, num = 16, 2000
    drawn = shares(CutMix(num_classes=2, alpha=1.0), num)
    sizes = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    half = (0.5 * (1 - sizes).sqrt() * side).long()
    centre = torch.arange(side)
    length = (centre + half[:, None]).clamp(max=side) - (centre - half[:, None]).clamp(min=0)
    left = 1 - length[:, :, None] * length[:, None, :] / side**2
    bound = stats.norm.isf(RARE / 2) * left.std() / num**0.5
    assert abs(drawn.mean() - left.mean()) < bound


@pytest.mark.parametrize("augment", [Mixup(num_classes=CLASSES), CutMix(num_classes=CLASSES)])
def test_equal_generators_make_equal_batches_and_torchs_state_is_given_back(augment):
    images, labels = batch()
    state = torch.get_rng_state()
    first, second, other = (augment(images, labels, generator(seed)) for seed in (2, 2, 3))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[1], other[1])
    assert torch.equal(torch.get_rng_state(), state)


def test_torchs_state_is_given_back_after_an_error_too():
    state = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), drawn_from(generator()):
        1 / torch.randint(1, ()).item()
    assert torch.equal(torch.get_rng_state(), state)


def test_each_use_draws_afresh():
    source = generator()
    with drawn_from(source):
        first = torch.rand(2)
    with drawn_from(source):
        assert not torch.equal(torch.rand(2), first)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("kind", [Mixup, CutMix])
def test_another_alpha_is_refused(kind, alpha):
    with pytest.raises(UsageError) as caught:
        kind(num_classes=2, alpha=alpha)
    assert str(caught.value) == f"alpha is {alpha}; expected a number above 0"


def test_labels_become_probabilities_once():
    labels = torch.tensor([2, 0])
    once = one_hot(labels, 3)
    assert once.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert one_hot(once, 3) is once


def test_smoothing_is_the_mixture_with_the_uniform_distribution():
    labels = torch.tensor([2, 0])
    found = smoothed(labels, 4, 0.2)
    torch.testing.assert_close(found, torch.tensor([[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]]))
    images = torch.rand(2, 1, 2, 2)
    same, targets = LabelSmoothing(num_classes=4, smoothing=0.2)(images, labels, generator())
    assert same is images
    assert torch.equal(targets, found)


def test_smoothed_labels_give_the_loss_that_torch_has_for_it():
    logits, labels = torch.randn(6, CLASSES, dtype=torch.float64), torch.arange(6) % CLASSES
    loss = torch.nn.functional.cross_entropy
    expected = loss(logits, labels, label_smoothing=0.1)
    torch.testing.assert_close(
        loss(logits, smoothed(labels, CLASSES, 0.1).double()), expected, rtol=1e-7, atol=0
    )


def test_mixed_labels_can_be_smoothed_and_smoothed_ones_mixed():
    images, labels = batch()
    smooth, mix = LabelSmoothing(num_classes=CLASSES), Mixup(num_classes=CLASSES)
    first = smooth(*mix(images, labels, generator(1)), generator())[1]
    second = mix(*smooth(images, labels, generator()), generator(1))[1]
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: smoothed(torch.tensor([0]), 2, 1.5),
            UsageError,
            "smoothing is 1.5; expected a share, from 0 to 1",
        ),
        (lambda: one_hot(torch.tensor([0, 3]), 3), UsageError, "labels run from 0 to 3; expected 0 to 2"),
        (lambda: one_hot(torch.tensor([-1, 1]), 3), UsageError, "labels run from -1 to 1; expected 0 to 2"),
        (
            lambda: one_hot(torch.rand(2, 4), 3),
            ShapeError,
            "labels have shape (2, 4) and dtype torch.float32; expected whole numbers of shape (examples,) "
            "or probabilities of shape (examples, 3)",
        ),
        (
            lambda: Mixup(num_classes=2)(torch.rand(2, 3), torch.tensor([0, 1]), generator()),
            ShapeError,
            "images have shape (2, 3); expected (examples, channels, height, width)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == message
