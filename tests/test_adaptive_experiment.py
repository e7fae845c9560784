import io
import json
import math
import re
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

import adaptive as experiment
import adaptive_arms as arms_of
import adaptive_data as images
import adaptive_images as single
from autodropout.adapting import Adaptive, Refreshing
from autodropout.attribution import METHODS
from autodropout.data.images import image_data
from autodropout.data.photographs import Photographs
from autodropout.data.splits import Examples
from autodropout.errors import DataError, UsageError
from autodropout.handles import handles
from autodropout.models.photograph_nets import resnet

FOLDER = Path(__file__).parents[1] / "experiments"
pytest.importorskip("timm")


STRENGTHS = arms_of.USUAL


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def loaded_images():
    parts = [
        Examples(inputs=torch.randint(256, (n, 3, 16, 16), dtype=torch.uint8), labels=torch.arange(n) % 10)
        for n in (20, 10, 10)
    ]
    return image_data(*parts)


def loaded():
    return images.in_memory(loaded_images())


def test_settings_are_as_printed():
    arms = experiment.runs("cifar100", STRENGTHS, "x", small=False)
    assert tuple(arms) == experiment.ARMS
    plain = arms["none"]
    assert (plain.steps, plain.batch_size, plain.learning_rate, plain.weight_decay) == (78200, 128, 0.1, 1e-4)
    assert [plain.falling(epoch / 200) for epoch in (99, 100, 150)] == pytest.approx([1.0, 0.1, 0.01])
    assert (plain.data, plain.folder, plain.depth) == ("cifar100", "x", 18)
    large = experiment.runs("imagenet", STRENGTHS, None, small=False)["l1"]
    assert (large.steps, large.batch_size, large.depth, large.arm) == (450_450, 256, 50, "l1")
    assert [large.falling(epoch / 90) for epoch in (29, 30, 60)] == pytest.approx([1.0, 0.1, 0.01])
    small = experiment.runs("cifar10", STRENGTHS, None, small=True)["adaptive"]
    assert (small.small, small.falls, small.learning_rate) == (True, plain.falls, 0.1)
    assert not plain.augment


def test_sensitivity_and_sources_have_their_arms():
    arms = experiment.runs("sensitivity", STRENGTHS, None, small=False)
    assert len(arms) == 5 * (1 + 3 * 3), "what is printed is trained once"
    assert arms["l1 as printed"] == experiment.runs("cifar10", STRENGTHS, None, small=False)["l1"]
    assert arms["adaptive epochs=0.25"].steps == 78200 // 4
    assert arms["none weight_decay=0.001"].weight_decay == 0.001
    assert arms["standard learning_rate=0.3"].learning_rate == 0.3
    sources = experiment.runs("sources", STRENGTHS, None, small=True)
    assert [run.refreshing for run in list(sources.values())[1:]] == [
        Refreshing(every=10, method=method) for method in METHODS
    ]


def test_the_networks_are_as_large_as_printed():
    run = experiment.runs("cifar10", STRENGTHS, None, small=False)["none"]
    count = sum(parameter.numel() for parameter in single.network(run, 10).parameters())
    assert round(count / 1e6, 1) == 11.2
    assert round(sum(p.numel() for p in resnet(50).parameters()) / 1e6, 1) == 25.6


def test_the_places_of_a_residual_network_are_its_gaps_between_convolutions():
    depths = {}
    for name in ("cifar10", "imagenet"):
        with torch.device("meta"):
            run = experiment.runs(name, STRENGTHS, None, small=False)["adaptive"]
            depths[run.depth] = single.between_convolutions(single.network(run, 10))
    blocks = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
    for depth, gaps in ((18, ("bn1",)), (50, ("bn1", "bn2"))):
        assert depths[depth] == tuple(
            f"layer{layer}.{block}.{gap}"
            for layer, count in enumerate(blocks[depth], start=1)
            for block in range(count)
            for gap in gaps
        )
    assert [len(names) for names in depths.values()] == [8, 32]


