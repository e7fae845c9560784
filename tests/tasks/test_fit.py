import math
from itertools import repeat

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autodropout.applying import Applied, apply
from autodropout.errors import UsageError
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from autodropout.tasks import loop
from autodropout.tasks.fit import FitSettings, cosine, fit, inverse_sqrt, shortened, warmed_up


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def batches(count: int, seed: int = 1) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    inputs = [torch.randn(16, 4, generator=generator) for _ in range(count)]
    return [(x, x[:, :3].argmax(1)) for x in inputs]


def sgd(model: nn.Module, rate: float = 0.1) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), rate)


class Recorder(nn.Module):
    """A model that remembers how it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 3))
        self.calls: list[tuple[bool, bool, torch.dtype]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x @ self.weight
        self.calls.append((self.training, torch.is_grad_enabled(), y.dtype))
        return y


@pytest.mark.parametrize("measurements", [6, 12])
def test_a_trial_may_stop_on_its_curve(measurements):
    """Worse twice in a row: it ends there, with the curve so far, and is no divergence."""
    values = iter([0.5, 0.7, 0.6, 0.4, 0.9, 0.9] * 2)

    def worse_twice(curve):
        return len(curve) >= 3 and curve[-1] < curve[-2] < curve[-3]

    model = net()
    settings = FitSettings(
        steps=12, measure=lambda trained: next(values), measurements=measurements, stop=worse_twice
    )
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    fitted = fit(model, optimiser, cosine, batches(12), settings)
    assert fitted.curve == (0.5, 0.7, 0.6, 0.4)
    assert (fitted.stopped, fitted.diverged, fitted.steps) == (True, False, 4 * 12 // measurements)
    assert not model.training


def test_a_stop_at_the_end_is_none():
    model = net()
    settings = FitSettings(steps=3, measure=lambda trained: 1.0, stop=lambda curve: True)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    fitted = fit(model, optimiser, cosine, batches(3), settings)
    assert (fitted.stopped, fitted.steps) == (False, 3)


@pytest.mark.parametrize(("budget", "steps"), [(1.0, 240), (1 / 9, 27), (0.001, 1), (0.5, 120)])
def test_shortened(budget, steps):
    assert shortened(240, budget) == steps


@pytest.mark.parametrize("budget", [0.0, 1.5, -1.0, math.nan])
def test_a_budget_that_is_no_fraction(budget):
    with pytest.raises(UsageError, match=f"budget is {budget}; expected a fraction of a full training"):
        shortened(240, budget)


def test_it_is_the_obvious_loop():
    ours, plain = net(), net()
    fitted = fit(ours, sgd(ours), cosine, batches(7), FitSettings(steps=7))
    losses, optimiser = [], sgd(plain)
    for step, (x, y) in enumerate(batches(7)):
        optimiser.param_groups[0]["lr"] = 0.1 * (1 + math.cos(math.pi * step / 7)) / 2
        optimiser.zero_grad()
        loss = F.cross_entropy(plain(x), y)
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    for a, b in zip(ours.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert fitted.loss == pytest.approx(sum(losses).item() / 7)
    assert (fitted.steps, fitted.diverged, fitted.curve) == (7, False, ())
    assert fitted.seconds > 0
    assert not ours.training


@pytest.mark.parametrize(("steps", "points"), [(12, 4), (7, 3), (5, 5), (3, 7), (10, 1)])
def test_points_of_the_curve_are_spread_and_the_last_is_the_last(steps, points):
    model, seen = Recorder(), []

    def measure(trained: nn.Module) -> float:
        seen.append(sum(training for training, _, _ in model.calls))
        trained(torch.zeros(1, 4))
        return float(len(seen))

    fitted = fit(
        model,
        sgd(model),
        cosine,
        batches(steps),
        FitSettings(steps=steps, measure=measure, measurements=points),
    )
    assert seen[-1] == steps
    assert len(seen) == min(points, steps)
    assert max(b - a for a, b in zip([0, *seen], seen, strict=False)) <= -(-steps // min(points, steps))
    assert fitted.curve == tuple(range(1, len(seen) + 1))
    for training, gradients, _ in model.calls:
        assert training == gradients


def test_more_batches_than_steps_are_left_alone():
    model = net()
    drawn = iter(batches(9))
    fit(model, sgd(model), cosine, drawn, FitSettings(steps=7))
    assert len(list(drawn)) == 2


def test_too_few_batches():
    model = net()
    with pytest.raises(UsageError, match="the batches ended after 3 steps of 7; give a batch for each"):
        fit(model, sgd(model), cosine, batches(3), FitSettings(steps=7))
    with pytest.raises(UsageError, match="the batches ended after 0 steps of 7"):
        fit(model, sgd(model), cosine, [], FitSettings(steps=7))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("check_every", [1, 5])
def test_a_diverging_run_ends_early(bad, check_every):
    model = net()
    data = batches(100)
    data[20][0][3, 1] = bad
    settings = FitSettings(
        steps=100, measure=lambda _: 1.0, measurements=10, check_every=check_every, loss=lambda y, _: y.sum()
    )
    fitted = fit(model, sgd(model), cosine, data, settings)
    assert fitted.diverged
    assert not math.isfinite(fitted.loss)
    assert 21 <= fitted.steps < 21 + check_every
    assert fitted.curve == (1.0, 1.0)
    assert not model.training


def test_divergence_at_the_last_step_is_seen():
    model = net()
    data = batches(8)
    data[7][0][0, 0] = math.nan
    assert fit(model, sgd(model), cosine, data, FitSettings(steps=8, check_every=100)).diverged


def test_progress_drives_the_applied_policy():
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 16, 3))
    policy = Policy({"0": ConvPattern(height="whole", width="whole")}, schedule="late")
    apply(model, policy)
    seen = []
    model[0].register_forward_hook(
        lambda module, args, output: seen.append((Applied.of(model).progress, bool((output == 0).all())))
    )
    data = [(torch.randn(8, 2, 4, 4), torch.zeros(8, dtype=torch.long))] * 10
    fit(model, sgd(model), cosine, data, FitSettings(steps=10))
    assert [progress for progress, _ in seen] == [step / 10 for step in range(10)]
    assert [dropped for _, dropped in seen] == [False] * 5 + [True] * 5


def test_each_group_keeps_its_own_rate():
    model, seen = net(), []
    optimiser = torch.optim.SGD(
        [{"params": model[0].parameters(), "lr": 0.4}, {"params": model[3].parameters(), "lr": 0.2}]
    )
    optimiser.register_step_pre_hook(
        lambda *_: seen.append([group["lr"] for group in optimiser.param_groups])
    )
    fit(model, optimiser, lambda progress: 1 - progress, batches(4), FitSettings(steps=4))
    assert seen == [[0.4, 0.2], pytest.approx([0.3, 0.15]), [0.2, 0.1], pytest.approx([0.1, 0.05])]


def test_bf16_runs_both_training_and_measuring_under_autocast():
    model = Recorder()
    settings = FitSettings(steps=2, bf16=True, measure=lambda m: float(m(torch.zeros(1, 4)).sum()))
    fit(model, sgd(model), cosine, batches(2), settings)
    assert [dtype for _, _, dtype in model.calls] == [torch.bfloat16] * 3
    assert model.weight.dtype == torch.float32


def test_the_gradient_is_clipped():
    free, clipped = Recorder(), Recorder()
    for model, norm in ((free, None), (clipped, 1e-3)):
        fit(model, sgd(model, 1.0), lambda _: 1.0, batches(1), FitSettings(steps=1, clip_norm=norm))
    assert (free.weight - 1).norm() > 1e-2
    assert (clipped.weight - 1).norm().item() == pytest.approx(1e-3, rel=1e-2)


def test_the_loss_is_ours_to_choose():
    model = Recorder()
    settings = FitSettings(steps=3, loss=lambda outputs, targets: (outputs * 0).sum() + 2.5)
    assert fit(model, sgd(model), cosine, batches(3), settings).loss == 2.5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("bf16", [False, True])
def test_it_trains_on_a_gpu(bf16):
    model = net()
    data = batches(60)
    settings = FitSettings(
        steps=60,
        device="cuda",
        bf16=bf16,
        measure=lambda m: (m(data[0][0].cuda()).argmax(1).cpu() == data[0][1]).float().mean().item(),
    )
    fitted = fit(model, torch.optim.Adam(model.parameters(), 0.05), cosine, data, settings)
    assert next(model.parameters()).is_cuda
    assert fitted.curve[-1] > 0.8


@pytest.mark.parametrize("name", ["steps", "measurements", "check_every"])
def test_settings_out_of_range(name):
    with pytest.raises(UsageError, match=f"{name} is 0; expected at least 1"):
        FitSettings(**{"steps": 5} | {name: 0})


def test_schedules():
    assert [cosine(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 0.0])
    warm = warmed_up(cosine, 0.2)
    assert [warm(p) for p in (0.0, 0.1, 0.2, 0.6, 1.0)] == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0])
    assert [warmed_up(cosine, 0.0)(p) for p in (0.0, 0.3)] == [cosine(p) for p in (0.0, 0.3)]


def test_the_inverse_root_is_vaswanis_learning_rate():
    """Eq. 3: width^-0.5 * min(step^-0.5, step * warmup^-1.5), over its value where the warm-up ends."""
    steps, warmup = 1000, 40
    schedule = inverse_sqrt(warmup / steps)
    for step in (1, 10, 39, 40, 41, 400, 1000):
        theirs = min(step**-0.5, step * warmup**-1.5) / warmup**-0.5
        assert schedule(step / steps) == pytest.approx(theirs)
    assert schedule(0.0) == 0.0


def test_an_endless_stream_of_batches_will_do():
    model = net()
    assert fit(model, sgd(model), cosine, repeat(batches(1)[0]), FitSettings(steps=5)).steps == 5


def test_an_objective_takes_the_place_of_the_loss():
    plain, own, calls = net(), net(), []

    def objective(model, batch, progress):
        inputs, targets = batch
        calls.append((model is own, model.training, progress))
        return F.cross_entropy(model(inputs), targets)

    figures = [
        fit(model, sgd(model), cosine, batches(4), FitSettings(steps=4, objective=chosen)).loss
        for model, chosen in ((plain, None), (own, objective))
    ]
    assert figures[0] == figures[1]
    assert calls == [(True, True, step / 4) for step in range(4)]
    doubled = net()
    twice = FitSettings(steps=4, objective=lambda *args: 2 * objective(*args))
    assert fit(doubled, sgd(doubled), cosine, batches(4), twice).loss != figures[0]


class Clock:
    """Time that passes only in batches, so many seconds each."""

    def __init__(self, monkeypatch, seconds):
        self.now, self.seconds = 100.0, seconds
        monkeypatch.setattr(loop.time, "perf_counter", lambda: self.now)

    def batches(self, count):
        for batch in batches(count):
            self.now += self.seconds
            yield batch


class TestItsCourse:
    """What is logged while training goes on."""

    def lines(self, monkeypatch, caplog, steps, seconds, **settings):
        clock, model = Clock(monkeypatch, seconds), net()
        with caplog.at_level("INFO", "autodropout.tasks"):
            fit(model, sgd(model), cosine, clock.batches(steps), FitSettings(steps=steps, **settings))
        return [record.getMessage() for record in caplog.records]

    def test_says_how_far_it_is_and_how_long_it_will_take(self, monkeypatch, caplog):
        lines = self.lines(monkeypatch, caplog, 100, 1.0)
        assert [line.split(", ")[0] for line in lines] == [f"step {n}0 of 100" for n in range(1, 10)]
        assert [line.split(", ")[2] for line in lines][::4] == ["1 min 30 s left", "50 s left", "10 s left"]
        losses = [float(line.split(", ")[1].removeprefix("loss ")) for line in lines]
        assert all(0 < loss < 3 for loss in losses)

    def test_says_it_more_and_more_rarely(self, monkeypatch, caplog):
        lines = self.lines(monkeypatch, caplog, 400, 60.0)
        assert lines[0].endswith("6 h 30 min left")
        assert len(lines) < 30

    def test_a_short_training_says_nothing(self, monkeypatch, caplog):
        assert self.lines(monkeypatch, caplog, 100, 0.09) == []
