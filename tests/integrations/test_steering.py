"""What the callbacks share, without a trainer."""

import pytest
import torch
from trained_jobs import POLICY, assert_untouched, net

from autodropout.applied import Applied
from autodropout.errors import ApplyError, UsageError
from autodropout.integrations.steering import Order, Steering


def steering(**options):
    return Steering(Order(policy=POLICY, **({"seed": 5} | options)))


def test_before_the_first_run_there_is_no_state_and_nothing_to_steer():
    fresh = steering()
    assert fresh.state_dict() == {}
    fresh.remove()
    with pytest.raises(ApplyError, match="no training has begun, so nothing is applied yet"):
        fresh.next_batch(0.0)


def test_the_first_micro_batch_is_number_0_and_progress_ends_at_1():
    model, run = net(), steering()
    run.begin(model)
    run.next_batch(0.0)
    assert (run.applied.step, run.applied.progress) == (0, 0.0)
    model(torch.randn(2, 2, 6, 6))
    run.next_batch(1.25)
    assert (run.applied.step, run.applied.progress) == (1, 1.0)


def test_the_state_survives_the_end_and_starts_the_next_run():
    run = steering()
    run.begin(net())
    run.next_batch(0.5)
    run.remove()
    state = run.state_dict()
    run.begin(net(), state)
    assert run.applied.progress == 0.5
    run.next_batch(0.5)
    assert run.applied.step == 1


def test_sites_that_the_first_batch_did_not_use_are_named():
    run = steering()
    run.begin(net())
    run.next_batch(0.0)
    with pytest.warns(UserWarning, match=r"sites in the first batch: blocks\.0\.bn, blocks\.1\.bn; leave"):
        run.next_batch(0.0)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"batches": None}, r"the checkpoint's state lacks \['batches'\]; give what state_dict"),
        ({"applied": {"seed": 5}}, r"the state lacks \['policy', 'progress', 'step'\]"),
    ],
)
def test_a_damaged_state_is_refused_and_leaves_the_model_alone(change, text):
    run, model = steering(), net()
    run.begin(net())
    state = {name: value for name, value in (run.state_dict() | change).items() if value is not None}
    with pytest.raises(ApplyError, match=text):
        run.begin(model, state)
    assert_untouched(model)


def test_a_new_run_takes_the_policy_from_the_model_before():
    run, first, second = steering(), net(), net()
    run.begin(first)
    run.begin(second)
    assert_untouched(first)
    assert Applied.of(second) is run.applied


def test_an_order_is_of_a_policy():
    with pytest.raises(UsageError, match=r'the policy is a str; expected a Policy, such as Policy\.load\("'):
        Order(policy="policy.json")
