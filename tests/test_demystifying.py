import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import demystifying as tables
import demystifying_cells as cells
import demystifying_figures as figures
import demystifying_images as looking
import demystifying_power as power
from autodropout.applied import Applied
from autodropout.comparison import compare
from autodropout.data.images import image_data
from autodropout.data.splits import Examples
from autodropout.errors import UsageError
from autodropout.handles import handles
from autodropout.result import Result
from demystifying_pairs import QUESTIONS_OF_ONE_PASS, families
from demystifying_printed import PRINTED

FOLDER = Path(__file__).parents[1] / "experiments"


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def images(channels, side):
    part = Examples(inputs=torch.rand(20, channels, side, side), labels=torch.arange(20) % 10)
    return cells.Prepared(train=part, test=part, num_classes=10)


def test_the_cells_are_those_of_the_tables():
    names = {table: list(tables.cells(table, tables.SETTINGS[table], None)) for table in tables.SETTINGS}
    assert {table: len(found) for table, found in names.items()} == {
        "1": 19,
        "2": 19,
        "3": 11,
        "4-svhn": 7,
        "4-cifar10": 7,
        "5-svhn": 7,
        "5-cifar10": 7,
        "5-cifar100": 7,
        "6-all-conv": 6,
        "6-nin": 6,
        "2+5-cifar10": 22,
    }
    found = tables.cells("3", tables.SETTINGS["3"], "x")["augmented 0.5"]
    assert (found.rate, found.backward_rate, found.folder) == (0.5, 0.0001, "x")
    found = tables.cells("5-svhn", tables.SETTINGS["5-svhn"], None)["augmented 0.2"]
    assert (found.backward_rate, found.setting.augment, found.setting.data) == (0.0002, False, "svhn")
    assert tables.cells("2", tables.SETTINGS["2"], None)["forward 0.005"].points == 20


def test_settings_are_as_printed():
    convnet, resnet, lenet = (tables.SETTINGS[table] for table in ("1", "2", "3"))
    assert (convnet.steps, convnet.batch_size, convnet.learning_rate) == (9000, 100, 0.001)
    assert [tables.cells("1", convnet, None)["plain"].falling(p / 9000) for p in (3999, 4000, 8999)] == [
        1.0,
        0.1,
        0.1,
    ]
    assert (resnet.steps, resnet.batch_size, resnet.learning_rate) == (640_000, 128, 0.1)
    assert (resnet.weight_decay, resnet.nesterov, resnet.augment) == (0.001, True, True)
    assert resnet.falls == (320 / 640, 480 / 640)
    assert (lenet.steps, lenet.batch_size, lenet.learning_rate, lenet.weight_decay) == (
        12000,
        100,
        0.01,
        0.0005,
    )
    small = tables.setting_of("2", small=True)
    assert replace(small, steps=640_000, small=0, side=32) == resnet


@pytest.mark.parametrize("table", ["2", "3", "6-all-conv", "6-nin", "1"])
def test_the_layers_that_consume_are_there(table):
    setting = tables.SETTINGS[table]
    net = setting.network(10)
    replace(tables.cells(table, setting, None)["standard" if table[0] == "6" else "standard 0.1"]).put(net)
    placed = {name: layer for handle in handles(net) for name, layer in handle.layers.items()}
    assert list(placed) == [name for name, _ in setting.consumers]
    assert {layer.backward_rate for layer in placed.values()} == {0.0}
    tables.cells(table, setting, None)["plain"].put(bare := setting.network(10))
    assert Applied.of(bare) is None
    with pytest.raises(ValueError, match="has no ratio of its own"):
        cells.Cell(setting=replace(setting, consumers=(("x", None),)), kind="standard").put(net)


LOOKS = ("mean-image", "channels", "whitened")
KINDS = ("plain", "standard", "forward", "backward", "augmented", "monte-carlo", "distillation", "el")


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_follows_from_its_seed(kind, monkeypatch):
    monkeypatch.setattr(cells, "MONTE_CARLO", 3)
    setting = replace(tables.SETTINGS["3"], steps=3, batch_size=10, falls=(0.5,))
    cell = cells.Cell(setting=setting, kind=kind, rate=0.4, backward_rate=0.1, points=2)
    data = images(1, 28)
    first, again, other = (cell.train(data, seed) for seed in (1, 1, 2))
    assert (first.reward, first.test, first.metrics) == (again.reward, again.test, again.metrics)
    assert first.reward != other.reward
    assert 0.0 <= first.test["accuracy"] <= 1.0
    names = {"train_loss", "train_loss_01", "train_loss_02", "test_loss_01", "test_loss_02"}
    assert set(first.metrics) == names
    assert all(math.isfinite(value) for value in first.metrics.values())


