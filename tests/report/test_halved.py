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


@pytest.mark.parametrize(
    ("sign", "said"),
    [
        (1, r"correlate by 1\.00 with full ones of the same policy \(\d+ pairs\)\.$"),
        (-1, "by -1.00 .* ends badly"),
    ],
)
def test_it_says_what_short_trainings_foretold(tmp_path, sign, said):
    search(
        lambda policy, seed, budget: len(policy.sites) * (1 if budget == 1.0 else sign),
        TokenSpace(sites=("query", "key", "ffn")),
        trials=40,
        executor="inline",
        out=tmp_path,
        confirm=Confirmation(top=0),
        halving=Halving(factor=2, rungs=2),
    )
    record = read_record(tmp_path)
    (found,) = [c for c in cautions(record, progress(record), costs(record)) if "Successive halving" in c]
    assert re.search(said, found)
