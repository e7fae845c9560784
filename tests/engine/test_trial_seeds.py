import pytest

from autodropout.engine.trial_seeds import trial_seed

KINDS = ("search", "confirm", "compare")


def test_pinned():
    assert [trial_seed(0, kind, 1) for kind in KINDS] == [400548802, 1045569220, 1567735085]


def test_no_two_trials_share_a_seed():
    seeds = [trial_seed(12, kind, number) for kind in KINDS for number in range(20_000)]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 0
    assert max(seeds) < 2**31


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_have_ranges_of_their_own(kind):
    ranges = {trial_seed(study, kind, number) >> 29 for study in range(50) for number in range(200)}
    assert ranges == {KINDS.index(kind)}


def test_studies_differ():
    assert len({trial_seed(study, "search", 1) for study in range(1000)}) > 990