def test_a_student_that_diverges_is_no_figure(monkeypatch):
    real, fits = cells.fit, []

    def fit(*arguments):
        fits.append(real(*arguments))
        return replace(fits[-1], diverged=len(fits) == 2)

    monkeypatch.setattr(cells, "fit", fit)
    setting = replace(tables.SETTINGS["3"], steps=3, batch_size=10, falls=(0.5,))
    result = cells.Cell(setting=setting, kind="distillation", rate=0.4).train(images(1, 28), 1)
    assert len(fits) == 2
    assert math.isnan(result.reward)
    assert result.test == {}


def test_the_pairs_are_those_that_the_paper_compares():
    names = {table: tables.cells(table, tables.SETTINGS[table], None) for table in ("1", "3", "6-nin")}
    found = {table: families(table, named) for table, named in names.items()}
    assert found["3"] == [[(f"augmented {r}", f"standard {r}") for r in (0.1, 0.2, 0.3, 0.4, 0.5)]]
    assert found["6-nin"] == [
        [("augmented", name) for name in ("standard", "monte-carlo", "distillation", "el")]
    ]
    kinds = [{tuple(name.split()[0] for name in pair) for pair in family} for family in found["1"]]
    assert kinds == [{question} for question in QUESTIONS_OF_ONE_PASS]
    assert [len(family) for family in found["1"]] == [6] * 5
    assert all(
        one.split()[1:] == other.split()[1:] or other == "plain"
        for family in found["1"]
        for one, other in family
    )
    of_both = tables.cells(tables.BOTH, tables.SETTINGS["5-cifar10"], None)
    parts = [tables.cells(table, tables.SETTINGS[table], None) for table in ("2", "5-cifar10")]
    assert set(of_both) == {*parts[0], *parts[1]}
    of_parts = [*families("2", parts[0]), *families("5-cifar10", parts[1])]
    assert families(tables.BOTH, of_both) == of_parts
    for table, named in names.items():
        assert {name for family in found[table] for pair in family for name in pair} <= set(named)


def test_one_ratio_alone_has_what_it_is_measured_against():
    named = {table: tables.cells(table, tables.SETTINGS[table], None) for table in ("1", "3", "6-nin")}
    assert list(tables.restricted("3", named["3"], [0.3])) == ["standard 0.3", "augmented 0.3"]
    kinds = ("standard", "forward", "backward")
    assert list(tables.restricted("1", named["1"], [0.05])) == ["plain", *(f"{kind} 0.05" for kind in kinds)]
    with pytest.raises(UsageError, match=r"table 3 has no ratio 0\.25; it has 0\.1, 0\.2, 0\.3, 0\.4, 0\.5"):
        tables.restricted("3", named["3"], [0.25])
    with pytest.raises(UsageError, match=r"table 6-nin has no ratio 0\.5; it has none of its own"):
        tables.restricted("6-nin", named["6-nin"], [0.5])


def test_what_is_printed_is_of_cells_that_there_are():
    assert set(PRINTED) == set(tables.SETTINGS)
    for table, printed in PRINTED.items():
        named = tables.cells(table, tables.SETTINGS[table], None)
        assert set(printed.accuracies) <= set(named)
        compared = {name for family in families(table, named) for pair in family for name in pair}
        lacking = compared - set(printed.accuracies)
        assert lacking <= ({"standard", "el"} if table.startswith("6") else set())
    assert PRINTED["2+5-cifar10"].accuracies["augmented 0.2"] == 0.9195
    doubled = {name: value for name, value in PRINTED["5-cifar10"].accuracies.items() if "standard" in name}
    assert doubled.items() <= PRINTED["2"].accuracies.items()  # the paper prints these cells twice


