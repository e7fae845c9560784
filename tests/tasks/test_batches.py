from itertools import islice

import pytest
import torch

from autodropout.data.splits import Examples
from autodropout.errors import UsageError
from autodropout.tasks.batches import shuffled_batches

EXAMPLES = Examples(inputs=torch.arange(10.0).unsqueeze(1), labels=torch.arange(10))


def drawn(batch_size: int, seed: int, count: int) -> list[list[int]]:
    batches = islice(shuffled_batches(EXAMPLES, batch_size, seed), count)
    return [labels.tolist() for inputs, labels in batches if torch.equal(inputs[:, 0], labels.float())]


def test_an_epoch_holds_each_example_once_but_the_remainder():
    batches = drawn(5, 0, 8)
    assert len(batches) == 8
    for first, second in zip(batches[::2], batches[1::2], strict=True):
        assert sorted(first + second) == list(range(10))
    assert all(len(set(first + second + third)) == 9 for first, second, third in [drawn(3, 0, 3)])


def test_epochs_and_seeds_differ_and_the_same_seed_repeats():
    assert drawn(5, 0, 8) == drawn(5, 0, 8)
    assert drawn(10, 0, 2)[0] != drawn(10, 0, 2)[1]
    assert drawn(10, 0, 1) != drawn(10, 1, 1)


def test_the_order_neither_hangs_on_the_global_generator_nor_moves_it():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = drawn(5, 3, 4)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert drawn(5, 3, 4) == first


@pytest.mark.parametrize("batch_size", [0, -1, 11])
def test_a_wrong_size_is_refused_at_once(batch_size):
    with pytest.raises(UsageError, match=f"batch_size is {batch_size}; expected 1 to 10"):
        shuffled_batches(EXAMPLES, batch_size, 0)
