"""The arms of a comparison, as a search's machinery sees them: tokens, jobs and one evaluation."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from autodropout.engine.executors.base import Evaluate, Executor, Job, Outcome
from autodropout.errors import UsageError
from autodropout.policy import Policy
from autodropout.result import Result

Arm = Policy | None | Callable[[int], Result | float]
"""A policy, None for none, or a function from a seed to a result."""


class Arms:
    """Named arms and the evaluation of those that are policies; called by the workers.

    Args:
        evaluate: evaluate(policy, seed), the figure or a Result.
        arms: Arms by name.

    Raises:
        UsageError: There are fewer than two arms, or one is none.
    """

    def __init__(self, evaluate: Evaluate, arms: Mapping[str, Arm]) -> None:
        if not callable(evaluate):
            raise UsageError(f"evaluate is {evaluate!r}; expected a function of (policy, seed)")
        if not isinstance(arms, Mapping) or len(arms) < 2:
            raise UsageError(f"arms is {arms!r}; a comparison needs at least two arms by name")
        for name, arm in arms.items():
            _check_arm(name, arm)
        self._evaluate = evaluate
        self._arms = tuple(arms.values())
        self.names = tuple(arms)

    def __call__(self, policy: Policy, code: int) -> Result | float:
        """Train once; ``code`` holds seed and arm, see ``ArmExecutor``."""
        seed, number = divmod(code, len(self._arms))
        arm = self._arms[number]
        return self._evaluate(policy, seed) if arm is None or isinstance(arm, Policy) else arm(seed)

    def decode(self, tokens: Sequence[int]) -> Policy:
        """Return the policy of the arm with this number; the empty one where the arm is none."""
        arm = self._arms[tokens[0]]
        return arm if isinstance(arm, Policy) else Policy({})

    def to_json(self) -> str:
        """Return what tells one comparison from another; of a function only that it is one."""
        kinds = {
            name: json.loads(arm.to_json()) if isinstance(arm, Policy) else "function" if arm else "none"
            for name, arm in zip(self.names, self._arms, strict=True)
        }
        return json.dumps({"schema": 1, "kind": "arms", "arms": kinds})


class ArmExecutor:
    """Tells the workers which arm a job is for: job and ledger hold the seed, what travels holds both.

    code = seed * number of arms + arm. Trials are numbered arm by arm, seed after seed.

    Args:
        executor: What runs the jobs with an ``Arms`` as their evaluation.
        num_arms: Number of arms.
    """

    def __init__(self, executor: Executor, num_arms: int) -> None:
        self._executor = executor
        self._num_arms = num_arms

    @property
    def capacity(self) -> int:
        """Number of slots."""
        return self._executor.capacity

    def submit(self, job: Job) -> None:
        """Start a job at once."""
        arm = (job.trial - 1) % self._num_arms
        self._executor.submit(replace(job, seed=job.seed * self._num_arms + arm))

    def poll(self, timeout: float) -> Sequence[tuple[Job, Outcome]]:
        """Return the jobs that ended, waiting at most ``timeout`` seconds for the first of them."""
        ended = self._executor.poll(timeout)
        return [(replace(job, seed=job.seed // self._num_arms), outcome) for job, outcome in ended]

    def cancel(self, job: Job) -> None:
        """Stop a job; it never shows up in ``poll``."""
        self._executor.cancel(job)

    def close(self) -> None:
        """Stop everything and leave no process behind."""
        self._executor.close()


def _check_arm(name: object, arm: object) -> None:
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"arm {name!r} has no name; expected a string that is not blank")
    if arm is not None and not isinstance(arm, Policy) and not callable(arm):
        raise UsageError(
            f"arm {name!r} is {arm!r}; expected a Policy, None for no policy, or a function of a seed"
        )