def test_each_network_sees_images_in_its_way(monkeypatch):
    parts = [
        Examples(inputs=torch.randint(256, (n, 3, 16, 16), dtype=torch.uint8), labels=torch.arange(n) % 10)
        for n in (40, 10, 10)
    ]
    found = image_data(*parts)
    monkeypatch.setattr(looking, "_images", lambda *_: found)
    train, test = (part.inputs.float() for part in (found.splits.train, found.splits.test))
    seen = {looks: looking.prepared.__wrapped__("cifar10", looks, True, (40, 16), None) for looks in LOOKS}
    assert torch.allclose(seen["mean-image"].test.inputs, test - train.mean(0))
    assert seen["channels"].train.inputs.dtype == torch.uint8
    assert len(seen["channels"].changes.stored) == 2
    mean, deviation = (torch.as_tensor(of).view(3, 1, 1) for of in (found.mean, found.deviation))
    assert torch.allclose(seen["channels"].test.inputs, (test / 255 - mean) / deviation, atol=1e-4)
    white = seen["whitened"].train.inputs.flatten(1)
    assert white.mean(0).abs().max() < 1e-3
    assert {part.num_classes for part in seen.values()} == {10}


def test_other_steps_are_another_comparison():
    full, small = tables.SETTINGS["2"], tables.setting_of("2", small=True)
    settings = (full, replace(full, steps=64_000), replace(full, weight_decay=0.0001), small)
    assert len({tables.label("2", setting) for setting in settings}) == 4


def test_a_table_is_stopped_goes_on_and_is_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "prepared", lambda *_: images(1, 28))
    setting = replace(tables.SETTINGS["3"], steps=2, batch_size=10)
    monkeypatch.setitem(tables.SETTINGS, "3", setting)
    monkeypatch.setattr(tables, "RESULTS", tmp_path / "results")
    real, trained = cells.Cell.__call__, []

    def call(cell, seed):
        trained.append((cell.kind, cell.rate, seed))
        if len(trained) == 5:
            raise KeyboardInterrupt
        return real(cell, seed)

    monkeypatch.setattr(cells.Cell, "__call__", call)
    real_run = tables.run
    monkeypatch.setattr(tables, "run", lambda *given: real_run(*given, executor="inline"))
    words = ["3", "--data", str(tmp_path), "--seeds", "4", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="The same command goes on"):
        tables.started(tables.arguments().parse_args(words))
    tables.started(tables.arguments().parse_args(words))
    assert len(trained) == 45
    assert len(set(trained)) == 44
    copied = tmp_path / "results" / "demystifying" / "3"
    found = json.loads((copied / "comparison.json").read_text(encoding="utf8"))
    assert {arm["runs"] for arm in found["comparison"]["arms"]} == {4}
    assert str(tmp_path).encode() not in (tmp_path / "out" / "study.db").read_bytes()
    written = (copied / "comparison.md").read_text(encoding="utf8")
    assert "| augmented 0.5 | standard 0.5 |" in written
    assert "| augmented 0.5 | 0.9925 | " in written
    assert found["printed"]["augmented 0.3"] == 0.9925
    one = [*words[:-1], str(tmp_path / "one"), "--ratios", "0.3"]
    tables.started(tables.arguments().parse_args(one))
    found = json.loads((copied.parent / "3-at-0.3" / "comparison.json").read_text(encoding="utf8"))
    assert [arm["name"] for arm in found["comparison"]["arms"]] == ["standard 0.3", "augmented 0.3"]


def test_a_mistake_ends_with_one_line(tmp_path):
    given = tables.arguments().parse_args(["3", "--data", str(tmp_path), "--out", str(tmp_path / "x")])
    with pytest.raises(SystemExit, match=r"error: MNIST is not at .*download"):
        tables.started(given)
    assert not (tmp_path / "x").exists()


def test_accuracy_counts_what_is_right():
    labels = torch.arange(1200) % 10
    pictures = torch.zeros(1200, 1, 4, 4)
    pictures.flatten(1)[torch.arange(1200), (labels + (torch.arange(1200) % 4 == 0)) % 10] = 1.0
    part = Examples(inputs=pictures, labels=labels)
    assert cells.accuracy(lambda images: images.flatten(1)[:, :10], cells.chunks(part)) == 0.75


def test_biases_learn_as_fast_as_the_example_says():
    setting = tables.SETTINGS["3"]
    groups = cells.optimiser(setting.network(10), setting).param_groups
    assert [(group["lr"], len(group["params"])) for group in groups] == [(0.01, 4), (0.02, 4)]
    assert {(g["momentum"], g["weight_decay"], g["nesterov"]) for g in groups} == {(0.9, 0.0005, False)}


