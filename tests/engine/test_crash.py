import pytest

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


@pytest.mark.slow
class TestReinforceEverywhere(TestReinforce):
    def moments(self, transactions):
        return range(1, transactions + 1)
