import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import confirmed
import digits
import digits_tuned
import digits_weight_decay
import images
import stripes
from autodropout.cli import _parsed
from autodropout.engine.study import Study
from autodropout.errors import DataError, StudyError, UsageError
from autodropout.policy import Policy
from autodropout.significance import paired_difference
from autodropout.tasks.images.digits import Digits
from autodropout.tasks.registry import task_named

ROOT = Path(__file__).parents[1]


def test_digits_searches_and_compares_on_an_equal_budget():
    search, compare = (_parsed(arguments) for arguments in digits.commands(Path("runs/x"), 3))
    assert (search.task, search.out, search.workers) == ("digits", Path("runs/x"), 3)
    assert (compare.task, compare.policy, compare.workers) == ("digits", Path("runs/x/best.json"), 3)
    assert (compare.seeds, compare.baselines, compare.out) == (20, None, None)
    assert compare.random_trials == task_named("digits").budget.trials


def test_digits_keeps_what_was_found(tmp_path):
    def command(arguments):
        for name in digits.FILES:
            path = tmp_path / "out" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        return 0

    assert digits.run(tmp_path / "out", 2, tmp_path / "results", command) == 0
    found = {path.name: path.read_text() for path in (tmp_path / "results").iterdir()}
    assert found == {Path(name).name: name for name in digits.FILES}


def test_digits_stops_at_the_first_command_that_fails(tmp_path):
    asked = []
    code = digits.run(tmp_path, 2, tmp_path / "results", lambda arguments: asked.append(arguments) or 130)
    assert (code, len(asked)) == (130, 1)
    assert not (tmp_path / "results").exists()


@pytest.fixture(scope="module")
def committed():
    return json.loads((ROOT / "results/digits/comparison.json").read_text(encoding="utf8"))


def test_the_committed_comparison_is_that_of_the_experiment(committed):
    task = task_named("digits")
    assert committed["task"] == "digits"
    assert Policy.load(ROOT / "results/digits/best.json") == Policy.from_json(json.dumps(committed["policy"]))
    tuned = {one["baseline"] for one in committed["tuning"]}
    later = {"augmented-dropout", "adaptive-dropout"}  # they came after this comparison was made
    assert tuned == {b.name for b in task.baselines} - later
    assert committed["random"]["trials"] == task.budget.trials
    comparison = committed["comparison"]
    assert comparison["finished"]
    assert len(comparison["seeds"]) == 20
    assert {arm["missing"] for arm in comparison["arms"]} == {0}
    _, compare = digits.commands(digits.OUT, 2)
    mine = vars(_parsed(committed["command"].split()[1:])) | {"out": None}
    assert mine == vars(_parsed(compare))


def test_the_documentation_shows_the_committed_table(committed):
    table = (ROOT / "results/digits/comparison.md").read_text(encoding="utf8")
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(committed["comparison"]["arms"])
    page = (ROOT / "docs/results.md").read_text(encoding="utf8")
    page = page[page.index("## digits") : page.index("### With the known methods tuned")]
    for arm in committed["comparison"]["arms"]:
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {arm['name']} |")]
        assert f"{arm['mean']:.4f}" in line


def test_the_documentation_shows_the_committed_table_of_well_tuned_methods():
    found = json.loads((ROOT / "results/digits/tuned.json").read_text(encoding="utf8"))
    arms = {arm["name"]: arm for arm in found["comparison"]["arms"]}
    assert {arm["runs"] for arm in arms.values()} == {digits_tuned.SEEDS}
    against_none = {row["arm"]: row["paired"] for row in found["pairs"] if row["against"] == "none"}
    page = (ROOT / "docs/results.md").read_text(encoding="utf8").split("\n### With the known methods")[1]
    for name, arm in arms.items():
        less = against_none.get(name)
        ends = "" if less is None else "{difference:+.4f} ({low:+.4f} to {high:+.4f}) ".format(**less)
        figures = f"{arm['mean']:.4f} | {arm['spread']:.4f} | {arm['low']:.4f} to {arm['high']:.4f}"
        assert f"| {name} | {figures} | {ends}|\n" in page
    shown = " | ".join(f"{arm['mean']:.4f}".removeprefix("0") for arm in arms.values())
    assert f"| {shown} |\n" in (ROOT / "README.md").read_text(encoding="utf8")
    (lead,) = [row for row in found["pairs"] if (row["arm"], row["against"]) == ("policy", "dropout 0.2")]
    assert (round(100 * lead["paired"]["difference"], 2), round(lead["paired"]["p"], 2)) == (0.16, 0.02)


