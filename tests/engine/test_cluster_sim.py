"""The simulation of a cluster, small: the same code that makes the figures, on a few dozen trials."""

import json
import math
import random
import sys
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean, pstdev

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import cluster_sim
from autodropout.engine.executors.base import Done, Job, Lost
from autodropout.engine.history import replay
from autodropout.engine.ledger_reader import LedgerReader
from autodropout.engine.reinforce import Reinforce
from autodropout.engine.reinforce_settings import ReinforceSettings
from autodropout.engine.study import Study
from autodropout.policy import Policy
from contracts.searcher import batch_of, scored
from simulated_search import SPACE, Plan, Unweighted, by_chance, landscape_of, simulate
from virtual import HOUR, MINUTE, Clock, Machines, VirtualCluster

SMALL = Plan(trials=32, workers=8, batch=4)


def job(trial: int) -> Job:
    return Job(trial=trial, attempt=1, policy=Policy({}), seed=trial)


def cluster(**settings) -> tuple[VirtualCluster, Clock]:
    clock = Clock()
    machines = Machines(**{"number": 4, "stay": None, "arriving": 0.0} | settings)
    return VirtualCluster(lambda job: float(job.seed), machines, clock, seed=1), clock


def drain(executor: VirtualCluster, trials: int):
    """Run so many trials and return (virtual time, job, outcome) of each."""
    waiting, ended = list(range(trials, 0, -1)), []
    running = 0
    while waiting or running:
        while waiting and running < executor.capacity:
            executor.submit(job(waiting.pop()))
            running += 1
        for done, outcome in executor.poll(0.5):
            ended.append((executor._clock(), done, outcome))
            running -= 1
    return ended


def test_trials_take_forty_minutes_in_the_mean_and_no_time_at_all():
    executor, clock = cluster(number=1)
    began = clock()
    ended = drain(executor, 400)
    lengths = [outcome.result.seconds for _, _, outcome in ended]
    assert sum(lengths) == pytest.approx(clock() - began)
    assert fmean(lengths) == pytest.approx(40 * MINUTE, rel=0.1)
    assert pstdev([math.log(length) for length in lengths]) == pytest.approx(0.5, rel=0.1)


def test_as_many_trials_run_at_a_time_as_there_are_machines():
    executor, clock = cluster(number=4)
    began = clock()
    drain(executor, 400)
    usage = executor.settle()
    assert usage.present == pytest.approx(4 * (clock() - began))
    assert usage.trained / usage.present > 0.98
    assert (usage.lost, usage.preemptions) == (0.0, 0)


def test_a_preempted_machine_takes_its_trial_along_and_comes_back():
    executor, _ = cluster(number=4, stay=1.0, away=0.5)
    ended = drain(executor, 200)
    usage = executor.settle()
    lost = [outcome for _, _, outcome in ended if isinstance(outcome, Lost)]
    assert len(lost) == usage.preemptions > 20
    assert len(ended) == 200
    assert usage.lost > 0
    assert usage.trained + usage.lost <= usage.present


def test_machines_arrive_one_after_the_other():
    executor, clock = cluster(number=4, arriving=2.0)
    assert executor.capacity == 1
    began, seen = clock(), set()
    executor.submit(job(1))
    while clock() < began + 3 * HOUR and len(seen) < 4:
        seen.add(executor.capacity)
        if not executor.poll(0.5) and executor.capacity == 4:
            break
    assert executor.capacity == 4
    assert clock() - began == pytest.approx(1.5 * HOUR, abs=HOUR)


def test_the_same_trial_takes_as_long_whoever_searches():
    (first, _), (second, _) = cluster(number=1), cluster(number=3)
    lengths = [{j.trial: o.result.seconds for _, j, o in drain(one, 12)} for one in (first, second)]
    assert lengths[0] == pytest.approx(lengths[1])


def test_a_cancelled_job_frees_its_machine():
    executor, _ = cluster(number=1)
    executor.submit(job(1))
    executor.cancel(job(1))
    executor.submit(job(2))
    [(done, outcome)] = executor.poll(0.5)
    assert (done.trial, type(outcome)) == (2, Done)


