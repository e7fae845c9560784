import math
from dataclasses import dataclass, replace

import cloudpickle
import pytest
import torch

from autodropout.applying import apply
from autodropout.baselines import Ramped
from autodropout.data.augmentation import Chained, Flips, Mixup
from autodropout.data.images import chosen
from autodropout.errors import DeviceError, SiteError, UsageError
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from autodropout.tasks.base import Resumable
from autodropout.tasks.fit import FitSettings, cosine, fit
from autodropout.tasks.images.batches import ImageBatches, step_seed
from autodropout.tasks.images.networks import SmallResNet, branch_ends, on_branches
from autodropout.tasks.images.task import scoring
from autodropout.tasks.methods.batchwise import Batchwise
from autodropout.tasks.saving import Saving, saved_weights
from stripes import POLICY, TASK, Stripes, loaded


def with_recipe(**changes):
    return replace(TASK, recipe=replace(TASK.recipe, **changes))


def same(first, second):
    return (first.reward, first.metrics, first.test, first.curve) == (
        second.reward,
        second.metrics,
        second.test,
        second.curve,
    )


def test_a_trial_is_a_pure_function_of_policy_and_seed_and_travels():
    first = TASK.evaluate(POLICY, 3)
    assert same(first, TASK.evaluate(POLICY, 3))
    assert not same(first, TASK.evaluate(POLICY, 4))
    assert not same(first, TASK.evaluate(Policy({}), 3))
    task = cloudpickle.loads(cloudpickle.dumps(TASK))
    assert same(first, task.evaluate(POLICY, 3))


def test_what_a_trial_returns():
    result = with_recipe(steps=40).evaluate(Policy({}), 0)
    assert result.reward > 0.9
    assert result.curve[-1] == result.reward
    assert set(result.metrics) == {"train_loss", "val_loss", "parameters"}
    assert set(result.test) == {"accuracy"}
    assert result.test["accuracy"] > 0.9
    assert result.metrics["parameters"] == sum(p.numel() for p in TASK.model().parameters())


def test_a_budget_is_a_fraction_of_the_steps():
    assert same(TASK.evaluate(POLICY, 0, 0.5), with_recipe(steps=4).evaluate(POLICY, 0))


def test_batches_are_those_of_the_seed_whatever_else_is_drawn():
    batches = TASK.batches(loaded(), Batchwise(), 5)
    first = [next(batches.starting_at(step))[0] for step in (0, 1, 7)]
    torch.manual_seed(9)
    whole = batches.starting_at(0)
    drawn = [next(whole)[0] for _ in range(8)]
    for step, images in zip((0, 1, 7), first, strict=True):
        assert torch.equal(drawn[step], images)


def test_changes_are_made_in_order_and_drawn_from_the_step():
    seen = []

    def noted(name):
        def change(images, labels, generator):
            seen.append((name, images.dtype, torch.randint(99, (), generator=generator).item()))
            return images, labels

        return change

    task = with_recipe(augment=noted("augment"), mix=noted("mix"))
    asked = Batchwise(images=(noted("first"),), mixing=(noted("last"),))
    batches = task.batches(loaded(), asked, 5)
    next(batches.starting_at(2))
    once = list(seen)
    assert [(name, dtype) for name, dtype, _ in once] == [
        ("first", torch.uint8),
        ("augment", torch.uint8),
        ("mix", torch.float32),
        ("last", torch.float32),
    ]
    seen.clear()
    next(batches.starting_at(2))
    assert seen == once
    seen.clear()
    next(batches.starting_at(3))
    assert [draw for *_, draw in seen] != [draw for *_, draw in once]
    assert len({step_seed(seed, step) for seed in range(20) for step in range(20)}) == 400


def test_evaluation_sees_images_as_they_are_stored():
    calls = []

    def counted(images, labels, generator):
        calls.append(len(images))
        return images, labels

    with_recipe(augment=counted, mix=counted).evaluate(Policy({}), 0)
    assert calls == [16] * 2 * TASK.recipe.steps
    parts, found = loaded().splits, scoring(loaded())
    for part, chunks in ((parts.validation, found.validation()), (parts.test, found.test())):
        images, labels = map(torch.cat, zip(*chunks, strict=True))
        assert torch.equal(images, part.inputs)
        assert torch.equal(labels, part.labels)


