"""experiments/digits_space.py, at a tenth of a training."""

import digits_space as experiment
from autodropout.conv_space import ConvSpace
from autodropout.tasks.images.digits import Digits


def test_every_arm_draws_its_policies_and_is_measured_against_the_standard(tmp_path):
    found = experiment.run(tmp_path, task=Digits(steps=2), seeds=2, executor="inline")
    assert [row.name for row in found.rows] == ["none", *experiment.ARMS]
    assert {row.against for row in found.rows if row.name != "standard"} == {"standard"}
    assert found.figure == "reward"
    assert found.finished


def test_a_seed_draws_the_policy_and_the_change_its_space():
    drawn = []

    class Task(Digits):
        def evaluate(self, policy, seed, budget=1.0):
            drawn.append(policy)

    arm = experiment.Drawn(task=Task(), change={"rotates": (0.0,), "off": 1e-9})
    for seed in (1, 1, 2):
        arm(seed)
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(policy.sites) == 5 for policy in drawn)
    assert {pattern.rotate for policy in drawn for pattern in policy.sites.values()} == {0.0}


def test_every_change_is_one_of_the_space():
    for arm in experiment.ARMS.values():
        assert set(arm.change) <= set(ConvSpace.__dataclass_fields__)