def test_the_documentation_shows_what_was_confirmed_on_ptb_small():
    found = json.loads((ROOT / "results/ptb-small/confirmed.json").read_text(encoding="utf8"))
    page = (ROOT / "docs/results.md").read_text(encoding="utf8")
    page = page[page.index("## ptb-small") : page.index("## digits")]
    arms = found["comparison"]["arms"]
    assert len(arms) == 21
    assert {arm["runs"] for arm in arms} == {10}
    assert [arm["name"] for arm in arms if f"{arm['mean']:.2f}" not in page] == []


def _signed(value):
    return f"{value:+.2f}".replace("0.", ".", 1)


def test_the_documentation_shows_what_cheaper_searches_found():
    text = (ROOT / "docs" / "search.md").read_text(encoding="utf8")
    facts = json.loads((ROOT / "results/ptb-small/cheaper.json").read_text(encoding="utf8"))
    early = json.loads((ROOT / "results/ptb-small/early.json").read_text(encoding="utf8"))
    for kind in facts["kinds"].values():
        assert f"| {', '.join(f'{mean:.2f}' for mean in kind['repeats'])} |" in text
        for words in ("by_seed", "by_repeat"):
            if words in kind:
                low, high = kind[words]["low"], kind[words]["high"]
                ends = f"{_signed(low)} to {_signed(high)}"
                assert f"| {_signed(kind[words]['difference'])} ({ends})" in text
    for budget in early["budgets"]:
        shown = f"{budget['true']:.2f} ({budget['low']:.2f} to {budget['high']:.2f})".replace("0.", ".")
        assert shown in text


@pytest.mark.parametrize("name", ["cheaper-synthetic", "cheaper-ptb-small"])
def test_the_documentation_shows_what_cheaper_searches_are_worth(name):
    text = (ROOT / "docs" / "search.md").read_text(encoding="utf8")
    figures = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf8"))["figures"]
    ways = [way for way in figures.values() if isinstance(way, dict) and way.get("against_plain")]
    shown = 0
    for way in ways:
        found = way["against_plain"]
        ends = f"{found['low']:+.2f} to {found['high']:+.2f}"
        shown += f"| {way['worth']['mean']:.2f} | {found['difference']:+.2f} ({ends}) |" in text
    assert shown == len(ways) - ("half of it" in figures)  # that one is in the text


SAID = {
    "mnist-small": (
        ("policy", "none", "better than no dropout by 4.2 points (3.0 to 5.3, p < .0001)"),
        ("policy", "dropout", "tuned Dropout (-.0, -1.0 to .9, p = .99)"),
        ("policy", "random", "random search (-.3, -1.3 to .7, p = .55)"),
        ("policy", "dropblock", "and DropBlock (.4, -.3 to 1.1, p = .20)"),
        ("l2", "policy", "4.6 points better than it (3.5 to 5.8, p < .0001)"),
        ("rand-augment", "policy+rand-augment", "costs 2.7 points (2.0 to 3.3, p < .0001)"),
        ("policy", "stochastic-depth", "Stochastic Depth by 3.5 (2.0 to 5.1, p = .0006)"),
        ("rand-augment", "policy", "RandAugment 6.5 (5.7 to 7.3, p < .0001)"),
        ("cutmix-rand-augment", "policy+rand-augment", "ahead of it there by 1.7 (1.3 to 2.2, p < .0001)"),
    ),
    "cifar10-small": (
        ("policy", "none", "better than no dropout by 2.4 points (1.4 to 3.4, p = .0004)"),
        ("policy", "dropblock", "DropBlock (-.1, -.9 to .7, p = .80)"),
        ("policy", "dropout", "Dropout (.2, -.8 to 1.2, p = .67)"),
        ("policy", "spatial-dropout", "SpatialDropout (.3, -.4 to 1.0, p = .31)"),
        ("policy", "stochastic-depth", "Stochastic Depth (.8, -.3 to 1.9, p = .14)"),
        ("policy", "random", "what random search found (-.5, -1.5 to .6, p = .35)"),
        ("rand-augment", "policy", "ahead of it by 1.1 points (-.1 to 2.4, p = .07)"),
        ("rand-augment", "policy+rand-augment", "costs 2.0 points (1.1 to 2.9, p = .0006)"),
        ("policy", "l2", ".7 points behind (-.3 to 1.7, p = .15)"),
        ("adaptive-dropout", "none", "better than none by 1.8 (1.1 to 2.5, p = .0003)"),
        ("adaptive-dropout", "spatial-dropout", "equal rates (-.3, -1.2 to .6, p = .41)"),
    ),
}
"""Of each comparison on images, what the page says in words: an arm, another, and the sentence in points."""


