"""The table of claims in docs/results.md: every row has a verdict, and what it names exists."""

import json
import re
from pathlib import Path
from statistics import median

import pytest

from autodropout import zoo
from autodropout.benchmark import load
from autodropout.significance import holm, paired_difference
from autodropout.tasks.registry import TASKS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "results.md").read_text(encoding="utf8")
SECTION = TEXT[TEXT.index("## The papers' claims") : TEXT.index("## ptb-small")]
AUTODROPOUT = SECTION[SECTION.index("### AutoDropout") : SECTION.index("### Its critique")]
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in SECTION.splitlines()
    if line.startswith("| ") and not line.startswith(("| claim", "| question"))
]
VERDICTS = (
    "holds",
    "not shown",
    "does not hold",
    "not yet run",
    "the same picture",
    "answered on",
    "explained",
    "nothing to test",
)


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:40] for row in ROWS])
def test_every_row_has_a_verdict_and_what_it_names_exists(row):
    claim, here, verdict = row
    assert claim
    assert verdict.startswith(VERDICTS)
    named = f"{here} {verdict}"
    for file in re.findall(r"`(?:python )?((?:experiments|tests)/\w+\.py)", named):
        assert (ROOT / file).is_file(), file
    for page in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", named):
        assert (ROOT / "docs" / page).resolve().is_file(), page
    for task in re.findall(r"`([a-z]+[0-9a-z]*-[a-z0-9-]+)`", named):
        known = {"variational-everywhere", *zoo.names(), *re.findall(r"[45]-\w+|6-[\w-]+", task)}
        assert task in TASKS or task in known, task
    if "not yet run" in verdict:  # what it would cost: trainings, or somebody's time
        cost = verdict.split("not yet run")[1]
        assert re.search(r"\d+ trainings|core|GPU|minutes|hours", cost), cost


def test_all_tables_of_all_three_papers_are_there():
    for table in (
        "Table 1: on CIFAR-10",
        "Table 2: with RandAugment",
        "Table 2: it beats CutMix with RandAugment",
        "Table 2: it beats Stochastic Depth and DropPath",
        "Table 2: on ImageNet it beats CutMix with FixRes",
        "Table 3: with few",
        "Table 3: UDA with the policy beats",
        "Footnote 1",
        "Table 4",
        "Figure 5",
    ):
        assert table in SECTION
    for table in ("Tables 1 and 2", "Table 3: augmented", "Tables 4 and 5", "Table 6", "Table 1: adaptive"):
        assert table in SECTION
    for figures in ("Figures 1 to 4", "Figure 5", "Figures 1 and 2", "Figure 3"):
        assert f"| {figures}: " in SECTION


def test_sizes_and_strides_differ_within_the_policies_of_reinforce():
    found = [zoo.load(name) for name in ("ptb-small", "ptb-small-reinforce-2", "ptb-small-reinforce-3")]
    assert [len(policy.sites) for policy in found] == [5, 5, 5]
    assert {len({pattern.stride for pattern in policy.sites.values()}) for policy in found} == {2, 4}
    assert {len({pattern.size for pattern in policy.sites.values()}) for policy in found} == {3, 4, 5}
    assert {str(pattern.size) for policy in found for pattern in policy.sites.values()} == {
        *("1", "2", "4", "8", "16", "whole")
    }