def kept(out, names, seeds=3):
    """Runs of these arms with made-up figures, as a table leaves them behind."""

    def run(place):
        def trained(seed):
            luck = 0.001 * (seed % 7) + 0.0001 * (seed % 5) * place
            points = {f"{loss}_loss_{n:02d}": place + n + luck for loss in ("train", "test") for n in (1, 2)}
            return Result(reward=0.0, metrics=points, test={"accuracy": 0.9 + luck})

        return trained

    arms = {name: run(place) for place, name in enumerate(names)}
    return compare(tables.refuse, arms, seeds=seeds, executor="inline", out=out, task="x")


def test_figures_are_drawn_from_kept_runs(tmp_path):
    kept(tmp_path / "runs", ["standard 0.2", "augmented 0.2"])
    found = figures.curves(tmp_path / "runs", "3")
    assert set(found) == {"standard 0.2", "augmented 0.2"}
    curve = found["augmented 0.2"]["test"]
    assert curve["mean"][1] - curve["mean"][0] == pytest.approx(1.0)
    assert all(deviation > 0 for deviation in curve["deviation"])
    pytest.importorskip("matplotlib")
    figures.draw(found, "3", tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes()[1:4] == b"PNG"
    with pytest.raises(
        UsageError, match="has no finished run of 'plain' with its curves; run the table first"
    ):
        figures.curves(tmp_path / "runs", "1")


def test_the_power_of_four_runs():
    rows = list(power.needs("3"))
    assert [row.difference for row in rows] == [0.0002, 0.0001, 0.0007, 0.0003, 0.0003]
    assert [(row.arm, row.against) for row in rows][2] == ("augmented 0.3", "standard 0.3")
    assert rows[2].standard_error == pytest.approx(0.0009, abs=5e-5)
    assert all(row.seeds > 4 and row.power < 0.2 for row in rows)
    assert [row.spread for row in power.needs("3", 0.001)] == [0.001] * 5
    assert sum(len(list(power.needs(table))) for table in power.TABLES) == 30 + 30 + 5 + 5 * 3
    of_one_pass = {(row.arm, row.against): row for row in power.needs("2")}
    assert of_one_pass["forward 0.01", "standard 0.01"].seeds is None  # both are .9141
    assert of_one_pass["backward 0.05", "plain"].difference == -0.0001


def test_the_committed_power_is_what_the_command_finds(tmp_path, capsys):
    power.started(power.arguments().parse_args(["--out", str(tmp_path / "power.json")]))
    committed = FOLDER.parent / "results" / "demystifying" / "power.json"
    files = [json.loads(path.read_text("utf8")) for path in (tmp_path / "power.json", committed)]
    assert {tuple(file) for file in files} == {
        ("schema", "command", "commit", "versions", "machine", "needs")
    }
    found, kept = (file["needs"] for file in files)
    assert [row | {"power": 0.0} for row in found] == [row | {"power": 0.0} for row in kept]
    assert [row["power"] for row in found] == pytest.approx([row["power"] for row in kept])
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(kept)


def test_a_pilot_tells_the_spread_of_what_was_run(tmp_path):
    kept(tmp_path / "3", ["standard 0.1", "augmented 0.1"], seeds=4)
    spreads = power.measured(tmp_path / "3", "3")
    assert set(spreads) == {("augmented 0.1", "standard 0.1")}
    (row,) = power.needs("3", spreads)
    assert (row.arm, row.spread) == ("augmented 0.1", spreads["augmented 0.1", "standard 0.1"])
    assert 0 < row.spread < 0.001
    with pytest.raises(UsageError, match=r"no two cells that table 1 compares; name the table"):
        power.measured(tmp_path / "3", "1")
    for words in (["--pilot", "x"], ["--pilot", "x", "--table", "3", "--spread", "1"]):
        with pytest.raises(UsageError, match=r"--pilot needs --table"):
            power.started(power.arguments().parse_args(words))
    with pytest.raises(UsageError, match=r"--spread is 0\.0; a standard deviation"):
        power.started(power.arguments().parse_args(["--spread", "0"]))


@pytest.mark.parametrize(
    "words",
    [["demystifying_power.py", "--table", "3", "--pilot", "none"], ["demystifying_figures.py", "1", "none"]],
)
def test_a_wrong_directory_is_said_in_one_line(words, tmp_path):
    words = [sys.executable, str(FOLDER / words[0]), *words[1:]]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert len(ended.stderr.splitlines()) == 1
