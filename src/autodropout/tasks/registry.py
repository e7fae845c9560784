"""The tasks that the command line knows."""

from collections.abc import Mapping
from types import MappingProxyType

from autodropout.errors import UsageError
from autodropout.tasks.base import Task
from autodropout.tasks.digits import Digits
from autodropout.tasks.ptb_small import PtbSmall
from autodropout.tasks.pydoc_lm import PydocLm

TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in (Digits(), PtbSmall(), PydocLm())})
"""Every task by its name, with its standard hyper-parameters."""


def task_named(name: str) -> Task:
    """Return the task of this name.

    Raises:
        UsageError: There is none.
    """
    if name not in TASKS:
        raise UsageError(
            f"there is no task {name!r}; known tasks: {', '.join(TASKS)} (autodropout tasks says more)"
        )
    return TASKS[name]