DIFFERENCES = {
    "digits/tuned.json": (
        ("policy", "none", "+.58 (.42 to .73, p < .0001)"),
        ("policy", "dropblock", "+.32 (.15 to .48, p = .0004, Holm .002)"),
        ("policy", "dropout", "beside tuned Dropout +.16 (.03 to .29, p = .02, Holm .04)"),
        ("policy", "dropout", "by .16 points (.03 to .29, p = .02)"),
        ("policy", "stochastic-depth", "digits, 40 paired seeds: +.68 (.51 to .86, p < .0001)"),
        ("dropblock", "none", "+.26 (.12 to .40, p = .0006)"),
        ("dropout", "spatial-dropout", "digits +.32 (.17 to .46, p < .0001)"),
        ("dropout", "dropblock", "digits +.16 (.02 to .31, p = .03)"),
        ("policy", "random", "40 seeds: +.11 points (-.04 to .26, p = .15)"),
    ),
    "mnist-small": (
        ("policy", "none", "+4.2 (3.0 to 5.3, p < .0001) and"),
        ("policy", "dropblock", "+.4 (-.3 to 1.1, p = .20)"),
        ("policy", "dropout", "beside tuned Dropout -.0 (-1.0 to .9, p = .99)"),
        ("policy", "stochastic-depth", "+3.5 (2.0 to 5.1, p = .0006)"),
        ("dropblock", "none", "+3.8 (2.9 to 4.7, p < .0001)"),
        ("dropout", "spatial-dropout", "+3.6 (2.5 to 4.8, p < .0001)"),
        ("dropout", "dropblock", "+.4 (-.7 to 1.6, p = .41)"),
        ("l2", "dropblock", "+5.1 (4.0 to 6.1, p < .0001)"),
        ("policy+rand-augment", "mixup", "+7.1 (6.4 to 7.7, p < .0001)"),
        ("policy+rand-augment", "cutmix", "+4.7 (3.9 to 5.5, p < .0001)"),
        ("policy+rand-augment", "manifold-mixup", "+5.0 (4.2 to 5.7, p < .0001)"),
        ("policy+rand-augment", "moex", "+4.4 (3.5 to 5.3, p < .0001)"),
        ("rand-augment", "policy+rand-augment", "RandAugment alone is 2.7 ahead (2.0 to 3.3, p < .0001)"),
        (
            "cutmix-rand-augment",
            "policy+rand-augment",
            "CutMix with RandAugment is ahead by 1.7 on mnist-small (1.3 to 2.2, p < .0001)",
        ),
        ("policy+rand-augment", "stochastic-depth", "mnist-small +7.3 (6.2 to 8.5, p < .0001)"),
        ("policy+rand-augment", "drop-path", "+9.4 (8.0 to 10.8, p < .0001)"),
        ("manifold-mixup", "none", "+3.0 (2.0 to 4.0, p < .0001)"),
        ("cutmix", "none", "CutMix +3.3 (2.1 to 4.5, p = .0002)"),
        ("moex", "none", "MoEx +3.6 (2.1 to 5.2, p = .0004)"),
        ("mixup", "none", "Mixup +1.0 (.0 to 1.9, p = .05)"),
        ("policy", "random", "10 seeds: -.27 (-1.27 to .72, p = .55)"),
        ("augmented-dropout", "dropout", "difference .2 points (-.8 to 1.2, p = .69)"),
        ("adaptive-dropout", "none", ".8 points over none (-.0 to 1.7, p = .06)"),
        (
            "adaptive-dropout",
            "spatial-dropout",
            ".3 over the same coins at equal rates (spatial dropout; -.5 to 1.1, p = .47)",
        ),
        ("adaptive-dropout", "l1", ".7 over L1 (.1 to 1.2, p = .02)"),
        ("l2", "adaptive-dropout", "8.0 below L2"),
        ("dropout", "adaptive-dropout", "3.4 below standard dropout (p < .0001 each)"),
    ),
    "cifar10-small": (
        ("policy", "none", "+2.4 (1.4 to 3.4, p = .0004)"),
        ("policy", "dropblock", "-.1 (-.9 to .7, p = .80)"),
        ("policy", "dropout", "beside tuned Dropout +.2 (-.8 to 1.2, p = .67)"),
        ("policy", "stochastic-depth", "+.8 (-.3 to 1.9, p = .14)"),
        ("dropblock", "none", "+2.5 (1.8 to 3.3, p < .0001)"),
        ("dropout", "spatial-dropout", "cifar10-small +.1 (-.9 to 1.2, p = .77)"),
        ("dropout", "dropblock", "cifar10-small -.3 (-1.1 to .5, p = .45)"),
        ("l2", "dropblock", "cifar10-small -.8 (-1.6 to .0, p = .06)"),
        ("policy+rand-augment", "mixup", "+.9 (-.4 to 2.2, p = .14)"),
        ("policy+rand-augment", "cutmix", "-.5 (-1.4 to .3, p = .20)"),
        ("policy+rand-augment", "manifold-mixup", "-.5 (-1.2 to .2, p = .13)"),
        ("policy+rand-augment", "moex", "+1.6 (.9 to 2.4, p = .0008)"),
        ("rand-augment", "policy+rand-augment", "RandAugment alone is 2.0 ahead (1.1 to 2.9, p = .0006)"),
        ("policy+rand-augment", "cutmix-rand-augment", "+.2 (-.5 to .9, p = .51)"),
        ("policy+rand-augment", "stochastic-depth", "-.1 (-1.2 to 1.0, p = .84)"),
        ("policy+rand-augment", "drop-path", "+.9 (.1 to 1.7, p = .03)"),
        ("manifold-mixup", "none", "+2.1 (1.2 to 2.9, p = .0003)"),
        ("cutmix", "none", "+2.1 (1.1 to 3.0, p = .0008)"),
        ("moex", "none", "-.1 (-.7 to .5, p = .75)"),
        ("mixup", "none", "+.6 (-.3 to 1.6, p = .16)"),
        ("policy", "random", "likewise: -.46 (-1.53 to .61, p = .35)"),
        ("augmented-dropout", "dropout", "-.0 (-.8 to .7, p = .91)"),
        ("adaptive-dropout", "none", "1.8 over none (1.1 to 2.5, p = .0003)"),
        ("adaptive-dropout", "spatial-dropout", "-.3 to the same coins (-1.2 to .6, p = .41)"),
        ("adaptive-dropout", "l1", "1.7 over L1 (.8 to 2.5, p = .002)"),
        ("adaptive-dropout", "l2", "not told apart from L2 (.0, -1.0 to 1.0, p = .97)"),
        ("adaptive-dropout", "dropout", "standard dropout (-.5, -1.4 to .4, p = .27)"),
    ),
    "demystifying/3": (
        ("augmented 0.1", "standard 0.1", ".01 (-.07 to .08, p = .85)"),
        ("augmented 0.2", "standard 0.2", "-.02 (-.09 to .04, p = .35)"),
        ("augmented 0.3", "standard 0.3", ".05 (-.03 to .14, p = .14)"),
        ("augmented 0.4", "standard 0.4", ".04 (-.08 to .15, p = .39)"),
        ("augmented 0.5", "standard 0.5", "-.02 (-.08 to .03, p = .27)"),
    ),
    "demystifying/3-at-0.3": (
        ("augmented 0.3", "standard 0.3", "all seven trained anew: .00 (-.06 to .07, p = .88)"),
    ),
    "demystifying/2+5-cifar10-small": (
        ("standard 0.3", "plain", "-7.2 (-8.0 to -6.4, p < .0001)"),
        ("standard 0.2", "plain", "-4.9 (-7.3 to -2.4, p = .008)"),
        ("standard 0.1", "plain", "-3.5 (-6.3 to -.8, p = .03)"),
        ("standard 0.05", "plain", "-2.3 (-4.4 to -.2, p = .04)"),
        ("standard 0.01", "plain", "-.1 (-1.1 to .9, p = .68)"),
        ("standard 0.005", "plain", "-1.1 (-2.6 to .4, p = .10)"),
        ("forward 0.005", "forward 0.3", "forward dropout loses 6.4 points (4.8 to 7.9, p = .001)"),
        ("backward 0.005", "backward 0.3", "backward dropout 2.9 (2.4 to 3.4, p = .0004)"),
        ("standard 0.005", "standard 0.3", "standard dropout 6.1 (4.1 to 8.1, p = .002)"),
        ("forward 0.3", "plain", "forward -7.1 (-9.0 to -5.1, p = .001)"),
        ("backward 0.3", "plain", "backward -2.9 (-4.0 to -1.7, p = .004)"),
        ("forward 0.05", "plain", "forward -1.0 (-2.9 to 1.0, p = .22)"),
        ("backward 0.05", "plain", "backward .3 (-.9 to 1.5, p = .47)"),
        ("forward 0.005", "plain", "forward -.7 (-2.6 to 1.2, p = .31)"),
        ("backward 0.005", "plain", "backward .0 (-1.5 to 1.6, p = .96)"),
        ("backward 0.3", "standard 0.3", "by 4.3 (3.8 to 4.9, p = .0001, Holm .0008)"),
        ("backward 0.05", "standard 0.05", "by 2.6 (.8 to 4.5, p = .02, Holm .10)"),
        ("forward 0.3", "standard 0.3", ".1 (-1.9 to 2.1, p = .87)"),
        ("forward 0.05", "standard 0.05", "1.4 (-1.4 to 4.1, p = .21)"),
        ("augmented 0.1", "standard 0.1", "1.8 (-1.4 to 4.9, p = .17)"),
        ("augmented 0.2", "standard 0.2", ".3 (-2.7 to 3.3, p = .77)"),
        ("augmented 0.3", "standard 0.3", ".6 (-1.9 to 3.0, p = .52)"),
    ),
    "adaptive/cifar10-small": (
        ("adaptive", "standard", "difference to standard -.7 (-1.2 to -.2, p = .02,"),
        ("adaptive", "none", "to none -.6 (-1.8 to .6, p = .23)"),
        ("adaptive", "adaptive-unimportant", "difference -.4 points (-1.4 to .6, p = .34)"),
    ),
    "cifar10-small-uda": (
        ("UDA+policy", "UDA", "difference -3.2 (-4.9 to -1.5, p = .006)"),
        ("UDA", "UDA+policy", "takes 3.2 points (1.5 to 4.9, p = .006) from UDA"),
    ),
    "transfer/wikitext2-small": (
        ("policy", "drop-attention", "-.25 (-.75 to .24, p = .23)"),
        ("variational-dropout", "dropout", "difference -.16 (-.48 to .16, p = .24)"),
        ("paper-finding", "variational-dropout", "Variational Dropout 33.27 (p = .006)"),
        ("policy", "paper-finding", "what our search found 30.15 (p = .0003)"),
    ),
}
"""What the table says of two arms of a comparison: difference, ends of its interval, p, as far as it does."""


