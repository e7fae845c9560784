import copy
import io
import os
import pickle
import random
import sys

import pytest
import torch
import torchvision
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.checkpoint import checkpoint

from autodropout.applied import Applied
from autodropout.applying import apply, space_for
from autodropout.conv_space import ConvSpace
from autodropout.errors import ApplyError, ShapeError, SiteError, UsageError
from autodropout.layers import PatternDropout
from autodropout.matching import match
from autodropout.models.digits_net import DigitsNet
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import Policy
from autodropout.token_space import TokenSpace
from nets import SmallAttention, SmallNet

PATTERN = ConvPattern(height=2, width=2, share_c=False)
RESIDUAL = ConvPattern(height=2, width=2, residual=True)
POLICY = Policy({"norm": PATTERN, "blocks.*.bn": PATTERN})
RESNET_POLICY = Policy({"layer1.*.bn2": PATTERN, "layer2.0.bn1": RESIDUAL})


def images(batch: int = 4, channels: int = 2, side: int = 8) -> torch.Tensor:
    return torch.randn(batch, channels, side, side, generator=torch.Generator().manual_seed(0))


def seeded_call(model, x, seed=0):
    torch.manual_seed(seed)
    return model(x)


# apply


def test_each_site_gets_a_layer_of_its_own():
    applied = apply(SmallNet(), POLICY)
    assert list(applied.layers) == ["norm", "blocks.0.bn", "blocks.1.bn"]
    assert all(isinstance(layer, PatternDropout) for layer in applied.layers.values())
    assert applied.layers["norm"].pattern == PATTERN
    assert applied.layers["norm"].site == "norm"
    assert applied.policy == POLICY


def test_the_sites_output_is_dropped():
    model = SmallNet()
    seen = {}
    model.norm.register_forward_hook(lambda module, args, output: seen.update(before=output))
    apply(model, Policy({"norm": PATTERN}), seed=2)
    model.norm.register_forward_hook(lambda module, args, output: seen.update(after=output))
    model(images())
    assert torch.equal(seen["after"], PatternDropout(PATTERN, site="norm", seed=2)(seen["before"]))
    assert (seen["after"] == 0).any()


def test_layouts_come_from_the_sites():
    model = SmallAttention()
    applied = apply(model, Policy({"role:query": TokenPattern(size="whole", share_t=True, rate=0.5)}))
    assert applied.layers["query"].layout == "TNC"
    seen = []
    model.query.register_forward_hook(lambda module, args, output: seen.append(output))
    model(torch.randn(9, 5, 4))
    zero = seen[0] == 0
    assert torch.equal(zero.all(0), zero.any(0))  # the same channels at all tokens of a sample


def test_evaluation_is_untouched():
    model = SmallNet().eval()
    plain = model(images())
    apply(model, POLICY)
    assert torch.equal(model(images()), plain)


def test_residual_draws_again_on_the_shortcut():
    model = SmallNet()
    applied = apply(model, Policy({"blocks.0.bn": RESIDUAL}), seed=1)
    assert list(applied.layers) == ["blocks.0.bn", "blocks.0.bn:shortcut"]
    seen = {}
    for name in ("bn", "shortcut"):
        module = model.get_submodule(f"blocks.0.{name}")
        module.register_forward_hook(lambda m, a, output, name=name: seen.update({name: output}))
    model(images(batch=16))
    branch, shortcut = ((seen[name] == 0).all(1) for name in ("bn", "shortcut"))
    assert branch.any()
    assert shortcut.any()
    assert not torch.equal(branch, shortcut)


def test_two_sites_of_a_block_may_share_its_shortcut():
    model = DigitsNet(width=4)
    plain = repr(model)
    policy = Policy({"block1.bn1": RESIDUAL, "block1.bn2": RESIDUAL})
    applied = apply(model, policy)
    shortcuts = [applied.layers["block1.bn1:shortcut"], applied.layers["block1.bn2:shortcut"]]
    assert list(model.block1.shortcut._autodropout) == shortcuts
    model(images(channels=1))
    assert applied.silent_sites() == ()
    applied.remove()
    assert repr(model) == plain


