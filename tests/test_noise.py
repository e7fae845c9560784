import hashlib

import pytest
import torch

from autodropout.noise import CounterNoise, GeneratorNoise, stream_key
from oracles import assert_distribution, assert_share, independent


def counter(seed: int = 0, site: str = "bn", rank: int = 0, step: int = 0) -> CounterNoise:
    return CounterNoise(stream_key(seed, site), rank, torch.tensor(step))


@pytest.mark.parametrize("noise", [GeneratorNoise(torch.Generator().manual_seed(0)), counter()])
def test_integers_are_uniform_and_coins_fair(noise):
    drawn = noise.integers(5, (4, 5000))
    assert drawn.dtype == torch.int64
    for value in range(5):
        assert_share(int((drawn == value).sum()), drawn.numel(), 1 / 5)
    for rate in (0.0, 0.03, 0.5, 1.0):
        coins = noise.coins(rate, (20_000,))
        assert coins.dtype == torch.bool
        assert_share(int(coins.sum()), 20_000, rate)
    assert_share(int(noise.coins(torch.tensor(0.2), (20_000,)).sum()), 20_000, 0.2)


def test_a_generators_coins_are_independent():
    coins = GeneratorNoise(torch.Generator().manual_seed(0)).coins(0.3, (20_000, 4))
    assert_distribution(coins, independent(0.3, 4))


def test_rates_between_two_multiples_of_2_to_the_minus_16_are_exact():
    # With half of a multiple, half of the calls toss all their coins at rate 0 and half at 2^-16: so many
    # coins that a call at 2^-16 without any is rarer than 1e-6.
    noise = GeneratorNoise(torch.Generator().manual_seed(0))
    hits = sum(bool(noise.coins(2.0**-17, (2**20,)).any()) for _ in range(100))
    assert_share(hits, 100, 0.5)


@pytest.mark.parametrize("rate", [1.0, torch.tensor(1.0), 0.0, torch.tensor(0.0)])
def test_certain_coins(rate):
    assert torch.equal(GeneratorNoise().coins(rate, (2**18,)), torch.full((2**18,), bool(rate)))


@pytest.mark.parametrize("rate", [1 - 2.0**-14, torch.tensor(1 - 2.0**-14), 2.0**-14])
def test_coins_near_certainty(rate):
    coins = GeneratorNoise(torch.Generator().manual_seed(0)).coins(rate, (2**20,))
    assert_share(int(coins.sum()), 2**20, float(rate))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (5,), (2, 3)])
def test_any_number_of_coins(shape):
    assert GeneratorNoise().coins(0.5, shape).shape == shape


def test_whole_numbers_below_1_leave_the_generator_alone():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert not GeneratorNoise(generator).integers(1, (3,)).any()
    assert torch.equal(generator.get_state(), before)


def test_the_same_key_gives_the_same_numbers_and_any_other_gives_others():
    def draws(noise):
        return torch.cat([noise.integers(2**40, (50,)), noise.coins(0.5, (50,)).long()])

    one = draws(counter())
    assert torch.equal(one, draws(counter()))
    others = [counter(seed=1), counter(site="bn2"), counter(rank=1), counter(step=1), counter(step=2**40)]
    assert all((draws(other) != one)[:50].all() for other in others)


@pytest.mark.parametrize(
    ("seed", "site", "rank", "step"), [(0, "bn", 0, 0), (7, "a.b", 3, 10**6), (2**80, "", 1, 2**62)]
)
def test_counter_numbers_equal_a_loop_in_whole_numbers(seed, site, rank, step):
    drawn = counter(seed, site, rank, step).integers(1000, (7, 3))
    high, low = (words_by_loop(seed, site, rank, step, draw, 21) for draw in (1, 2))
    expected = [((h << 31) | (low_word >> 1)) % 1000 for h, low_word in zip(high, low, strict=True)]
    assert drawn.flatten().tolist() == expected


def words_by_loop(seed: int, site: str, rank: int, step: int, draw: int, places: int) -> list[int]:
    def mixed(word):
        for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
            word = ((word ^ (word >> shift)) * factor) % 2**32
        return word ^ (word >> 15)

    digest = hashlib.blake2b(f"{seed} {site}".encode(), digest_size=8).digest()
    one, two = int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:], "big")
    for value in (rank, draw):
        one, two = mixed(one ^ value), mixed((two + 0x3C6EF372 + value) % 2**32)
    high, low = divmod(step, 2**32)
    first, second = mixed(mixed(low ^ one) ^ high), mixed((mixed(low ^ two) + high) % 2**32)
    return [mixed((mixed(place ^ first) + second) % 2**32) for place in range(places)]


@pytest.mark.parametrize("axis", ["place", "step", "rank", "site", "seed"])
def test_counter_coins_are_independent_along_every_axis(axis):
    if axis == "place":
        rows = counter().coins(0.3, (20_000, 3))
    else:
        nouns = {"step": int, "rank": int, "seed": int, "site": str}
        rows = torch.stack(
            [
                torch.cat([counter(**{axis: nouns[axis](3 * row + k)}).coins(0.3, (1,)) for k in range(3)])
                for row in range(500)
            ]
        )
    assert_distribution(rows, independent(0.3, 3))


def test_every_bit_of_a_word_is_fair_and_neighbours_share_none():
    words = counter()._words((20_000,))
    assert 0 <= int(words.min()) <= int(words.max()) < 2**32
    for bit in range(32):
        ones = (words >> bit) & 1
        assert_share(int(ones.sum()), 20_000, 0.5)
        assert_share(int((ones[:-1:2] ^ ones[1::2]).sum()), 10_000, 0.5)


def test_a_generator_says_where_masks_are_drawn():
    noise = GeneratorNoise(torch.Generator())
    assert noise.device == torch.device("cpu")
    assert noise.integers(3, (2,)).device == torch.device("cpu")
    assert GeneratorNoise().device is None
    meta = GeneratorNoise(torch.Generator(), "meta")
    assert meta.coins(0.5, (2, 3)).device == torch.device("meta")
    assert meta.integers(3, (2, 3)).device == torch.device("meta")


def test_compiled_code_takes_batches_of_any_size():
    torch.compiler.reset()
    compiled = torch.compile(
        lambda h: (GeneratorNoise().coins(0.5, h.shape), GeneratorNoise().integers(9, h.shape)),
        fullgraph=True,
        backend="aot_eager",
    )
    for n in (8, 5, 3):
        drawn = compiled(torch.ones(n, 7))
        assert [part.shape for part in drawn] == [(n, 7)] * 2
