"""Each example runs, trains, goes on where it was stopped, and gives the model back."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from autodropout.attach import CHILD

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def load(monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(EXAMPLES)

    def loaded(name, *needs):
        for library in needs:
            pytest.importorskip(library)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return loaded


def weights(model):
    return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])


def assert_plain(model):
    for module in model.modules():
        assert CHILD not in module._modules
        assert not module._forward_hooks


def stopped_once(example, monkeypatch):
    """Let the example be interrupted where it first measures its accuracy."""
    accuracy, calls = example.accuracy, []

    def interrupted(model, test):
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return accuracy(model, test)

    monkeypatch.setattr(example, "accuracy", interrupted)


def with_less_data(example, monkeypatch):
    images = example.images

    def some(**options):
        return tuple(TensorDataset(*kept[:100]) for kept in images(**options))

    monkeypatch.setattr(example, "images", some)


def assert_goes_on(example, monkeypatch, tmp_path):
    with_less_data(example, monkeypatch)
    whole = example.main(2, tmp_path / "whole")
    stopped_once(example, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        example.main(2, tmp_path / "parts")
    resumed = example.main(2, tmp_path / "parts")
    assert torch.equal(weights(resumed), weights(whole))
    assert_plain(resumed)


def test_the_plain_loop_goes_on_as_if_it_had_not_been_stopped(load, monkeypatch, tmp_path):
    assert_goes_on(load("plain_loop", "torchvision"), monkeypatch, tmp_path)


def test_accelerate_goes_on_as_if_it_had_not_been_stopped(load, monkeypatch, tmp_path):
    assert_goes_on(load("accelerate_loop", "accelerate"), monkeypatch, tmp_path)


@pytest.mark.filterwarnings("ignore:.*(num_workers|LeafSpec|exists and is not empty)")
def test_lightning_learns_the_digits(load, capsys, tmp_path):
    model = load("lightning_fit", "lightning").main(2, tmp_path)
    assert_plain(model)
    assert float(capsys.readouterr().out.split()[-1]) > 0.3
    assert list(tmp_path.rglob("*.ckpt"))


def test_the_hugging_face_trainer_learns_the_digits(load, capsys, tmp_path):
    model = load("huggingface_trainer", "transformers", "accelerate").main(2, tmp_path)
    assert_plain(model)
    assert float(capsys.readouterr().out.split()[-1]) > 0.2
    kept = json.loads((tmp_path / "checkpoint-80/trainer_state.json").read_text(encoding="utf8"))
    assert kept["stateful_callbacks"]["PolicyCallback"]["run"]["batches"] == 80


def test_the_masks_that_are_drawn_are_those_that_were_applied(load, monkeypatch, tmp_path):
    example = load("see_masks", "torchvision", "matplotlib")
    seen = {}

    def noted(model, policy, images):
        seen.update(model=model, kept=holes(model, policy, images))
        return seen["kept"]

    holes = example.holes
    monkeypatch.setattr(example, "holes", noted)
    example.main(tmp_path / "masks.png")
    assert (tmp_path / "masks.png").read_bytes().startswith(b"\x89PNG")
    assert_plain(seen["model"])
    sizes = {site: keep.shape for site, keep in seen["kept"].items()}
    assert sizes == {f"layer{n + 1}.1.bn2": (6, 56 >> n, 56 >> n) for n in range(4)}
    columns = ~seen["kept"]["layer4.1.bn2"]
    assert torch.equal(columns.all(1), columns.any(1))
    assert columns.any(1).sum(1).max() == 2
    assert (~seen["kept"]["layer1.1.bn2"]).flatten(1).sum(1).max() == 64


def test_every_example_is_tried_here():
    names = {path.stem for path in EXAMPLES.glob("*.py")} - {"digit_data"}
    text = Path(__file__).read_text(encoding="utf8")
    assert {name for name in names if f'load("{name}"' not in text} == set()