@pytest.mark.parametrize("task", SAID)
def test_the_documentation_shows_the_comparison_on_images(task):
    found = json.loads((ROOT / f"results/{task}/comparison.json").read_text(encoding="utf8"))
    page = (ROOT / "docs/results.md").read_text(encoding="utf8").split(f"\n## {task}\n")[1].split("\n## ")[0]
    arms = {arm["name"].split()[0]: arm for arm in found["comparison"]["arms"]}
    assert {arm["runs"] for arm in arms.values()} == {10}
    for arm in arms.values():
        lines = page.split("\n### ")[0].splitlines()
        (line,) = [line for line in lines if line.startswith(f"| {arm['name']} |")]
        assert f"| {arm['mean']:.4f} | {arm['spread']:.4f} |".replace(" 0.", " .") in line
    words = " ".join(page.split())
    for one, other, shown in SAID[task]:
        assert shown in words
        paired = paired_difference(arms[one]["values"], arms[other]["values"])
        ends, sign, p = re.fullmatch(r"(.+), p ([=<]) (\.\d+)\)", shown).groups()
        figures = [float(figure) for figure in re.findall(r"-?\d*\.\d", ends)]
        expected = [100 * figure for figure in (paired.difference, paired.low, paired.high)]
        assert figures == pytest.approx(expected, abs=0.0501)
        if sign == "<":
            assert paired.p < float(p)
        else:
            assert float(p) == pytest.approx(paired.p, abs=0.51 * 10 ** (1 - len(p)))


def test_the_documentation_shows_training_with_few_labels():
    found = json.loads((ROOT / "results/cifar10-small-uda/comparison.json").read_text(encoding="utf8"))
    page = (ROOT / "docs/results.md").read_text(encoding="utf8")
    page = page.split("\n### With few labels\n")[1].split("\n## ")[0]
    arms = {arm["name"]: arm for arm in found["comparison"]["arms"]}
    assert {arm["runs"] for arm in arms.values()} == {5}
    for name, arm in arms.items():
        figures = f"{arm['mean']:.4f} | {arm['spread']:.4f} | {arm['low']:.4f} to {arm['high']:.4f} |"
        assert f"| {name} | {figures}".replace(" 0.", " .") in page
    for one, other, shown in (
        ("UDA", "UDA+policy", "3.2 points (1.5 to 4.9, p = .006)"),
        ("labels alone+policy", "labels alone", "2.1 (.3 to 3.8, p = .03,"),
        ("UDA", "labels alone", "(1.0, -.4 to 2.5, p = .11)"),
    ):
        assert shown in " ".join(page.split())
        paired = paired_difference(arms[one]["values"], arms[other]["values"])
        *ends, p = [float(figure) for figure in re.findall(r"-?\d*\.\d+", shown)]
        expected = [100 * figure for figure in (paired.difference, paired.low, paired.high)]
        assert ends == pytest.approx(expected, abs=0.0501)
        assert p == pytest.approx(paired.p, abs=0.0051)


