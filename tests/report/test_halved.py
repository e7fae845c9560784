"""What a report says of a search with successive halving."""

import re

import pytest

from autodropout.engine.confirm import Confirmation
from autodropout.engine.halving import Halving
from autodropout.engine.run import search
from autodropout.report.cautions import cautions
from autodropout.report.costs import costs
from autodropout.report.curves import progress
from autodropout.report.export import trial_table
from autodropout.report.record import read_record
from autodropout.result import Result
from autodropout.token_space import TokenSpace


def evaluate(policy, seed, budget):
    return Result(reward=len(policy.sites) + seed % 97 / 97 + (1 - budget), seconds=budget)


def test_short_trials_cost_and_do_not_compare(tmp_path):
    study = search(
        evaluate,
        TokenSpace(sites=("query", "ffn")),
        trials=24,
        batch=4,
        executor="inline",
        out=tmp_path,
        confirm=Confirmation(top=0),
        halving=Halving(factor=2, rungs=2, startup=2, window=8, spared=0.0),
    )
    record = read_record(tmp_path)
    full = [trial for trial in study.trials if trial.budget == 1.0]
    assert 0 < len(full) < 24
    assert {trial.id for trial in record.ended} == {trial.id for trial in full}
    assert costs(record).training == sum(trial.budget for trial in study.trials)
    shown = progress(record)
    assert shown.ended == len(full)
    (said,) = [c for c in cautions(record, shown, costs(record)) if c.startswith("Successive halving")]
    assert said.startswith(
        f"Successive halving: 24 shorter trials came before or instead of the {len(full)} full"
    )
    table = trial_table(record)
    assert sorted(set(table["budget"])) == [0.5, 1.0]


def halved(evaluate, out):
    """What a report says of short trainings in a search with 40 policies."""
    search(
        evaluate,
        TokenSpace(sites=("query", "key", "ffn")),
        trials=40,
        executor="inline",
        out=out,
        floor=-9.0,
        confirm=Confirmation(top=0),
        halving=Halving(factor=2, rungs=2),
    )
    record = read_record(out)
    (found,) = [c for c in cautions(record, progress(record), costs(record)) if "Successive halving" in c]
    return found


@pytest.mark.parametrize(
    ("sign", "said"),
    [
        (1, r"Of \d+ policies .* by a rank correlation of 1\.00\.$"),
        (-1, r"of -1\.00: what starts well ends badly here, so search without halving\.$"),
    ],
)
def test_it_says_what_short_trainings_foretold(tmp_path, sign, said):
    found = halved(lambda policy, seed, budget: len(policy.sites) * (1 if budget == 1.0 else sign), tmp_path)
    assert re.search(said, found)


def test_what_is_not_told_from_chance_brings_no_advice(tmp_path):
    found = halved(lambda policy, seed, budget: (seed if budget < 1.0 else seed // 97) % 97 / 97, tmp_path)
    assert found.endswith(" (not told from none).")
    assert "search without halving" not in found


@pytest.mark.parametrize("lost", [float("nan"), float("inf"), float("-inf")])
def test_what_diverged_foretells_nothing(tmp_path, lost):
    def evaluate(policy, seed, budget):
        return lost if budget == 1.0 and seed % 3 == 0 else float(len(policy.sites))

    assert "rank correlation of 1.00." in halved(evaluate, tmp_path)
