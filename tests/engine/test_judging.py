import pytest

from autodropout.engine.executors.base import Done, Lost, Raised, TimedOut
from autodropout.engine.judging import Again, Finished, GivenUp, judge
from autodropout.result import Result

RAISED = Raised(error="ValueError: no", traceback="")


@pytest.mark.parametrize(
    ("reward", "diverged"), [(1.0, False), (-1e300, False), (float("nan"), True), (float("inf"), True)]
)
def test_what_returned_is_finished_whatever_went_before(reward, diverged):
    result = Result(reward=reward)
    verdict = judge(Done(result=result), lost=9, faults=9, max_attempts=1)
    assert verdict == Finished(result=result, diverged=diverged)


def test_a_lost_worker_counts_only_lost_workers():
    outcome = Lost(reason="signal 9")
    verdicts = [judge(outcome, lost=n, faults=5, max_attempts=3) for n in range(3)]
    again = Again(cause="lost", error="signal 9")
    assert verdicts == [again, again, GivenUp(cause="lost", error="signal 9")]
    assert isinstance(judge(outcome, lost=0, faults=0, max_attempts=1), GivenUp)


@pytest.mark.parametrize(
    ("outcome", "cause", "error"),
    [
        (RAISED, "raised", "ValueError: no"),
        (TimedOut(seconds=61.2), "timeout", "ran into its time limit after 61 s"),
        (TimedOut(seconds=0.2512), "timeout", "ran into its time limit after 0.25 s"),
    ],
)
def test_the_users_fault_is_tried_once_more(outcome, cause, error):
    assert judge(outcome, lost=7, faults=0, max_attempts=9) == Again(cause=cause, error=error)
    assert judge(outcome, lost=0, faults=1, max_attempts=9) == GivenUp(cause=cause, error=error)
    assert judge(outcome, lost=0, faults=0, max_attempts=1) == GivenUp(cause=cause, error=error)