@pytest.mark.parametrize(
    ("place", "one", "other", "said"),
    [(place, *row) for place, rows in DIFFERENCES.items() for row in rows],
    ids=[row[2][:40] for rows in DIFFERENCES.values() for row in rows],
)
def test_differences_are_those_of_the_committed_runs(place, one, other, said):
    assert said in SECTION
    file = place if place.endswith(".json") else f"{place}/comparison.json"
    found = json.loads((ROOT / "results" / file).read_text(encoding="utf8"))
    whole = {arm["name"]: arm["values"] for arm in found["comparison"]["arms"]}
    arms = {name.split()[0]: values for name, values in whole.items()} | whole
    paired = paired_difference(arms[one], arms[other])
    points = 1.0 if place.startswith("transfer") else 100.0
    head, *tail = re.split(r"\bp (?=[=<] \.)", said, maxsplit=1)
    numbers = [number for number in re.findall(r"-?\d*\.\d+", head) if number not in ("33.27", "30.15")]
    decimals = {len(number.partition(".")[2]) for number in numbers}
    shown = {
        _short(points * end, places)
        for end in (paired.difference, paired.low, paired.high)
        for places in decimals
    }
    assert set(numbers) <= shown
    if tail:
        assert_p(tail[0], paired.p)


def _short(value, decimals):
    """Return a number as the page has it: without the zero before the point."""
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.{decimals}f}")