@pytest.mark.parametrize("task", ["wikitext2-small", "multi30k-de-en", "multi30k-en-fr"])
def test_the_documentation_shows_what_was_carried_over(task):
    page = (ROOT / "docs/results.md").read_text(encoding="utf8")
    page = page.split("### On other tasks")[1].split("\n## ")[0]
    place = ROOT / "results/transfer" / task
    found = json.loads((place / "comparison.json").read_text(encoding="utf8"))
    arms = found["comparison"]["arms"]
    assert {arm["runs"] for arm in arms} == {5}
    for arm in arms:
        figures = f"| {arm['mean']:.2f} | {arm['spread']:.2f} |".replace(" 0.", " .")
        assert figures in page, arm["name"]
    for pair in json.loads((place / "pairs.json").read_text(encoding="utf8")):
        paired = pair["paired"]
        ends = f"{paired['low']:+.2f} to {paired['high']:+.2f}"
        p = "< .0001" if pair["adjusted_p"] < 1e-4 else f"{pair['adjusted_p']:.4f}".lstrip("0")
        assert f"| {paired['difference']:+.2f} ({ends}) | {p} |" in page


def test_weight_decay_is_the_one_baseline(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        digits_weight_decay, "compare", lambda evaluate, arms, **options: asked.update(arms=arms, **options)
    )
    policy = Policy.load(ROOT / "results/digits/best.json")
    digits_weight_decay.run(policy, tmp_path)
    decayed = asked["arms"]["weight decay 0.03"]
    assert decayed.func.__self__.weight_decay == 0.03
    assert decayed.args == (Policy({}),)
    assert asked["arms"]["policy and weight decay 0.03"].args == (policy,)
    assert (asked["baselines"], asked["seeds"]) == (["weight decay 0.03"], 20)


def test_the_documentation_shows_the_committed_weight_decay():
    committed = json.loads((ROOT / "results/digits/weight_decay.json").read_text(encoding="utf8"))
    page = (ROOT / "docs/results.md").read_text(encoding="utf8").split("### Beside weight decay")[1]
    assert committed["comparison"]["finished"]
    for arm in committed["comparison"]["arms"]:
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {arm['name']} |")]
        assert f"| {arm['mean']:.4f} |" in line


def test_known_methods_are_tuned_on_as_many_trainings_as_a_search_has(tmp_path, monkeypatch):
    strengths = [len(one.strengths) for one in Digits.baselines if one.name in digits_tuned.METHODS]
    assert [number * digits_tuned.TUNED_ON for number in strengths] == [64] * 4, "a search has 60"
    tiny = Digits(steps=2, num_train=10, batch_size=10, width=2, measurements=1)
    few = tuple(replace(one, strengths=one.strengths[:2]) for one in Digits.baselines)
    monkeypatch.setattr(Digits, "baselines", few)
    monkeypatch.setattr(digits_tuned, "METHODS", ("dropout", "dropblock"))
    found = digits_tuned.found()
    assert found["policy"] == Policy.load(ROOT / "results/digits/best.json")
    assert found["random"] != found["policy"]
    how = confirmed.How(seeds=2, executor="inline")
    comparison, best = digits_tuned.run(tiny, found, tmp_path, how, tuned_on=2)
    assert [(one.trials, len(one.rewards)) for one in best] == [(4, 2), (4, 2)]
    methods = [f"{one.sweep.baseline} {one.strength:g}" for one in best]
    assert list(comparison.values) == ["none", *methods, "random", "policy"]
    plain, readable = digits_tuned.written(comparison, best)
    asked = [(row["arm"], row["against"]) for row in json.loads(plain)["pairs"]]
    beside = [(arm, method) for arm in ("random", "policy") for method in methods]
    assert asked == [*((a, "none") for a in (*methods, "random", "policy")), *beside, ("policy", "random")]
    assert all(f"| {arm} | {against} | 2 |" in readable for arm, against in asked)


def test_no_default_is_a_field_of_a_class():
    """Of a dataclass with slots that would be the slot and not the number."""
    for path in (ROOT / "experiments").glob("*.py"):
        found = re.findall(r"default=[A-Z][a-z]\w*\.[a-z]\w*", path.read_text(encoding="utf8"))
        assert found == [], path.name


def test_images_search_and_compare_on_an_equal_budget():
    size = images.Size(trials=16, seeds=3, workers=1, data="there")
    compare = _parsed(images.comparison("mnist-small", Path("x"), size))
    assert (compare.task, compare.policy, compare.seeds) == ("mnist-small", Path("x/best.json"), 3)
    assert (compare.random_trials, compare.workers, compare.data) == (16, 1, Path("there"))
    assert compare.combined == "rand-augment"
    assert compare.out / "comparison.json" == Path("x") / images.FILES[1]
    assert images.Size().trials == images.SEARCH.trials == task_named("mnist-small").budget.trials


