import math
import re
from dataclasses import replace

import pytest

from autodropout.report.cautions import cautions, early_duration, seed_noise
from autodropout.report.costs import costs
from autodropout.report.curves import progress
from autodropout.report.record import read_record
from recorded import STUDY, Run, Writer, record_study, record_whole_study

CONFIRMED = ((1, *([0] * 15)), (2, *([0] * 15)))


def said(out):
    record = read_record(out)
    return " ".join(cautions(record, progress(record), costs(record)))


def finished(out, runs, confirm=(), figures=None, **changes):
    writer = Writer(out, replace(STUDY, **changes))
    writer.run(runs, figures)
    for source, (tokens, rewards) in enumerate(zip(CONFIRMED, confirm, strict=False), start=1):
        writer.confirm(source, tokens, rewards)
    writer.enter("done")
    writer.close()
    return said(out)


def rising(number=16):
    return [Run(reward=0.5 + 0.01 * i, seconds=2.0 + (i % 5)) for i in range(number)]


def test_a_good_study_needs_no_warning(tmp_path):
    assert finished(tmp_path, rising(), [(0.70, 0.71), (0.60, 0.61)]) == ""


def test_an_unfinished_study_says_so(tmp_path):
    record_study(tmp_path, rising())
    text = said(tmp_path)
    assert "not finished: the search was under way" in text
    assert "No policy has been confirmed" in text


def test_noise_between_seeds_is_told(tmp_path):
    text = finished(tmp_path, rising(), [(0.70, 0.80, 0.91), (0.79, 0.80, 0.78)])
    assert re.search(r"deviation 0\.0\d+ between seeds .* and 0\.00943 between the confirmed policies", text)


def test_what_a_seed_does_to_all_policies_alike_is_no_noise(tmp_path):
    assert finished(tmp_path, rising(), [(0.70, 0.80, 0.90), (0.69, 0.79, 0.89)]) == ""


def test_noise_is_what_the_means_of_policies_and_seeds_leave(tmp_path):
    finished(tmp_path, rising(), [(0.7, 0.9), (0.6, 0.6)])
    seeds, policies = seed_noise(read_record(tmp_path))
    assert seeds == pytest.approx(0.1)
    assert policies == pytest.approx(0.2 / math.sqrt(2))


def test_a_search_on_one_seed_is_called_so(tmp_path):
    text = finished(tmp_path, rising(), [(0.70, 0.71), (0.60, 0.61)], common_seed=True)
    assert text.startswith("All trials of the search had one seed")


def test_one_confirmed_policy_has_nothing_to_be_compared_with(tmp_path):
    finished(tmp_path, rising(), [(0.7, 0.9)])
    assert seed_noise(read_record(tmp_path)) is None


def test_a_searcher_that_did_not_learn_is_told(tmp_path):
    runs = [Run(reward=0.5 + 0.01 * (i % 4), seconds=2.0 + (i % 5)) for i in range(20)]
    assert "did not visibly learn: the last 8 trials have mean reward 0.515" in finished(tmp_path, runs)


def test_a_short_search_is_not_blamed_for_not_learning(tmp_path):
    runs = [Run(reward=0.5 + 0.01 * (i % 4), seconds=2.0 + (i % 5)) for i in range(11)]
    assert "learn" not in finished(tmp_path, runs)


def test_random_search_is_not_blamed_for_not_learning(tmp_path):
    runs = [Run(reward=0.5 + 0.01 * (i % 4)) for i in range(20)]
    assert "learn" not in finished(tmp_path, runs, searcher="random")


@pytest.mark.parametrize(("ess", "low"), [(1.9, True), (2.0, False)])
def test_a_low_effective_sample_size_is_told(tmp_path, ess, low):
    text = finished(tmp_path, rising(), figures={"ess": ess})
    assert ("on average 1.9 of the 4 trials" in text) is low


def test_short_trials_that_dominate_are_told(tmp_path):
    writer = Writer(tmp_path, replace(STUDY, batch=8))
    for _ in range(24):
        writer.queue()
    for trial in range(1, 17):
        writer.start(trial)
    writer.run([Run(reward=0.5 + 0.01 * i, seconds=0.1) for i in range(8)])
    for trial in range(1, 17):
        writer.end(trial, Run(reward=0.5 + 0.01 * trial, seconds=10.0), started=False)
    writer.close()
    record = read_record(tmp_path)
    assert early_duration(record, costs(record)) == pytest.approx(0.01)
    assert "Short trials dominate the first updates: they took 1%" in said(tmp_path)


def test_equally_long_trials_dominate_nothing(tmp_path):
    text = finished(tmp_path, [Run(reward=0.5 + 0.01 * i, seconds=2.0) for i in range(32)])
    assert "Short trials" not in text


def test_reward_that_follows_duration_is_told(tmp_path):
    text = finished(tmp_path, [Run(reward=0.5 + 0.01 * i, seconds=1.0 + i) for i in range(16)])
    assert "The longer trials have the better rewards (rank correlation +1.00, 16 trials)" in text


def test_many_trials_without_a_reward_are_told(tmp_path):
    record_whole_study(tmp_path, trials=12)
    assert "2 of 12 search trials returned no finite reward" in said(tmp_path)
    record_whole_study(tmp_path / "more", trials=24)
    assert "no finite reward" not in said(tmp_path / "more")
