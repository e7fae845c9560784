"""The tasks that the command line knows."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autodropout.errors import UsageError
from autodropout.suggesting import nearest, suggested
from autodropout.tasks.base import Task
from autodropout.tasks.images.digits import Digits
from autodropout.tasks.images.imagenet import IMAGENET_TASKS
from autodropout.tasks.images.named import IMAGE_TASKS
from autodropout.tasks.images.uda.named import UDA_TASKS
from autodropout.tasks.text.small import PtbSmall, PydocLm, WikiText2Small
from autodropout.tasks.text.xl_tasks import XL_TASKS
from autodropout.tasks.translation.named import TRANSLATION_TASKS

_ALL: tuple[Task, ...] = (
    Digits(),
    PtbSmall(),
    PydocLm(),
    *IMAGE_TASKS,
    *UDA_TASKS,
    WikiText2Small(),
    *XL_TASKS,
    *TRANSLATION_TASKS,
    *IMAGENET_TASKS,
)

TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _ALL})
"""Every task by its name, with its standard hyper-parameters."""


def task_named(name: str, data: Path | None = None) -> Task:
    """Return the task of this name.

    Args:
        name: Its name.
        data: Folder of data sets to read instead of the one that the task would look in.

    Raises:
        UsageError: There is none, or it reads no files.
    """
    if name not in TASKS:
        listed = f"known tasks: {', '.join(TASKS)} (autodropout tasks says more)"
        known = "all are listed by: autodropout tasks" if nearest(name, TASKS) else listed
        raise UsageError(f"there is no task {name!r}; {suggested(name, TASKS, known)}")
    return TASKS[name] if data is None else reading(TASKS[name], data)


def task_keyed(key: str | None, data: Path | None = None) -> Task | None:
    """Return the task whose ledgers are labelled so; None if there is none.

    Raises:
        UsageError: It reads no files, and ``data`` is given.
    """
    found = next((task for task in TASKS.values() if task.key == key), None)
    return found if found is None or data is None else reading(found, data)


def reads_files(task: object) -> bool:
    """Say whether a task's data are files that the user has to bring."""
    return is_dataclass(task) and "data" in {field.name for field in fields(task)}


def reading(task: Task, data: Path) -> Task:
    """Return the task with its files in another folder.

    Raises:
        UsageError: It reads no files.
    """
    if not reads_files(task):
        raise UsageError(f"the task {task.name!r} reads no files; leave out the data folder {str(data)!r}")
    there: Any = task
    moved: Task = replace(there, data=str(data))
    return moved
