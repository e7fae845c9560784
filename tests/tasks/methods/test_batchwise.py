"""What prepares a model may ask for changes of its batches."""

import pytest

from autodropout.data.augmentation import Flips, LabelSmoothing
from autodropout.tasks.methods.batchwise import Batchwise, batchwise


def test_what_is_returned_as_batchwise_is_asked_for():
    asked = Batchwise(images=(Flips(),), mixing=(LabelSmoothing(num_classes=3),))
    assert batchwise(asked) is asked


@pytest.mark.parametrize("other", [None, 3, Flips(), object])
def test_whatever_else_is_returned_asks_for_nothing(other):
    assert batchwise(other) == Batchwise(images=(), mixing=())