def test_the_reward_is_that_of_the_validation_images_alone():
    @dataclass(frozen=True, kw_only=True)
    class Wrong(Stripes):
        """No image of this part shows its class."""

        part: str

        def load(self, folder):
            data, part = loaded(), getattr(loaded().splits, self.part)
            wrong = replace(part, labels=(part.labels + 1) % 3)
            return replace(data, splits=replace(data.splits, **{self.part: wrong}))

    task = with_recipe(steps=40)
    right = task.evaluate(Policy({}), 0)
    unrewarded = replace(task, source=Wrong(part="validation")).evaluate(Policy({}), 0)
    untested = replace(task, source=Wrong(part="test")).evaluate(Policy({}), 0)
    assert unrewarded.reward < 0.1
    assert unrewarded.test == right.test
    assert untested.test["accuracy"] < 0.1
    assert untested.reward == right.reward > 0.9


def test_a_source_without_validation_images_gives_no_reward():
    class Bare(Stripes):
        def load(self, folder):
            data = loaded()
            return replace(data, splits=replace(data.splits, validation=chosen(data.splits.train, [])))

    with pytest.raises(UsageError, match="no images are set apart for validation"):
        replace(TASK, source=Bare()).evaluate(Policy({}), 0)


def test_training_leaves_cudnn_on_and_its_settings_as_they_were():
    seen = []

    def loss(logits, labels):
        seen.append((torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark))
        return torch.nn.functional.cross_entropy(logits, labels)

    before = torch.backends.cudnn.benchmark
    with_recipe(steps=1, loss=loss).evaluate(Policy({}), 0)
    assert seen == [(True, True)]
    assert torch.backends.cudnn.benchmark == before


def test_augmentation_and_mixtures_train():
    recipe = {"augment": Chained((Flips(),)), "mix": Mixup(num_classes=3)}
    assert with_recipe(**recipe).evaluate(POLICY, 0).metrics["train_loss"] > 0


def test_a_training_is_gone_on_with_and_ends_alike(tmp_path):
    plain = TASK.evaluate(POLICY, 1)
    task = TASK.keeping(Saving(folder=tmp_path, identity="x", every=0.0))
    assert isinstance(TASK, Resumable)
    made = iter(range(100))
    original = ImageBatches._made

    def stopping(self, order, step):
        for batch in original(self, order, step):
            if next(made) == 5:
                raise KeyboardInterrupt
            yield batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageBatches, "_made", stopping)
        with pytest.raises(KeyboardInterrupt):
            task.evaluate(POLICY, 1)
    assert same(plain, task.evaluate(POLICY, 1))
    assert set(saved_weights(tmp_path)) == set(TASK.model().state_dict())


@pytest.mark.parametrize("name", [baseline.name for baseline in TASK.baselines])
def test_each_baseline_acts(name):
    (baseline,) = (one for one in TASK.baselines if one.name == name)
    bare, dropped = TASK.train(lambda net: None, 0), TASK.train(baseline.at(0.3), 0)
    assert dropped.metrics["train_loss"] != bare.metrics["train_loss"]
    assert dropped.metrics["parameters"] == bare.metrics["parameters"]


