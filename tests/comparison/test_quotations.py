"""Quotations: complete, as printed, under the task they belong to, and never taken for ours."""

import json
import re
from importlib.resources import files

import pytest

from autodropout.comparison.quotations import combined_in, quotations, quoted_elsewhere, quoted_text
from autodropout.tasks.registry import TASKS as TASKS_HERE

TASKS = (
    "cifar10-wrn28-10",
    "imagenet-resnet50",
    "imagenet-efficientnet-b0",
    "imagenet-efficientnet-b3",
    "imagenet-efficientnet-b5",
    "imagenet-efficientnet-b7",
    "cifar10-4k-uda",
    "imagenet10-uda",
)
DATA = json.loads((files("autodropout.comparison") / "quotations.json").read_text(encoding="utf8"))
FIGURE = re.compile(r"\d\d\.\d( ± 0\.\d\d|%)?|(\d\d\.\d|—) / \d\d\.\d|\d\.\d|n/a")


def figures(task, place):
    return {row.method: row.figure for q in quotations(task) if q.place.startswith(place) for row in q.rows}


@pytest.mark.parametrize("task", TASKS)
def test_each_task_of_the_paper_has_its_columns(task):
    found = quotations(task)
    assert found
    assert quoted_elsewhere(task) is None
    for quotation in found:
        assert quotation.title.startswith("Quoted figures, not measured here: ")
        assert quotation.source in quotation.title
        assert all(FIGURE.fullmatch(row.figure) for row in quotation.rows)


def test_the_numbers_of_figures_are_those_of_the_tables():
    counts = {}
    for column in DATA["columns"]:
        place = column["place"].split(":")[0]
        counts[place] = counts.get(place, 0) + len(column["rows"])
    assert counts == {"Table 1": 18, "Table 2": 18, "Table 3": 12, "results listed for the paper": 7}
    assert {task for column in DATA["columns"] for task in column["tasks"]} == set(TASKS)


def test_the_papers_headlines_are_quoted():
    assert figures("cifar10-wrn28-10", "Table 1")["AutoDropout"] == "96.8 ± 0.09"
    assert figures("cifar10-wrn28-10", "Table 2")["AutoDropout+RandAugment"] == "97.9 ± 0.06"
    assert figures("imagenet-resnet50", "Table 1")["AutoDropout"] == "78.7 / 94.3"
    assert figures("imagenet-efficientnet-b7", "Table 1")["AutoDropout"] == "84.7 / 97.1"
    assert figures("cifar10-4k-uda", "Table 3")["UDA+AutoDropout"] == "95.8 ± 0.04"
    assert figures("imagenet10-uda", "Table 3")["UDA+AutoDropout"] == "72.9 / 91.4"


def test_the_two_sources_agree():
    listed = {
        task: [row.figure for q in quotations(task) if "listed" in q.place for row in q.rows]
        for task in TASKS
    }
    assert listed["cifar10-wrn28-10"] == ["96.8", "97.9"]
    assert listed["imagenet-resnet50"] == ["78.7%", "80.3%"]
    assert float(listed["cifar10-4k-uda"][0]) == pytest.approx(100 - 95.8)
    assert listed["imagenet10-uda"] == ["72.9"]


def test_rows_that_nobody_runs_have_no_arm_and_the_others_do():
    arms = {row.method: row.arm for q in quotations("cifar10-4k-uda") for row in q.rows}
    assert arms["MixMatch (2019)"] is None
    assert arms["UDA+AutoDropout"] == "policy"
    arms = {row.method: row.arm for q in quotations("cifar10-wrn28-10") for row in q.rows}
    assert arms["CutMix+RandAugment (2019b)"] == "cutmix-rand-augment"
    assert arms["AutoDropout+RandAugment"] == "policy+rand-augment"
    assert arms["CutMix+FixRes (2019)"] is None


def test_arms_are_named_as_the_tasks_name_their_baselines():
    names = {baseline.name for baseline in TASKS_HERE["cifar10-wrn28-10"].baselines}
    named = set(DATA["arms"].values()) - {"none", "policy"}
    assert {name.removeprefix("policy+") for name in named} <= names


@pytest.mark.parametrize("task", ["digits", "ptb-small", "cifar10-small", "nothing"])
def test_other_tasks_quote_nothing(task):
    assert quotations(task) == ()
    assert list(quoted_text(quotations(task))) == []


def test_small_siblings_say_where_the_figures_belong():
    assert quoted_elsewhere("cifar10-small-uda") == (
        "The paper reports nothing on cifar10-small-uda. What it reports on cifar10-4k-uda is of another "
        "network or of more data: those figures do not compare with these."
    )
    assert quoted_elsewhere("digits") is None


def test_the_text_is_a_table_under_its_title():
    (quotation,) = quotations("imagenet-efficientnet-b7")
    assert list(quoted_text([quotation])) == [
        "### Quoted figures, not measured here: ImageNet, EfficientNet-B7, top-1 / top-5 accuracy, % (Pham "
        "and Le (2021), AutoDropout: Learning Dropout Patterns to Regularize Deep Networks, "
        "arXiv:2101.01761; Table 1: control experiment, all models trained by the authors)",
        "",
        "| method | quoted figure | our arm | our figure |",
        "| --- | --- | --- | --- |",
        "| Stochastic Depth (Huang et al. 2016) | 84.1 / 96.9 | stochastic-depth | not run |",
        "| AutoDropout | 84.7 / 97.1 | policy | not run |",
        "",
    ]


def test_our_figures_stand_in_the_rows_of_their_arms_and_what_was_not_run_is_called_so():
    table_2 = next(q for q in quotations("cifar10-wrn28-10") if q.place.startswith("Table 2"))
    beside = table_2.beside({"mixup": "96.90 ± 0.10", "policy": "96.70 ± 0.08"})
    ours = {cells[0]: cells[3] for cells in beside.cells()[1:]}
    assert ours["Mixup (2018)"] == "96.90 ± 0.10"
    assert ours["AutoDropout+RandAugment"] == ours["CutMix (2019)"] == "not run"
    assert ours["CutMix+FixRes (2019)"] == ""  # nobody here runs it
    assert [row.figure for row in beside.rows] == [row.figure for row in table_2.rows]
    assert beside.beside({}) == table_2


@pytest.mark.parametrize("task", TASKS)
def test_what_a_table_has_on_top_of_the_policy_is_a_baseline_of_its_task(task):
    names = {baseline.name for baseline in TASKS_HERE[task].baselines}
    assert set(combined_in(task)) <= names
    in_table_2 = task in ("cifar10-wrn28-10", "imagenet-resnet50")
    assert combined_in(task) == (("rand-augment",) if in_table_2 else ())


def test_a_row_on_top_of_the_policy_is_run_by_default_on_no_task_that_the_paper_has_not():
    assert {task for task in TASKS_HERE if combined_in(task)} == {"cifar10-wrn28-10", "imagenet-resnet50"}


def test_plain_values_survive_json():
    (quotation,) = quotations("imagenet-efficientnet-b7")
    plain = json.loads(json.dumps(quotation.to_plain()))
    assert set(plain) == {"source", "place", "setting", "metric", "rows"}
    assert plain["rows"][1] == {
        "method": "AutoDropout",
        "figure": "84.7 / 97.1",
        "arm": "policy",
        "note": None,
        "ours": None,
    }
