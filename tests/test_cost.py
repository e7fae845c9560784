import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

import cost
from autodropout.errors import UsageError
from autodropout.report.price import compared_price
from recorded import Run, record_study, record_whole_study

ROOT = Path(__file__).parents[1]


@pytest.fixture
def studies(tmp_path):
    """A search, another without confirmation, and a comparison's file."""
    record_whole_study(tmp_path / "whole")
    record_study(tmp_path / "short", [Run(reward=0.5, seconds=2.0)] * 4)
    arms = [{"name": "none", "values": [0.8, 0.8, None]}, {"name": "policy", "values": [0.82, 0.84, 0.9]}]
    found = {"figure": "accuracy", "higher_is_better": True, "arms": arms}
    (tmp_path / "comparison.json").write_text(json.dumps({"comparison": found}))
    return tmp_path


def test_searches_stand_side_by_side(studies, capsys):
    words = [f"mine={studies}/whole:{studies}/comparison.json:policy", f"short={studies}/short"]
    assert cost.main([*words, "--to", str(studies / "cost")]) == 0
    head, _, mine, short = (studies / "cost.md").read_text().splitlines()
    assert head.count("|") == mine.count("|") == short.count("|") == 8
    assert "+3.75% (" in mine
    assert "- | - |" in short
    assert mine in capsys.readouterr().out
    first, second = json.loads((studies / "cost.json").read_text())
    assert first["price"]["gain"] == pytest.approx(3.75)
    assert first["price"]["trainings_per_percent"] == pytest.approx(first["trainings"] / 3.75)
    assert first["price"]["spent"] == pytest.approx(first["workers"] * first["wall_seconds"])
    assert (second["training_seconds"], second["price"]) == (8.0, None)


def test_without_a_comparison_the_price_is_the_reports(studies):
    found = cost.line(cost.asked(f"mine={studies}/whole"))
    assert found.price.over == "the mean policy before the first update"
    assert found.reached == pytest.approx(0.91 + 0.001 * 11, abs=0.01)


@pytest.mark.parametrize("words", ["mine", "=runs/mine", "mine=", "mine=a:b", "mine=a:b:c:d"])
def test_what_names_no_search_is_refused(words):
    with pytest.raises(UsageError, match="names no search; expected NAME=DIRECTORY or NAME=DIRECTORY:FILE:"):
        cost.asked(words)


def test_mistakes_are_told_without_a_traceback(studies, capsys):
    assert cost.main([f"mine={studies}/nothing"]) == 2
    assert "holds no study" in capsys.readouterr().err
    assert cost.main([f"mine={studies}/whole:{studies}/comparison.json:tpe"]) == 2
    assert "has no arm 'tpe'; it has none, policy" in capsys.readouterr().err
    (studies / "comparison.json").write_text("[]")
    assert cost.main([f"mine={studies}/whole:{studies}/comparison.json:tpe"]) == 2
    assert "holds no comparison" in capsys.readouterr().err


COMMITTED = json.loads((ROOT / "results/digits/cost.json").read_text(encoding="utf8"))
SOURCES = {
    "reinforce": ("comparison.json", "policy"),
    "random": ("comparison.json", "random"),
    "tpe": ("tpe.json", "policy"),
}


@pytest.mark.parametrize("found", COMMITTED, ids=lambda found: found["search"])
def test_the_committed_gains_follow_from_the_committed_runs(found):
    file, arm = SOURCES[found["search"]]
    arms = cost._arms(ROOT / "results/digits" / file)
    spent = SimpleNamespace(workers=1, wall=1.0, trials=1)
    again = compared_price(arms, spent, arm)
    kept = found["price"]
    assert [again.gain, again.low, again.high] == pytest.approx([kept["gain"], kept["low"], kept["high"]])
    assert kept["trainings_per_percent"] == pytest.approx(60 / again.gain)


def test_the_page_has_the_committed_figures():
    page = (ROOT / "docs/cost.md").read_text(encoding="utf8")
    for row in (ROOT / "results/digits/cost.md").read_text(encoding="utf8").splitlines()[2:]:
        _, _, *cells, _ = row.split("|")
        assert "|".join(cells) in page, row


ROWS = {
    "REINFORCE": ("policy", 160),
    "random": ("random", 160),
    "tuning Dropout": ("dropout", 16),
    "tuning DropBlock": ("dropblock", 16),
    "tuning weight decay": ("l2", 16),
    "tuning RandAugment": ("rand-augment", 16),
}
"""Of the page's tables on images: the arm of the comparison, and how many trainings it took to find it."""


@pytest.mark.parametrize("task", ["mnist-small", "cifar10-small"])
def test_the_page_has_what_images_have_cost(task, tmp_path):
    page = (ROOT / "docs/cost.md").read_text(encoding="utf8")
    table = page.partition(f"| {task} | trainings |")[2].partition("\n\n")[0]
    lines = {line.split(" | ")[0].strip("| "): line for line in table.splitlines()[2:]}
    assert list(lines) == list(ROWS)
    file = ROOT / "results" / task / "comparison.json"
    assert {found["trials"] for found in json.loads(file.read_text(encoding="utf8"))["tuning"]} == {16}
    shutil.copytree(
        ROOT / "results" / task / "studies/reinforce-1", tmp_path / "study"
    )  # reading may add files
    record = cost.read_record(tmp_path / "study")
    workers = 1 if "--workers 1" in record.study.command else record.study.options["workers"]
    wall, training = cost.costs(record).wall, cost.costs(record).training
    arms = cost._arms(file)
    names = {name.split()[0]: name for name in arms.values}
    for row, (arm, trainings) in ROWS.items():
        spent = SimpleNamespace(workers=workers, wall=wall, trials=trainings)
        price = compared_price(arms, spent, names[arm])
        assert f"| {row} | {trainings} |" in lines[row]
        assert f"| {price.gain:+.2f}% ({price.low:+.2f} to {price.high:+.2f}) |" in lines[row]
        assert re.search(rf"{price.runs:.0f} trainings? \|$", lines[row]), row
    found = lines["REINFORCE"]
    assert f"| {cost.duration(workers * wall)}, {cost.counted(workers, 'worker')} |" in found
    assert f"| {cost.percent(1.0 - training / (workers * wall))} |" in found
    assert f"| {cost.duration(compared_price(arms, spent, names['policy']).seconds)}, " in found


@pytest.mark.parametrize(
    ("task", "arm", "seconds"),
    [
        ("mnist-small", "policy", "7.4"),
        ("mnist-small", "none", "5.9"),
        ("mnist-small", "dropblock", "13.1"),
        ("cifar10-small", "policy", "17.1"),
        ("cifar10-small", "none", "7.7"),
        ("cifar10-small", "dropblock", "23.4"),
    ],
)
def test_the_page_has_the_mean_seconds_of_trainings_on_images(task, arm, seconds):
    found = json.loads((ROOT / "results" / task / "comparison.json").read_text(encoding="utf8"))
    arms = {one["name"].split()[0]: one for one in found["comparison"]["arms"]}
    assert f"{arms[arm]['seconds']:.1f}" == seconds
    assert seconds in (ROOT / "docs/cost.md").read_text(encoding="utf8")