def test_dropblock_and_drop_path_rise_over_training_and_stochastic_depth_with_depth():
    known = {baseline.name: baseline for baseline in TASK.baselines}
    for name in ("dropblock", "drop-path"):
        net = TASK.model()
        known[name].put(net, 0.4)
        ramped = [module for module in net.modules() if isinstance(module, Ramped)]
        assert len(ramped) == (7 if name == "dropblock" else 3)
        assert {module.module.p for module in ramped} == {0.0}
        rates: list[float] = []
        batches = [(torch.randn(2, 3, 8, 8), torch.tensor([0, 1]))] * 4
        ramped[0].register_forward_pre_hook(lambda module, args, rates=rates: rates.append(module.module.p))
        fit(net, torch.optim.SGD(net.parameters(), 0.1), cosine, batches, FitSettings(steps=4))
        assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])
    net = TASK.model()
    placed = known["stochastic-depth"].put(net, 0.6)
    assert list(placed.modules) == [f"group{group}.0.conv2" for group in (1, 2, 3)]
    assert [module.p for module in placed.modules.values()] == pytest.approx([0.2, 0.4, 0.6])
    assert {module.mode for module in placed.modules.values()} == {"batch"}


def test_branch_ends_of_a_network_that_normalises_last():
    net = SmallResNet(depth=8).build(10, 3)
    assert branch_ends(net) == tuple(f"group{group}.0.bn2" for group in (1, 2, 3))
    assert len(on_branches(net)) == 7


def test_a_diverging_trial_has_no_reward():
    result = with_recipe(learning_rate=1e20, steps=12).evaluate(Policy({}), 0)
    assert math.isnan(result.reward)
    assert result.test == {}
    assert pytest.approx(1 / 3) == TASK.floor


def test_bad_input():
    with pytest.raises(UsageError, match=r"batch_size is 49; expected 1 to 48, the number of examples"):
        with_recipe(batch_size=49).evaluate(Policy({}), 0)
    with pytest.raises(SiteError, match="layer1"):
        TASK.evaluate(Policy({"layer1.0.bn1": ConvPattern(height=1, width=1)}), 0)
    assert replace(TASK, source=Stripes(lacking="fetch it")).missing() == "fetch it"
    assert TASK.missing() is None
    for name, value in (("steps", 0), ("batch_size", 0), ("warmup", 1.0)):
        with pytest.raises(UsageError, match=f"{name} is {value}"):
            with_recipe(**{name: value})


def test_too_little_memory_says_what_to_make_smaller(monkeypatch):
    def full(net, *args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("autodropout.models.wide_resnet.WideResNet.forward", full)
    with pytest.raises(
        DeviceError, match=r"memory of cpu does not suffice for batches of 16; make batch_size small"
    ):
        TASK.evaluate(Policy({}), 0)


@pytest.mark.parametrize("place", ["task.on_device", "training._score"])
def test_too_little_memory_outside_of_training_is_said_too(monkeypatch, place):
    def full(*args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(f"autodropout.tasks.images.{place}", full)
    with pytest.raises(DeviceError, match="the memory of cpu does not suffice for the images and") as caught:
        TASK.evaluate(Policy({}), 0)
    assert "run fewer trials on this device at a time, or reduce batch_size (" in str(caught.value)
    assert "the number or side of the images, or the width of the network" in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_is_not_there():
    with pytest.raises(DeviceError, match="asks for a GPU and PyTorch sees none; set device to auto or cpu"):
        with_recipe(device="cuda").evaluate(Policy({}), 0)
    assert with_recipe(device="auto").recipe.torch_device() == torch.device("cpu")


def test_decay_is_for_matrices_and_both_optimisers_learn():
    net = TASK.model()
    for kind in ("sgd", "rmsprop"):
        optimiser = replace(TASK.recipe, optimiser=kind).optimiser_for(net)
        decayed, others = optimiser.param_groups
        assert (decayed["weight_decay"], others["weight_decay"]) == (5e-4, 0.0)
        assert all(parameter.ndim > 1 for parameter in decayed["params"])
        assert len(decayed["params"]) + len(others["params"]) == len(list(net.parameters()))
    assert with_recipe(optimiser="rmsprop", learning_rate=0.01, steps=40).evaluate(Policy({}), 0).reward > 0.8


def test_the_space_is_that_of_every_site():
    space = TASK.space()
    assert space.residual == tuple(f"group{group}.0.bn2" for group in (1, 2, 3))
    assert len(space) == 56
    with apply(TASK.model(), space.decode([1 if n > 1 else 0 for n in space.cardinalities])) as applied:
        assert len(applied.layers) >= 7