def test_the_landscape_has_mean_0_and_deviation_1_under_the_starting_bias():
    landscape, rng, values = landscape_of(0), random.Random(1), []
    for _ in range(500):
        tokens = [rng.choices(range(len(c.values)), c.prior)[0] for c in SPACE.choices]
        values.append(landscape.value(SPACE.encode(SPACE.decode(tokens))))
    assert fmean(values) == pytest.approx(0.0, abs=0.15)
    assert pstdev(values) == pytest.approx(1.0, abs=0.1)


def test_chance_finds_better_policies_in_more_trials():
    few, many = (by_chance(replace(SMALL, trials=trials)) for trials in (8, 400))
    assert few < many < 6.0


@pytest.mark.parametrize("order", ["queues", "wait"])
def test_a_simulated_search_is_a_real_one(tmp_path, order):
    found = simulate(replace(SMALL, order=order), tmp_path / "study")
    assert (found["finished"], found["updates"]) == (32, 8)
    json.dumps(found, allow_nan=False)
    study = Study(tmp_path / "study")
    assert study.tally("search").done == 32
    span = max(timing.ended for timing in study.timings) - study.record.created
    assert found["hours"] == pytest.approx(span / HOUR)
    with LedgerReader.open(tmp_path / "study") as reader:
        assert replay(tmp_path / "study").snapshot() == reader.snapshot()[1]


def test_waiting_is_slower_and_never_stale(tmp_path):
    queues = simulate(SMALL, tmp_path / "queues")
    wait = simulate(replace(SMALL, order="wait"), tmp_path / "wait")
    assert queues["hours"] < wait["hours"]
    assert queues["utilisation"] > wait["utilisation"]
    assert queues["staleness"] > wait["staleness"] == wait["staleness_most"] == 0.0
    assert wait["effective_share"] == pytest.approx(1.0, abs=1e-6)
    assert queues["effective_share"] < 1.0


def test_the_same_plan_gives_the_same_search(tmp_path):
    first, second = (simulate(SMALL, tmp_path / name) for name in "ab")
    for found in (first, second):
        del found["processor_ms_per_trial"]
    assert first == second


def test_without_weights_every_trial_counts_alike():
    searchers = [
        kind(SPACE, seed=2, settings=ReinforceSettings(batch=4, learning_rate=0.05))
        for kind in (Reinforce, Unweighted)
    ]
    for searcher in searchers:
        old = batch_of(searcher)
        searcher.learn(scored(old, [0.0, 1.0, 2.0, 3.0], update=0))
    ess = [s.learn(scored(old, [3.0, 2.0, 1.0, 0.0], update=0))["ess"] for s in searchers]
    assert ess[0] < 3.999 < ess[1] == pytest.approx(4.0, abs=1e-6)


def test_what_was_simulated_is_kept_and_not_done_again(tmp_path, monkeypatch):
    plans = [SMALL, replace(SMALL, order="wait")]
    found = cluster_sim.run(plans[:1], tmp_path)
    assert cluster_sim.kept(plans, tmp_path) == found
    monkeypatch.setattr(cluster_sim, "simulate", lambda plan, out: asdict(plan) | {"again": True})
    again = cluster_sim.run(plans, tmp_path)
    assert again[0] == found[0]
    assert again[1]["again"]


def test_no_search_is_planned_twice():
    for plans in (list(cluster_sim.small()), list(cluster_sim.full())):
        assert len(plans) == len(set(plans))
    assert {plan.trials for plan in cluster_sim.full()} == {16_384}
    assert {plan.workers for plan in cluster_sim.full()} == {1, 8, 64, 512}


def test_the_page_has_the_tables_of_the_committed_figures():
    root = Path(__file__).parents[2]
    found = json.loads((root / "benchmarks/results/cluster_sim.json").read_text(encoding="utf8"))["figures"]
    assert len(found["full"]) == found["full_planned"]
    assert len(found["small"]) == found["small_planned"]
    cluster_sim_plot = pytest.importorskip(
        "cluster_sim_plot", reason="the tables are made where matplotlib is"
    )
    page = (root / "docs/simulation.md").read_text(encoding="utf8")
    tables = cluster_sim_plot.full_table(found["full"]) + cluster_sim_plot.small_table(found["small"])
    for row in tables.splitlines():
        assert row in page, row
