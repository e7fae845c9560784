"""experiments/transfer.py, from searches to committed figures, with trainings of two steps."""

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
import torch

import transfer
from autodropout.cli import _parsed, main
from autodropout.comparison import read_comparison
from autodropout.data.subwords import CACHE_VARIABLE
from autodropout.data.text import Corpus, CorpusSize
from autodropout.engine.confirm import Confirmation
from autodropout.engine.run import search
from autodropout.errors import UsageError
from autodropout.policy import ROLES, Policy
from autodropout.tasks import registry
from autodropout.tasks.registry import task_named
from autodropout.tasks.text import small
from autodropout.tasks.text.small import WikiText2Small
from autodropout.token_space import TokenSpace
from translation_toy import toy, write_toy

SIZE = CorpusSize(vocabulary=20, train=400, validation=200, test=200)
TARGET = "wikitext2-small"


def searched(out, seed, task="ptb-small", confirm=2):
    """A search in which more sites are better."""
    return search(
        lambda policy, seed: len(policy.sites) + seed % 3 / 10,
        TokenSpace(sites=ROLES),
        trials=6,
        searcher="random-biased",
        executor="inline",
        out=out,
        seed=seed,
        confirm=Confirmation(top=confirm, seeds=2),
        task=task,
    )


@pytest.fixture
def short(monkeypatch):
    """The target on a made-up text, two steps a training."""
    text = (torch.randint(1, 3, (800,), generator=torch.Generator().manual_seed(0)).cumsum(0) % 20).split(
        [400, 200, 200]
    )
    corpus = Corpus(train=text[0], validation=text[1], test=text[2], vocabulary=tuple(map(str, range(20))))
    monkeypatch.setattr(small, "load_wikitext2", lambda data, size: corpus)
    monkeypatch.setattr(small, "check_wikitext2", lambda data: None)
    recipe = replace(WikiText2Small().recipe, size=SIZE, steps=2, width=16, heads=2, measurements=1)
    task = WikiText2Small(recipe=recipe)
    monkeypatch.setattr(registry, "TASKS", MappingProxyType({TARGET: task}))


def test_the_best_confirmed_policy_of_all_searches_is_tried(tmp_path):
    studies = [searched(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 2), ("c", 3))]
    place, best = transfer.best_of([study.out for study in studies])
    rewards = {study.out: study.confirmed[0].reward for study in studies}
    assert rewards[place] == best.reward == max(rewards.values())
    assert len(set(rewards.values())) > 1
    assert len(best.rewards) == 2


def test_what_cannot_be_a_source(tmp_path):
    searched(tmp_path / "other", 1, task="pydoc-lm")
    with pytest.raises(UsageError, match=r"other is a search on 'pydoc-lm'; expected one on 'ptb-small'"):
        transfer.best_of([tmp_path / "other"])
    searched(tmp_path / "plain", 1, confirm=0)
    with pytest.raises(UsageError, match="no search has confirmed a policy"):
        transfer.best_of([tmp_path / "plain"])


def test_the_targets_default_dropout_is_among_what_it_is_compared_with():
    for target, baselines in transfer.TARGETS.items():
        known = [baseline.name for baseline in task_named(target).baselines]
        default = "variational-dropout" if target.startswith("wikitext2") else "dropout"
        assert baselines[:2] == ("none", default)
        assert baselines[-1] == "variational-everywhere"
        assert set(baselines[1:]) <= set(known)
    how = transfer.How(workers=3, data=Path("d"))
    commands = transfer.commands(how, Path("p.json"), Path("runs/x"))
    assert list(commands) == [TARGET, "multi30k-de-en", "multi30k-en-fr"]
    for target, arguments in commands.items():
        asked = _parsed(arguments)
        assert (asked.task, asked.policy, asked.seeds, asked.tune_trials) == (target, Path("p.json"), 5, 16)
        assert (asked.workers, asked.data, asked.out) == (3, Path("d"), Path("runs/x") / target)
        assert asked.baselines == ",".join(transfer.TARGETS[target])


@pytest.mark.usefixtures("short")
def test_from_searches_to_figures_and_on_after_a_stop(tmp_path):
    study, out, results = searched(tmp_path / "a", 1), tmp_path / "out", tmp_path / "results"
    how = transfer.How(targets=(TARGET,), seeds=2, tune_trials=4)
    asked = []

    def stopped(arguments):
        asked.append(arguments)
        return 130

    assert transfer.run([study.out], how, out, results, stopped) == 130
    assert not results.exists()

    def inline(arguments):
        return main([*arguments, "--executor", "inline"])

    assert transfer.run([study.out], how, out, results, inline) == 0
    (target,) = (path for path in results.iterdir() if path.is_dir())
    document = json.loads((target / "comparison.json").read_text())
    assert document["task"] == target.name == TARGET
    found = document["comparison"]
    assert (found["figure"], found["higher_is_better"]) == ("perplexity", False)
    names = [row["name"].split()[0] for row in found["arms"]]
    assert sorted(names) == sorted(["policy", *transfer.TARGETS[TARGET]])
    pairs = json.loads((target / "pairs.json").read_text())
    beside = ["variational-dropout", "variational-everywhere", "none"]
    assert [pair["against"].split()[0] for pair in pairs] == beside
    values = {row["name"]: row["values"] for row in found["arms"]}
    for pair in pairs:
        apart = [a - b for a, b in zip(values["policy"], values[pair["against"]], strict=True)]
        assert pair["paired"]["difference"] == pytest.approx(sum(apart) / 2)
    assert "| policy | none | 2 |" in (target / "pairs.md").read_text()
    policy = Policy.load(results / "policy.json")
    assert policy == study.confirmed[0].policy == Policy.from_json(json.dumps(document["policy"]))
    source = json.loads((results / "source.json").read_text())
    assert source == {
        "task": "ptb-small",
        "search": "a",
        "reward": study.confirmed[0].reward,
        "rewards": list(study.confirmed[0].rewards),
    }
    before = read_comparison(out / TARGET)
    assert transfer.run([study.out], how, out, results, inline) == 0
    assert str(read_comparison(out / TARGET)) == str(before)
    other = searched(tmp_path / "b", 2)
    with pytest.raises(UsageError, match="another policy was tried in"):
        transfer.run([other.out], how, out, results, inline)


def test_translations_are_compared_by_bleu(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    write_toy(tmp_path)
    task = toy(tmp_path)
    small = replace(task, recipe=replace(task.recipe, steps=2, measurements=1, beams=1))
    monkeypatch.setattr(registry, "TASKS", MappingProxyType({task.name: small}))
    monkeypatch.setitem(transfer.TARGETS, task.name, ("none", "dropout", "variational-everywhere"))
    study, results = searched(tmp_path / "a", 1), tmp_path / "results"
    how = transfer.How(targets=(task.name,), seeds=2, tune_trials=4, data=tmp_path)

    def inline(arguments):
        return main([*arguments, "--executor", "inline"])

    assert transfer.run([study.out], how, tmp_path / "out", results, inline) == 0
    document = json.loads((results / task.name / "comparison.json").read_text())
    found = document["comparison"]
    assert (found["figure"], found["higher_is_better"], len(found["arms"])) == ("bleu", True, 4)
    assert task.signature in document["summary"]
