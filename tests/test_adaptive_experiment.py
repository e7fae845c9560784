import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autodropout.adapting import Adaptive
from autodropout.attribution import METHODS
from autodropout.data.images import image_data
from autodropout.data.splits import Examples
from autodropout.errors import DataError
from autodropout.handles import handles
from autodropout.models.photograph_nets import resnet

FOLDER = Path(__file__).parents[1] / "experiments"
pytest.importorskip("timm")


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # frozen dataclasses with slots look their module up
    spec.loader.exec_module(module)
    return module


single = load("adaptive_runs")
experiment = load("adaptive")
STRENGTHS = single.Strengths()


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def loaded():
    parts = [
        Examples(inputs=torch.randint(256, (n, 3, 16, 16), dtype=torch.uint8), labels=torch.arange(n) % 10)
        for n in (20, 10, 10)
    ]
    return single.in_memory(image_data(*parts))


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


def test_sensitivity_and_sources_have_their_arms():
    arms = experiment.runs("sensitivity", STRENGTHS, None, small=False)
    assert len(arms) == 3 * 12
    assert arms["adaptive epochs=0.25"].steps == 78200 // 4
    assert arms["none weight_decay=0.001"].weight_decay == 0.001
    assert arms["standard learning_rate=0.3"].learning_rate == 0.3
    sources = experiment.runs("sources", STRENGTHS, None, small=True)
    assert [run.method for run in list(sources.values())[1:]] == list(METHODS)


def test_the_networks_are_as_large_as_printed():
    run = experiment.runs("cifar10", STRENGTHS, None, small=False)["none"]
    count = sum(parameter.numel() for parameter in single.network(run, 10).parameters())
    assert round(count / 1e6, 1) == 11.2
    assert round(sum(p.numel() for p in resnet(50).parameters()) / 1e6, 1) == 25.6


@pytest.mark.parametrize("arm", experiment.ARMS)
def test_an_arm_follows_from_its_seed(arm):
    run = replace(experiment.runs("cifar10", STRENGTHS, None, small=True)[arm], steps=2, multiplier=0.0625)
    run, data = replace(run, batch_size=10), loaded()
    first, again = run.train(data, 1), run.train(data, 1)
    assert (first.reward, first.test, first.metrics) == (again.reward, again.test, again.metrics)
    assert 0.0 <= first.test["accuracy"] <= 1.0


def test_standard_and_adaptive_dropout_differ_in_the_rates_alone():
    for arm in ("standard", "adaptive", "adaptive-unimportant"):
        run = replace(experiment.runs("cifar10", STRENGTHS, None, small=True)[arm], multiplier=0.0625)
        net = single.network(run, 10)
        for norm in (module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)):
            torch.nn.init.ones_(norm.weight)  # timm begins with the branches at 0, where nothing is relevant
        single.regularise(net, single.between_convolutions(net), arm, STRENGTHS, "gradient")
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


def test_missing_images_are_said(tmp_path):
    for name in ("imagenet", "cifar10"):
        run = experiment.runs(name, STRENGTHS, str(tmp_path), small=False)["none"]
        with pytest.raises(DataError):
            single.check(run)