def test_images_search_is_a_part_of_the_landscape(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "task_named", lambda name, data: stripes.TASK)
    size = images.Size(trials=8, executor="inline")
    images.searched("stripes", tmp_path / "out", size, tmp_path / "results")
    study = Study.open(tmp_path / "results/stripes/studies/reinforce-1")
    assert (study.record.searcher, study.record.trials, study.record.seed) == ("reinforce", 8, 1)
    assert Policy.load(tmp_path / "out/best.json") == study.best.policy


@pytest.mark.parametrize(
    ("study", "error", "text"),
    [
        ({"finished": False}, KeyboardInterrupt, None),
        ({"finished": True, "best": None, "out": Path("x")}, StudyError, "finite reward; see x/logs"),
    ],
)
def test_images_saves_no_policy_of_a_search_that_has_none(tmp_path, monkeypatch, study, error, text):
    monkeypatch.setattr(images, "task_named", lambda name, data: stripes.TASK)
    monkeypatch.setattr(images.landscape, "conducted", lambda *args: SimpleNamespace(**study))
    with pytest.raises(error, match=text):
        images.searched("stripes", tmp_path / "out", images.Size(), tmp_path)
    assert not (tmp_path / "out").exists()


def test_images_says_first_that_data_are_missing(tmp_path):
    size = images.Size(data=str(tmp_path))
    with pytest.raises(DataError, match="MNIST"):
        images.searched("mnist-small", tmp_path / "out", size, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_the_folder_of_one_machine_does_not_stand_in_the_figures(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTODROPOUT_DATA", str(tmp_path))
    asked = []
    monkeypatch.setattr(images, "run", lambda tasks, out, size, results: asked.append(size) or 0)
    images.started(images.arguments().parse_args([]))
    assert str(tmp_path) not in " ".join(images.comparison("mnist-small", Path("x"), asked[0]))


def test_images_moves_patterns_on_tasks_of_images_only(tmp_path):
    given = images.arguments().parse_args(["--tasks", "digits", "--where", str(tmp_path / "p.json")])
    with pytest.raises(UsageError, match="digits is no task on images"):
        images.started(given)


def test_images_keeps_what_was_found_for_each_task(tmp_path):
    def command(arguments):
        for name in images.FILES:
            path = tmp_path / "out" / arguments[1] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(arguments[1])
        return 0

    sought = []
    out, results = tmp_path / "out", tmp_path / "results"
    assert (
        images.run(("a", "b"), out, images.Size(), results, lambda *args: sought.append(args), command) == 0
    )
    assert sought == [(task, out / task, images.Size(), results) for task in "ab"]
    found = {path.relative_to(results).as_posix(): path.read_text() for path in results.glob("*/*")}
    assert found == {f"{task}/{Path(name).name}": task for task in "ab" for name in images.FILES}
    code = images.run(("c",), out, images.Size(), results, lambda *args: None, lambda arguments: 130)
    assert code == 130
    assert not (results / "c").exists()


@pytest.mark.slow
def test_images_measures_elsewhere_and_divergence(tmp_path):
    size = images.Size(trials=2, seeds=2, executor="inline")
    found = images.where(stripes.TASK, stripes.POLICY, tmp_path, size)
    arms = {name: [arm["name"] for arm in found[name]["arms"]] for name in ("relocated", "diverged")}
    assert arms["relocated"] == ["none", "found", "reversed", "shifted", "everywhere"]
    assert arms["diverged"] == ["norms", "convolutions"]
    assert found["diverged"]["figure"] == "diverged"


def test_the_documentation_shows_where_the_policy_of_mnist_small_was_put():
    found = json.loads((ROOT / "results/mnist-small/where.json").read_text(encoding="utf8"))
    page = (ROOT / "docs/results.md").read_text(encoding="utf8").split("## mnist-small")[1].split("\n## ")[0]
    arms = {arm["name"]: f"{arm['mean']:.4f}".lstrip("0") for arm in found["relocated"]["arms"]}
    assert [name for name in ("found", "reversed", "shifted", "everywhere") if arms[name] not in page] == []
    assert {(arm["runs"], arm["mean"]) for arm in found["diverged"]["arms"]} == {(128, 0.0)}
