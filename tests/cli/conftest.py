from types import MappingProxyType

import pytest

from autodropout.conv_space import ConvSpace
from autodropout.policy import Policy
from autodropout.result import Result
from autodropout.tasks import registry
from autodropout.tasks.base import Budget


class Toy:
    """A task without a model: the fewer sites drop, the better."""

    name = "toy"
    summary = "counts sites"
    needs = "nothing"
    seconds = 0.01
    floor = -9.0
    budget = Budget(trials=8, batch=4, confirm_top=2, confirm_seeds=2)

    def __init__(self) -> None:
        self.evaluated = 0
        self.trouble: BaseException | None = None
        self.trouble_after = 0
        self.lacking: str | None = None

    def missing(self) -> str | None:
        return self.lacking

    def space(self) -> ConvSpace:
        return ConvSpace(sites={"a": (4, 4), "b": (8, 8)})

    def evaluate(self, policy: Policy, seed: int) -> Result:
        self.evaluated += 1
        if self.trouble is not None and self.evaluated > self.trouble_after:
            raise self.trouble
        return Result(reward=-float(len(policy.sites)), test={"accuracy": 0.5})


@pytest.fixture
def toy(monkeypatch, tmp_path) -> Toy:
    task = Toy()
    monkeypatch.setattr(registry, "TASKS", MappingProxyType({"toy": task}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return task
