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
import quick_init  # noqa: E402

SAMPLE = [
    ("torchvision", "resnet18"),
    ("torchvision", "mobilenet_v3_small"),
    ("torchvision", "shufflenet_v2_x0_5"),
    ("torchvision", "densenet121"),
    ("torchvision", "efficientnet_b0"),
    ("torchvision", "regnet_y_400mf"),
    ("torchvision", "convnext_tiny"),
    ("torchvision", "swin_t"),
    ("timm", "densenet121"),
    ("timm", "efficientnet_b0"),
    ("timm", "regnetx_002"),
    ("timm", "convnext_atto"),
    ("timm", "swin_tiny_patch4_window7_224"),
    ("timm", "test_byobnet"),
    ("timm", "test_convnext"),
    ("timm", "test_efficientnet"),
    ("timm", "test_efficientnet_evos"),
    ("timm", "test_efficientnet_gn"),
    ("timm", "test_efficientnet_ln"),
    ("timm", "test_resnet"),
    ("timm", "test_vit"),
    ("timm", "test_mambaout"),
    ("transformers", "bert"),
    ("transformers", "t5"),
    ("transformers", "vit"),
]
RESULTS, PAGE = ROOT / "results" / "models.json", ROOT / "docs" / "models.md"


@pytest.mark.parametrize(("library", "name"), SAMPLE)
def test_a_sample_passes(library, name):
    built = model_zoo.build(library, name)
    found = model_check.check(built.model, built.inputs)
    assert found.failures == ()
    assert (found.sites > 3, found.by_name, found.eval_difference) == (True, False, 0.0)
    assert built.side == (None if library == "transformers" else 96)


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


def test_one_of_each_family_comes_before_the_second_of_any():
    names = model_zoo.names("timm", "*resnet*_*")
    families = [model_zoo.family("timm", name) for name in names]
    num = len(set(families))
    assert num > 3
    assert len(set(families[:num])) == num
    assert model_zoo.names("torchvision", "resnet*")[0] == "resnet18"


def test_layers_that_are_like_the_others_are_left_out():
    built = model_zoo.build("timm", "vit_tiny_patch16_224")
    assert (built.reduced, len(built.model.blocks), built.side) == (True, 2, 96)


def test_quick_weights_are_spread_as_was_asked_for():
    table = quick_init._table("normal")
    with quick_init.quick_init():
        linear, convolution = nn.Linear(100, 50), nn.Conv2d(20, 30, 3)
        drawn = nn.init.normal_(torch.empty(1_500_000), mean=2.0, std=0.5)
        narrow = nn.init.trunc_normal_(torch.empty(50, 100), std=0.1)
        small = torch.empty(10).normal_()
    assert (drawn.mean().item(), drawn.std().item()) == pytest.approx((2.0, 0.5), abs=2e-3)
    assert 0.099 < linear.weight.abs().max() <= 0.1
    assert len(linear.weight.unique(dim=0)) == 50
    assert convolution.weight.std().item() == pytest.approx(180**-0.5 / 3**0.5, rel=0.05)
    assert 0.02 < narrow.std() < 0.1
    assert not torch.equal(small, table[:10])
    assert not torch.equal(torch.empty(5000).normal_(), table[:5000])


def test_no_parameter_begins_as_zeros():
    model = model_zoo.build("timm", "test_resnet").model
    assert all(parameter.any() for parameter in model.parameters())


def line(name, **fields):
    found = {"sites": 3, "shortcuts": 1, "roles": [], "by_name": False, "failures": [], "reduced": False}
    found |= {"batch_norms": 2, "attentions": 0}
    return {"library": "timm", "name": name, "family": "resnet", "seconds": 900.0, "commit": "abc"} | (
        fields if "skipped" in fields else found | fields
    )


def test_the_page_counts():
    lines = [
        line("a"),
        line("b", sites=9, roles=["query", "ffn"], attentions=3, reduced=True),
        line("c", failures=["evaluation differs by 1.0e-07"]),
        line("d", skipped="too large"),
    ]
    head = {"measured": "2026-01-01", "versions": {"torch": "2", "timm": "1"}}
    head |= {"existing": {"timm": 9, "torchvision": 2, "transformers": 0}}
    text = model_page.page(head | {"models": lines})
    assert "Measured until 2026-01-01 at abc, in 1.0 hours; timm 1, torch 2." in text
    assert "9 networks, 4 tried, 3 run, 2 pass (66.7% of those that run). **5 have not been tried" in text
    convs, attending, others = (text.split(f"- {kind}: ")[1].splitlines()[0] for kind in model_page.KINDS)
    assert convs == "2 run, 1 pass (50.0% of those that run); 0 by name, 0 with roles"
    assert attending == "1 run, 1 pass (100.0% of those that run); 0 by name, 1 with roles"
    assert others == "0 run, 0 pass; 0 by name, 0 with roles"
    assert "| resnet | 4 | 1 | 2 | 0 | 1 | 1 | 3-9 | 1 | query, ffn |" in text
    assert "## What does not pass\n\n1 networks.\n\n- `c` (timm): evaluation differs by 1.0e-07" in text
    assert "## Skipped\n\n1 networks.\n\n- `d` (timm): too large" in text
    assert "## torchvision\n\n2 networks, 0 tried, 0 run, 0 pass. **2 have not been tried yet.**" in text


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
    again = script.replace("run(iter(wanted)", "run_again(wanted").replace(" / '0-of-1.jsonl'", "")
    done = subprocess.run(
        [sys.executable, "-c", again, str(ROOT / "benchmarks"), str(folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert done.stdout.startswith("1/1 timm test_vit: ")


def test_torch_is_seeded_per_network():
    one, other = (model_zoo.build("timm", "test_resnet").model for _ in range(2))
    assert torch.equal(one.fc.weight, other.fc.weight)


def test_a_run_on_a_new_machine_goes_on_from_what_is_committed(tmp_path):
    import models

    folder = tmp_path / "runs"
    models.go_on_from(RESULTS, folder)
    kept = json.loads(RESULTS.read_text(encoding="utf8"))["models"]
    assert models.gathered(folder) == sorted(kept, key=lambda line: str((line["library"], line["name"])))
    assert len(kept) > 100
    newer = {**kept[0], "failures": ["something new"]}
    (folder / "0-of-1.jsonl").write_text(json.dumps(newer) + "\n", encoding="utf8")
    models.go_on_from(RESULTS, folder)
    assert newer in models.gathered(folder)
    assert len(models.gathered(folder)) == len(kept)
