"""compare(): train every arm on the same fresh seeds and test the differences."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Literal

from autodropout.comparison.arms import Arm, ArmExecutor, Arms
from autodropout.comparison.findings import Comparison
from autodropout.comparison.opening import Asked, begin, recorded
from autodropout.comparison.reading import Reading, comparison_of
from autodropout.engine.beginning import new_directory
from autodropout.engine.events import Notify, PhaseBegan, unheard
from autodropout.engine.executors.base import Evaluate, Executor
from autodropout.engine.executors.inline import InlineExecutor
from autodropout.engine.executors.local import LocalExecutor
from autodropout.engine.interrupting import terminable
from autodropout.engine.ledger import Ledger
from autodropout.engine.loop import Loop, nothing_more
from autodropout.engine.places import LOGS
from autodropout.engine.progress import logged
from autodropout.engine.settling import Rules
from autodropout.engine.tally import PHASES
from autodropout.errors import UsageError

ExecutorFactory = Callable[[Evaluate], Executor]


def compare(
    evaluate: Evaluate,
    arms: Mapping[str, Arm],
    *,
    seeds: int = 10,
    baselines: Collection[str] | None = None,
    figure: str | None = None,
    higher_is_better: bool = True,
    workers: int = 2,
    out: str | os.PathLike[str] | None = None,
    executor: Literal["local", "inline"] | ExecutorFactory = "local",
    devices: Sequence[int | str] | None = None,
    seed: int = 0,
    timeout: float | None = None,
    max_attempts: int = 3,
    floor: float | None = None,
    task: str | None = None,
    command: str | None = None,
    on_event: Notify = unheard,
) -> Comparison:
    """Train every arm on the same fresh seeds, and say which differences these show.

    The seeds are shared by all arms and differ from those of every search and confirmation. Each arm is
    measured against the best of the other baselines by a paired t test over the seeds; p-values are
    adjusted for the number of tests (Holm). That best is picked by the same figures: to claim more than
    "the best arm beats the second", name one baseline beforehand. A directory that holds the same
    comparison is gone on with, finished runs being kept; failed ones are run again. It prints nothing; how it
    goes is logged at the level INFO, so that ``logging.basicConfig(level=logging.INFO)`` shows it.

    Args:
        evaluate: Called as evaluate(policy, seed) for the arms that are a policy or None; returns the
            figure to compare or a ``Result``.
        arms: At least two by name: a policy; None, which is evaluated with an empty policy; or a function
            from a seed to a figure or ``Result``, for what no policy describes.
        seeds: How many, at least 2.
        baselines: Names of the arms that others are measured against; None for all.
        figure: What is compared: a name in ``Result.test``, or ``"reward"``. None takes the first test
            figure if it is the same in all results, otherwise the reward.
        higher_is_better: Whether more of that figure is better.
        workers: Processes of the local executor.
        out: Directory of the comparison, made if missing; None makes a new one under ``runs/``.
        executor: ``"local"`` for worker processes, ``"inline"`` for this process (to debug), or a
            function that makes an executor for an evaluation.
        devices: Devices of the local executor's workers, in turn.
        seed: Seed that the arms' seeds follow from, from 0 to 2^63 - 1.
        timeout: Seconds after which the local executor kills a run; None for never.
        max_attempts: Attempts at a run that may be lost with their worker.
        floor: What a run counts as that diverged, in the figure's unit; None leaves its seed out of the
            arm's tests, and says so. Runs that raised, ran out of time or were lost are always left out:
            a bug is no evidence.
        task: Label of what is trained, kept in the ledger.
        command: Command line that goes on with this comparison, kept in the ledger; None for the one that
            began this process.
        on_event: Called with every event (``engine.events``), in this thread.

    Returns:
        The comparison: print it. If another process asked for a stop before the end, ``finished`` is
        False.

    Raises:
        UsageError: An argument is wrong, a run has not the figure asked for, or the directory holds
            another study.
        LedgerError: The directory or the ledger in it cannot be used, or a loop is running there.
        StudyError: Three runs in a row raised or lost their worker for good; mend and call again.

    Example:
        >>> from autodropout.pattern import TokenPattern
        >>> def evaluate(policy, seed):
        ...     return seed % 7 + 10 * len(policy.sites) + seed % 3
        >>> mine = Policy({"role:ffn": TokenPattern(size=2)})
        >>> out = getfixture("tmp_path")
        >>> print(compare(evaluate, {"none": None, "mine": mine}, seeds=4, executor="inline", out=out).figure)
        reward
    """
    notify = logged(on_event, {**PHASES, "confirm": "comparing"})
    reading = Reading(
        figure=figure,
        higher_is_better=higher_is_better,
        baselines=None if baselines is None else tuple(baselines),
        floor=floor,
    )
    asked = Asked(arms=Arms(evaluate, arms), seeds=seeds, seed=seed, task=task, reading=reading)
    directory = new_directory() if out is None else Path(out)
    make = _factory(executor, workers=workers, devices=devices, timeout=timeout, log_dir=directory / LOGS)
    with terminable(), ExitStack() as stack:
        ledger = stack.enter_context(begin(directory, asked, command))
        runner = stack.enter_context(closing(ArmExecutor(make(asked.arms), len(asked.arms.names))))
        loop = Loop(ledger, runner, asked.arms, Rules(max_attempts=max_attempts, floor=floor), notify)
        stack.callback(loop.cancel)
        _run(ledger, loop, notify)
    return read_comparison(directory)


def read_comparison(out: str | os.PathLike[str]) -> Comparison:
    """Return the comparison in a directory as far as it has come, read as it was last asked for.

    Args:
        out: Directory of the comparison; a loop may be running in it.

    Raises:
        LedgerError: There is none, or its ledger is damaged.
        UsageError: A run has not the figure that was asked for.
    """
    return comparison_of(*recorded(Path(out)))


def _run(ledger: Ledger, loop: Loop, notify: Notify) -> None:
    loop.add(ledger.read.unfinished("compare"))
    tally = ledger.read.tally("compare")
    done = tally.done + tally.failed
    notify(PhaseBegan(phase="confirm", total=tally.proposed, done=done, failed=tally.failed, best=None))
    if loop.run(nothing_more):
        ledger.enter("done")
        notify(PhaseBegan(phase="done", total=tally.proposed, done=tally.proposed, failed=0, best=None))


def _factory(
    executor: str | ExecutorFactory,
    *,
    workers: int,
    devices: Sequence[int | str] | None,
    timeout: float | None,
    log_dir: Path,
) -> ExecutorFactory:
    match executor:
        case "local":
            return lambda evaluate: LocalExecutor(
                evaluate, workers=workers, devices=devices, timeout=timeout, log_dir=log_dir
            )
        case "inline":
            return lambda evaluate: InlineExecutor(evaluate, timeout=timeout, log_dir=log_dir)
        case str():
            raise UsageError(
                f"executor is {executor!r}; expected 'local', 'inline', or a function that makes one"
            )
    return executor
