import pytest

from autodropout.benchmark.gathering import gather
from autodropout.benchmark.landscapes import Benchmark
from autodropout.benchmark.released import read_release
from toy_landscape import FLOOR, PARTS, studied


@pytest.fixture(scope="session")
def landscape(tmp_path_factory):
    """A directory with studies, one of them in a directory of its own, with confirmations."""
    out = tmp_path_factory.mktemp("landscape")
    for seed, (name, trials) in enumerate(PARTS.items()):
        studied(out / name, name, trials, seed)
    studied(out / "deep" / "again", "random", 20, 9, top=12)
    return out


@pytest.fixture(scope="session")
def gathered(landscape):
    return gather(landscape, floor=FLOOR, regressor="ridge")


@pytest.fixture(scope="session")
def release(gathered):
    return gathered.release


@pytest.fixture(scope="session")
def benchmark(release):
    return Benchmark(read_release(release.to_text(), "toy"), "toy")
