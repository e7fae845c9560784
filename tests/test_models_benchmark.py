"""The benchmark over many networks: a sample of it, and the page it writes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))

import model_check  # noqa: E402
import model_page  # noqa: E402
import model_zoo  # noqa: E402

SAMPLE = [
    ("torchvision", "resnet18"),
    ("torchvision", "mobilenet_v3_small"),
    ("torchvision", "shufflenet_v2_x0_5"),
    ("timm", "test_byobnet"),
    ("timm", "test_convnext"),
    ("timm", "test_efficientnet"),
    ("timm", "test_efficientnet_evos"),
    ("timm", "test_efficientnet_gn"),
    ("timm", "test_efficientnet_ln"),
    ("timm", "test_resnet"),
    ("timm", "test_vit"),
]
RESULTS, PAGE = ROOT / "results" / "models.json", ROOT / "docs" / "models.md"


@pytest.mark.parametrize(("library", "name"), SAMPLE)
def test_a_sample_passes(library, name):
    built = model_zoo.build(library, name)
    found = model_check.check(built.model, model_zoo.images(built.side))
    assert found.failures == ()
    assert (found.sites > 5, found.by_name, found.eval_difference) == (True, False, 0.0)
    assert (built.side, built.reduced) == (96, False)


def test_a_network_without_norms_is_named_by_its_convolutions():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    images = model_zoo.images(8)
    model(images)
    found = model_check.check(model, images)
    assert (found.sites, found.by_name, found.failures) == (1, True, ())


class Broken(nn.Module):
    """Changes in evaluation, leaves a norm out, and has one output whatever is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.BatchNorm2d(2)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        h = self.one(self.conv(x)) * 0.0
        return h.mean((2, 3)) + (0.0 if self.training else float(self.calls))


def test_what_does_not_hold_is_said():
    found = model_check.check(Broken(), model_zoo.images(8))
    assert set(found.failures) >= {
        "evaluation differs by 2.0e+00",
        "training gives the same output",
        "1 sites never fire: two",
        "evaluation is not as before",
    }


def test_names_and_what_cannot_run():
    assert "resnet50" in model_zoo.names("torchvision", "resnet*")
    assert "maskrcnn_resnet50_fpn" not in model_zoo.names("torchvision")
    assert model_zoo.family("timm", "resnet50") == "resnet"
    assert model_zoo.family("torchvision", "resnet50") == "resnet"
    with pytest.raises(model_zoo.CannotRunError, match="Unknown"):
        model_zoo.build("timm", "no_such_network")


def test_no_parameter_begins_as_zeros():
    model = model_zoo.build("timm", "test_resnet").model
    assert all(parameter.any() for parameter in model.parameters())


def line(name, **fields):
    found = {"sites": 3, "shortcuts": 1, "roles": [], "by_name": False, "failures": []}
    return {"library": "timm", "name": name, "family": "resnet", "seconds": 1.0} | (
        fields if "skipped" in fields else found | fields
    )


def test_the_page_counts():
    lines = [
        line("a"),
        line("b", sites=9, roles=["query", "ffn"], by_name=True),
        line("c", failures=["evaluation differs by 1.0e-07"]),
        line("d", skipped="too large"),
    ]
    head = {"measured": "2026-01-01", "commit": "abc", "versions": {"torch": "2", "timm": "1"}}
    text = model_page.page(head | {"models": lines})
    assert "4 networks, 3 run, 2 pass (66.7% of those that run)." in text
    assert "| resnet | 4 | 2 | 1 | 1 | 1 | 3-9 | 1 | query, ffn |" in text
    assert "## What does not pass\n\n1 networks.\n\n- `c` (timm): evaluation differs by 1.0e-07" in text
    assert "## Skipped\n\n1 networks.\n\n- `d` (timm): too large" in text
    assert "## torchvision" not in text


def test_the_page_in_the_documentation_is_that_of_the_results():
    results = json.loads(RESULTS.read_text(encoding="utf8"))
    assert PAGE.read_text(encoding="utf8") == model_page.page(results)


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_stopped_and_notes_what_killed_it(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import models, pathlib\n"
        "wanted = [('timm', 'test_resnet'), ('timm', 'test_vit')]\n"
        "models.run(iter(wanted), pathlib.Path(sys.argv[2]) / '0-of-1.jsonl', None)\n"
    )
    folder = tmp_path / "lines"
    folder.mkdir()
    began = {"library": "timm", "name": "test_vit", "began": True}
    (folder / "0-of-1.jsonl").write_text(json.dumps(began) + '\n{"library": "ti', encoding="utf8")
    for expected in ("1/1 timm test_resnet", ""):
        done = subprocess.run(
            [sys.executable, "-c", script, str(ROOT / "benchmarks"), str(folder)],
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        assert done.stdout.startswith(expected)
        assert bool(done.stdout) == bool(expected)
    lines = [json.loads(text) for text in (folder / "0-of-1.jsonl").read_text().splitlines()[2:]]
    assert any(found.get("skipped") == "the process was killed while it ran" for found in lines)


def test_torch_is_seeded_per_network():
    one, other = (model_zoo.build("timm", "test_resnet").model for _ in range(2))
    assert torch.equal(one.fc.weight, other.fc.weight)
