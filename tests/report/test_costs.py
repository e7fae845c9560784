import math
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from scipy.stats import rankdata

from autodropout.engine.confirm import Confirmation
from autodropout.engine.executors.futures import FuturesExecutor
from autodropout.engine.run import search
from autodropout.report.costs import PAUSE_SECONDS, costs
from autodropout.report.record import read_record
from autodropout.token_space import TokenSpace
from recorded import STUDY, Run, Writer, record_study

SPACE = TokenSpace(sites=("query", "ffn"))


def test_costs_add_up(tmp_path):
    record_study(
        tmp_path,
        [Run(reward=0.5, seconds=2.0), Run(reward=0.6, seconds=4.0, wait=1.0), Run(reward=None, seconds=3.0)],
        options={"executor": "local", "workers": 2},
    )
    found = costs(read_record(tmp_path))
    assert found.trials == 3
    assert found.median == 3.0
    assert found.training == 6.0
    assert found.occupied == 9.0
    assert found.wall == 10.0
    assert found.workers == 2
    assert found.busy == pytest.approx(9 / 20)
    assert found.outside == pytest.approx(1 - 6 / 20)
    assert [timed.trial for timed in found.timed] == [1, 2]


def test_a_stop_is_no_idle_time(tmp_path):
    runs = [Run(reward=0.5), Run(reward=0.5, wait=PAUSE_SECONDS + 1), Run(reward=0.5, wait=PAUSE_SECONDS)]
    record_study(tmp_path, runs)
    assert costs(read_record(tmp_path)).wall == 2.0 + 2.0 + PAUSE_SECONDS + 2.0


def test_updates_have_their_own_cost(tmp_path):
    record_study(tmp_path, [Run(reward=0.5)] * 8)
    assert costs(read_record(tmp_path)).updating == 0.5


def test_inline_there_is_one_worker(tmp_path):
    record_study(tmp_path, [Run(reward=0.5)], options={"executor": "inline", "workers": 2})
    assert costs(read_record(tmp_path)).workers == 1


def found_after(out, *, threads, slots):
    """The costs of a search on a pool whose trials take three tenths of a second."""

    def evaluate(policy, seed):
        time.sleep(0.3)
        return seed % 97 / 97

    with ThreadPoolExecutor(threads) as pool:
        executor = FuturesExecutor(pool, evaluate, slots=slots)
        none = Confirmation(top=0)
        search(evaluate, SPACE, trials=12, searcher="random", executor=executor, out=out, confirm=none)
        executor.close()
    return costs(read_record(out))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_where_nobody_says_workers_are_counted_by_what_trained_at_once(memory_path, threads):
    found = found_after(memory_path, threads=threads, slots=threads)
    assert found.workers == threads
    assert found.busy > 0.6
    assert found.outside < 0.4


@pytest.mark.parametrize("threads", [1, 2])
def test_what_waits_inside_a_pool_occupies_no_worker(memory_path, threads):
    found = found_after(memory_path, threads=threads, slots=4)
    assert found.workers == threads
    assert found.occupied <= threads * found.wall
    assert found.outside < 0.4


def test_an_ending_that_is_recorded_after_the_next_start_makes_no_second_worker(tmp_path):
    writer = Writer(tmp_path, replace(STUDY, options={"executor": "Mine"}))
    for trial in (1, 2, 3):
        writer.queue()
        writer.start(trial)
        if trial > 1:
            writer.end(trial - 1, Run(reward=0.5, seconds=0.0), started=True)
        writer.now += 2.0
    writer.close()
    with sqlite3.connect(tmp_path / "study.db") as ledger:
        ledger.execute("UPDATE trials SET ended = ended + 0.1, result = json_set(result, '$.seconds', 2.0)")
    found = costs(read_record(tmp_path))
    assert (found.workers, found.trials) == (1, 2)
    assert found.busy == 1.0


def test_correlation_is_that_of_the_ranks(tmp_path):
    seconds = [3.0, 1.0, 2.0, 5.0, 4.0, 7.0, 6.0, 9.0, 8.0, 10.0]
    rewards = [0.1 * i for i in range(10)]
    record_study(tmp_path, [Run(reward=r, seconds=s) for r, s in zip(rewards, seconds, strict=True)])
    found = costs(read_record(tmp_path)).correlation
    a, b = rankdata(rewards) - 5.5, rankdata(seconds) - 5.5
    assert found.rho == pytest.approx(float(a @ b) / math.sqrt(float(a @ a) * float(b @ b)))
    assert (found.n, found.p < 0.01) == (10, True)


@pytest.mark.parametrize(
    "runs", [[Run(reward=0.5, seconds=1.0 + i) for i in range(12)], [Run(reward=0.5)] * 3]
)
def test_without_spread_or_trials_there_is_no_correlation(tmp_path, runs):
    record_study(tmp_path, runs)
    assert costs(read_record(tmp_path)).correlation is None


def test_a_study_in_which_nothing_ended_costs_nothing(tmp_path):
    writer = Writer(tmp_path)
    writer.queue()
    writer.close()
    found = costs(read_record(tmp_path))
    assert (found.trials, found.wall, found.median, found.busy, found.outside) == (0, 0.0, None, None, None)
