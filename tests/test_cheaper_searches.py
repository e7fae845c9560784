"""experiments/cheaper_searches.py: halving and warm starts at the compute of the plain search."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import cheaper_searches
import landscape_parts
from autodropout.data.text import CorpusSize
from autodropout.engine.confirm import Confirmation
from autodropout.engine.control import request
from autodropout.engine.events import TrialPromoted
from autodropout.engine.run import search
from autodropout.engine.study import Study
from autodropout.errors import UsageError
from autodropout.tasks.text.small import PydocLm

ROOT = Path(__file__).parents[1]
SIZE = CorpusSize(vocabulary=50, train=3200, validation=400, test=400)
SHORT = PydocLm(recipe=replace(PydocLm().recipe, size=SIZE, steps=9, width=16, heads=2, measurements=1))


@pytest.fixture(scope="module")
def cheaper():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cheaper_searches, "REPEATS", (1,))
        yield cheaper_searches


@pytest.fixture(scope="module")
def how(cheaper):
    return cheaper.How(trainings=16, confirm=Confirmation(top=2, seeds=2), seeds=2, executor="inline")


@pytest.fixture(scope="module")
def searched(cheaper, how, tmp_path_factory):
    return cheaper.run(SHORT, tmp_path_factory.mktemp("cheaper"), how)


def test_every_search_spends_the_same(cheaper, how, searched):
    halving, earlier, warm = searched
    assert [study.out.name for study in searched] == ["halving-1", "earlier-1", "warm-1"]
    assert how.trainings - 1 <= cheaper.spent(halving) <= how.trainings
    assert cheaper.spent(earlier) + cheaper.spent(warm) == how.trainings
    assert min(trial.budget for trial in halving.trials) == pytest.approx(1 / 9)
    assert all(trial.budget == 1.0 for trial in (*earlier.trials, *warm.trials))
    assert [len(study.confirmed) for study in searched] == [2, 0, 2]


def test_what_has_ended_is_not_run_again(cheaper, how, searched):
    again = cheaper.run(SHORT, searched[0].out.parent, how)
    assert [study.trials for study in again] == [study.trials for study in searched]


def test_a_stopped_search_counts_what_it_had_spent(cheaper, how, tmp_path, monkeypatch):
    promoted = []

    def stopping(*given, on_event, **named):
        def hear(event):
            on_event(event)
            promoted.append(isinstance(event, TrialPromoted))
            if sum(promoted) == 4:
                request(named["out"], "stop")

        return search(*given, on_event=hear, **named)

    monkeypatch.setattr(cheaper.landscape, "search", stopping)
    with pytest.raises(KeyboardInterrupt):
        cheaper.run(SHORT, tmp_path, how)
    assert 0 < cheaper.spent(Study(tmp_path / "halving-1")) < how.trainings - 1
    monkeypatch.setattr(cheaper.landscape, "search", search)
    halving = cheaper.run(SHORT, tmp_path, how)[0]
    assert how.trainings - 1 <= cheaper.spent(halving) <= how.trainings


def test_what_was_found_is_compared_with_plain_searches(cheaper, how, searched, tmp_path):
    plain = search(
        SHORT.evaluate,
        landscape_parts.wide(SHORT),
        trials=16,
        executor="inline",
        out=tmp_path / "reinforce-1",
        confirm=how.confirm,
        task=SHORT.key,
    )
    studies = [plain, *searched]
    comparison = cheaper.compared(SHORT, studies, tmp_path / "compared", how)
    assert list(comparison.values) == ["reinforce-1", "halving-1", "warm-1"]
    facts = json.loads(json.dumps(cheaper.document(SHORT, studies, comparison)))
    assert facts["searches"]["warm-1"]["trainings"] == 16
    assert facts["searches"]["warm-1"]["proposed"] == 16
    assert facts["searches"]["halving-1"]["proposed"] > 16
    assert facts["kinds"].keys() == {"reinforce", "halving", "warm"}
    assert facts["kinds"]["warm"]["by_seed"]["n"] == 2
    text = cheaper.readable(SHORT, facts, comparison)
    assert "| warm-1 | 16 | 16.0 |" in text
    assert "| halving |" in text


def test_without_the_landscape_it_says_what_to_run(cheaper, tmp_path):
    with pytest.raises(UsageError, match=r"has no reinforce-1; run experiments/landscape\.py first"):
        cheaper._landscape(tmp_path)
