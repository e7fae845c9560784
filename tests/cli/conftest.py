from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import pytest
from torch import nn

from autodropout.conv_space import ConvSpace
from autodropout.data.images import ImageData
from autodropout.data.splits import Examples
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from autodropout.result import Result
from autodropout.tasks import registry
from autodropout.tasks.base import Baseline, Budget, Prepare
from autodropout.tasks.images.networks import Wrn
from autodropout.tasks.images.task import ImageTask
from stripes import TASK, Stripes
from stripes import loaded as small

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


class Family(NamedTuple):
    """A proxy, a task with a deeper network on larger images, and a policy as it is on either."""

    proxy: ImageTask
    whole: ImageTask
    found: Policy
    moved: Policy


@lru_cache
def large() -> ImageData:
    def enlarged(part: Examples) -> Examples:
        pixels = part.inputs.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return replace(part, inputs=pixels)

    parts = small().splits
    splits = replace(
        parts,
        train=enlarged(parts.train),
        validation=enlarged(parts.validation),
        test=enlarged(parts.test),
    )
    return replace(small(), splits=splits)


@dataclass(frozen=True, kw_only=True)
class LargeStripes(Stripes):
    """The same images with twice the side."""

    side: ClassVar[int] = 16

    def load(self, folder: str | None) -> ImageData:
        return large()


@pytest.fixture
def family(monkeypatch, tmp_path) -> Family:
    """Both tasks on the command line, and the policy in found.json: all its keys exist in either network."""
    network = Wrn(depth=16, width=1, multiplier=0.25)  # 2 blocks where the proxy's has 1
    whole = replace(TASK, name="stripes-large", source=LargeStripes(), network=network)
    monkeypatch.setattr(registry, "TASKS", MappingProxyType({TASK.name: TASK, whole.name: whole}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    block, bn = ConvPattern(height=2, width=1, stride=3), ConvPattern(height=1, width=1, stride=1)
    found = Policy({"group2.0.bn2": block, "bn": bn})
    found.save("found.json")
    block, bn = ConvPattern(height=4, width=2, stride=6), ConvPattern(height=2, width=2, stride=2)
    moved = Policy({"group2.0.bn2": block, "group2.1.bn2": block, "bn": bn})
    return Family(proxy=TASK, whole=whole, found=found, moved=moved)