def assert_p(said, p):
    """Compare p as the page has it, such as ``= .0004, Holm .007)`` or ``< .0001)``, with one computed."""
    if match := re.match(r"= (\.\d+)", said):
        assert float(match[1]) == pytest.approx(p, abs=0.51 * 10 ** (1 - len(match[1])))
    else:
        assert said.startswith("< .0001")
        assert p < 1e-4


RELOCATED = {
    "reversed": "1.1 to 3.5, p = .002",
    "shifted": "-.3 to 2.3, p = .12",
    "everywhere": "-.4 to 1.4, p = .22",
}
"""What the table says of the policy at other places: how much worse it is there than where it was found."""


@pytest.mark.parametrize("arm", RELOCATED)
def test_what_is_lost_at_other_places_is_that_of_the_committed_runs(arm):
    found = json.loads((ROOT / "results/mnist-small/where.json").read_text(encoding="utf8"))
    (row,) = [row for row in found["relocated"]["arms"] if row["name"] == arm]
    ends = f"{_short(-100 * row['difference_high'], 1)} to {_short(-100 * row['difference_low'], 1)}"
    said = RELOCATED[arm]
    assert f"({said})" in SECTION
    assert said.startswith(ends)
    assert_p(said.partition("p ")[2], row["p"])
    assert _short(-100 * row["difference"], 1) in SECTION
    assert "Holm over the three .006, .25, .25" in SECTION
    adjusted = [row["adjusted_p"] for row in found["relocated"]["arms"] if row["name"] in RELOCATED]
    assert [_short(p, 3 if p < 0.01 else 2) for p in adjusted] == [".006", ".25", ".25"]