def test_short_trainings_have_more_than_a_handful_of_refreshes():
    images_ = [
        experiment.runs(name, STRENGTHS, None, small=small)["adaptive"]
        for name in ("cifar10", "cifar100", "imagenet")
        for small in (True, False)
    ]
    texts = [
        experiment.sequence_runs("recurrent", STRENGTHS, small=small)["adaptive"] for small in (True, False)
    ]
    assert [run.refreshing.every for run in (*images_, *texts)] == [10, 100] * 3 + [5, 10]
    assert all(run.steps / run.refreshing.every >= 30 for run in (*images_, *texts))


@pytest.mark.parametrize("every", [1, 2])
def test_the_period_of_a_run_is_that_of_its_training(every, monkeypatch):
    seen = []
    monkeypatch.setattr(Adaptive, "refresh", lambda self, *batch: seen.append(self.refreshing))
    run = replace(experiment.runs("cifar10", STRENGTHS, None, small=True)["adaptive"], multiplier=0.125)
    often = replace(run.refreshing, every=every)
    replace(run, steps=60, batch_size=10, refreshing=often).train(loaded(), 0)
    assert seen == [often] * (60 // every)


def test_images_are_cropped_and_mirrored_where_that_is_asked_for(monkeypatch):
    data = loaded_images()
    plain, changed = (images.in_memory(data, augment=augment) for augment in (False, True))
    (before, labels), (after, same) = (next(iter(read.batches(10, 0))) for read in (plain, changed))
    assert torch.equal(labels, same)
    assert not torch.equal(before, after)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(plain.test(), changed.test(), strict=True))
    monkeypatch.setattr(experiment, "check", lambda *_: None)
    arms = experiment.asked("cifar10", STRENGTHS, None, small=True, augment=True)
    assert {run.augment for run in arms.values()} == {True}
    assert experiment.label("cifar10", arms) == (
        "adaptive-cifar10, 600 steps, refreshed every 10, rate 0.1, l1 1e-05, l2 0.0005, crops and flips"
    )
    taken = []
    monkeypatch.setattr(experiment, "conduct", lambda *given: taken.append(given[2:]))
    experiment.started(experiment.arguments().parse_args(["cifar10", "--small", "--augment"]))
    name = "cifar10-small-augmented"
    assert taken == [(Path(f"runs/adaptive-{name}"), experiment.RESULTS / "adaptive" / name)]


@pytest.mark.parametrize(("name", "small"), [("imagenet", False), ("recurrent", True)])
def test_what_has_no_images_to_change_refuses_to(name, small):
    with pytest.raises(UsageError, match=f"{name} has no --augment: it is for CIFAR and ImageNet's sibling"):
        experiment.asked(name, STRENGTHS, None, small=small, augment=True)


@pytest.mark.parametrize("arm", experiment.ARMS)
def test_an_arm_follows_from_its_seed(arm):
    run = replace(experiment.runs("cifar10", STRENGTHS, None, small=True)[arm], steps=2, multiplier=0.125)
    run, data = replace(run, batch_size=10), loaded()
    first, again = run.train(data, 1), run.train(data, 1)
    assert (first.reward, first.test, first.metrics) == (again.reward, again.test, again.metrics)
    assert 0.0 <= first.test["accuracy"] <= 1.0


@pytest.mark.parametrize("method", METHODS)
def test_every_source_of_relevance_trains_the_sibling(method):
    if method in ("integrated_gradients", "deeplift"):
        pytest.importorskip("captum", reason="an optional source of relevance")
    run = experiment.runs("sources", STRENGTHS, None, small=True)[f"adaptive {method}"]
    result = replace(run, steps=2, multiplier=0.125, batch_size=10).train(loaded(), 0)
    assert math.isfinite(result.reward)


def test_sources_say_what_they_need_before_anything_runs(monkeypatch):
    monkeypatch.setattr(experiment, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"sources needs captum; install it with: pip install"):
        experiment.asked("sources", STRENGTHS, None, small=True)


