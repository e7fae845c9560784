"""An executor for tests of the search: nothing runs, a script says what ends when, and how."""

from collections.abc import Callable, Sequence

from autodropout.engine.executors.base import Done, Job, Lost, Outcome, Raised
from autodropout.result import Result

FLAT = Result(reward=0.0, seconds=1.0)


def worth(job: Job) -> Done:
    """A reward that depends on the policy and the seed, as that of an evaluation does."""
    return Done(result=Result(reward=len(job.policy.sites) + job.seed % 97 / 97, seconds=1.0))


def raised(text: str = "ValueError: boom") -> Raised:
    return Raised(error=text, traceback=f"Traceback\n{text}\n")


def lost() -> Lost:
    return Lost(reason="worker killed by signal 9")


class ScriptedExecutor:
    """Ends, at each poll, the running job of the lowest rank.

    Args:
        outcome: What becomes of a job.
        slots: Capacity.
        rank: Rank of a trial by its number.
        together: How many jobs one poll returns at most.
    """

    def __init__(
        self,
        outcome: Callable[[Job], Outcome] = worth,
        *,
        slots: int = 1,
        rank: Callable[[int], int] = lambda trial: trial,
        together: int = 1,
    ) -> None:
        self._outcome, self._rank, self._together = outcome, rank, together
        self.capacity = slots
        self.running: list[Job] = []
        self.submitted: list[Job] = []
        self.cancelled: list[Job] = []
        self.closed = False

    def submit(self, job: Job) -> None:
        assert len(self.running) < self.capacity, "no free slot"
        self.running.append(job)
        self.submitted.append(job)

    def poll(self, timeout: float) -> Sequence[tuple[Job, Outcome]]:
        assert timeout > 0
        ending = sorted(self.running, key=lambda job: (self._rank(job.trial), job.trial))[: self._together]
        for job in ending:
            self.running.remove(job)
        return [(job, self._outcome(job)) for job in ending]

    def cancel(self, job: Job) -> None:
        if job in self.running:
            self.running.remove(job)
            self.cancelled.append(job)

    def close(self) -> None:
        self.closed = True