def test_figure_5_is_that_of_the_committed_searches():
    confirmed = json.loads((ROOT / "results/ptb-small/confirmed.json").read_text(encoding="utf8"))
    cheaper = json.loads((ROOT / "results/ptb-small/cheaper.json").read_text(encoding="utf8"))["kinds"]
    for kind, sign in (
        (confirmed["searchers"]["reinforce"], -1),
        (cheaper["halving"], 1),
        (cheaper["warm"], 1),
    ):
        for words, over in (("by_seed", "over seeds"), ("by_repeat", "over searches")):
            found = kind[words]
            low, high = sorted(sign * found[end] for end in ("low", "high"))
            said = re.search(
                rf"{re.escape(f'{_short(low, 2)} to {_short(high, 2)}')} {over}, p ([=<] \.\d+)", SECTION
            )
            assert said, (words, low, high)
            assert_p(said[1], found["p"])


@pytest.mark.parametrize("task", ["ptb-small", "mnist-small"])
def test_figure_5_is_that_of_the_committed_simulations(task):
    file = ROOT / "results" / task / "searchers.json"
    searchers = json.loads(file.read_text(encoding="utf8"))["searchers"]
    standings = {one["variant"]["name"]: one["standings"] for one in searchers}
    for name, trials in (("reinforce", 128), ("reinforce", 512), ("reinforce-paper", 512)):
        (found,) = [one["difference"] for one in standings[name] if one["trials"] == trials]
        difference, low, high = (_short(found[end], 4) for end in ("difference", "low", "high"))
        said = re.search(
            rf"{re.escape(difference)}[^(]*\({re.escape(low)} to {re.escape(high)}, p ([=<] \.\d+)\)", SECTION
        )
        assert said, (name, trials)
        assert_p(said[1], found["p"])


INTERVAL = re.compile(r"(?<![\d.])-?\d*\.\d+ to -?\d*\.\d+")


def without_p(text):
    """Return the brackets that hold an interval and no p."""
    return [
        one
        for one in re.findall(r"\(([^()]*)\)", text)
        if INTERVAL.search(one) and not re.search(r"\bp (?:[=<]|at most) \.", one)
    ]


@pytest.mark.parametrize("row", AUTODROPOUT.splitlines(), ids=lambda row: row[2:42])
def test_every_interval_of_ours_has_a_p(row):
    if row.startswith("| ") and not row.startswith("| claim"):
        _, here, verdict = (cell.strip() for cell in row.strip("| ").split(" | "))
        assert without_p(f"{here} {verdict}") == []


def test_every_interval_of_the_sentences_in_bold_has_a_p():
    below = TEXT[TEXT.index("\n## ptb-small\n") :]
    bold = re.findall(r"^\*\*(.+?)\*\*$", below, re.MULTILINE | re.DOTALL)
    assert len(bold) == 10
    assert [one for sentence in bold for one in without_p(" ".join(sentence.split()))] == []


