"""In which order a policy, conversions, averaged copies, compilers and wrappers may come."""

import copy

import pytest
import timm
import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from autodropout.adapting import adaptive_dropout
from autodropout.applied import Applied
from autodropout.applying import apply
from autodropout.baselines.placing import on_sites
from autodropout.errors import ApplyError
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from nets import SmallNet

PATTERN = ConvPattern(height=2, width=2, residual=True)
POLICY = Policy({"blocks.*.bn": PATTERN})


def images(batch: int = 4) -> torch.Tensor:
    return torch.randn(batch, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def looks(model: nn.Module) -> tuple[object, ...]:
    hooks = [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]
    return repr(model), list(model.state_dict()), hooks


def train_a_step(model: nn.Module) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()(images()).square().sum().backward()
    optimizer.step()


def fires(model: nn.Module, applied: Applied) -> bool:
    """Say whether one step through the model meets every site, after a look that none has been met."""
    assert not any(layer.fired for layer in applied.layers.values())
    train_a_step(model)
    return all(layer.fired for layer in applied.layers.values())


# synchronised batch normalisation


def test_converted_first_and_applied_then():
    model = nn.SyncBatchNorm.convert_sync_batchnorm(SmallNet())
    before = looks(model)
    with apply(model, POLICY) as applied:
        train_a_step(model)
        assert applied.silent_sites() == ()
    assert looks(model) == before


def test_converted_after_apply_is_refused_with_the_order_and_removed_all_the_same():
    model = SmallNet()
    applied = apply(model, POLICY)
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    with pytest.raises(ApplyError) as error:
        model.train()(images())
    assert str(error.value) == (
        'site "blocks.0.bn" and 1 more: the module was exchanged after apply, as '
        "nn.SyncBatchNorm.convert_sync_batchnorm does, and the new one drops nothing; remove() the policy, "
        "convert the model, then apply the policy"
    )
    assert model.eval()(images()).isfinite().all()
    applied.remove()
    assert looks(model) == looks(nn.SyncBatchNorm.convert_sync_batchnorm(SmallNet()))
    with apply(model, POLICY) as again:
        train_a_step(model)
        assert again.silent_sites() == ()


def test_a_copy_of_what_was_converted_after_apply_is_refused_and_removed_too():
    model = SmallNet()
    apply(model, POLICY)
    twin = copy.deepcopy(nn.SyncBatchNorm.convert_sync_batchnorm(model))
    with pytest.raises(ApplyError, match="exchanged after apply"):
        twin.train()(images())
    Applied.of(twin).remove()
    assert looks(twin) == looks(nn.SyncBatchNorm.convert_sync_batchnorm(SmallNet()))


def test_timms_own_conversion_keeps_the_slot_and_the_pattern_in_it():
    model = timm.create_model("test_byobnet", num_classes=3)
    policy = Policy({site: ConvPattern(height=1, width=1) for site in ("stem.bn", "stages.0.0.conv2_1x1.bn")})
    applied = apply(model, policy)
    model = convert_sync_batchnorm(model)
    model.train()(torch.randn(4, 3, 64, 64))
    assert applied.silent_sites() == ()
    applied.remove()
    assert looks(model) == looks(convert_sync_batchnorm(timm.create_model("test_byobnet", num_classes=3)))


# modules put in place of others


def test_another_module_at_a_site_is_refused():
    model = SmallNet()
    applied = apply(model, POLICY)
    model.blocks[1].bn = nn.Sequential(model.blocks[1].bn, nn.ReLU())
    with pytest.raises(ApplyError) as error:
        model.train()(images())
    assert str(error.value) == (
        'site "blocks.1.bn": another module was put there after apply, as peft.get_peft_model does, and '
        "what is dropped is not its output; remove() the policy, change the model, then apply the policy"
    )
    applied.remove()
    assert not any("_autodropout" in name for name, _ in model.named_modules())


def in_a_block_of_one(module: nn.Module) -> nn.Module:
    return nn.Sequential(module)


@pytest.mark.parametrize("wrap", [in_a_block_of_one, lambda part: torch.compile(part, backend="eager")])
@pytest.mark.parametrize("part", ["bn", ""])
def test_what_only_wraps_a_site_or_a_block_of_sites_is_not(wrap, part):
    model = SmallNet()
    applied = apply(model, POLICY)
    if part:
        model.blocks[1].bn = wrap(model.blocks[1].bn)
    else:
        model.blocks[1] = wrap(model.blocks[1])
    assert fires(model, applied)


# compilers


@pytest.mark.parametrize("seed", [None, 3])
def test_what_was_compiled_before_apply_drops_then_and_again_after_remove(seed):
    model = SmallNet()
    compiled = torch.compile(model, backend="eager")
    train_a_step(compiled)
    for _ in range(2):
        applied = apply(model, POLICY, seed=seed)
        assert fires(compiled, applied)
        applied.remove()
        train_a_step(compiled)
    assert looks(model) == looks(SmallNet())


def test_what_another_model_was_compiled_to_is_not_taken_for_it():
    train_a_step(torch.compile(SmallNet(), backend="eager"))
    model = SmallNet()
    assert fires(torch.compile(model, backend="eager"), apply(model, POLICY))


def test_baselines_and_other_dropout_act_in_what_was_compiled_before_them():
    model = SmallNet()
    compiled = torch.compile(model, backend="eager")
    train_a_step(compiled)
    assert fires(compiled, adaptive_dropout(model, "norm", 0.3))
    on_sites(model, ["stem"], lambda _: nn.Dropout(1.0))
    assert not compiled.get_submodule("stem")(images()).any()
    assert len(compiled(images()).unique(dim=0)) == 1


def test_a_model_compiled_in_place_takes_a_policy_by_the_way_that_the_error_names():
    model = SmallNet()
    model.compile(backend="eager")
    train_a_step(model)
    with pytest.raises(ApplyError, match="_compiled_call_impl to None, apply the policy first, then compile"):
        apply(model, POLICY)
    model._compiled_call_impl = None
    applied = apply(model, POLICY)
    model.compile(backend="eager")
    assert fires(model, applied)


# all of it


@pytest.fixture
def process_group(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_the_whole_order_in_one_chain():
    model = SmallNet()
    before, evaluated = looks(model), model.eval()(images())
    applied = apply(model, POLICY, existing="off")
    average = AveragedModel(model, use_buffers=True)
    parallel = DistributedDataParallel(torch.compile(model, backend="eager"))
    assert torch.equal(parallel.eval()(images()), evaluated)
    assert fires(parallel, applied)
    average.update_parameters(model)
    trained = [one.eval()(images()) for one in (parallel, model, average.module)]
    Applied.of(average.module).remove()
    applied.remove()
    assert [looks(one) for one in (model, average.module)] == [before, before]
    again = [one.eval()(images()) for one in (parallel, model, average.module)]
    assert all(map(torch.equal, [*trained, *again], [trained[1]] * 6))
    assert not torch.equal(trained[1], evaluated)


# averaged copies


def followed(average: AveragedModel, model: nn.Module) -> None:
    """Whatever was averaged over one step must be the model itself."""
    for _ in range(2):
        train_a_step(model)
        average.n_averaged.zero_()  # the next one is taken over as it is
        average.update_parameters(model)
        pairs = zip(average.module.state_dict().values(), model.state_dict().values(), strict=True)
        assert all(torch.equal(mine, other) for mine, other in pairs)


@pytest.mark.parametrize("seed", [None, 3])
def test_a_copy_made_before_apply_pairs_its_buffers_with_the_models(seed):
    model = SmallNet()
    average = AveragedModel(model, use_buffers=True)
    with apply(model, POLICY, seed=seed):
        followed(average, model)
    followed(average, model)
    assert Applied.of(average.module) is None


@pytest.mark.parametrize("seed", [None, 3])
def test_a_copy_made_after_apply_carries_the_policy_and_gives_it_back(seed):
    model = SmallNet()
    applied = apply(model, POLICY, seed=seed)
    average = AveragedModel(model, use_buffers=True)
    followed(average, model)
    applied.remove()
    followed(average, model)
    Applied.of(average.module).remove()
    assert looks(average.module) == looks(SmallNet())


def test_adaptive_dropout_fits_copies_made_before_it_and_after_it():
    model = SmallNet()
    before = AveragedModel(model, use_buffers=True)
    adaptive = adaptive_dropout(model, "blocks.*.bn", 0.3)
    after = AveragedModel(model, use_buffers=True)
    adaptive.observe(images(), torch.arange(4) % 2)
    for average in (before, after):
        followed(average, model)
    assert len(list(model.buffers())) == len(list(SmallNet().buffers()))


def test_layers_have_no_tensors_that_a_model_lists():
    model = SmallNet()
    applied = apply(model, POLICY, seed=3)
    assert all(list(layer.buffers()) == list(layer.parameters()) == [] for layer in applied.layers.values())
    assert len(list(model.buffers())) == len(list(SmallNet().buffers()))
