"""experiments/confirmed.py: tuned baselines, single roles and what searches found, on the same seeds."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import confirmed
import landscape_parts
import repeated
from autodropout.data.text import CorpusSize
from autodropout.engine.confirm import Confirmation
from autodropout.engine.run import search
from autodropout.engine.study import Study
from autodropout.errors import UsageError
from autodropout.pattern import TokenPattern
from autodropout.policy import Policy
from autodropout.tasks.text.small import PydocLm

ROOT = Path(__file__).parents[1]
SIZE = CorpusSize(vocabulary=50, train=800, validation=400, test=400)
SHORT = PydocLm(recipe=replace(PydocLm().recipe, size=SIZE, steps=2, width=16, heads=2, measurements=1))


INLINE = confirmed.How(seeds=2, executor="inline")


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    out, space = tmp_path_factory.mktemp("studies"), SHORT.space()
    alone = [
        Policy({f"role:{role}": TokenPattern(size=1, share_c=True, rate=rate)})
        for role, rate in (("output", 0.5), ("residual", 0.1), ("residual", 0.02))
    ]
    hand = landscape_parts.Listed(name="hand", listed=tuple(space.encode(policy) for policy in alone))
    for name, searcher, trials in (
        ("hand", hand, 3),
        ("hand-strong", landscape_parts.Listed(name="hand-strong", listed=hand.listed[:2]), 2),
        ("random-1", "random", 4),
        ("reinforce-1", "reinforce", 8),
    ):
        search(
            SHORT.evaluate,
            space,
            trials=trials,
            searcher=searcher,
            executor="inline",
            out=out / name,
            confirm=Confirmation(top=2, seeds=2),
            task=SHORT.key,
        )
    return out


def test_the_arms_are_what_was_tuned_set_by_hand_and_found(studies, tmp_path, monkeypatch):
    monkeypatch.setattr(confirmed, "BASELINES", ("dropout",))
    monkeypatch.setattr(confirmed, "REPEATS", (1,))
    comparison, best, sides = confirmed.run(SHORT, studies, tmp_path, INLINE)
    (tuned,) = best
    names = ["none", f"dropout {tuned.strength:g}", "one role", "residual", "random-1", "reinforce-1"]
    assert [row.name for row in comparison.rows] == names
    assert {row.against for row in comparison.rows} <= set(names[:4])
    assert comparison.figure == "perplexity"
    assert not comparison.higher_is_better
    assert tuned.trials == 16
    plain, readable = confirmed.written(SHORT, comparison, best, sides)
    document = json.loads(plain)
    assert document["searchers"].keys() == {"random", "reinforce"}
    assert document["tuning"][0]["strength"] == tuned.strength
    assert "| reinforce |" in readable
    assert readable.count("dropout: strength") == 1
    beside = [(pair["arm"], pair["against"]) for pair in document["pairs"]]
    assert beside == [("random-1", names[1]), ("reinforce-1", names[1])]
    assert f"| reinforce-1 | {names[1]} | 2 |" in readable


def test_the_residual_arm_is_the_best_of_its_role(studies):
    hands = [Study.open(studies / name) for name in ("hand", "hand-strong")]
    policies = confirmed.by_hand(hands)
    trials = [trial for study in hands for trial in study.trials if trial.kind == "search"]
    alone = [(t.result.reward, t.policy) for t in trials if set(t.policy.sites) == {"role:residual"}]
    assert policies["residual"] == max(alone, key=lambda pair: pair[0])[1]
    best = max((study.confirmed[0] for study in hands), key=lambda found: found.reward)
    assert policies["one role"] == best.policy


def test_searchers_are_compared_over_seeds_and_over_repeats():
    class Found:
        values = {  # noqa: RUF012
            "none": (9.0, 9.0),
            "random-1": (5.0, 7.0),
            "random-2": (6.0, 8.0),
            "reinforce-1": (4.0, 6.0),
            "reinforce-2": (5.0, 6.0),
        }

    sides = repeated.side_by_side(Found, ("random", "reinforce"), "random")
    assert sides["random"] == {"mean": 6.5, "repeats": [6.0, 7.0]}
    assert sides["reinforce"]["repeats"] == [5.0, 5.5]
    by_seed, by_repeat = sides["reinforce"]["by_seed"], sides["reinforce"]["by_repeat"]
    assert (by_seed["n"], by_seed["difference"]) == (2, -1.25)
    assert (by_repeat["n"], by_repeat["difference"], by_repeat["spread"]) == (
        2,
        -1.25,
        pytest.approx(0.3536, abs=1e-4),
    )


def test_remedies_lie_beside_the_landscape(studies, monkeypatch):
    monkeypatch.setattr(confirmed, "REPEATS", (1,))
    remedies = studies.with_name("remedies")
    shutil.copytree(studies / "reinforce-1", remedies / "reinforce-remedied-1")
    found = confirmed.found(studies)
    shutil.rmtree(remedies)
    assert list(found) == ["random-1", "reinforce-1", "reinforce-remedied-1"]
    assert found["reinforce-remedied-1"] == found["reinforce-1"]


def test_what_is_missing_is_said(studies, tmp_path):
    with pytest.raises(UsageError, match=r"holds no search; run experiments/landscape\.py first"):
        confirmed.found(tmp_path)
    with pytest.raises(UsageError, match=r"has no random-2, random-3; run experiments/landscape\.py on"):
        confirmed.found(studies)
