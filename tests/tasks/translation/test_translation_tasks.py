import logging
import os
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autodropout.data.files import VARIABLE
from autodropout.data.subwords import CACHE_VARIABLE, UNKNOWN
from autodropout.errors import DataError, MissingError, SiteError
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import ROLES, Policy
from autodropout.tasks.registry import task_named
from autodropout.tasks.translation import named
from autodropout.tasks.translation.corpus import load_translation
from autodropout.tasks.translation.named import (
    IWSLT14_DE_EN,
    MULTI30K_DE_EN,
    MULTI30K_EN_FR,
    TRANSLATION_TASKS,
    WMT14_EN_FR,
)
from translation_toy import TOY_SIZE, toy, write_toy

TINY = TOY_SIZE
WORDS = Policy({"role:residual": TokenPattern(size=1, share_c=True, rate=0.3)})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    write_toy(tmp_path)
    return tmp_path


def test_a_trial(folder):
    task = toy(folder)
    result = task.evaluate(WORDS, 1)
    assert result.reward > 0
    assert list(result.test) == ["bleu", "perplexity"]
    assert task.train(lambda net: None, 1).reward == task.evaluate(Policy({}), 1).reward != result.reward
    assert task.missing() is None
    short, half = task.evaluate(WORDS, 1, 0.5), replace(task, recipe=replace(task.recipe, steps=3))
    assert short.curve == half.evaluate(WORDS, 1).curve


@pytest.mark.parametrize("baseline", MULTI30K_DE_EN.baselines, ids=lambda baseline: baseline.name)
def test_every_baseline_changes_training(folder, baseline):
    task = replace(toy(folder), recipe=replace(toy(folder).recipe, beams=1, steps=3))
    strong = task.train(baseline.at(baseline.strengths[-1]), 1)
    assert strong.reward != task.train(lambda net: None, 1).reward
    pickle.loads(pickle.dumps(baseline))


def test_baselines_stand_where_their_papers_have_them():
    puts = {baseline.name: baseline.put for baseline in MULTI30K_DE_EN.baselines}
    net = replace(MULTI30K_DE_EN.recipe, size=TINY).model()
    assert set(puts["dropout"](net, 0.1).modules) == {
        "encoder.embedded",
        "encoder.blocks.0.attention.output",
        "encoder.blocks.0.ffn",
        "decoder.embedded",
        "decoder.blocks.0.attention.output",
        "decoder.blocks.0.cross.output",
        "decoder.blocks.0.ffn",
    }
    net = replace(MULTI30K_DE_EN.recipe, size=TINY).model()
    assert set(puts["layer-drop"](net, 0.1).modules) == {"encoder.blocks.0", "decoder.blocks.0"}
    net = replace(MULTI30K_DE_EN.recipe, size=TINY).model()
    assert set(puts["word-dropout"](net, 0.1).modules) == {"encoder.embedded", "decoder.embedded"}


def test_they_are_known_by_name_and_travel():
    for task in TRANSLATION_TASKS:
        assert task_named(task.name) is task
        assert pickle.loads(pickle.dumps(task)) == task
        assert tuple(task.space().sites) == ROLES
        assert task.key == f"{task.name} (BLEU {task.signature})"
        assert task.signature in task.summary
        assert task.floor == 80 / task.recipe.corpus.subwords.size


def test_the_large_ones_are_those_of_the_papers():
    iwslt, wmt = IWSLT14_DE_EN.recipe, WMT14_EN_FR.recipe
    assert (iwslt.size.hidden, iwslt.size.heads, iwslt.corpus.subwords.size, iwslt.beams) == (
        1024,
        4,
        10_000,
        5,
    )
    assert (wmt.size.hidden, wmt.size.heads, wmt.corpus.subwords.size, wmt.beams) == (2048, 8, 32_000, 4)
    for recipe in (iwslt, wmt):
        assert recipe.schedule == "inverse-sqrt"
        assert recipe.warmup * recipe.steps == pytest.approx(4000)
        assert (recipe.label_smoothing, recipe.beta2, recipe.alpha) == (0.1, 0.98, 0.6)
        assert recipe.tokenisation == "none"
    # Vaswani et al., Eq. 3, where the warm-up ends
    assert wmt.learning_rate == pytest.approx(512**-0.5 * 4000**-0.5)
    with torch.device("meta"):
        millions = [
            round(sum(p.numel() for p in task.model().parameters()) / 1e6)
            for task in (IWSLT14_DE_EN, WMT14_EN_FR)
        ]
    assert millions == [37, 61]
    for task, number in zip((IWSLT14_DE_EN, WMT14_EN_FR), millions, strict=True):
        assert f"({number} million)" in task.summary


