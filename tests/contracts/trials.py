"""What every task and recipe owes a search of its trials."""

from autodropout.policy import Policy


def check_pure(evaluate, policy):
    """Check that a trial, called with a policy and a seed, is a function of both and of nothing else."""
    first, again = evaluate(policy, 3), evaluate(policy, 3)
    assert (first.reward, first.metrics, first.test, first.curve) == (
        again.reward,
        again.metrics,
        again.test,
        again.curve,
    )
    assert evaluate(policy, 4).metrics != first.metrics
    assert evaluate(Policy({}), 3).metrics != first.metrics
