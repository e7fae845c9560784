"""Known methods on top of a policy, as contenders of their own."""

from collections.abc import Mapping, Sequence
from functools import partial

from torch import nn

from autodropout.applying import apply
from autodropout.cli.account import POLICY
from autodropout.policy import Policy
from autodropout.tasks.base import Baseline, Task


def contenders(
    task: Task, policy: Policy, baselines: Sequence[str], combined: Sequence[str]
) -> Mapping[str, Baseline]:
    """Return what has a strength to tune, by name: baselines, and baselines on top of the policy.

    Args:
        task: Whose baselines they are.
        policy: What the combined ones stand on.
        baselines: Names of those that stand alone; what the task does not know has no strength.
        combined: Names of those that also stand on the policy; these are called ``policy+NAME``.
    """
    known = {baseline.name: baseline for baseline in task.baselines}
    alone = {name: known[name] for name in baselines if name in known}
    return alone | {name_on_policy(name): _on_policy(known[name], policy) for name in combined}


def name_on_policy(baseline: str) -> str:
    """Return the name of an arm that has a baseline on top of the policy."""
    return f"{POLICY}+{baseline}"


def _on_policy(baseline: Baseline, policy: Policy) -> Baseline:
    put = partial(_put_on_policy, baseline=baseline, policy=policy)
    return Baseline(name=name_on_policy(baseline.name), strengths=baseline.strengths, put=put)


def _put_on_policy(model: nn.Module, strength: float, *, baseline: Baseline, policy: Policy) -> object:
    apply(model, policy)
    return baseline.put(model, strength)
