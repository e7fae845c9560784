import math
import time
from dataclasses import replace

import cloudpickle
import pytest
import torch

from autodropout.applying import space_for
from autodropout.data.digits import load_digits
from autodropout.errors import SiteError
from autodropout.models.digits_net import DigitsNet
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from autodropout.tasks.images import digits as module
from autodropout.tasks.images.digits import Digits
from contracts.trials import check_pure

pytest.importorskip("sklearn", reason="the digits come with scikit-learn")

SHORT = Digits(steps=18, measurements=3)
BLOCKS = Policy(
    {"block1.*": ConvPattern(height=2, width=2, residual=True), "bn": ConvPattern(height=1, width=1)}
)


def test_a_trial_is_a_pure_function_of_policy_and_seed():
    check_pure(SHORT.evaluate, BLOCKS)


def test_a_budget_is_a_fraction_of_the_steps_under_the_whole_schedule():
    short, third = SHORT.evaluate(BLOCKS, 3, 1 / 3), replace(SHORT, steps=6).evaluate(BLOCKS, 3)
    assert (short.reward, short.metrics, short.curve) == (third.reward, third.metrics, third.curve)
    whole = SHORT.evaluate(BLOCKS, 3, 1.0)
    assert whole.metrics == SHORT.evaluate(BLOCKS, 3).metrics != short.metrics


def test_what_a_trial_returns():
    result = SHORT.evaluate(BLOCKS, 0)
    assert 0.1 < result.reward < 1.0
    assert set(result.metrics) == {"train_loss", "val_loss", "parameters"}
    assert 0.1 < result.test["accuracy"] < 1.0
    assert result.metrics["parameters"] == sum(p.numel() for p in DigitsNet().parameters())
    assert len(result.curve) == 3
    assert result.curve[-1] == result.reward
    assert result.seconds > 0


def test_the_reward_is_the_validation_accuracy_and_the_test_is_apart(monkeypatch):
    nets = []
    original = module.fit
    monkeypatch.setattr(module, "fit", lambda net, *a: nets.append(net) or original(net, *a))
    result = SHORT.evaluate(Policy({}), 0)
    splits, (net,) = load_digits(), nets
    for figure, part in ((result.reward, splits.validation), (result.test["accuracy"], splits.test)):
        right = sum(
            net(image.unsqueeze(0)).argmax().item() == label
            for image, label in zip(part.inputs, part.labels, strict=True)
        )
        assert figure == pytest.approx(right / len(part))


def test_policies_with_one_seed_start_alike_and_see_the_same_batches(monkeypatch):
    seen = []
    original = module.fit

    def spied(net, optimiser, schedule, batches, settings):
        drawn = [next(batches) for _ in range(settings.steps)]
        seen.append((torch.cat([p.flatten() for p in net.parameters()]).clone(), [y for _, y in drawn]))
        return original(net, optimiser, schedule, drawn, settings)

    monkeypatch.setattr(module, "fit", spied)
    SHORT.evaluate(BLOCKS, 5)
    SHORT.evaluate(Policy({}), 5)
    SHORT.evaluate(Policy({}), 6)
    (weights_a, labels_a), (weights_b, labels_b), (weights_c, labels_c) = seen
    assert torch.equal(weights_a, weights_b)
    assert torch.equal(torch.cat(labels_a), torch.cat(labels_b))
    assert not torch.equal(weights_a, weights_c)
    assert not torch.equal(torch.cat(labels_a), torch.cat(labels_c))


def test_training_with_a_baseline_starts_and_goes_on_as_with_a_policy():
    plain = SHORT.evaluate(Policy({}), 3)
    bare = SHORT.train(lambda net: None, 3)
    assert (plain.reward, plain.metrics, plain.curve) == (bare.reward, bare.metrics, bare.curve)
    for baseline in SHORT.baselines:
        dropped = SHORT.train(baseline.at(0.3), 3)
        assert dropped.metrics["train_loss"] != bare.metrics["train_loss"]
        assert dropped.metrics["parameters"] == bare.metrics["parameters"]


def test_a_diverging_trial_has_no_reward():
    result = Digits(steps=60, learning_rate=1e20).evaluate(Policy({}), 0)
    assert math.isnan(result.reward)
    assert result.test == {}


def test_a_policy_that_matches_nothing():
    with pytest.raises(SiteError, match="block9"):
        SHORT.evaluate(Policy({"block9.bn1": ConvPattern(height=1, width=1)}), 0)


def test_the_space_is_the_networks_own():
    assert Digits().space() == space_for(DigitsNet(), torch.zeros(1, 1, 8, 8))
    assert len(Digits().space()) == 40


def test_it_travels():
    task = cloudpickle.loads(cloudpickle.dumps(SHORT))
    assert task == SHORT
    evaluate = cloudpickle.loads(cloudpickle.dumps(SHORT.evaluate))
    assert evaluate(Policy({}), 1).reward == SHORT.evaluate(Policy({}), 1).reward


def test_it_learns():
    result = Digits().evaluate(Policy({}), 0)
    assert result.reward > 0.9
    assert result.metrics["train_loss"] < 0.1


@pytest.mark.slow
def test_a_trial_takes_at_most_three_seconds_of_one_core():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        policy = Policy(
            {key: ConvPattern(height=1, width=1, share_c=False) for key in Digits().space().sites}
        )
        times = []
        for seed in range(5):
            began = time.process_time()
            Digits().evaluate(policy, seed)
            times.append(time.process_time() - began)
    finally:
        torch.set_num_threads(before)
    assert min(times) <= 3.0
