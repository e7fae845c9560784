"""experiments/confirmed.py: tuned baselines, single roles and what searches found, on the same seeds."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import confirmed
import landscape_parts
import repeated
import stripes
from autodropout.data.text import CorpusSize
from autodropout.engine.confirm import Confirmation
from autodropout.engine.run import search
from autodropout.engine.study import Study
from autodropout.errors import DataError, UsageError
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


@pytest.fixture(scope="module")
def on_maps(tmp_path_factory):
    """Studies of a landscape over feature maps, and a comparison that has two baselines tuned."""
    out, space = tmp_path_factory.mktemp("maps"), stripes.TASK.space()
    listed = landscape_parts.by_hand("hand", space).listed[:3]
    hand = landscape_parts.Listed(name="hand", listed=listed)
    for name, searcher, trials in (
        ("hand", hand, 3),
        ("random-1", "random", 3),
        ("reinforce-1", "reinforce", 8),
    ):
        search(
            stripes.TASK.evaluate,
            space,
            trials=trials,
            searcher=searcher,
            executor="inline",
            out=out / "studies" / name,
            confirm=Confirmation(top=2, seeds=2),
            task=stripes.TASK.key,
        )
    tried = [
        {"strength": 0.1, "reward": 0.5},
        {"strength": 0.3, "reward": 0.7},
        {"strength": 0.5, "reward": None},
    ]
    tuning = [
        {"baseline": name, "seeds": 2, "tried": tried} for name in ("dropout", "dropblock", "policy+dropout")
    ]
    (out / "comparison.json").write_text(json.dumps({"tuning": tuning}))
    return out


def test_on_feature_maps_the_baselines_are_as_a_comparison_has_tuned_them(on_maps, tmp_path, monkeypatch):
    monkeypatch.setattr(confirmed, "REPEATS", (1,))
    given = on_maps / "studies", tmp_path, INLINE, on_maps / "comparison.json"
    comparison, best, sides = confirmed.run(stripes.TASK, *given)
    names = ["none", "dropout 0.3", "dropblock 0.3", "by hand", "random-1", "reinforce-1"]
    assert [row.name for row in comparison.rows] == names
    assert {row.against for row in comparison.rows} <= set(names[:4])
    assert (comparison.figure, comparison.higher_is_better) == ("accuracy", True)
    assert [(one.strength, one.reward, one.trials) for one in best] == [(0.3, 0.7, 6)] * 2
    plain, readable = confirmed.written(stripes.TASK, comparison, best, sides)
    assert json.loads(plain)["searchers"].keys() == {"random", "reinforce"}
    assert "*by hand* is the best of the settings by hand." in readable
    assert f"| {sides['random']['mean']:.4f} |" in readable
    assert not (tmp_path / "tune").exists()


def test_on_feature_maps_all_baselines_are_tuned_where_none_is(tmp_path, monkeypatch):
    monkeypatch.setattr(confirmed, "tuned", lambda task, baseline, out, how: baseline.name)
    known = [baseline.name for baseline in stripes.TASK.baselines]
    assert confirmed.tuned_all(stripes.TASK, tmp_path, INLINE, tmp_path / "comparison.json") == known
    assert confirmed.tuned_all(SHORT, tmp_path, INLINE) == list(confirmed.BASELINES)


def test_the_tuning_of_a_committed_comparison_is_read_as_it_was():
    facts = json.loads((ROOT / "results/mnist-small/comparison.json").read_text(encoding="utf8"))
    best = confirmed.tuned_all(
        confirmed.TASKS["mnist-small"], ROOT, INLINE, ROOT / "results/mnist-small/comparison.json"
    )
    arms = {f"{one.sweep.baseline} {one.strength:g}" for one in best}
    assert arms == {one["name"] for one in facts["comparison"]["arms"][1:-3]}


def test_missing_data_are_said_first(tmp_path):
    task = replace(stripes.TASK, source=replace(stripes.TASK.source, lacking="they are not there"))
    with pytest.raises(DataError, match="they are not there"):
        confirmed.run(task, tmp_path, tmp_path, INLINE)


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


def test_on_feature_maps_each_searcher_has_as_many_searches_as_its_landscape(on_maps, tmp_path):
    for name in ("random-1", "random-2"):
        shutil.copytree(on_maps / "studies" / "random-1", tmp_path / name)
    with pytest.raises(UsageError, match="has no random-3; run"):
        confirmed.found(tmp_path, stripes.TASK)
    shutil.copytree(tmp_path / "random-1", tmp_path / "random-3")
    with pytest.raises(UsageError, match="has no reinforce-1; run"):
        confirmed.found(tmp_path, stripes.TASK)
    shutil.copytree(on_maps / "studies" / "reinforce-1", tmp_path / "reinforce-1")
    found = confirmed.found(tmp_path, stripes.TASK)
    assert list(found) == ["random-1", "random-2", "random-3", "reinforce-1"]

    class Found:
        values = dict.fromkeys(found, (0.5, 0.7))

    sides = repeated.side_by_side(Found, ("random", "reinforce"), "random")
    assert confirmed._counted(sides) == "Searches: 3 by random, 1 by reinforce"
    assert "by_repeat" not in sides["reinforce"]
    assert sides["reinforce"]["by_seed"]["difference"] == 0.0


def test_remedies_lie_beside_the_landscape(studies, monkeypatch):
    monkeypatch.setattr(confirmed, "REPEATS", (1,))
    remedies = studies.with_name("remedies")
    shutil.copytree(studies / "reinforce-1", remedies / "reinforce-remedied-1")
    found = confirmed.found(studies, SHORT)
    shutil.rmtree(remedies)
    assert list(found) == ["random-1", "reinforce-1", "reinforce-remedied-1"]
    assert found["reinforce-remedied-1"] == found["reinforce-1"]


def test_what_is_missing_is_said(studies, tmp_path):
    with pytest.raises(UsageError, match=r"holds no search; run experiments/landscape\.py first"):
        confirmed.found(tmp_path, SHORT)
    with pytest.raises(UsageError, match=r"has no random-2, random-3; run experiments/landscape\.py on"):
        confirmed.found(studies, SHORT)
