import copy
import io
import os
import pickle
import re
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from autodropout.applied import Applied
from autodropout.applying import apply
from autodropout.augmented import AugmentedDropout
from autodropout.augmenting import augmented_dropout, backward_dropout, forward_dropout
from autodropout.consuming import CONSUMER
from autodropout.errors import ApplyError, SiteError, UsageError
from autodropout.monte_carlo import mc
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from nets import SmallNet

FUNCTIONS = {
    "augmented": lambda model, names: augmented_dropout(model, names, 0.4, 0.3),
    "forward": lambda model, names: forward_dropout(model, names, 0.4),
    "backward": lambda model, names: backward_dropout(model, names, 0.4),
}
every_function = pytest.mark.parametrize("kind", FUNCTIONS)


class Net(nn.Module):
    """A convolution, then a Linear layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.fc = nn.Linear(4, 4)
        self.heads = nn.ModuleList([nn.Linear(4, 3), nn.Linear(4, 2)])
        self.body = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, images):
        h = F.relu(self.conv(images)).mean((2, 3))
        h = F.relu(self.fc(F.relu(self.fc(h))))
        return torch.cat([head(self.body(h)) for head in self.heads], 1)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def images(n=6):
    return torch.randn(n, 2, 5, 5, dtype=torch.float64)


def eps(layer, epsilon, h):
    return torch.ones_like(h) if epsilon.dropped is None else (~epsilon.dropped).to(h.dtype) * epsilon.factor


def twofold(layer, linear, h):
    """Eqs. 7 and 9 by two ordinary passes: the value of one, the gradients of the other."""
    forward, backward = layer.draw(h)
    value = linear(h.detach() * eps(layer, forward, h))
    seen = linear(h * eps(layer, backward, h))
    return value.detach() + seen - seen.detach()


@every_function
def test_a_layer_that_is_used_twice_draws_twice_and_sums_its_gradients(kind):
    model = Net().double()
    reference, x = copy.deepcopy(model), images()
    applied = FUNCTIONS[kind](model, ["fc"])
    torch.manual_seed(3)
    model(x).square().sum().backward()
    torch.manual_seed(3)
    layer, linear = applied.layers["fc"], reference.fc
    h = F.relu(reference.conv(x)).mean((2, 3))
    h = F.relu(twofold(layer, linear, F.relu(twofold(layer, linear, h))))
    torch.cat([head(reference.body(h)) for head in reference.heads], 1).square().sum().backward()
    for (name, found), expected in zip(model.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, msg=lambda text, name=name: f"{name}: {text}")


@every_function
def test_one_pass_is_dropped_and_the_other_is_not(kind):
    model = nn.Sequential(nn.Linear(200, 1, bias=False))
    model[0].weight.data.fill_(1.0)
    h = torch.ones(1, 200, requires_grad=True)
    FUNCTIONS[kind](model, "0")
    z = model(h)
    z.backward()
    dropped = (h.grad == 0).sum().item()
    assert (dropped == 0) == (kind == "forward")
    assert (z.item() == 200.0) == (kind == "backward")


def test_the_ratios_are_the_paper_s():
    layers = {
        kind: f(Net(), "fc").layers["fc"]
        for kind, f in (("a", augmented_dropout), ("f", forward_dropout), ("b", backward_dropout))
    }
    assert layers["a"].drop_rates == pytest.approx((0.2, 1 - 0.8 * 0.9998))
    assert layers["f"].drop_rates == (0.2, 0.0)
    assert layers["b"].drop_rates == (0.0, 0.2)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("fc", ["fc"]),
        (["conv", "fc"], ["conv", "fc"]),
        ("heads.*", ["heads.0", "heads.1"]),
        (["*", "heads.0", "fc"], ["conv", "fc", "heads.0"]),
        (("body.0",), ["body.0"]),
    ],
)
def test_names_and_globs(names, expected):
    assert list(augmented_dropout(Net(), names).layers) == expected


@pytest.mark.parametrize(
    ("names", "error", "text"),
    [
        ("fcc", SiteError, 'the model has no module "fcc"'),
        ("heads", SiteError, 'site "heads" is a ModuleList'),
        ("body", SiteError, 'site "body" is a Sequential'),
        ("body.1", SiteError, '"body.1": ReLU is no Linear, Conv1d, Conv2d or Conv3d; name the layer'),
        ("", SiteError, '"": Net is no Linear'),
        ("*.*.*", SiteError, "the glob '*.*.*' matches no module that will do; its * stops at dots"),
        ("body.1*", SiteError, "the glob 'body.1*' matches no module that will do; ReLU is no Linear"),
        ([], UsageError, "names is []; expected at least one name of a module"),
        ([3], UsageError, "names is [3]; expected at least one name of a module"),
        (["fc", "nowhere"], SiteError, 'the model has no module "nowhere"'),
    ],
)
def test_names_are_checked_before_anything_is_touched(names, error, text):
    model = Net()
    before = {name: dict(module.__dict__) for name, module in model.named_modules()}
    with pytest.raises(error, match=re.escape(text)):
        augmented_dropout(model, names)
    assert {name: dict(module.__dict__) for name, module in model.named_modules()} == before


def test_ratios_are_checked():
    for wrong, text in (
        ({"multiply": "no"}, "multiply is 'no'; expected True or False"),
        ({"seed": 1.5}, "seed is 1.5; expected a whole number"),
        ({"names": None}, "names is None; expected at least one name of a module"),
        ({"names": 4}, "names is 4; expected at least one name of a module"),
    ):
        with pytest.raises(UsageError, match=re.escape(text)):
            augmented_dropout(SmallNet(), **({"names": "head"} | wrong))
    with pytest.raises(SiteError, match=re.escape('name the module inside whose output it is, "0"')):
        augmented_dropout(nn.Sequential(nn.Linear(2, 2)), "")
    with pytest.raises(UsageError, match=r"rate is 1\.0; expected at least 0 and below 1"):
        augmented_dropout(Net(), "fc", rate=1.0, backward_rate=0.1)
    with pytest.raises(UsageError, match=r"backward_rate is -0\.1"):
        backward_dropout(Net(), "fc", -0.1)


def test_one_layer_takes_one():
    model = Net()
    first = augmented_dropout(model, ["fc"])
    with pytest.raises(
        ApplyError, match=r'"fc" already has such dropout; remove\(\) what was applied before'
    ):
        augmented_dropout(model, ["conv", "fc"])
    assert CONSUMER not in model.conv._modules
    assert "forward" not in model.conv.__dict__
    assert Applied.of(model) is first


def test_a_forward_of_another_library_is_left_alone():
    model = Net()
    model.fc.forward = lambda h: h
    with pytest.raises(ApplyError, match='"fc" has a forward of its own on the instance'):
        augmented_dropout(model, "fc")


def test_compiled_models_are_refused():
    with pytest.raises(ApplyError, match="compiled"):
        augmented_dropout(torch.compile(Net(), backend="eager"), "fc")
    with pytest.raises(UsageError, match="expected a torch"):
        augmented_dropout(None, "fc")


@every_function
def test_remove_gives_the_model_back(kind):
    model = Net()
    before = {name: set(module.__dict__) for name, module in model.named_modules()}
    state, x = copy.deepcopy(model.state_dict()), images().float()
    expected, keys = model(x), list(model.state_dict())
    applied = FUNCTIONS[kind](model, "*")
    assert list(model.state_dict()) == keys
    model(x)
    applied.remove()
    applied.remove()
    assert {name: set(module.__dict__) for name, module in model.named_modules()} == before
    assert Applied.of(model) is None
    assert torch.equal(model(x), expected)
    assert all(torch.equal(a, b) for a, b in zip(state.values(), model.state_dict().values(), strict=True))


def test_evaluation_and_disabled_are_the_model_itself():
    model, x = Net(), images().float()
    expected = model(x)
    with augmented_dropout(model, ["conv", "fc"], 0.5, 0.5) as applied:
        assert not torch.equal(model(x), expected)
        with applied.disabled():
            assert torch.equal(model(x), expected)
        assert torch.equal(model.eval()(x), expected)
        assert not torch.equal(model.train()(x), expected)


def test_a_layer_that_is_frozen_by_its_flag_drops_nothing():
    model, x = Net(), images().float()
    applied = augmented_dropout(model, ["fc", "conv"], 0.5)
    model.fc.eval()
    with pytest.warns(UserWarning, match="evaluation mode .* fc"):
        model(x)
    assert applied.silent_sites() == ("fc",)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_carry_their_own(way):
    model, x = Net(), images().float()
    applied = augmented_dropout(model, "fc", 0.5, 0.2)
    twin = way(model)
    applied.remove()
    torch.manual_seed(1)
    first = twin(x)
    torch.manual_seed(2)
    assert not torch.equal(twin(x), first)
    twin.fc.weight.data.zero_()
    twin.fc.bias.data.zero_()
    assert model.fc.weight.any()
    plain = copy.deepcopy(twin)
    Applied.of(twin).remove()
    assert "forward" not in twin.fc.__dict__
    assert torch.equal(twin(x), plain.eval()(x))


def test_states_load_while_applied():
    model, fresh = Net(), Net()
    augmented_dropout(model, "fc")
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    fresh.load_state_dict(torch.load(file), strict=True)
    model.load_state_dict(fresh.state_dict(), strict=True)


def test_keyword_arguments():
    model = Net()
    augmented_dropout(model, "fc", 0.5)
    assert model.fc(input=torch.ones(2, 4)).shape == (2, 4)


def test_hooks_of_the_user_still_run():
    model, seen = Net(), []
    model.fc.register_forward_hook(lambda module, args, output: seen.append("before"))
    augmented_dropout(model, "fc", 0.5)
    model.fc.register_forward_pre_hook(lambda module, args: seen.append("after"))
    model(images().float())
    assert sorted(seen) == ["after", "after", "before", "before"]


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("seed", [None, 5])
def test_activation_checkpointing(reentrant, seed):
    model, x = Net().double(), images().requires_grad_()
    augmented_dropout(model, ["conv", "fc"], 0.5, 0.3, seed=seed)
    wanted = [x, *model.parameters()]

    def gradients(run):
        torch.manual_seed(4)
        for tensor in wanted:
            tensor.grad = None
        run(x).square().sum().backward()
        return [tensor.grad.clone() for tensor in wanted]

    keeps_state = seed is None
    stored = gradients(
        lambda x: checkpoint(model, x, use_reentrant=reentrant, preserve_rng_state=keeps_state)
    )
    torch.testing.assert_close(stored, gradients(model))


def test_the_step_decides_seeded_draws():
    model, x = Net(), images().float()
    applied = augmented_dropout(model, ["conv", "fc"], 0.5, seed=5)
    first = model(x)
    applied.step = 1
    assert not torch.equal(model(x), first)
    state = applied.state_dict()
    applied.step = 0
    assert torch.equal(model(x), first)
    applied.load_state_dict(state)
    assert applied.step == 1


def test_without_a_seed_there_is_no_step():
    with pytest.raises(ApplyError, match="no step without a seed"):
        augmented_dropout(Net(), "fc").step = 1


@pytest.mark.slow
def test_a_compiled_model_trains_as_it_does_without():
    torch.compiler.reset()
    model, x = Net().double(), images()
    applied = augmented_dropout(model, ["conv", "fc"], 0.5, 0.3, seed=5)
    compiled = torch.compile(model, fullgraph=True)
    found, expected = [], []
    for run, grads in ((compiled, found), (model, expected)):
        for step in range(3):
            applied.step = step
            model.zero_grad()
            run(x).square().sum().backward()
            grads.append([p.grad.clone() for p in model.parameters()])
    torch.testing.assert_close(found, expected)
    applied.remove()
    torch.testing.assert_close(compiled(x), model.eval()(x))


def test_compiled_code_sees_the_layer_and_its_end():
    torch.compiler.reset()
    model, x = Net().double(), images()
    plain = model(x)
    applied = augmented_dropout(model, "fc", 0.5, 0.3, seed=5)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x))
    assert not torch.allclose(compiled(x), plain)
    applied.remove()
    torch.testing.assert_close(compiled(x), plain)


def test_beside_a_policy():
    model, x = SmallNet(), torch.randn(4, 2, 6, 6)
    keys = {name: set(module.__dict__) for name, module in model.named_modules()}
    dropout = augmented_dropout(model, "blocks.*.conv", 0.5)
    policy = apply(model, Policy({"blocks.1.bn": ConvPattern(height=2, width=2)}), existing="off")
    assert Applied.of(model) is policy
    model(x).sum().backward()
    assert policy.silent_sites() == dropout.silent_sites() == ()
    twin = copy.deepcopy(model)
    Applied.of(twin).remove()
    assert set(Applied.of(twin).layers) == {"blocks.0.conv", "blocks.1.conv"}
    dropout.remove()
    assert Applied.of(model) is policy
    policy.remove()
    assert {name: set(module.__dict__) for name, module in model.named_modules()} == keys


def test_a_policy_may_be_there_first():
    model = SmallNet()
    policy = apply(model, Policy({"norm": ConvPattern(height=2, width=2)}))
    dropout = augmented_dropout(model, "head", 0.5)
    model(torch.randn(4, 2, 6, 6))
    assert policy.silent_sites() == dropout.silent_sites() == ()


def replica(rank, folder, ratios):
    """One of two processes: gradients with the same masks on both, by the seed, or each with its own."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    torch.manual_seed(0)
    model = Net().double()
    applied = augmented_dropout(model, ["conv", "fc"], *ratios, seed=3)
    parallel = nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
    torch.manual_seed(rank + 1)
    x = images()
    seen = []
    for step in range(2):
        applied.step = step
        model.zero_grad()
        parallel(x).square().sum().backward()
        seen.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    # What this process alone would have had: the mean of both must be what they shared.
    applied.step = 1
    model.zero_grad()
    model(x).square().sum().backward()
    alone = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    torch.save([*seen, alone], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo over a file")
@pytest.mark.parametrize("ratios", [(0.4, 0.3), (0.0, 0.4)], ids=["augmented", "backward"])
def test_two_data_parallel_replicas_share_their_gradients(ratios, tmp_path):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.spawn(replica, args=(str(tmp_path), ratios), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for step in (0, 1):
        for one, other in zip(first[step], second[step], strict=True):
            assert torch.equal(one, other)
    assert not torch.equal(first[0][0], first[1][0])  # other masks at another step
    for shared, one, other in zip(first[1], first[2], second[2], strict=True):
        torch.testing.assert_close(shared, (one + other) / 2)


def test_a_layer_that_never_runs_is_named():
    model = Net()
    model.spare = nn.Linear(4, 4)
    applied = augmented_dropout(model, ["fc", "spare"])
    model(images().float())
    assert applied.silent_sites() == ("spare",)
    with pytest.warns(UserWarning, match="never did.*spare"):
        applied.remove()


def test_monte_carlo_passes_drop_forward_noise_only():
    model, x = Net().eval(), images().float()
    forward_dropout(model, "fc", 0.5)
    assert (mc(model, x, 10).spread > 0).any()
    with pytest.raises(UsageError, match="nothing in the model drops"):
        mc(Net(), x, 10)
    assert not model.training
    assert not model.fc.training


def test_layers_follow_the_model_s_mode_and_dtype():
    model = Net().eval()
    applied = augmented_dropout(model, "fc")
    layer = applied.layers["fc"]
    assert isinstance(layer, AugmentedDropout)
    assert not layer.training
    model.train().to(torch.bfloat16)
    assert layer.training
    assert model(images().to(torch.bfloat16)).dtype == torch.bfloat16
    assert layer.strength.dtype == torch.float32
