from dataclasses import replace
from types import SimpleNamespace

import pytest

from autodropout.report.costs import costs
from autodropout.report.curves import progress
from autodropout.report.html import page
from autodropout.report.page.running import price_facts
from autodropout.report.price import compared_price, price
from autodropout.report.record import read_record
from recorded import Run, record_study, record_whole_study

COSTS = SimpleNamespace(workers=2, wall=30.0, trials=6)


def compared(policy, none, higher=True):
    values = {"policy": tuple(policy), "none": tuple(none)}
    return SimpleNamespace(values=values, higher_is_better=higher, figure="test accuracy")


def test_the_price_is_compute_over_gain():
    found = compared_price(compared([0.82, 0.84], [0.80, 0.80]), COSTS)
    assert found.gain == pytest.approx(3.75)
    assert found.spent == 60.0
    assert found.seconds == pytest.approx(60 / 3.75)
    assert found.runs == pytest.approx(6 / 3.75)
    assert found.low < found.gain < found.high
    assert (found.figure, found.over) == ("test accuracy on fresh seeds", "the arm 'none'")


def test_a_gain_that_is_not_shown_has_no_upper_bound_of_its_price():
    found = compared_price(compared([0.82, 0.84], [0.80, 0.80]), COSTS)
    assert found.low < 0.0
    assert found.seconds_at_most is None
    sure = compared_price(compared([0.82, 0.821, 0.819], [0.80, 0.80, 0.80]), COSTS)
    assert sure.seconds_at_most > sure.seconds > 0.0


def test_where_less_is_better_a_fall_is_a_gain():
    found = compared_price(compared([90.0, 80.0, 85.0], [100.0, 100.0, 100.0], higher=False), COSTS)
    assert found.gain == pytest.approx(15.0)
    assert found.low < 15.0 < found.high


def test_nothing_gained_has_no_price():
    found = compared_price(compared([0.7, 0.7], [0.8, 0.8]), COSTS)
    assert found.gain == pytest.approx(-12.5)
    assert (found.seconds, found.runs) == (None, None)


def test_seeds_without_a_figure_are_left_out():
    found = compared_price(compared([0.9, None, 0.9], [0.8, 0.8, None]), COSTS)
    assert found.gain == pytest.approx(12.5)
    assert found.low is None


@pytest.mark.parametrize("arms", [([], []), ([None], [0.5]), ([0.5], [0.0])])
def test_without_a_common_seed_or_a_reference_there_is_no_price(arms):
    assert compared_price(compared(*arms), COSTS) is None


def test_an_arm_that_is_not_there_has_no_price():
    assert compared_price(compared([0.9], [0.8]), COSTS, arm="tpe") is None


def test_beside_no_comparison_the_reference_is_the_random_part(tmp_path):
    record_whole_study(tmp_path)
    record = read_record(tmp_path)
    spent, shown = costs(record), progress(record)
    found = price(record, spent, shown)
    assert found.gain == pytest.approx(100 * (record.best.reward / shown.random.summary.mean - 1))
    assert found.spent == spent.workers * spent.wall
    assert found.trainings == spent.trials
    assert found.low is None


def test_without_a_confirmation_there_is_no_price(tmp_path):
    record_study(tmp_path, [Run(reward=0.5), Run(reward=0.6)])
    record = read_record(tmp_path)
    assert price(record, costs(record), progress(record)) is None
    assert "nothing is compared yet, nor confirmed on seeds like the search" in page(record)


def test_the_confirmation_of_a_search_on_one_seed_shows_no_gain(tmp_path):
    """It has other seeds, and what these do to all policies alike would count as gain."""
    for name, common_seed in (("one", True), ("many", False)):
        record_whole_study(tmp_path / name, common_seed=common_seed)
        record = read_record(tmp_path / name)
        assert (price(record, costs(record), progress(record)) is None) == common_seed


def test_a_comparison_comes_first(tmp_path):
    record_whole_study(tmp_path)
    record = replace(read_record(tmp_path), comparison=compared([0.9], [0.8]))
    found = price(record, costs(record), progress(record))
    assert found.over == "the arm 'none'"
    other = replace(record, comparison=SimpleNamespace(values={"mine": (0.9,)}))
    assert price(other, costs(record), progress(record)).over == "the mean policy before the first update"


def test_the_page_shows_compute_share_outside_training_and_price(tmp_path):
    record_whole_study(tmp_path)
    text = page(read_record(tmp_path))
    for name in ("compute spent", "outside training", "price of 1%"):
        assert name in text, name


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ([0.82, 0.821, 0.819], ("+2.5% (95% interval", "24.0 s of workers, 2.4 trainings; at most")),
        ([0.82, 0.84, 0.76], ("95% interval -", "no upper bound: the gain is not shown")),
        ([0.7, 0.7, 0.7], ("-12.5%", "none: nothing was gained")),
    ],
)
def test_the_price_in_words(policy, words):
    facts = dict(price_facts(compared_price(compared(policy, [0.8, 0.8, 0.8]), COSTS)))
    said = f"{facts['gain']} {facts['price of 1%']}"
    assert all(word in said for word in words), said
    assert "in test accuracy on fresh seeds, over the arm 'none'" in facts["gain"]