def test_an_experiment_goes_on_where_it_was_stopped_and_is_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(experiment, "check", lambda *_: None)
    real_run, trained = experiment.run, []

    def call(run, seed):
        trained.append(run.arm)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return replace(run, steps=1, multiplier=0.125, batch_size=10).train(loaded(), seed)

    monkeypatch.setattr(single.ImageRun, "__call__", call)
    monkeypatch.setattr(experiment, "run", lambda *given: real_run(*given, executor="inline"))
    words = ["cifar10", "--small", "--seeds", "5", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="The same command goes on"):
        experiment.started(experiment.arguments().parse_args(words))
    experiment.started(experiment.arguments().parse_args(words))
    assert sorted(trained) == sorted([*(5 * experiment.ARMS), trained[2]])
    copied = tmp_path / "results" / "adaptive" / "cifar10-small"
    found = json.loads((copied / "comparison.json").read_text(encoding="utf8"))
    assert {arm["runs"] for arm in found["comparison"]["arms"]} == {5}
    assert str(tmp_path).encode() not in (tmp_path / "out" / "study.db").read_bytes()
    few = [*words[:-1], str(tmp_path / "few"), "--seeds", "2"]
    experiment.started(experiment.arguments().parse_args(few))
    other = [*words[:-1], str(tmp_path / "other"), "--rate", "0.2"]
    experiment.started(experiment.arguments().parse_args(other))
    assert json.loads((copied / "comparison.json").read_text(encoding="utf8")) == found


def test_standard_and_adaptive_dropout_differ_in_the_rates_alone():
    for arm in ("standard", "adaptive", "adaptive-unimportant"):
        run = replace(experiment.runs("cifar10", STRENGTHS, None, small=True)[arm], multiplier=0.125)
        net = single.network(run, 10)
        for norm in (module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)):
            torch.nn.init.ones_(norm.weight)  # timm begins with the branches at 0, where nothing is relevant
        arms_of.regularise(
            net, single.between_convolutions(net), arm, STRENGTHS, Refreshing(method="gradient")
        )
        (handle,) = handles(net)
        assert isinstance(handle, Adaptive)
        handle.refresh(torch.randn(4, 3, 16, 16), torch.arange(4))
        for layer in handle.layers.values():
            assert layer.rates.mean().item() == pytest.approx(0.1, abs=1e-4)
            assert (layer.rates.std() > 1e-4) == (arm != "standard")
        assert list(handle.layers) == [f"layer{n}.{block}.bn1" for n in (1, 2, 3, 4) for block in (0, 1)]


@pytest.mark.parametrize("kind", ["recurrent", "transformer"])
def test_text_is_trained_on_with_every_arm(kind):
    for arm, run in experiment.sequence_runs(kind, STRENGTHS, small=True).items():
        result = replace(run, steps=1, width=8)(0)
        assert 1.0 < result.test["perplexity"] < 2000.0, arm


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("name", ["imagenet", "cifar10", "cifar100"])
def test_missing_images_are_said(tmp_path, name, small):
    with pytest.raises(DataError, match=r"[Tt]here (is|are) no|is not at") as caught:
        experiment.asked(name, STRENGTHS, str(tmp_path), small=small)
    if small and name == "imagenet":
        assert "n01443537, n02056570" in str(caught.value)
        assert "train/CLASS/*.JPEG" in str(caught.value)


def test_a_damaged_archive_is_named(tmp_path):
    (tmp_path / images.TINY).mkdir()
    path = tmp_path / images.TINY / f"{images.TINY}.zip"
    path.write_bytes(b"half")
    with pytest.raises(DataError, match=re.escape(f"{path} is damaged (")):
        images.load("imagenet", True, str(tmp_path))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "has not the same classes in train and val"),
        (["train/a/1.JPEG", "val/b/1.JPEG"], "has not the same classes in train and val"),
        (["train/a/1.JPEG", "test/a/1.JPEG"], r"has images in 'test'; expected train/CLASS/\*\.JPEG"),
        (["1.JPEG"], "is damaged"),
    ],
)
def test_an_archive_of_another_layout_is_refused(tmp_path, names, message):
    Image = pytest.importorskip("PIL.Image")
    (tmp_path / images.TINY).mkdir()
    pixels = io.BytesIO()
    Image.new("RGB", (8, 8)).save(pixels, "JPEG")
    with zipfile.ZipFile(tmp_path / images.TINY / f"{images.TINY}.zip", "w") as archive:
        for name in names:
            archive.writestr(name, pixels.getvalue())
    with pytest.raises(DataError, match=message):
        images.load("imagenet", True, str(tmp_path))


