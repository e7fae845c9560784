"""The semi-supervised experiment at toy size: four arms, the same seeds, resumed, kept as told."""

import json
from dataclasses import replace

import pytest

import semi_supervised as semi
from autodropout.data.augmentation import Chained, Flips
from autodropout.errors import DataError
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from autodropout.tasks.images.uda.batches import Unlabelled
from autodropout.tasks.images.uda.objective import Uda
from autodropout.tasks.registry import TASKS
from tasks_of_noise import SOURCE, task

pytest.importorskip("torchvision")
POLICY = Policy({"group1.0.bn1": ConvPattern(height=2, width=2)})
SHORT = {"steps": 2, "augment": Chained((Flips(),))}
FEW = task(Unlabelled(batch_size=4), objective=Uda(), **SHORT)
ALONE = task(**SHORT)


def test_the_tasks_of_the_experiment_have_one_network_and_the_same_labels():
    uda, labels = TASKS[semi.UDA], TASKS[semi.LABELS]
    assert uda.network == labels.network
    assert uda.source.num_labels == labels.source.num_train
    assert (uda.recipe.steps, uda.recipe.batch_size) == (labels.recipe.steps, labels.recipe.batch_size)


def test_it_compares_four_arms_and_goes_on_with_more_seeds(tmp_path):
    first = semi.run(FEW, ALONE, POLICY, tmp_path, semi.How(seeds=2, executor="inline"))
    assert first.finished
    assert [row.name for row in first.rows] == ["UDA", "UDA+policy", "labels alone", "labels alone+policy"]
    assert first.figure == "accuracy"
    assert all(value is not None for values in first.values.values() for value in values)
    more = semi.run(FEW, ALONE, POLICY, tmp_path, semi.How(seeds=3, executor="inline"))
    assert more.seeds[:2] == first.seeds
    assert all(more.values[name][:2] == values for name, values in first.values.items())
    assert {row.against for row in more.rows} == {"UDA", None}
    semi.keep(more, POLICY, tmp_path / "kept")
    kept = json.loads((tmp_path / "kept" / "comparison.json").read_text())
    assert Policy.from_json(json.dumps(kept["policy"])) == POLICY
    assert kept["comparison"] == json.loads(more.to_json())
    assert (tmp_path / "kept" / "comparison.md").read_text() == more.to_markdown()


def test_missing_data_are_said_before_anything_runs(tmp_path):
    class Gone(type(SOURCE.source)):
        def check(self, folder):
            raise DataError("no images here")

    gone = replace(FEW, source=replace(SOURCE, source=Gone()))
    with pytest.raises(DataError, match="no images here"):
        semi.run(gone, ALONE, POLICY, tmp_path / "x", semi.How(executor="inline"))
    assert not (tmp_path / "x").exists()
