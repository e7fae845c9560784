import pytest

from autodropout.engine.evolution import EvolutionSearcher
from autodropout.engine.halving import Halving
from autodropout.engine.random import RandomSearcher
from autodropout.engine.reinforce import Reinforce
from autodropout.engine.reinforce_settings import ReinforceSettings
from contracts.ledger import SPACE, CrashContract


class TestRandom(CrashContract):
    def build(self):
        return RandomSearcher(SPACE, seed=3, batch=3)


class TestReinforce(CrashContract):
    def build(self):
        return Reinforce(SPACE, seed=3, settings=ReinforceSettings(batch=3, width=8, heads=1))

    def moments(self, transactions):
        return range(1, transactions + 1, 11)


class TestHalving(TestReinforce):
    """Promotions, too, happen once or not at all, and a resumed search promotes whom it would have."""

    halving = Halving(factor=2, rungs=3, startup=2, window=6, spared=0.25)

    def moments(self, transactions):
        return range(2, transactions + 1, 13)


class TestHalvedEvolution(TestHalving):
    def build(self):
        return EvolutionSearcher(SPACE, seed=3, batch=3, population=4)

    def moments(self, transactions):
        return range(5, transactions + 1, 19)


@pytest.mark.slow
class TestReinforceEverywhere(TestReinforce):
    def moments(self, transactions):
        return range(1, transactions + 1)


@pytest.mark.slow
class TestHalvingEverywhere(TestHalving):
    def moments(self, transactions):
        return range(1, transactions + 1)
