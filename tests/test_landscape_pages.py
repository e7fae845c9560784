"""Every released landscape: its file holds the committed studies, and its card and pages say what it is."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from pyarrow import parquet

import autodropout as ad
import release
from autodropout.benchmark.gathering import gather

ROOT = Path(__file__).parents[1]
LANDSCAPES = pytest.mark.parametrize("name", ad.benchmark.names())


def facts(name, file):
    return json.loads((ROOT / "results" / name / file).read_text(encoding="utf8"))


def text(name, file):
    return (ROOT / "results" / name / file).read_text(encoding="utf8")


def section(name):
    """Return the part of the page of results that is of a task."""
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf8")
    return page.split(f"\n## {name}\n")[1].split("\n## ")[0]


def without_zero(shown):
    return shown.replace("0.", ".")


@LANDSCAPES
def test_what_is_loaded_is_what_the_committed_studies_hold(name):
    packaged = ad.benchmark.load(name).release
    studies = ROOT / "results" / name / "studies"
    gathered = gather(studies, floor=packaged.floor, regressor=packaged.regressor).release
    assert replace(gathered, licence=release.LICENCE[name]).to_text() == packaged.to_text()
    assert packaged.floor == release.task_named(name).floor
    assert len(parquet.read_table(ROOT / "results" / name / "trials.parquet")) == len(packaged.trials)


@LANDSCAPES
def test_the_card_is_of_the_landscape(name):
    benchmark, card, surrogate = (
        ad.benchmark.load(name),
        text(name, "README.md"),
        facts(name, "surrogate.json"),
    )
    studies = ROOT / "results" / name / "studies"
    missing = release.missing_parts(studies, release.task_named(name))
    assert ("Only a part of the landscape" in card) == bool(missing)
    assert card.startswith(
        f"# The landscape {name}\n\n{len(benchmark.trials)} trainings of the task `{name}`"
    )
    assert f"No dropout at all: mean reward {benchmark.none:.4f} " in card
    assert card.endswith(f"## Licence\n\n{release.LICENCE[name]}\n")
    assert f"- command: `python experiments/release.py --name {name}" in card
    for held in surrogate["regressors"]:
        rho = held["overall"]
        assert f"| {held['regressor']} | {rho['n']} | {rho['rho']:.3f} ({rho['low']:.3f} to" in card
    for source, rho in surrogate["by_source"].items():
        assert f"| {source} | {rho['n']} | {rho['rho']:.3f} ({rho['low']:.3f} to {rho['high']:.3f}) |" in card
    assert surrogate["regressors"][0]["regressor"] == benchmark.release.regressor
    assert surrogate["noise"] == json.loads(json.dumps(asdict(benchmark.noise)))


@LANDSCAPES
def test_all_figures_are_of_this_landscape(name):
    benchmark = ad.benchmark.load(name)
    assert facts(name, "effects.json")["none"] == benchmark.none
    assert f"No dropout: {benchmark.none:.4f}." in text(name, "effects.md")
    for file in ("searchers.json", "calibration.json", "spaces.json"):
        if not (ROOT / "results" / name / file).is_file():
            continue
        found, noise = facts(name, file), benchmark.noise.pooled
        assert found["none"] == benchmark.none, file
        assert found["landscape_trials"] == len(benchmark.trials)
        assert (found["benchmark"], found["regressor"]) == (name, benchmark.release.regressor)
        assert (found["noise"]["sd"], found["space"]) == (noise.sd, benchmark.space.key)
        assert f"No dropout has {benchmark.none:.4f}" in text(name, file.replace(".json", ".md"))


@LANDSCAPES
def test_the_documentation_says_what_the_landscape_is(name):
    page, benchmark = section(name), ad.benchmark.load(name)
    assert f"landscape: {len(benchmark.trials):,} trainings" in page
    held = facts(name, "surrogate.json")
    best, noise = held["regressors"][0]["overall"], held["noise"]
    assert without_zero(f"{best['rho']:.3f} ({best['low']:.3f} to {best['high']:.3f})") in page
    pooled, third = noise["pooled"], noise["levels"][-1]
    assert f"by {pooled['sd'] / pooled['reward']:.2%} ({pooled['policies']} policies)" in page
    assert without_zero(f"by {third['sd'] / third['reward']:.2%} among the best third") in page


@LANDSCAPES
def test_the_documentation_shows_the_searchers_on_it(name):
    if not (ROOT / "results" / name / "searchers.md").is_file():
        pytest.skip("no searchers were compared on it")
    rows = [line for line in text(name, "searchers.md").splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 8
    assert "\n".join(rows) in section(name)
    assert (ROOT / "docs" / "pictures" / f"searchers-{name}.png").is_file()


def test_the_documentation_says_what_one_seed_leaves_of_the_noise_on_ptb_small():
    page = " ".join(section("ptb-small").split())
    own = facts("ptb-small", "surrogate.json")["noise"]["own"]
    assert "a fifth is left" in page
    assert round(own["fraction"], 1) == 0.2
    trials = ad.benchmark.load("ptb-small").trials
    confirmed = [trial.result.reward for trial in trials if trial.kind == "confirm"]
    share = own["sd"] / (sum(confirmed) / len(confirmed))
    assert without_zero(f"{share:.2%} of the reward of the {own['policies']} confirmed") in page


def ranked(found):
    """Return a correlation and its interval as the page has them."""
    return without_zero("{rho:.2f} ({low:.2f} to {high:.2f})".format(**found))


def test_the_documentation_says_what_the_landscape_of_mnist_small_shows():
    page = " ".join(section("mnist-small").split())
    judged, effects = facts("mnist-small", "surrogate.json"), facts("mnist-small", "effects.json")
    sources, ceiling = judged["by_source"], judged["ceiling"]
    assert f"those of the best third with {ranked(judged['regressors'][0]['best_third'])}" in page
    assert f"having seen none of them, with {ranked(sources['random'])}" in page
    assert f"REINFORCE's with {ranked(sources['reinforce'])}" in page
    assert f"as another does with {ranked(ceiling)}" in page
    assert f"with about {without_zero(format(ceiling['rho'] ** 0.5, '.2f'))}, its root" in page
    assert f"Under one seed {judged['noise']['own']['fraction']:.0%} of the variance is left" in page
    assert f"{effects['n']} policies by chance" in page
    assert f"explain {effects['explained']:.0%} of the variance" in page
    assert {choice["p"] for choice in effects["choices"]} == {1.0}
    assert f"of {len(effects['choices'])} choices" in page
    values = [value for choice in effects["choices"] for value in choice["values"]]
    assert 0.0145 < max(abs(value[end]) for value in values for end in ("low", "high")) < 0.015
    (chance,) = effects["strength"]
    assert [f"{quantile:.3f}" for quantile in chance["quantiles"][1:4:2]] == ["0.852", "0.871"]
    assert f"{chance['better']:.0%} ({chance['low']:.0%} to {chance['high']:.0%})" in page


def test_too_much_at_all_sites_of_mnist_small_harms():
    benchmark = ad.benchmark.load("mnist-small")
    by_hand = [trial for trial in benchmark.trials if (trial.source, trial.kind) == ("hand", "search")]
    everywhere = [trial for trial in by_hand if len(trial.policy.sites) == len(benchmark.space.sites)]
    rewards = sorted(trial.result.reward for trial in everywhere)
    assert [f"{rewards[place]:.2f}" for place in (0, 5, 6)] == ["0.32", "0.73", "0.81"]
    for trial in everywhere:
        tile = next(iter(trial.policy.sites.values()))
        assert (trial.result.reward < 0.75) == (2 * tile.stride == tile.height)
