from itertools import islice

import pytest
import torch

from autodropout.data.streams import IGNORED, num_segments, segments, stream_batches, streams
from autodropout.errors import UsageError


@pytest.mark.parametrize(("count", "number"), [(101, 10), (100, 10), (98, 7), (12, 11), (3, 1), (20, 9)])
def test_every_token_but_the_first_is_a_label_once_and_follows_its_input(count, number):
    text = torch.arange(count) * 3
    inputs, labels = streams(text, number)
    assert inputs.shape == labels.shape == (number, -(-(count - 1) // number))
    known = labels != IGNORED
    assert labels[known].tolist() == text[1:].tolist()
    assert inputs[known].tolist() == text[:-1].tolist()


def test_segments_put_together_are_the_streams():
    inputs, labels = streams(torch.arange(50), 3)
    parts = segments(inputs, labels, 5)
    assert [part[0].shape[1] for part in parts] == [5, 5, 5, 2]
    assert torch.equal(torch.cat([x for x, _ in parts], 1), inputs)
    assert torch.equal(torch.cat([y for _, y in parts], 1), labels)


@pytest.mark.parametrize(("count", "number", "length"), [(50, 3, 5), (61, 4, 5), (9, 2, 10)])
def test_the_text_begins_again_after_its_last_segment(count, number, length):
    text = torch.arange(count)
    size = num_segments(count, number, length)
    twice = list(islice(stream_batches(text, number, length), 2 * size))
    for (first, _), (again, _) in zip(twice[:size], twice[size:], strict=True):
        assert torch.equal(first, again)
    labels = torch.cat([labels for _, labels in twice[:size]], 1).flatten()
    whole = (count - 1) // number * number
    assert sorted(labels.tolist()) == list(range(1, whole + 1))  # none is missing, none is ignored


@pytest.mark.parametrize(("count", "number", "most"), [(5, 0, 4), (5, 5, 4), (1, 1, 0), (0, 1, 0)])
def test_too_many_streams(count, number, most):
    with pytest.raises(UsageError) as caught:
        streams(torch.arange(count), number)
    assert str(caught.value) == (
        f"{count} tokens in {number} streams; expected from 1 stream to one for each token that has one "
        f"before it, {most}"
    )


def test_empty_segments():
    with pytest.raises(UsageError, match="the length of a segment is 0; expected at least 1"):
        stream_batches(torch.arange(9), 2, 0)
    for number in (0, 9):
        with pytest.raises(UsageError, match=f"9 tokens in {number} streams"):
            stream_batches(torch.arange(9), number, 3)