MEASURED = {
    "## ptb-small": ("ptb-small/confirmed.json",),
    "### Its landscape: 2,311 trainings": (),
    "### Searchers on it": ("ptb-small/searchers.json",),
    "### On other tasks, without a new search": tuple(
        f"transfer/{task}/comparison.json" for task in ("wikitext2-small", "multi30k-de-en", "multi30k-en-fr")
    ),
    "## mnist-small": ("mnist-small/comparison.json", "mnist-small/where.json"),
    "### Its landscape: 1,007 trainings": (),
    "### Searchers on mnist-small": ("mnist-small/searchers.json",),
    "## cifar10-small": ("cifar10-small/comparison.json",),
    "### With few labels": ("cifar10-small-uda/comparison.json",),
    "### LeNet on MNIST, at full size": (
        "demystifying/3/comparison.json",
        "demystifying/3-at-0.3/comparison.json",
    ),
    "### ResNet-20 on CIFAR-10, shortened": ("demystifying/2+5-cifar10-small/comparison.json",),
    "## ResNet-18 on CIFAR-10, at a quarter of its width": ("adaptive/cifar10-small/comparison.json",),
    "## digits": ("digits/comparison.json", "digits/space.json"),
    "### With the known methods tuned as long as a search": ("digits/tuned.json",),
    "### Beside weight decay": ("digits/weight_decay.json",),
}
"""Of each section that measures something, the files that its figures are from."""


