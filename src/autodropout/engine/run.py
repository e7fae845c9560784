"""search(): find a policy. The only loop that runs trials."""

import inspect
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from autodropout.engine.base import Searcher
from autodropout.engine.beginning import Asked, begin, new_directory
from autodropout.engine.confirm import Confirmation, confirming
from autodropout.engine.events import Notify, PhaseBegan, PhaseName, unheard
from autodropout.engine.executors.base import Evaluate, Executor
from autodropout.engine.executors.cluster import Cluster
from autodropout.engine.executors.inline import InlineExecutor
from autodropout.engine.executors.local import LocalExecutor
from autodropout.engine.halving import Halving
from autodropout.engine.interrupting import terminable
from autodropout.engine.learning import Goal, Learning
from autodropout.engine.ledger import Ledger
from autodropout.engine.loop import Loop, nothing_more
from autodropout.engine.options import ExecutorName, Options
from autodropout.engine.places import LOGS, RESULTS
from autodropout.engine.progress import logged
from autodropout.engine.rungs import Rungs
from autodropout.engine.settling import Rules
from autodropout.engine.study import Study
from autodropout.errors import UsageError
from autodropout.space import Space


def search(
    evaluate: Evaluate,
    space: Space,
    *,
    trials: int = 512,
    searcher: str | Searcher = "reinforce",
    workers: int = 2,
    out: str | os.PathLike[str] | None = None,
    seed: int = 0,
    executor: ExecutorName | Executor = "local",
    devices: Sequence[int | str] | None = None,
    cluster: Cluster = Cluster(),  # noqa: B008  it is frozen
    capacity: int | None = None,
    batch: int | None = None,
    timeout: float | None = None,
    max_attempts: int = 3,
    floor: float | None = None,
    confirm: Confirmation = Confirmation(),  # noqa: B008  it is frozen
    halving: Halving | None = None,
    warm_start: str | os.PathLike[str] | None = None,
    common_seed: bool = False,
    task: str | None = None,
    on_event: Notify = unheard,
) -> Study:
    """Search a space for the policy with the highest reward, then confirm the best ones.

    A directory that holds the same study is gone on with, after any kind of stop: finished trials are
    kept, interrupted ones run again with the same number, seed and tokens. The searcher, space, task,
    seed, batch, halving and common_seed must be the same; everything else may differ, and ``trials`` may
    grow.

    It prints nothing; how it goes is logged at the level INFO, so that
    ``logging.basicConfig(level=logging.INFO)`` shows it.

    Failures are told apart. A reward that is not finite means that the trial diverged: it is taught as
    the floor. A trial that raises or runs out of time is run once more, then it has failed and is taught
    as the floor. One that raised is taught only when a later one has ended otherwise, since three in a
    row stop the search: they are taught nothing, and run again when it is resumed. One whose worker is
    lost is run again up to ``max_attempts`` times, then it has failed, is taught nothing, and another
    trial takes its place. So ``trials`` of them are taught in the end, but for the last few that raised
    or fill no batch. An interrupt, SIGTERM or SIGUSR1 ends what is running, leaves the study ready to be
    resumed, and comes out as KeyboardInterrupt.

    Args:
        evaluate: Called as evaluate(policy, seed); returns the reward to maximise or a ``Result``. Not
            called when ``executor`` is an executor, which has its own. With ``halving`` it is called as
            evaluate(policy, seed, budget) and gives training that fraction of its steps, in (0, 1].
        space: What to search.
        trials: Search trials of the whole study, earlier ones included.
        searcher: ``"reinforce"``, ``"reinforce-paper"``, ``"random"``, ``"evolution"``, ``"tpe"`` or another
            of ``engine.searchers.SEARCHERS``, or a searcher of your own in its first state.
        workers: Processes of the local executor.
        out: Directory of the study, made if missing; None makes a new one under ``runs/``.
        seed: Seed of the whole study, from 0 to 2^63 - 1.
        executor: ``"local"`` for worker processes that log to ``out/logs``, ``"inline"`` for this
            process (to debug: only tracebacks go to ``out/logs``), ``"ray"`` for a cluster, or an executor,
            which the caller closes.
        devices: Devices of the local executor's workers, in turn; no other executor takes any.
        cluster: Which Ray cluster the executor "ray" uses, and what a trial takes of it.
        capacity: C, most trials queued or running; None for the executor's slots and a few more.
        batch: M, finished trials per update; None for the searcher's own choice.
        timeout: Seconds after which a trial is killed, but not inline; None for never.
        max_attempts: Attempts at a trial that may be lost with their worker.
        floor: Reward of failed and diverged trials; None for the worst finite one so far. Until there
            is one they are taught nothing, and all that wait for it get the first.
        confirm: How many of the best policies are run again, on how many fresh seeds.
        halving: Short trials first, full trainings for the promising (``engine.halving``); None trains
            every policy in full.
        warm_start: Directory of an earlier study on the same space, with rewards on the same scale: the
            searcher learns from its trials before it proposes anything. A study that is gone on with keeps
            what it began with, so that this may be left out then.
        common_seed: Train every search trial with the same seed: what a seed does to all policies alike
            then tells none from another. Confirmation has fresh seeds all the same.
        task: Label of what is trained, kept in the ledger; a study goes on only under the same one.
        on_event: Called with every event (``engine.events``), in this thread.

    Returns:
        The study; ``study.best.policy`` is what was looked for. If another process asked for a stop
        before the end, ``study.finished`` is False.

    Raises:
        UsageError: An argument is wrong, or the directory holds another study.
        LedgerError: The directory or the ledger in it cannot be used, or a search is running there.
        StudyError: Three trials in a row raised or lost their worker for good; mend and resume.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from autodropout.token_space import TokenSpace
        >>> space, few = TokenSpace(sites=("ffn",)), Confirmation(top=1, seeds=1)
        >>> def evaluate(policy, seed):
        ...     return -len(policy.sites)
        >>> folder = TemporaryDirectory()
        >>> study = search(evaluate, space, trials=4, executor="inline", confirm=few, out=folder.name)
        >>> len(study.trials)
        5
    """
    notify = logged(on_event)
    check_runnable(executor, evaluate, halving)
    options = Options(
        trials=trials,
        workers=workers,
        executor=executor if isinstance(executor, str) else None,
        devices=devices,
        cluster=cluster,
        capacity=capacity,
        batch=batch,
        timeout=timeout,
        max_attempts=max_attempts,
        floor=floor,
        confirm=confirm,
    )
    directory = new_directory() if out is None else Path(out)
    asked = Asked(
        space=space,
        searcher=searcher,
        seed=seed,
        task=task,
        halving=halving,
        warm_start=warm_start,
        common_seed=common_seed,
    )
    with terminable(), ExitStack() as stack, ExitStack() as running:
        if out is None:
            stack.callback(_remove_if_empty, directory)
        made = _executor(evaluate, executor, options, directory)
        ledger, mind, runner = begin(directory, asked, options, lambda: running.enter_context(made))
        stack.enter_context(ledger)
        rungs = None if halving is None else Rungs(halving, seed, ledger.read)
        loop = Loop(ledger, runner, space, Rules(max_attempts=max_attempts, floor=floor), notify, rungs)
        running.callback(loop.cancel)
        goal = Goal(trials=trials, capacity=capacity, budget=asked.first_budget)
        learning = Learning(ledger, mind, loop, runner, goal, notify)
        if _search(ledger, loop, learning, notify) and _confirm(ledger, loop, space, confirm, notify):
            _conclude(ledger, loop, notify)
    return Study.open(directory)


