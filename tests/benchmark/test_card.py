from dataclasses import replace

import pytest

from autodropout.benchmark.card import Facts, card
from autodropout.benchmark.deviation import noise_of
from autodropout.benchmark.held_out import by_source, ceiling, compare_regressors
from autodropout.policy import Policy


@pytest.fixture(scope="module")
def facts(gathered):
    release = gathered.release
    return Facts(
        name="toy",
        gathered=replace(
            gathered,
            release=replace(release, licence="Anyone may use it."),
            without={"random": 2, "evolution": 0},
            comparisons=("compare",),
        ),
        noise=noise_of(release.trials),
        regressors=compare_regressors(release, names=("ridge",)),
        sources=by_source(release),
        ceiling=ceiling(release),
        commit="abc123",
        commands=("one", "two"),
    )


def test_the_card_says_what_the_trials_are_and_where_they_come_from(facts):
    text = card(facts)
    release = facts.gathered.release
    diverged = [t for t in release.trials if t.diverged and t.source == "random"]
    row = next(line for line in text.splitlines() if line.startswith("| random |"))
    assert row.split(" | ")[1] == str(sum(t.source == "random" for t in release.trials))
    assert row.split(" | ")[3] == str(len(diverged))
    for words in (
        "156 trainings of the task `toy`",
        'ad.benchmark.load("toy")',
        "they returned nothing: {'random': 2}",
        "no part of it: compare",
        f"| {facts.noise.pooled.sd:.5f} |",
        f"| ridge | {facts.regressors[0].overall.n} | {facts.regressors[0].overall.rho:.3f} (",
        f"| evolution | {facts.sources['evolution'].n} |",
        "- command: `one`\n- command: `two`\n- commit: `abc123`",
        f"torch {release.versions[0]['torch']}",
        '"sites": ["query", "key"',
        "## Licence\n\nAnyone may use it.",
    ):
        assert words in text, words


def test_the_same_facts_give_the_same_card(facts):
    assert card(facts) == card(facts)


def test_a_part_of_a_landscape_says_which_it_is(facts):
    assert "Only a part" not in card(facts)
    text = card(replace(facts, missing=("hand", "repeats")))
    assert "Only a part of the landscape: the studies deep/again, evolution, random" in text
    assert ", without hand, repeats." in text


def test_a_landscape_without_bare_trials_says_so(facts):
    trials = tuple(t for t in facts.gathered.release.trials if t.policy != Policy({}))
    gathered = replace(facts.gathered, release=replace(facts.gathered.release, trials=trials))
    assert "No trial had no dropout at all." in card(replace(facts, gathered=gathered, ceiling=None))
    assert "by another seed's" not in card(replace(facts, ceiling=None))
