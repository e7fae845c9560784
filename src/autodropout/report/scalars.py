"""A search as TensorBoard scalars."""

from pathlib import Path

from autodropout.errors import UsageError
from autodropout.report.curves import learner, progress
from autodropout.report.record import Record

FOLDER = "tensorboard"


def write_scalars(record: Record) -> tuple[Path, ...]:
    """Write event files to ``tensorboard`` in the study's directory; earlier ones there are replaced.

    Over trials, in the order in which they ended: reward, best so far, running mean, seconds. Over
    updates: the searcher's own figures.

    Raises:
        UsageError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "this export needs TensorBoard, which is not installed; install it with: pip install tensorboard"
        ) from error
    folder = record.out / FOLDER
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for name, step, value, when in _trial_scalars(record) + _update_scalars(record):
            writer.add_scalar(name, value, step, walltime=when)
    return tuple(sorted(folder.glob("events.out.tfevents.*")))


def _trial_scalars(record: Record) -> list[tuple[str, int, float, float]]:
    shown, ended = progress(record), record.ended
    when = [record.timings[trial.id].ended or record.study.created for trial in ended]
    scalars = [("trials/reward", p.place, p.value, when[p.place - 1]) for p in shown.rewards]
    scalars += [("trials/best", p.place, p.value, when[p.place - 1]) for p in shown.best]
    scalars += [("trials/running mean", m.place, m.summary.mean, when[m.place - 1]) for m in shown.mean]
    scalars += [
        ("trials/seconds", place, trial.result.seconds, when[place - 1])
        for place, trial in enumerate(ended, start=1)
        if trial.result is not None and trial.result.seconds is not None
    ]
    return scalars


def _update_scalars(record: Record) -> list[tuple[str, int, float, float]]:
    made = {update.number: update.made for update in record.updates}
    return [
        (f"searcher/{figure.title.lower()}", number, value, made[number])
        for figure in learner(record)
        for number, value in figure.values
    ]
