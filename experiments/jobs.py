"""The evidence as named jobs, each a command that may be stopped and goes on, for two hours at most.

    AUTODROPOUT_DATA=... python experiments/jobs.py landscape-mnist-small

The same as make evidence JOB=landscape-mnist-small; without a name it lists the jobs. When two hours are
over, or on Ctrl-C, the command is asked to stop as Ctrl-C asks; what it has finished is kept, and the same
job goes on. It ends with 0 only when all is done. What stands behind the name is passed on: --workers 4, say.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autodropout.benchmark.landscapes import names
from autodropout.data.files import VARIABLE
from autodropout.errors import AutoDropoutError, DataError, UsageError
from autodropout.suggesting import suggested

ROOT = Path(__file__).parents[1]
HOURS = 2.0
GRACE = 60.0
"""Seconds that a command has to stop when it is asked to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A command.

    Attributes:
        command: Script of this folder and its arguments, as in a shell.
        data: Data sets that it reads; empty for none.
    """

    command: str
    data: str = ""


def _size(table: str) -> str:
    """Say at which size a table of Demystifying Dropout is run: LeNet is small enough as it is."""
    return "" if table == "3" else " --small"


def _landscape(task: str, data: str, parts: Mapping[str, str]) -> dict[str, Job]:
    """Return a landscape as one job, and its parts, each of which two cores finish within two hours."""
    whole = f"landscape.py --task {task}"
    commands = {f"landscape-{task}": whole}
    commands |= {f"landscape-{task}-{name}": f"{whole} --parts {words}" for name, words in parts.items()}
    return {name: Job(command=command, data=data) for name, command in commands.items()}


def _on_images(task: str, data: str) -> dict[str, Job]:
    """Return what is run on a small task of images: its comparison first, which has its policy."""
    commands = {
        f"images-{task}": f"images.py --tasks {task}",
        f"images-where-{task}": f"images.py --tasks {task} --where results/{task}/best.json",
        f"confirmed-{task}": f"confirmed.py --task {task}",
    }
    others = {name: Job(command=command, data=data) for name, command in commands.items()}
    return _landscape(task, data, _OF_MAPS) | others


_SEARCHED = {
    "random-biased": "random-biased",
    "random": "random-1 random-2 random-3",
    "reinforce": "reinforce-1 reinforce-2 reinforce-3",
}
_LAST = {"repeats": "repeats"}
_OF_ROLES = {
    "hand": "hand hand-strong",
    **_SEARCHED,
    "evolution": "evolution-1 evolution-2 evolution-3",
    **_LAST,
}
_OF_MAPS = {"hand": "hand", "random": _SEARCHED["random"], "reinforce": "reinforce-1", **_LAST}
_CIFAR10, _CIFAR100, _MNIST, _SVHN, _PTB = "CIFAR-10", "CIFAR-100", "MNIST", "SVHN", "Penn Treebank"
_STUDIES = " ".join(f"results/ptb-small/studies/reinforce-{seed}" for seed in (1, 2, 3))
_TABLES = {
    "1": _CIFAR10,
    "2+5-cifar10": _CIFAR10,
    "3": _MNIST,
    "4-svhn": _SVHN,
    "4-cifar10": _CIFAR10,
    "5-svhn": _SVHN,
    "5-cifar100": _CIFAR100,
    "6-all-conv": _CIFAR10,
    "6-nin": _CIFAR10,
}
_ADAPTIVE = {
    "cifar10": _CIFAR10,
    "cifar100": _CIFAR100,
    "imagenet": "ten classes of Tiny ImageNet",
    "sensitivity": _CIFAR10,
    "sources": _CIFAR10,
    "recurrent": "",
    "transformer": "",
}

JOBS: Mapping[str, Job] = {
    "digits": Job(command="digits.py"),
    "digits-weight-decay": Job(command="digits_weight_decay.py"),
    "digits-tuned": Job(command="digits_tuned.py"),
    "digits-space": Job(command="digits_space.py"),
    "sizes-ptb-small": Job(command="sizes.py", data=_PTB),
    **_landscape("ptb-small", _PTB, _OF_ROLES),
    "remedies-ptb-small": Job(command="landscape.py --task ptb-small --remedies", data=_PTB),
    "early-ptb-small": Job(command="early.py", data=_PTB),
    "confirmed-ptb-small": Job(command="confirmed.py", data=_PTB),
    "cheaper-searches-ptb-small": Job(command="cheaper_searches.py", data=_PTB),
    **{
        f"{script}-{name}": Job(command=f"{script}.py {name}")
        for name in names()
        for script in ("searchers", "calibrate")
    },
    "spaces-ptb-small": Job(command="spaces.py ptb-small"),
    **_on_images("mnist-small", _MNIST),
    **_on_images("cifar10-small", _CIFAR10),
    "semi-supervised": Job(
        command="semi_supervised.py --policy results/cifar10-small/best.json", data=_CIFAR10
    ),
    "transfer": Job(command=f"transfer.py {_STUDIES}", data="WikiText-2 and Multi30k"),
    **{
        f"demystifying-{table}": Job(command=f"demystifying.py {table}{_size(table)}", data=data)
        for table, data in _TABLES.items()
    },
    "demystifying-3-at-0.3": Job(command="demystifying.py 3 --ratios 0.3 --seeds 7", data=_MNIST),
    **{
        f"adaptive-{name}": Job(command=f"adaptive.py {name} --small", data=data)
        for name, data in _ADAPTIVE.items()
    },
}
"""Jobs by name; experiments that have a size for two cores are run at that."""

NO_JOBS: Mapping[str, str] = {
    "cost.py": "seconds; it reads searches that jobs have left in runs/",
    "demystifying_figures.py": "seconds; it draws what tables have left in runs/",
    "demystifying_power.py": "seconds; it computes from printed figures",
    "gallery.py": "seconds; it draws the pictures of the documentation",
    "jobs.py": "it runs the jobs",
    "release.py": "minutes, and nothing to go on with; it gathers the studies of a finished landscape",
    "zoo.py": "seconds; it gathers what has won",
}
"""Scripts of this folder that are none of the jobs, and why."""


def run(name: str, more: Sequence[str] = (), *, hours: float = HOURS) -> int:
    """Run a job until it is done or its time is over; return the exit status that this is to have.

    Args:
        name: Of the job.
        more: Further arguments of its command.
        hours: When it is asked to stop.

    Raises:
        UsageError: There is no such job.
        DataError: The folder of data sets is not named, or is none.
    """
    if name not in JOBS:
        remedy = suggested(name, JOBS, "choose one that make evidence lists")
        raise UsageError(f"there is no job {name!r}; {remedy}")
    job = JOBS[name]
    script, *given = shlex.split(job.command)
    words = [sys.executable, f"experiments/{script}", *given, *more]
    status = ended(words, 3600 * hours, environment=_environment(name, job))
    if status is None:
        print(f"{name} was asked to stop; what is finished is kept. The same command goes on.")
        return 1
    return status


def _environment(name: str, job: Job) -> Mapping[str, str]:
    folder = os.environ.get(VARIABLE)
    if job.data and not folder:
        raise DataError(
            f"{name} reads {job.data}, but {VARIABLE} is not set; name the folder of data sets: "
            f"{VARIABLE}=... make evidence JOB={name}"
        )
    if job.data and not Path(folder or "").is_dir():
        raise DataError(f"{VARIABLE} is {folder!r}, which is no folder; name the one that holds {job.data}")
    return {**os.environ, VARIABLE: os.path.abspath(folder)} if folder else dict(os.environ)


def ended(
    words: Sequence[str], seconds: float, *, environment: Mapping[str, str], grace: float = GRACE
) -> int | None:
    """Run a command in the root of the repository, and ask it to stop when its time is over, or ours.

    It gets one SIGINT, as timeout --signal=INT --kill-after sends it, and is killed if it does not end.

    Args:
        words: The command.
        seconds: Its time.
        environment: Its environment.
        grace: Seconds from being asked to being killed.

    Returns:
        Its exit status; None if it was asked to stop and was not done by then.
    """
    # A shell lets what it starts in the background ignore SIGINT, and children inherit that, but no handlers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    child: subprocess.Popen[bytes] | None = None
    try:
        # In a group of its own it is told by us alone: the terminal would tell it a second time.
        child = subprocess.Popen(words, cwd=ROOT, env=environment, process_group=0)
        return child.wait(seconds)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        return None if child is None else _stopped(child, grace)
    finally:
        if child is not None and child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _stopped(child: "subprocess.Popen[bytes]", grace: float) -> int | None:
    """Ask a process to stop; return 0 if it was done by then, else None."""
    try:
        child.send_signal(signal.SIGINT)
        return 0 if child.wait(grace) == 0 else None
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        return None


def listing() -> str:
    """Return one line per job: its name, what it does and what it reads."""
    width = max(map(len, JOBS))
    lines = (f"{name:<{width}}  {job.command}" + _reading(job) for name, job in JOBS.items())
    return "\n".join(("make evidence JOB=NAME runs one of these, two hours at most:", "", *lines))


def _reading(job: Job) -> str:
    return f"  ({job.data})" if job.data else ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hours", type=float, default=HOURS, help="when it is asked to stop")
    parser.add_argument("name", nargs="?", metavar="JOB", help="one of those listed without it")
    parser.add_argument("more", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="of its command")
    asked = parser.parse_args()
    if asked.name is None:
        print(listing())
        sys.exit(0)
    try:
        sys.exit(run(asked.name, asked.more, hours=asked.hours))
    except AutoDropoutError as error:
        sys.exit(f"error: {error}")