@pytest.mark.parametrize("wrong", [{"rate": 2.0}, {"rate": 0.0}, {"l1": -1.0}, {"l2": float("nan")}])
def test_strengths_out_of_range(wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} is .*; expected a"):
        arms_of.Strengths(**wrong)


def test_there_is_no_such_arm():
    with pytest.raises(UsageError, match="there is no arm 'adaptiv'; expected none"):
        arms_of.regularise(torch.nn.Linear(2, 2), ("",), "adaptiv", STRENGTHS, Refreshing())


def test_photographs_are_cropped_to_train_and_scaled_to_be_tested(tmp_path, monkeypatch):
    Image = pytest.importorskip("PIL.Image")
    for part, count in (("train", 4), ("val", 3)):
        for kind in ("ant", "bee"):
            (tmp_path / "imagenet" / part / kind).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (40, 30), (255, 0, 0)).save(
                    tmp_path / "imagenet" / part / kind / f"{number}.png"
                )
    few = partial(Photographs, classes=2, side=16)
    monkeypatch.setattr(images, "Photographs", few)
    found = images.load("imagenet", False, str(tmp_path))
    pictures, labels = next(iter(found.batches(8, 0)))
    assert sorted(labels.tolist()) == [0] * 4 + [1] * 4  # none is kept back
    ((tested, true),) = found.test()
    assert true.tolist() == [0] * 3 + [1] * 3
    red = (1 - 0.485) / 0.229
    for seen in (pictures, tested):
        assert seen.shape[1:] == (3, 16, 16)
        assert torch.allclose(seen[:, 0], torch.tensor(red))


def test_the_usual_strengths_are_those_of_the_command_line():
    given = experiment.arguments().parse_args(["cifar10"])
    assert (given.rate, given.l1, given.l2) == (STRENGTHS.rate, STRENGTHS.l1, STRENGTHS.l2)


def test_adaptive_dropout_is_measured_beside_each_other_arm_of_its_setting():
    assert experiment.pairs("cifar10", experiment.ARMS) == [
        ("adaptive", "none"),
        ("adaptive", "l1"),
        ("adaptive", "l2"),
        ("adaptive", "standard"),
        ("adaptive", "adaptive-unimportant"),
        ("adaptive-unimportant", "standard"),
    ]
    names = experiment.runs("sensitivity", STRENGTHS, None, small=True)
    pairs = experiment.pairs("sensitivity", names)
    assert len(pairs) == 4 * 10
    assert {name.partition(" ")[2] == other.partition(" ")[2] for name, other in pairs} == {True}
    assert {other for pair in pairs for other in pair} <= set(names)
    sources = experiment.pairs("sources", experiment.runs("sources", STRENGTHS, None, small=True))
    assert sources[: len(METHODS)] == [(f"adaptive {method}", "standard") for method in METHODS]
    assert {other for _, other in sources[len(METHODS) :]} == {"adaptive lrp"}
    arms = experiment.sequence_runs("recurrent", STRENGTHS, small=True)
    against = [other for _, other in experiment.pairs("recurrent", arms)]
    assert against == ["none", "standard", "adaptive-unimportant", "standard"]


def test_a_directory_of_runs_with_another_period_is_refused(tmp_path):
    arms = experiment.sequence_runs("recurrent", STRENGTHS, small=True)
    arms = {name: replace(arms[name], steps=1, width=8) for name in ("standard", "adaptive")}
    experiment.run("recurrent", arms, tmp_path, 2, 1, "inline")
    rarely = {name: replace(run, refreshing=replace(run.refreshing, every=100)) for name, run in arms.items()}
    with pytest.raises(UsageError, match=r"refreshed every 5, .*not '.*refreshed every 100, "):
        experiment.run("recurrent", rarely, tmp_path, 2, 1, "inline")


def test_other_strengths_or_steps_are_another_comparison():
    arms = [
        experiment.runs("cifar10", strengths, None, small=small)
        for strengths, small in ((STRENGTHS, True), (STRENGTHS, False), (replace(STRENGTHS, rate=0.2), True))
    ]
    assert len({experiment.label("cifar10", named) for named in arms}) == 3
