from itertools import combinations
from statistics import fmean

import pytest

from autodropout.report.curves import expected_best, learner, progress
from autodropout.report.record import read_record
from autodropout.significance import summarise
from recorded import Run, Writer, record_study, record_whole_study

NAN = float("nan")


def shown(tmp_path, rewards, **changes):
    record_study(tmp_path, [Run(reward=reward) for reward in rewards], **changes)
    return progress(read_record(tmp_path))


def test_the_best_so_far_rises_and_keeps_its_trial(tmp_path):
    found = shown(tmp_path, [0.5, 0.7, NAN, 0.6, 0.7, 0.9])
    assert found.ended == 6
    assert [(p.place, p.trial, p.value) for p in found.best] == [
        (1, 1, 0.5),
        (2, 2, 0.7),
        (4, 2, 0.7),
        (5, 2, 0.7),
        (6, 6, 0.9),
    ]
    assert [p.place for p in found.rewards] == [1, 2, 4, 5, 6]


def test_the_running_mean_is_that_of_the_last_trials(tmp_path):
    rewards = [0.1 * i for i in range(12)]
    found = shown(tmp_path, rewards)
    assert found.window == 8
    assert [mean.place for mean in found.mean] == list(range(4, 13))
    assert found.mean[0].summary == summarise(rewards[:4])
    assert found.mean[-1].summary == summarise(rewards[4:])


def test_the_random_part_was_drawn_before_the_first_update(tmp_path):
    found = shown(tmp_path, [0.5, 0.9, 0.7, NAN, 0.99, 0.2]).random
    assert found.summary.n == 3
    assert found.best == 0.9
    assert [k for k, _ in found.expected_best] == [1, 2, 3]
    assert found.expected_best[-1][1] == pytest.approx(0.9)
    assert not found.whole


def test_all_of_a_random_search_is_the_random_part(tmp_path):
    found = shown(tmp_path, [0.5, 0.9, 0.7, 0.6, 0.99, 0.2], searcher="random").random
    assert (found.summary.n, found.best, found.whole) == (6, 0.99, True)


def test_the_expected_best_is_the_mean_over_all_choices():
    rewards = [0.3, 0.9, 0.5, 0.5, 0.1, 0.8]
    for k in range(1, len(rewards) + 1):
        brute = fmean(max(choice) for choice in combinations(rewards, k))
        assert expected_best(rewards, k) == pytest.approx(brute, abs=1e-12)


def test_a_study_without_rewards_has_empty_curves(tmp_path):
    found = shown(tmp_path, [NAN, None])
    assert (found.rewards, found.best, found.mean) == ((), (), ())
    assert (found.random.summary, found.random.best, found.random.expected_best) == (None, None, ())


def test_long_curves_are_thinned_and_keep_their_ends(tmp_path):
    found = shown(tmp_path, [float(i) for i in range(260)], batch=20, searcher="random")
    assert len(found.mean) == 200
    assert found.mean[-1].place == 260
    ks = [k for k, _ in found.random.expected_best]
    assert (len(ks), ks[0], ks[-1]) == (200, 1, 260)
    assert len(found.rewards) == 260


def test_the_learners_figures_come_in_order_with_their_words(tmp_path):
    record_whole_study(tmp_path)
    figures = learner(read_record(tmp_path))
    assert [figure.name for figure in figures] == ["mean_reward", "entropy", "ess"]
    assert figures[2].values == tuple((number, 3.5) for number in range(1, 7))
    assert figures[2].title == "Effective sample size"


def test_figures_of_other_searchers_are_shown_by_their_name(tmp_path):
    writer = Writer(tmp_path)
    writer.run([Run(reward=0.5)] * 4, {"step_size": 0.1, "ess": 2.0})
    writer.close()
    assert [figure.title for figure in learner(read_record(tmp_path))] == [
        "Effective sample size",
        "Step size",
    ]
