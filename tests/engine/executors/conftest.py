import pytest

from autodropout.engine.executors.local import LocalExecutor


@pytest.fixture
def make_local():
    """Build local executors that start quickly, and close them after the test."""
    built = []

    def make(evaluate, **settings):
        built.append(LocalExecutor(evaluate, **{"preload": ()} | settings))
        return built[-1]

    yield make
    for executor in built:
        executor.close()
