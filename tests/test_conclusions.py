from autodropout.conclusions import CAVEAT, conclusion
from autodropout.significance import paired_difference

WORSE = (0.90, 0.91, 0.93, 0.92, 0.90, 0.94)
BETTER = (0.92, 0.93, 0.94, 0.95, 0.92, 0.96)
SIMILAR = (0.92, 0.90, 0.94, 0.91, 0.91, 0.94)


def test_a_shown_gain() -> None:
    text = conclusion("mine", "none", paired_difference(BETTER, WORSE))
    assert text == (
        "mine is better than none: difference +0.02, 95% interval +0.01336 to +0.02664, p = 0.00057, "
        "6 paired seeds."
    )


def test_a_shown_loss() -> None:
    assert conclusion("mine", "none", paired_difference(WORSE, BETTER)).startswith("mine is worse than none")


def test_lower_may_be_better() -> None:
    text = conclusion("mine", "none", paired_difference(WORSE, BETTER), higher_is_better=False)
    assert text.startswith("mine is better than none: difference -0.02")


def test_the_adjusted_p_value_decides() -> None:
    text = conclusion("mine", "none", paired_difference(BETTER, WORSE), adjusted_p=0.3)
    assert text.startswith("mine against none is undecided, which does not make them equal")
    assert "p = 0.3 (Holm)" in text
    assert "seeds would show" not in text


def test_undecided_says_how_many_seeds_it_would_take() -> None:
    text = conclusion("mine", "none", paired_difference(SIMILAR, WORSE))
    assert text.startswith("mine against none is undecided")
    assert text.endswith("If that is the true difference, about 106 seeds would show it (power 80%).")


def test_undecided_without_any_difference_names_no_number() -> None:
    text = conclusion("mine", "none", paired_difference([0.1, 0.2], [0.2, 0.1]))
    assert text.endswith("p = 1, 2 paired seeds.")


def test_one_seed() -> None:
    text = conclusion("mine", "none", paired_difference([0.9], [0.8]))
    assert text == "Nothing can be said of mine against none: one seed has no spread; run at least 2."


def test_equal_arms() -> None:
    text = conclusion("mine", "none", paired_difference(WORSE, WORSE))
    assert text == "mine and none gave equal figures on each of 6 seeds."


def test_a_constant_difference() -> None:
    text = conclusion("mine", "none", paired_difference([1.5, 2.5], [1.0, 2.0]))
    assert text == (
        "mine differs from none by +0.5 on each of 2 seeds; without any spread no test applies: check that "
        "the evaluation uses its seed."
    )


def test_tiny_p_values_are_not_written_out() -> None:
    text = conclusion("mine", "none", paired_difference(BETTER, WORSE), adjusted_p=1e-9)
    assert "p < 0.0001 (Holm)" in text


def test_confidence_is_stated() -> None:
    text = conclusion("mine", "none", paired_difference(BETTER, WORSE, confidence=0.999))
    assert "99.9% interval" in text


def test_the_caveat_speaks_of_the_search() -> None:
    assert "not the search" in CAVEAT
