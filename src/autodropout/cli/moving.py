"""The option ``--found-on``: a policy that was found on another task."""

from typing import TYPE_CHECKING, Annotated

import tyro

from autodropout.errors import UsageError
from autodropout.policy import Policy

if TYPE_CHECKING:
    from autodropout.tasks.base import Task

FoundOn = Annotated[str | None, tyro.conf.arg(metavar="TASK", help_behavior_hint="(default: this task)")]
"""Field of a command whose policy may come from another task."""


def moved(policy: Policy, found_on: str | None, task: "Task") -> Policy:
    """Return the policy for a task: the same where it was found there, otherwise matched and scaled.

    Args:
        policy: As it was found.
        found_on: Name of the task that it was found on; None for this one.
        task: What it is for.

    Raises:
        UsageError: There is no task ``found_on``, one of the two is no image task, or their networks have
            no site in common.
        SiteError: The policy does not fit the network that it was found on.
    """
    if found_on in (None, task.name):
        return policy
    from autodropout.tasks.images.task import ImageTask
    from autodropout.tasks.images.transfer import transferred_to
    from autodropout.tasks.registry import task_named

    source = task_named(found_on)
    if not isinstance(source, ImageTask) or not isinstance(task, ImageTask):
        raise UsageError(
            f"a policy cannot be moved from {source.name} to {task.name}; --found-on is for image tasks"
        )
    return transferred_to(policy, source, task)
