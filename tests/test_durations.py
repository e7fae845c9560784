import pytest

from autodropout.durations import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (2_400, "40 min"),
        (3599.6, "1 h"),
        (7_000, "1 h 56 min"),
        (172_799, "47 h 59 min"),
        (200_000, "2 days 7 h"),
        (172_800, "2 days"),
    ],
)
def test_durations(seconds, words):
    assert in_words(seconds) == words