def test_residual_without_a_module_on_the_shortcut_is_refused_and_nothing_is_applied():
    model = torchvision.models.resnet18()
    message = (
        r'site "bn1": the pattern has residual=True, but no module is known on the shortcut of its '
        r"block; set residual=False there, or put an nn.Identity on the shortcut"
    )
    with pytest.raises(SiteError, match=message):
        apply(model, Policy({"layer1.0.bn2": RESIDUAL, "bn1": RESIDUAL}))
    assert "_autodropout" not in repr(model)
    assert Applied.of(model) is None


def test_a_pattern_that_is_off_needs_no_shortcut():
    off = ConvPattern(height=0, width=0, residual=True)
    assert list(apply(SmallNet(), Policy({"norm": off})).layers) == ["norm"]


def test_a_failure_on_the_way_leaves_the_model_as_it_was(monkeypatch):
    model = SmallNet()
    plain = repr(model)
    monkeypatch.setattr("autodropout.applying.silence", lambda model: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        apply(model, POLICY, existing="off")
    assert repr(model) == plain
    assert not any(module._forward_hooks for module in model.modules())


def test_an_empty_policy_applies_nothing():
    applied = apply(SmallNet(), Policy({}))
    assert (dict(applied.layers), applied.silent_sites()) == ({}, ())


def test_the_layers_follow_the_model():
    model = SmallNet()
    applied = apply(model, POLICY, seed=1)
    model.to("meta")
    assert {layer.strength.device.type for layer in applied.layers.values()} == {"meta"}
    model.half()
    assert {layer.strength.dtype for layer in applied.layers.values()} == {torch.float32}
    with torch.device("meta"):
        born_there = SmallNet()
    layers = apply(born_there, POLICY, seed=1).layers
    assert {layer.step.device.type for layer in layers.values()} == {"meta"}


def test_existing_off_silences_and_restores():
    model = SmallNet()
    model.more = nn.ModuleList([nn.Dropout2d(0.1), nn.AlphaDropout(0.3), nn.Dropout1d(0.0)])

    def rates():
        return [model.dropout.p, *(module.p for module in model.more)]

    with apply(model, POLICY, existing="off") as applied:
        assert applied.existing == "off"
        assert rates() == [0.0, 0.0, 0.0, 0.0]
    assert rates() == [0.25, 0.1, 0.3, 0.0]
    with apply(model, POLICY) as applied:
        assert applied.existing == "keep"
        assert rates() == [0.25, 0.1, 0.3, 0.0]


# refusals


def test_existing_is_keep_or_off():
    with pytest.raises(UsageError, match='existing is \'on\'; expected "keep" or "off"'):
        apply(SmallNet(), POLICY, existing="on")


@pytest.mark.parametrize("seed", ["0", 1.5, True, torch.tensor(0)])
def test_a_seed_is_a_whole_number(seed):
    model = SmallNet()
    with pytest.raises(UsageError, match=r"seed is .*; expected a whole number \(of NumPy's or torch's: int"):
        apply(model, POLICY, seed=seed)
    assert Applied.of(model) is None


def test_what_is_no_module_is_refused():
    with pytest.raises(UsageError, match=r"the model is a str; expected a torch\.nn\.Module"):
        apply("resnet", POLICY)


def test_a_second_policy_is_refused():
    model = SmallNet()
    apply(model, Policy({"blocks.1.bn": PATTERN}))
    message = r'its module "blocks.1.bn" already has a pattern; remove\(\) what was applied before'
    with pytest.raises(ApplyError, match=message):
        apply(model, Policy({"norm": PATTERN}))


def compiled_in_place(model):
    model.compile()
    return model


def compiled_inside(model):
    model.blocks = torch.compile(model.blocks)
    return model


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (torch.compile, "the model is compiled, .* the module inside, its _orig_mod, apply the policy first"),
        (compiled_in_place, "the model is compiled in place, .* set its _compiled_call_impl to None, apply"),
        (compiled_inside, 'its module "blocks" is compiled, .* apply the policy first, then compile'),
        (nn.DataParallel, "the model is wrapped in DataParallel; apply the policy to the module inside"),
        (
            lambda model: torch.jit.trace(model.eval(), images()),
            "the model is a TorchScript module, which runs no hooks; apply the policy to the module it",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_models_whose_hooks_would_not_run_are_refused(wrap, message):
    with pytest.raises(ApplyError, match=message):
        apply(wrap(SmallNet()), POLICY)


def test_a_shape_that_cannot_take_the_pattern_names_the_site():
    class Flat(nn.BatchNorm2d):
        def forward(self, h):
            return super().forward(h).flatten(1)

    model = nn.Sequential(nn.Conv2d(2, 3, 1), Flat(3))
    apply(model, Policy({"1": PATTERN}))
    message = r'site "1": the hidden state has shape \(4, 192\); a ConvPattern there needs NCHW: leave'
    with pytest.raises(ShapeError, match=message):
        model(images())


def test_integers_from_a_site_name_it():
    class Whole(nn.Module):
        def forward(self, h):
            return h.int()

    model = nn.Sequential(Whole())
    apply(model, Policy({"0": TokenPattern(size=1)}), layouts={"0": "NTC"})
    message = r'site "0": the hidden state is torch.int32; expected a float dtype: leave such a site, as in a'
    with pytest.raises(ShapeError, match=message):
        model(torch.ones(2, 3, 4))


# living with the rest of PyTorch


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=10)


def test_a_torchvision_resnet_from_apply_to_remove(resnet):
    model, x = copy.deepcopy(resnet), images(channels=3, side=32)
    plain, keys = repr(model), list(model.state_dict())
    applied = apply(model, RESNET_POLICY)
    assert list(model.state_dict()) == keys
    model.load_state_dict(resnet.state_dict())
    model(x).sum().backward()
    assert applied.silent_sites() == ()
    applied.remove()
    model.load_state_dict(resnet.state_dict())
    assert repr(model) == plain
    assert list(model.state_dict()) == keys
    assert torch.equal(model(x), copy.deepcopy(resnet)(x))
    model.load_state_dict(resnet.state_dict())
    assert torch.equal(model.eval()(x), copy.deepcopy(resnet).eval()(x))


@pytest.mark.parametrize("seed", [None, 3])
def test_copies_and_pickles_drop_alike(resnet, seed):
    model, x = copy.deepcopy(resnet), images(channels=3, side=32)
    apply(model, RESNET_POLICY, seed=seed)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    twins = copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(file, weights_only=False)
    expected = seeded_call(model, x)
    for twin in twins:
        assert torch.equal(seeded_call(twin, x), expected)


@pytest.mark.parametrize("seed", [None, 3])
def test_compiled_whole_and_once_over_a_schedule(seed):
    torch.compiler.reset()
    model = SmallNet()
    model.dropout.p = 0.0
    fresh = copy.deepcopy(model)
    ramp = Policy({"norm": PATTERN, "blocks.0.bn": RESIDUAL}, "ramp")
    applied, backend = apply(model, ramp, seed=seed), CompileCounterWithBackend("eager")
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    full = 29 if seed is not None else 30  # at full strength eager layers draw no coins, compiled ones do
    for count in range(30):
        applied.progress = count / full
        if seed is not None:
            applied.step = count
        out = seeded_call(compiled, images(), count)
        assert torch.equal(out, seeded_call(model, images(), count))
    assert backend.frame_count == 1
    assert applied.silent_sites() == ()
    applied.remove()
    compiled.train()
    model.load_state_dict(fresh.state_dict())
    assert torch.equal(compiled(images()), fresh(images()))


@pytest.mark.slow
def test_a_compiled_resnet(resnet):
    torch.compiler.reset()
    model, x = copy.deepcopy(resnet), images(channels=3, side=32)
    applied = apply(model, RESNET_POLICY, seed=3)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    compiled(x).sum().backward()
    applied.step = 7
    dropped = compiled(x)
    applied.step = 7
    assert torch.equal(dropped, model(x))
    assert applied.silent_sites() == ()


@pytest.mark.slow
def test_a_compiled_resnet_draws_from_the_default_generator(resnet):
    """Its draws repeat; they are not those of the model as it is, which draws fewer numbers."""
    torch.compiler.reset()
    model, x = copy.deepcopy(resnet), images(channels=3, side=32)
    applied = apply(model, RESNET_POLICY)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    compiled(x).sum().backward()
    assert torch.equal(seeded_call(compiled, x), seeded_call(compiled, x))
    assert not torch.equal(seeded_call(compiled, x), seeded_call(compiled, x, seed=1))
    assert applied.silent_sites() == ()


@pytest.mark.parametrize("seed", [None, 3])
def test_activation_checkpointing_changes_no_gradient(seed):
    model = SmallNet()
    apply(model, POLICY, seed=seed)
    x = images()

    def gradients(forward):
        model.zero_grad()
        torch.manual_seed(0)
        forward(torch.relu(model.norm(model.stem(x)))).square().sum().backward()
        return [parameter.grad.clone() for parameter in model.blocks.parameters()]

    def recomputing(h):
        return checkpoint(model.blocks, h, use_reentrant=False, preserve_rng_state=seed is None)

    pairs = zip(gradients(model.blocks), gradients(recomputing), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_export_in_evaluation_has_no_random_nodes():
    model = SmallNet().eval()
    apply(model, POLICY)
    exported = torch.export.export(model, (images(),))
    assert torch.equal(exported.module()(images()), model(images()))
    assert not any("rand" in str(node.target) for node in exported.graph.nodes)


def test_autocast_keeps_the_sites_dtype():
    model = SmallNet()
    apply(model, POLICY)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(images()).dtype == torch.bfloat16


def replica(rank: int, folder: str) -> None:
    """One of two data-parallel processes: train a step, write down what was dropped."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    torch.manual_seed(0)
    model = SmallNet()
    applied = apply(model, POLICY, seed=7)
    applied.step = 3
    seen = []
    model.norm.register_forward_hook(lambda module, args, output: seen.append(output == 0))
    parallel = nn.parallel.DistributedDataParallel(model)
    try:
        apply(parallel, POLICY)
    except ApplyError as error:
        seen.append(str(error))
    parallel(images()).sum().backward()
    torch.save([*seen, model.head.weight.grad], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo over a file")
def test_two_data_parallel_replicas_drop_different_places(tmp_path):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.spawn(replica, (str(tmp_path),), nprocs=2)
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert one[0] == other[0]
    assert "the model is wrapped in DistributedDataParallel; apply the policy to the module inside" in one[0]
    assert one[1].any()
    assert not torch.equal(one[1], other[1])
    assert torch.equal(one[2], other[2])


# space_for


def test_a_space_over_feature_maps():
    space = space_for(DigitsNet(), images(channels=1))
    assert isinstance(space, ConvSpace)
    assert dict(space.sites) == {
        "bn": (8, 8),
        "block1.bn1": (8, 8),
        "block1.bn2": (8, 8),
        "block2.bn1": (4, 4),
        "block2.bn2": (4, 4),
    }
    assert space.residual == ("block1.bn1", "block1.bn2", "block2.bn1", "block2.bn2")


def test_projections_and_maps_of_one_pixel_are_left_out(resnet):
    space = space_for(resnet, images(batch=1, channels=3, side=32))
    assert not [key for key in space.sites if "downsample" in key or key.startswith("layer4")]
    assert space.residual == tuple(key for key in space.sites if key != "bn1")
    assert space.sites["layer3.1.bn2"] == (2, 2)


def test_every_policy_of_the_space_can_be_applied(resnet):
    space = space_for(resnet, images(batch=1, channels=3, side=32))
    for seed in range(5):
        model = copy.deepcopy(resnet)
        policy = space.decode(space.sample(random.Random(seed)))
        with apply(model, policy):
            assert torch.isfinite(model(images(channels=3, side=32))).all()


def test_a_policy_found_on_small_images_fits_larger_ones(resnet):
    small, large = (images(batch=1, channels=3, side=side) for side in (32, 64))
    space = space_for(resnet, small)
    tokens = space.sample(random.Random(1))
    policy = space.decode(tokens).scaled(2.0)
    model = copy.deepcopy(resnet)
    before = match(resnet, space.decode(tokens), example_input=small)
    after = match(model, policy, example_input=large)
    on = [(one, two) for one, two in zip(before, after, strict=True) if not one.pattern.off]
    assert on
    for one, two in on:
        assert two.size == (2 * one.size[0], 2 * one.size[1])
        assert two.pattern == one.pattern.scaled(2.0)
        assert 0.3 * one.drop_rate < two.drop_rate < 3.0 * one.drop_rate
    with apply(model, policy):
        assert torch.isfinite(model(images(channels=3, side=64))).all()


def test_a_space_over_roles():
    space = space_for(SmallAttention(), torch.ones(5, 2, 4))
    assert isinstance(space, TokenSpace)
    assert space.sites == ("query", "value")


def test_a_model_without_sites_has_no_space():
    with pytest.raises(SiteError, match="the model has no feature maps and no roles to search over; give it"):
        space_for(nn.Linear(2, 2), torch.ones(1, 2))
