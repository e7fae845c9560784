"""Whole searches on real Ray clusters: nodes and drivers are killed, nothing is lost or counted twice."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from clusters import SMALL, cluster_of, ray
from processes import assert_gone

from autodropout.engine.confirm import Confirmation
from autodropout.engine.executors.cluster import Cluster
from autodropout.engine.history import replay
from autodropout.engine.run import search
from autodropout.engine.study import Study
from autodropout.errors import UsageError
from autodropout.token_space import TokenSpace
from contracts.executor import PATIENCE
from contracts.ledger import history

pytestmark = pytest.mark.slow

SPACE = TokenSpace(sites=("query", "ffn"))
TRIALS = 12
DRIVER = """
import os, sys, time
from pathlib import Path
import ray
from autodropout.engine.confirm import Confirmation
from autodropout.engine.executors.cluster import Cluster
from autodropout.engine.run import search
from autodropout.token_space import TokenSpace

folder, address, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])

def evaluate(policy, seed):
    with open(folder / "began", "a") as file:
        file.write(f"{policy.key}/{seed} {os.getpid()} {ray.get_runtime_context().get_node_id()}\\n")
    until = time.monotonic() + seconds
    while time.monotonic() < until and not (folder / "hurry").exists():
        time.sleep(0.02)
    with open(folder / "ended", "a") as file:
        file.write(f"{policy.key}/{seed}\\n")
    return len(policy.sites) + seed % 97 / 97

search(
    evaluate,
    TokenSpace(sites=("query", "ffn")),
    trials=12,
    batch=3,
    seed=5,
    executor="ray",
    cluster=Cluster(address=address),
    out=folder / "out",
    confirm=Confirmation(top=1, seeds=2),
)
"""


def drive(folder: Path, address: str, seconds: float = 0.2) -> subprocess.Popen:
    script = folder / "driver.py"
    script.write_text(DRIVER)
    return subprocess.Popen([sys.executable, str(script), str(folder), address, str(seconds)])


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def wait_for(number: int, path: Path) -> None:
    limit = time.monotonic() + 2 * PATIENCE
    while len(lines(path)) < number:
        assert time.monotonic() < limit, f"{path} has {lines(path)}"
        time.sleep(0.02)


def check_whole(study: Study) -> None:
    assert study.finished
    assert Counter(trial.kind for trial in study.trials) == {"search": TRIALS, "confirm": 2}
    assert {trial.state for trial in study.trials} == {"done"}
    taught = [number for update in study.updates for number in update.trials]
    assert len(taught) == len(set(taught)) == TRIALS
    assert replay(study.out).snapshot() == history(study.out)[1][-1][3]
    left = list((study.out / "results").iterdir())
    assert len(left) <= 2, "what the ledger knows is swept up"


def reward(policy, seed):
    time.sleep(0.3)
    return len(policy.sites) + seed % 97 / 97


def test_a_cluster_is_started_here_and_ends_with_the_search(tmp_path):
    study = search(
        reward,
        SPACE,
        trials=TRIALS,
        batch=3,
        executor="ray",
        cluster=Cluster(cpus=0.5),
        out=tmp_path,
        confirm=Confirmation(top=1, seeds=2),
    )
    assert not ray.is_initialized()
    check_whole(study)
    assert (tmp_path / "logs" / "trial-000001-1.log").is_file()
    assert study.record.options["cluster"] == {"address": None, "cpus": 0.5, "gpus": 0, "slots": None}


def test_nodes_join_and_are_killed_in_mid_search(tmp_path):
    with cluster_of(1, 1) as cluster:
        driver = drive(tmp_path, cluster.address, seconds=2.0)
        wait_for(2, tmp_path / "ended")
        joined = cluster.add_node(num_cpus=2, **SMALL)
        limit = time.monotonic() + PATIENCE
        while joined.node_id not in (tmp_path / "began").read_text():
            assert time.monotonic() < limit
            time.sleep(0.02)
        cluster.remove_node(joined, allow_graceful=False)
        assert driver.wait(3 * PATIENCE) == 0
    check_whole(Study.open(tmp_path / "out"))
    began = [line.split() for line in lines(tmp_path / "began")]
    again = {trial for trial, times in Counter(trial for trial, *_ in began).items() if times > 1}
    assert again, "what ran on that node ran again"
    assert again <= {trial for trial, _, node in began if node == joined.node_id}, "and nothing else"
    assert set(Counter(lines(tmp_path / "ended")).values()) == {1}


def test_a_killed_drivers_trials_go_on_and_are_taken_in(tmp_path):
    with cluster_of(1, 1) as cluster:
        driver = drive(tmp_path, cluster.address, seconds=1000.0)
        wait_for(2, tmp_path / "began")
        driver.kill()
        driver.wait()
        running = [int(line.split()[1]) for line in lines(tmp_path / "began")]
        (tmp_path / "hurry").touch()
        wait_for(2, tmp_path / "ended")  # nobody is there to hear of it
        assert len(list((tmp_path / "out" / "results").glob("*.json"))) <= 2
        assert drive(tmp_path, cluster.address).wait(3 * PATIENCE) == 0
        assert_gone(running)
    check_whole(Study.open(tmp_path / "out"))
    again = Counter(line.split()[0] for line in lines(tmp_path / "began"))
    assert set(again.values()) == {1}, "no trial ran twice"


def test_a_killed_driver_whose_cluster_is_gone_takes_in_what_was_kept(tmp_path):
    with cluster_of(1, 1) as cluster:
        driver = drive(tmp_path, cluster.address, seconds=1000.0)
        wait_for(2, tmp_path / "began")
        driver.kill()
        driver.wait()
        (tmp_path / "hurry").touch()
        limit = time.monotonic() + PATIENCE
        while len(list((tmp_path / "out" / "results").glob("*.json"))) < 2:
            assert time.monotonic() < limit
            time.sleep(0.05)
    with cluster_of(1) as other:
        assert drive(tmp_path, other.address).wait(3 * PATIENCE) == 0
    check_whole(Study.open(tmp_path / "out"))
    assert set(Counter(line.split()[0] for line in lines(tmp_path / "began")).values()) == {1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_stop_ends_what_runs_and_the_search_goes_on_later(tmp_path, number):
    with cluster_of(1, 1) as cluster:
        driver = drive(tmp_path, cluster.address, seconds=1000.0)
        wait_for(2, tmp_path / "began")
        driver.send_signal(number)
        assert driver.wait(PATIENCE) != 0
        assert_gone([int(line.split()[1]) for line in lines(tmp_path / "began")])
        assert lines(tmp_path / "ended") == []
        (tmp_path / "hurry").touch()
        assert drive(tmp_path, cluster.address).wait(3 * PATIENCE) == 0
    check_whole(Study.open(tmp_path / "out"))


def test_a_refused_address_leaves_nothing_behind(tmp_path):
    with pytest.raises(
        UsageError, match=r"there is no Ray cluster at '127.0.0.1:1' \(.*refused\); start one"
    ):
        search(reward, SPACE, executor="ray", cluster=Cluster(address="127.0.0.1:1"), out=tmp_path / "out")
    assert not os.path.exists(tmp_path / "out")


def test_a_trial_that_never_fits_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no node of the cluster has the 4096 CPUs that a trial takes; ask"):
        search(reward, SPACE, executor="ray", cluster=Cluster(cpus=4096), out=tmp_path / "out")
    assert not ray.is_initialized()
    assert not os.path.exists(tmp_path / "out")
