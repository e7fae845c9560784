"""What the search costs beside training: the loop per trial, a resume, idle workers, a proposal.

    python benchmarks/search.py

The ledger holds 16,384 finished trials of 96 decisions in 1,024 updates; the controller is the default
one. Trials of the first two measurements end at once, so all that is measured is ours.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import record
from autodropout.conv_space import ConvSpace
from autodropout.engine.base import Proposal, Scored
from autodropout.engine.confirm import Confirmation
from autodropout.engine.control import request
from autodropout.engine.events import Event, Notify, TrialStarted
from autodropout.engine.executors.base import Done, Job, Outcome
from autodropout.engine.ledger import Ledger, Lesson
from autodropout.engine.ledger_records import Ending, NewTrial, StudyRecord
from autodropout.engine.provenance import command, machine, versions
from autodropout.engine.reinforce import Reinforce
from autodropout.engine.reinforce_settings import ReinforceSettings
from autodropout.engine.run import search
from autodropout.engine.study import Study
from autodropout.engine.trial_seeds import trial_seed
from autodropout.policy import Policy
from autodropout.result import Result

SPACE = ConvSpace(sites={f"layer{n}": (2 ** (3 + n % 3),) * 2 for n in range(12)})
TRIALS, BATCH = 16_384, 16
NO_CONFIRMATION = Confirmation(top=0)
T = TypeVar("T")


class Instant:
    """An executor whose trials end at once."""

    capacity = 2

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    def submit(self, job: Job) -> None:
        """Take a job."""
        self._jobs.append(job)

    def poll(self, timeout: float) -> Sequence[tuple[Job, Outcome]]:
        """End the first job."""
        del timeout
        result = Result(reward=self._jobs[0].seed % 97 / 97, curve=(0.5,) * 30, seconds=0.0)
        return [(self._jobs.pop(0), Done(result=result))]

    def cancel(self, job: Job) -> None:
        """Forget a job."""
        self._jobs.remove(job)

    def close(self) -> None:
        """Forget all jobs."""
        self._jobs.clear()


class Timed:
    """A searcher that counts the processor time spent in it."""

    def __init__(self, searcher: Reinforce) -> None:
        self._searcher = searcher
        self.name, self.batch, self.settings = searcher.name, searcher.batch, searcher.settings
        self.restore = searcher.restore
        self.seconds = 0.0

    def propose(self, draw: int) -> tuple[Proposal, ...]:
        """Propose, on the clock."""
        return self._timed(lambda: self._searcher.propose(draw))

    def learn(self, trials: Sequence[Scored]) -> Mapping[str, float]:
        """Learn, on the clock."""
        return self._timed(lambda: self._searcher.learn(trials))

    def snapshot(self) -> bytes:
        """Write the state, on the clock."""
        return self._timed(self._searcher.snapshot)

    def _timed(self, call: Callable[[], T]) -> T:
        began = time.process_time()
        try:
            return call()
        finally:
            self.seconds += time.process_time() - began


def reinforce() -> Reinforce:
    """Return the default controller in its first state."""
    return Reinforce(SPACE, seed=0, settings=ReinforceSettings.default(TRIALS, batch=BATCH))


def fill(out: Path) -> None:
    """Write a ledger of 16,384 finished trials in 1,024 updates, all through the ledger's own verbs."""
    searcher = reinforce()
    study = StudyRecord(
        space=SPACE.to_json(), task=None, searcher=searcher.name, settings=dict(searcher.settings), seed=0,
        batch=BATCH, planned=TRIALS, trials=TRIALS, options={}, phase="search", versions=versions(),
        machine=machine(), command=command(), created=time.time(),
    )  # fmt: skip
    snapshot, result = searcher.snapshot(), Result(reward=0.5, curve=(0.5,) * 30, seconds=1.0)
    with Ledger.create(out, study, snapshot) as ledger:
        hand = [p for draw in range(8) for p in searcher.propose(draw)]
        for update in range(TRIALS // BATCH):
            numbers = range(update * BATCH + 1, (update + 1) * BATCH + 1)
            ledger.enqueue([_trial(n, hand[n % len(hand)], update) for n in numbers])
            for number in numbers:
                ledger.start(number, 1)
                ledger.finish(Ending(trial=number, attempt=1, state="done", reward=0.5, result=result))
            ledger.teach(
                Lesson(
                    number=update + 1, trials=numbers, figures={"ess": 9.0}, snapshot=snapshot, seconds=0.1
                )
            )


def _trial(number: int, proposal: Proposal, update: int) -> NewTrial:
    return NewTrial(
        id=number, kind="search", tokens=proposal.tokens, log_prob=proposal.log_prob,
        seed=trial_seed(0, "search", number), updates_made=update, draw=0, place=(number - 1) % BATCH,
    )  # fmt: skip


def go_on(out: Path, searcher: Timed, trials: int, on_event: Notify) -> Study:
    """Go on with a study up to that many trials."""
    return search(
        print, SPACE, trials=trials, searcher=searcher, out=out, executor=Instant(), on_event=on_event,
        confirm=NO_CONFIRMATION,
    )  # fmt: skip


def loop_cost(full: Path, folder: Path, rounds: int) -> dict[str, object]:
    """Processor and wall time per trial over rounds of 128 trials, and the controller's share of it."""
    wall, cpu, share = [], [], []
    out = folder / "loop"
    shutil.copytree(full, out)
    for number in range(1, rounds + 1):
        searcher = Timed(reinforce())
        began: list[float] = []

        def started(event: Event, began: list[float] = began, searcher: Timed = searcher) -> None:
            # From the first start on, so that the resume and the first draw are not in it.
            if isinstance(event, TrialStarted) and not began:
                began += [time.perf_counter(), time.process_time()]
                searcher.seconds = 0.0

        go_on(out, searcher, TRIALS + 128 * number, started)
        wall.append((time.perf_counter() - began[0]) / 128 * 1e3)
        cpu.append((time.process_time() - began[1]) / 128 * 1e3)
        share.append(searcher.seconds * 1e3 / 128 / cpu[-1])
    return {
        "loop_per_trial_processor": record.summary(cpu, "ms", target=10.0),
        "loop_per_trial_wall": record.summary(wall, "ms"),
        "controllers_share_of_the_loop": record.summary(share, "of the processor time"),
    }


def resume(full: Path, folder: Path, rounds: int) -> dict[str, object]:
    """Time from the call of search() to the first start of a trial."""
    wall, cpu = [], []
    for number in range(rounds):
        out = folder / f"resume-{number}"
        shutil.copytree(full, out)
        first: list[float] = []

        def started(event: Event, first: list[float] = first, out: Path = out) -> None:
            if isinstance(event, TrialStarted) and not first:
                first += [time.perf_counter(), time.process_time()]
                request(out, "stop")

        began = time.perf_counter(), time.process_time()
        go_on(out, Timed(reinforce()), TRIALS + BATCH, started)
        wall.append(first[0] - began[0])
        cpu.append(first[1] - began[1])
    return {
        "resume_wall": record.summary(wall, "s", target=2.0),
        "resume_processor": record.summary(cpu, "s"),
    }


def sleep_a_second(policy: Policy, seed: int) -> float:
    """A trial of a second that leaves the processor to the loop."""
    del policy
    time.sleep(1.0)
    return seed % 97 / 97


def busy(folder: Path, workers: int, capacity: int | None, batch: int, trials: int) -> float:
    """Share of the workers' time spent in evaluate, from the first start to the last."""
    out = folder / f"busy-{workers}-{capacity}"
    settings = ReinforceSettings.default(trials, batch=batch)
    study = search(
        sleep_a_second, SPACE, trials=trials, searcher=Reinforce(SPACE, settings=settings), workers=workers,
        out=out, capacity=capacity, confirm=NO_CONFIRMATION,
    )  # fmt: skip
    starts = {timing.trial: timing.started for timing in study.timings}
    # The very first trials also wait for the workers to come up, once per search.
    skipped = sorted(starts.values())[workers]
    end = max(starts.values())
    spans = [(starts[t.id], starts[t.id] + t.result.seconds) for t in study.trials]
    covered = sum(max(0.0, min(stop, end) - max(start, skipped)) for start, stop in spans)
    return covered / (workers * (end - skipped))


def propose(rounds: int) -> dict[str, object]:
    """Processor time per proposal, in draws of M."""
    searcher, times = reinforce(), []
    searcher.propose(0)
    for draw in range(rounds):
        began = time.process_time()
        searcher.propose(draw)
        times.append((time.process_time() - began) / BATCH * 1e3)
    return {"propose_processor": record.summary(times, "ms per proposal", target=5.0)}


def main() -> None:
    """Measure everything and write results/search.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9, help="repetitions of each measurement")
    rounds = parser.parse_args().rounds
    # Filling needs no disk, measuring does: the copies that are measured lie on it.
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as filled, tempfile.TemporaryDirectory() as folder:
        full = Path(filled) / "full"
        fill(full)
        size = (full / "study.db").stat().st_size / 1e6
        figures = {"decisions": len(SPACE), "trials": TRIALS, "ledger_megabytes": size}
        figures |= propose(rounds) | loop_cost(full, Path(folder), rounds)
        figures |= resume(full, Path(folder), rounds)
        for workers in (2, 8):
            for capacity, name in ((workers, "nothing_waiting"), (None, "default")):
                values = [
                    busy(Path(folder) / str(n), workers, capacity, batch=4, trials=20 * workers)
                    for n in range(max(1, rounds // 3))
                ]
                figures[f"busy_{workers}_workers_{name}"] = record.summary(values, "share", target=0.99)
    record.write("search", figures)


if __name__ == "__main__":
    main()