def _search(ledger: Ledger, loop: Loop, learning: Learning, notify: Notify) -> bool:
    loop.add(ledger.read.unfinished("search"))
    if ledger.study.phase == "search" or not learning.complete:
        _enter(ledger, loop, "search", notify)
    return loop.run(learning.advance)


def _confirm(ledger: Ledger, loop: Loop, space: Space, confirmation: Confirmation, notify: Notify) -> bool:
    if new := confirming(ledger.read, space, confirmation, ledger.study.seed):
        ledger.enqueue(new)
    loop.add(ledger.read.unfinished("confirm"))
    if loop.unfinished:
        _enter(ledger, loop, "confirm", notify)
    return loop.run(nothing_more)


def _enter(ledger: Ledger, loop: Loop, phase: PhaseName, notify: Notify) -> None:
    ledger.enter(phase)
    tally = ledger.read.tally("search" if phase == "search" else "confirm")
    # Fewer trials may be asked for than have been proposed.
    total = max(ledger.study.trials, tally.proposed) if phase == "search" else tally.proposed
    done = tally.done + tally.failed - tally.replaced
    notify(
        PhaseBegan(phase=phase, total=total, done=done, failed=tally.failed - tally.replaced, best=loop.best)
    )


def _conclude(ledger: Ledger, loop: Loop, notify: Notify) -> None:
    _enter(ledger, loop, "done", notify)
    if loop.best is None:
        warnings.warn(
            "no trial returned a finite reward, so there is no best policy: study.best is None; what trials "
            f"printed is in {ledger.out / LOGS}",
            stacklevel=3,
        )


def check_runnable(executor: object, evaluate: Evaluate, halving: Halving | None) -> None:
    """Refuse an executor that is none, and an evaluation that cannot do what halving asks of it.

    Raises:
        UsageError: They are such.
    """
    if executor is None:
        raise UsageError("executor is None; expected 'local', 'inline' or 'ray', or an executor of your own")
    if halving is not None and isinstance(executor, str):
        _check_budgeted(evaluate)


def _check_budgeted(evaluate: Evaluate) -> None:
    """Refuse an evaluation that is known to take no budget, before any time is spent on it."""
    try:
        signature = inspect.signature(evaluate)
    except (TypeError, ValueError):
        return  # it does not say, or is no function, which the executor will
    try:
        signature.bind(None, 0, 1.0)
    except TypeError as error:
        raise UsageError(
            f"halving calls evaluate(policy, seed, budget), but evaluate takes {signature}; give it a third "
            "argument budget=1.0, the fraction of its steps to train for, or leave halving out"
        ) from error


def _remove_if_empty(directory: Path) -> None:
    if not any(directory.iterdir()):
        directory.rmdir()


@contextmanager
def _executor(
    evaluate: Evaluate, executor: ExecutorName | Executor, options: Options, directory: Path
) -> Iterator[Executor]:
    """Give the caller's executor, or one of ours that is closed at the end."""
    match executor:
        case "local":
            ours: Executor = LocalExecutor(
                evaluate,
                workers=options.workers,
                devices=options.devices,
                timeout=options.timeout,
                log_dir=directory / LOGS,
            )
        case "inline":
            ours = InlineExecutor(evaluate, timeout=options.timeout, log_dir=directory / LOGS, capture=False)
        case "ray":
            ours = _ray_executor(evaluate, options, directory)
        case _:
            yield executor
            return
    with closing(ours):
        yield ours


def _ray_executor(evaluate: Evaluate, options: Options, directory: Path) -> Executor:
    from autodropout.engine.executors.ray.executor import RayExecutor  # an extra: only who asks needs it

    return RayExecutor(
        evaluate,
        cluster=options.cluster,
        timeout=options.timeout,
        log_dir=directory / LOGS,
        results_dir=directory / RESULTS,
    )