def test_the_small_ones_differ_in_their_languages_only():
    assert MULTI30K_EN_FR.recipe == MULTI30K_DE_EN.recipe
    assert (MULTI30K_EN_FR.files.source, MULTI30K_EN_FR.files.target) == ("en", "fr")
    assert MULTI30K_EN_FR.files.names == MULTI30K_DE_EN.files.names
    assert MULTI30K_EN_FR.key != MULTI30K_DE_EN.key


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (IWSLT14_DE_EN, ("prepare-iwslt14.sh", "github.com/facebookresearch/fairseq", "wit3.fbk.eu")),
        (WMT14_EN_FR, ("prepare-wmt14en2fr.sh", "statmt.org/wmt14", "clean-corpus-n.perl")),
        (MULTI30K_DE_EN, ('download("multi30k", "{folder}")', "train, val and test_2016_flickr")),
        (MULTI30K_EN_FR, ('download("multi30k", "{folder}")', "each as .en.gz and .fr.gz")),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_where_the_files_come_from(tmp_path, task, words):
    missing = replace(task, data=str(tmp_path)).missing()
    for word in words:
        assert word.format(folder=tmp_path) in missing
    assert ("download(" in missing) == (task.files.folder == "multi30k")


def test_without_the_files_it_says_what_to_do(tmp_path):
    task = replace(MULTI30K_DE_EN, data=str(tmp_path))
    assert task.missing().startswith(
        f"Multi30k is not at {tmp_path}/multi30k: there is no train.de or train.de.gz"
    )
    with pytest.raises(DataError) as caught:
        task.evaluate(Policy({}), 0)
    assert str(caught.value) == task.missing()


def test_without_the_libraries_it_says_what_to_do(folder, monkeypatch):
    def gone():
        raise MissingError("no such library")

    monkeypatch.setattr(named, "check_sacrebleu", gone)
    assert toy(folder).missing() == "no such library"


def test_files_that_do_not_fit_together_are_not_ready(folder):
    file = folder / "toy" / "train.en"
    file.write_text(file.read_text(encoding="utf8").partition("\n")[2], encoding="utf8")
    assert toy(folder).missing() == (
        f"train.de has 16 lines and train.en 15 in {folder}/toy; line n of one must be the translation of "
        "line n of the other"
    )


def test_a_policy_of_maps_is_refused(folder):
    with pytest.raises(
        SiteError, match=r'site "encoder.blocks.0.ffn" has layout NTC and takes a TokenPattern'
    ):
        toy(folder).evaluate(Policy({"role:ffn": ConvPattern(height=2, width=2)}), 0)


def test_long_sentences_are_left_out_of_training_only(folder, caplog):
    caplog.set_level(logging.INFO, "autodropout")
    settings, files = toy(folder).recipe.corpus, toy(folder).files
    train = folder / "toy" / "train.de"
    train.write_text(
        train.read_text(encoding="utf8").replace("Ein Hund singt.", "Hund " * 30), encoding="utf8"
    )
    held = load_translation(files, folder, settings)
    assert [record.getMessage() for record in caplog.records] == [
        "1 of 16 training pairs are left out: one side has more than 20 subwords with its ends"
    ]
    assert [len(part) for part in (held.train, held.validation, held.test)] == [15, 16, 16]
    assert held.references[0] == "A dog sings."
    val = folder / "toy" / "val.de"
    val.write_text(train.read_text(encoding="utf8"), encoding="utf8")
    load_translation.cache_clear()
    with pytest.raises(DataError) as caught:
        load_translation(files, folder, settings)
    text = (
        r"line 1 of the validation text has \d+ subwords with its ends; expected at most 20: shorten it or "
        r"take it out of the files of both languages; in Python a recipe "
        r"may allow more \(CorpusSettings.longest\)"
    )
    assert re.fullmatch(text, str(caught.value))


def test_more_pairs_than_there_are_are_refused(folder):
    settings = replace(toy(folder).recipe.corpus, num_train=17)
    with pytest.raises(DataError, match="the training text has 16 sentence pairs; expected at least 17"):
        load_translation(toy(folder).files, folder, settings)


@pytest.mark.skipif(
    not Path(os.environ.get(VARIABLE, ""), "multi30k").exists(),
    reason="AUTODROPOUT_DATA names no folder with multi30k/",
)
@pytest.mark.parametrize("task", [MULTI30K_DE_EN, MULTI30K_EN_FR], ids=lambda task: task.name)
def test_the_real_captions(tmp_path, monkeypatch, task):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    recipe = task.recipe
    held = load_translation(task.files, Path(os.environ[VARIABLE]).absolute(), recipe.corpus)
    assert [len(part) for part in (held.train, held.validation, held.test)] == [2000, 1014, 1000]
    rows = held.subwords.encode(held.references)
    known = [UNKNOWN not in row for row in rows]
    assert sum(known) >= 990  # a few have a character that none of the 2,000 captions has
    for text, back, whole in zip(held.references, held.subwords.decode(rows), known, strict=True):
        assert back == text or not whole
    assert task.missing() is None
