from types import MappingProxyType

import pytest
from torch import nn

from autodropout.conv_space import ConvSpace
from autodropout.policy import Policy
from autodropout.result import Result
from autodropout.tasks import registry
from autodropout.tasks.base import Baseline, Budget, Prepare

BEST_STRENGTH = 0.2


class ToyNet(nn.Module):
    """Two sites that nothing flows through."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.BatchNorm2d(1), nn.BatchNorm2d(1)
        self.strength = 0.0


def put(net: ToyNet, strength: float) -> None:
    net.strength = strength


class Toy:
    """A task without training: the fewer sites drop, the better, and a baseline is best at .2."""

    name = key = "toy"
    summary = "counts sites"
    needs = "nothing"
    seconds = 0.01
    floor = -9.0
    budget = Budget(trials=8, batch=4, confirm_top=2, confirm_seeds=2)
    baselines = (
        Baseline(name="dropout", strengths=(0.1, 0.2, 0.3), put=put),
        Baseline(name="blocks", strengths=(0.1, 0.15, 0.25, 0.3, 0.4), put=put),
    )

    def __init__(self) -> None:
        self.evaluated = 0
        self.seeds: list[int] = []
        self.trouble: BaseException | None = None
        self.trouble_after = 0
        self.lacking: str | None = None

    def missing(self) -> str | None:
        return self.lacking

    def space(self) -> ConvSpace:
        return ConvSpace(sites={"a": (4, 4), "b": (8, 8)})

    def model(self) -> ToyNet:
        return ToyNet()

    def evaluate(self, policy: Policy, seed: int, budget: float = 1.0) -> Result:
        return self.result(-float(len(policy.sites)), seed)

    def train(self, prepare: Prepare, seed: int) -> Result:
        net = self.model()
        prepare(net)
        return self.result(-abs(net.strength - BEST_STRENGTH), seed)

    def result(self, reward: float, seed: int) -> Result:
        self.evaluated += 1
        self.seeds.append(seed)
        if self.trouble is not None and self.evaluated > self.trouble_after:
            raise self.trouble
        luck = 0.01 * (seed % 101 + seed % (7 + round(-10 * reward)))
        return Result(reward=reward, metrics={"parameters": 4}, test={"accuracy": reward + luck})


@pytest.fixture
def toy(monkeypatch, tmp_path) -> Toy:
    task = Toy()
    monkeypatch.setattr(registry, "TASKS", MappingProxyType({"toy": task}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return task
