import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autodropout.data.text import CorpusSize
from autodropout.engine.study import Study
from autodropout.errors import DataError
from autodropout.tasks.ptb_small import PtbSmall
from autodropout.tasks.pydoc_lm import PydocLm

SPEC = importlib.util.spec_from_file_location(
    "landscape", Path(__file__).parents[1] / "experiments" / "landscape.py"
)
landscape = importlib.util.module_from_spec(SPEC)

SIZE = CorpusSize(vocabulary=50, train=800, validation=400, test=400)
SHORT = PydocLm(recipe=replace(PydocLm().recipe, size=SIZE, steps=2, width=16, heads=2, measurements=1))
PARTS = {"random": 14, "evolution": 8}


@pytest.fixture(autouse=True, scope="module")
def loaded():
    sys.modules["landscape"] = landscape  # a frozen dataclass with slots looks its module up
    SPEC.loader.exec_module(landscape)
    yield
    del sys.modules["landscape"]


def test_there_are_enough_trials():
    assert sum(landscape.PARTS.values()) >= 1500


def test_it_runs_all_parts_repeats_a_tenth_and_goes_on_where_it_was(tmp_path):
    inline = landscape.How(executor="inline")
    studies = landscape.run(SHORT, tmp_path, inline, PARTS)
    assert [len(study.trials) for study in studies] == [14, 8, 6]
    originals = [trial for study in studies[:2] for trial in study.trials][::10]
    repeated = studies[2].trials
    assert [t.tokens for t in repeated] == [t.tokens for t in originals] * 2
    seeds = {(t.tokens, t.seed) for t in [*originals, *repeated]}
    assert len(seeds) == 9
    assert {study.task for study in studies} == {SHORT.key}
    trained = [study.timings for study in studies]
    again = landscape.run(SHORT, tmp_path, inline, PARTS)
    assert [study.timings for study in again] == trained  # nothing ran twice
    assert Study(tmp_path / "repeats").record.searcher == "repeats"


def test_missing_data_are_said_before_anything_runs(tmp_path):
    with pytest.raises(DataError, match="Penn Treebank is not at"):
        landscape.run(PtbSmall(data=str(tmp_path)), tmp_path / "out", landscape.How())
    assert not (tmp_path / "out").exists()