def section(heading):
    """Return what stands below a heading, as far as the next one of any level."""
    return " ".join(
        re.split(r"^#", TEXT.partition(f"\n{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0].split()
    )


def test_every_section_that_measures_is_known():
    below = TEXT[TEXT.index("\n## ptb-small\n") :]
    below = below.replace("\n## Demystifying Dropout\n", "\n")  # only what stands below it measures
    assert re.findall(r"^##.+$", below, re.MULTILINE) == list(MEASURED)


@pytest.mark.parametrize("heading", MEASURED)
def test_every_section_names_seconds_and_hardware_as_its_files_have_them(heading):
    text = section(heading)
    assert re.search(r"\d (?:to [\d.]+ )?seconds\b", text)
    assert re.search(r"\b(?:one core|two cores)\b", text)
    said = [(float(a), float(b)) for a, b in re.findall(r"([\d.]+) to ([\d.]+) (?:seconds|and of)", text)]
    for file in MEASURED[heading]:
        found = json.loads((ROOT / "results" / file).read_text(encoding="utf8"))
        assert (found["machine"]["architecture"], found["machine"]["processors"]) == ("x86_64", 2)
        assert found["machine"].get("processor", "AMD EPYC") == "AMD EPYC"
        if "seconds" in found:
            assert f"{found['seconds']:.0f} seconds" in text
        if "comparison" in found or "relocated" in found:
            arms = found.get("relocated", found.get("comparison"))["arms"]
            fewest, most = min(arm["seconds"] for arm in arms), max(arm["seconds"] for arm in arms)
            assert any(low - 0.51 <= fewest and most <= high + 0.51 for low, high in said), (
                file,
                fewest,
                most,
            )


def test_the_table_of_one_pass_dropout_is_that_of_the_committed_runs():
    text = TEXT[TEXT.index("### ResNet-20 on CIFAR-10, shortened") : TEXT.index("\n## digits\n")]
    file = ROOT / "results/demystifying/2+5-cifar10-small/comparison.json"
    arms = json.loads(file.read_text(encoding="utf8"))["comparison"]["arms"]
    cells = {arm["name"]: f"{_short(arm['mean'], 4)} ({_short(arm['spread'], 4)})" for arm in arms}
    assert f"no dropout {cells.pop('plain')}" in text
    kinds = ("standard", "forward", "backward", "augmented")
    for ratio in (0.3, 0.2, 0.1, 0.05, 0.01, 0.005):
        row = " | ".join(cells.pop(f"{kind} {ratio}", "") for kind in kinds)
        assert f"| {_short(ratio, len(str(ratio)) - 2)} | {row} |\n" in text
    assert cells == {}
    curves = json.loads(file.with_name("figure-2.json").read_text(encoding="utf8"))["curves"]
    ends = {arm: [curves[arm][loss]["mean"][-1] for loss in ("train", "test")] for arm in curves}
    assert {f"{loss:.2f}" for loss in ends["plain"]} == {"1.21"}
    for ratio, said in (
        ("0.2", "1.34 forward, 1.33 standard, 1.26 backward, 1.21 none"),
        ("0.05", "1.23 forward, 1.19 backward, 1.25 standard, 1.21 none"),
    ):
        assert said in TEXT
        for loss, kind in re.findall(r"([\d.]+) (\w+)", said):
            arm = "plain" if kind == "none" else f"{kind} {ratio}"
            assert f"{ends[arm][0]:.2f}" == loss


def test_the_table_of_lenet_is_that_of_the_committed_runs():
    text = section("### LeNet on MNIST, at full size")
    found = json.loads((ROOT / "results/demystifying/3/comparison.json").read_text(encoding="utf8"))
    arms = {arm["name"]: arm for arm in found["comparison"]["arms"]}

    def cell(name):
        return f"{_short(arms[name]['mean'], 4)} ({_short(arms[name]['spread'], 4)})"

    assert f"no dropout {cell('plain')}" in text
    for row in found["pairs"]:
        ratio = row["arm"].split()[1]
        standard, augmented = row["against"], row["arm"]
        printed = " | ".join(_short(found["printed"][name], 4) for name in (standard, augmented))
        paired = row["paired"]
        ends = [_short(100 * paired[end], 2) for end in ("difference", "low", "high")]
        difference = f"{ends[0]} ({ends[1]} to {ends[2]})"
        shares = " | ".join(_short(p, 2) for p in (paired["p"], row["adjusted_p"]))
        cells = f"{printed} | {cell(standard)} | {cell(augmented)} | {difference} | {shares}"
        assert f"| {ratio.lstrip('0')} | {cells} |" in text
    gain = paired_difference(arms["standard 0.5"]["values"], arms["plain"]["values"])
    ends = [_short(100 * end, 2) for end in (gain.difference, gain.low, gain.high)]
    ratios = (0.5, 0.4, 0.3, 0.2, 0.1)
    gains = [paired_difference(arms[f"standard {r}"]["values"], arms["plain"]["values"]) for r in ratios]
    adjusted = holm([each.p for each in gains])
    assert all(each.difference > 0 for each in gains)
    assert sum(p < 0.05 for p in adjusted) == 4
    share = f"p = {_short(gain.p, 3)}, Holm over the five {_short(adjusted[0], 2)}"
    assert f"most at .5 by {ends[0]} points ({ends[1]} to {ends[2]}, {share})" in text
    furthest = max(abs(arms[name]["mean"] - accuracy) for name, accuracy in found["printed"].items())
    assert f"within {_short(furthest, 4)}" in text
    needed = json.loads((ROOT / "results/demystifying/3/power.json").read_text(encoding="utf8"))["needs"]
    assert [need["seeds"] for need in needed] == [50, 130, 7, 46, 12]
    assert "need 7 seeds at .3, 12 at .5, 46 and 50 at .4 and .1 and 130 at .2" in text
    powers = [need["power"] for need in needed]
    assert f"{_short(min(powers), 2)} to {_short(max(powers), 2)}" in text


def test_the_head_of_the_page_says_what_the_files_record_of_the_machines():
    head = " ".join(TEXT[: TEXT.index("## The papers' claims")].split())
    assert "machines of two x86_64 cores under Linux" in head
    assert "the newer ones also the processor (AMD EPYC)" in head
    machines = load("ptb-small").release.machines  # of the landscape
    assert {(machine["architecture"], machine["processors"]) for machine in machines} == {("x86_64", 2)}


def test_the_landscape_took_the_seconds_that_are_said():
    seconds = [trial.result.seconds for trial in load("ptb-small").trials]
    text = section("### Its landscape: 2,311 trainings")
    assert (
        f"{median(seconds):.1f} seconds of one core in the median, {sum(seconds) / 3600:.1f} hours in all"
        in text
    )


def test_lenet_with_seven_seeds_is_shown_as_it_came_out():
    text = section("### LeNet on MNIST, at full size")
    folder = ROOT / "results/demystifying/3-at-0.3"
    found = json.loads((folder / "comparison.json").read_text(encoding="utf8"))["comparison"]
    cells = [f"{_short(arm['mean'], 4)} ({_short(arm['spread'], 4)})" for arm in found["arms"]]
    assert f"standard {cells[0]}, augmented {cells[1]}" in text
    (need,) = json.loads((folder / "power.json").read_text(encoding="utf8"))["needs"]
    assert f"it would take {need['seeds']}." in text
    paired = paired_difference(found["arms"][1]["values"], found["arms"][0]["values"])
    assert paired.n == 7
    assert paired.high < need["difference"], "the page says that the interval ends below what is printed"
