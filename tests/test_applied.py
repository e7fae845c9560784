import copy
import pickle
import warnings

import pytest
import torch

from autodropout.applied import Applied
from autodropout.applying import apply
from autodropout.errors import ApplyError, UsageError
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from nets import SmallNet

SITES = ("norm", "blocks.0.bn", "blocks.1.bn")
PATTERN = ConvPattern(height=2, width=2, share_c=False)
POLICY = Policy({"norm": PATTERN, "blocks.*.bn": PATTERN})


def images(batch: int = 4) -> torch.Tensor:
    return torch.randn(batch, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def strengths(applied) -> set[float]:
    return {layer.strength.item() for layer in applied.layers.values()}


def scheduled(schedule) -> Applied:
    return apply(SmallNet(), Policy({"norm": PATTERN}, schedule))


# finding the handle


def test_of_finds_what_is_applied():
    model = SmallNet()
    assert Applied.of(model) is None
    applied = apply(model, POLICY)
    assert Applied.of(model) is applied
    applied.remove()
    assert Applied.of(model) is None


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_has_its_own_handle(twin_of):
    model = SmallNet()
    plain = repr(model)
    applied = apply(model, POLICY, seed=3)
    twin = twin_of(model)
    its_own = Applied.of(twin)
    its_own.step = 9
    assert applied.step == 0
    assert its_own.layers["norm"] is twin.get_submodule("norm._autodropout")
    its_own.remove()
    assert repr(twin) == plain
    assert strengths(applied) == {1.0}
    assert Applied.of(model) is applied


def test_repr():
    applied = apply(SmallNet(), POLICY, seed=3)
    assert repr(applied) == "Applied(3 layers, progress=0.0, existing='keep', seed=3)"
    applied.remove()
    assert repr(applied) == "Applied(3 layers, removed, existing='keep', seed=3)"


# progress


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("ramp", [0.0, 0.25, 0.5, 1.0]),
        ("early", [1.0, 1.0, 0.0, 0.0]),
        ("late", [0.0, 0.0, 1.0, 1.0]),
    ],
)
def test_progress_drives_the_schedule(schedule, expected):
    applied = scheduled(schedule)
    assert applied.progress == 0.0
    assert strengths(applied) == {expected[0]}
    for progress, strength in zip((0.0, 0.25, 0.5, 1.0), expected, strict=True):
        applied.progress = progress
        assert applied.progress == progress
        assert strengths(applied) == {strength}


@pytest.mark.parametrize("progress", [-0.1, 1.1, float("nan")])
def test_progress_out_of_range_is_refused(progress):
    applied = scheduled("ramp")
    with pytest.raises(UsageError, match=r"progress is .*; expected a number from 0 to 1"):
        applied.progress = progress


# step


def test_the_step_decides_the_masks():
    model = SmallNet()
    model.dropout.p = 0.0
    applied = apply(model, POLICY, seed=3)
    first = model(images())
    assert torch.equal(model(images()), first)
    applied.step = 1
    assert applied.step == 1
    second = model(images())
    assert not torch.equal(second, first)
    applied.step = 0
    assert torch.equal(model(images()), first)


def test_without_a_seed_there_is_no_step():
    applied = apply(SmallNet(), POLICY)
    with pytest.raises(ApplyError, match="there is no step without a seed; apply the policy with seed="):
        applied.step = 1
    with pytest.raises(ApplyError, match="there is no step without a seed"):
        _ = applied.step


def test_a_negative_step_is_refused():
    applied = apply(SmallNet(), POLICY, seed=3)
    with pytest.raises(UsageError, match="step is -1"):
        applied.step = -1


# state


def test_a_resumed_run_draws_the_same_masks():
    def run(model, steps):
        outputs = []
        for step in steps:
            Applied.of(model).progress = step / 10
            Applied.of(model).step = step
            outputs.append(model(images()))
        return outputs

    torch.manual_seed(0)
    model = SmallNet()
    model.dropout.p = 0.0
    fresh = copy.deepcopy(model)
    applied = apply(model, Policy(POLICY.sites, "ramp"), seed=5)
    whole = run(model, range(8))
    state = applied.state_dict()
    assert state == {"progress": 0.7, "step": 7, "seed": 5, "policy": applied.policy.key}
    apply(fresh, Policy(POLICY.sites, "ramp"), seed=5).load_state_dict(state)
    assert (Applied.of(fresh).progress, Applied.of(fresh).step) == (0.7, 7)
    assert strengths(Applied.of(fresh)) == strengths(applied)
    assert torch.equal(fresh(images()), whole[-1])


def test_state_without_a_seed_holds_the_progress():
    applied = scheduled("ramp")
    applied.progress = 0.5
    other = scheduled("ramp")
    other.load_state_dict(applied.state_dict())
    assert strengths(other) == {0.5}


def test_a_state_of_another_policy_or_seed_is_refused():
    state = apply(SmallNet(), POLICY, seed=3).state_dict()
    with pytest.raises(ApplyError, match="the state is of seed 3, what is applied here of 4; apply"):
        apply(SmallNet(), POLICY, seed=4).load_state_dict(state)
    with pytest.raises(ApplyError, match=f"the state is of policy '{POLICY.key}', what is applied here of '"):
        apply(SmallNet(), Policy({"norm": PATTERN}), seed=3).load_state_dict(state)
    with pytest.raises(ApplyError, match=r"the state lacks \['policy', 'seed'\]"):
        apply(SmallNet(), POLICY, seed=3).load_state_dict({"progress": 0.0, "step": 1})


# disabled


def test_disabled_is_an_exact_identity_inside_the_block():
    model = SmallNet()
    model.dropout.p = 0.0
    plain = copy.deepcopy(model)(images())
    applied = apply(model, POLICY, seed=3)
    with applied.disabled():
        assert torch.equal(model(images()), plain)
        with applied.disabled():
            applied.progress = 0.5
        assert strengths(applied) == {0.0}
    assert strengths(applied) == {1.0}
    assert not torch.equal(model(images()), plain)


def test_disabled_ends_with_an_error_too():
    applied = apply(SmallNet(), POLICY)
    with pytest.raises(KeyError), applied.disabled():
        raise KeyError
    assert strengths(applied) == {1.0}


# silent sites


def test_sites_are_silent_until_they_run_in_training():
    model = SmallNet()
    applied = apply(model, POLICY)
    assert applied.silent_sites() == SITES
    model.eval()(images())
    assert applied.silent_sites() == SITES
    model.train()(images())
    assert applied.silent_sites() == ()


def test_a_site_that_the_forward_pass_leaves_out_is_silent():
    model = SmallNet()
    applied = apply(model, POLICY)
    model.blocks = model.blocks[:1]
    model(images())
    assert applied.silent_sites() == ("blocks.1.bn",)


def test_a_frozen_site_is_silent_and_warns_once():
    model = SmallNet()
    applied = apply(model, POLICY)
    model(images())
    model.blocks.eval()
    assert applied.silent_sites() == SITES[1:]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            model(images())
    (warning,) = caught
    assert str(warning.message) == (
        "the model is in training mode, but these sites are in evaluation mode "
        "(frozen batch normalisation?), so nothing is dropped there: blocks.0.bn, blocks.1.bn"
    )


def test_a_site_whose_flag_was_set_by_hand_is_frozen_too():
    model = SmallNet()
    applied = apply(model, POLICY)
    model.norm.training = False  # its children still are in training mode
    with pytest.warns(UserWarning, match=r"nothing is dropped there: norm$"):
        model(images())
    assert applied.silent_sites() == ("norm",)


def end_by_removing(applied):
    applied.remove()


def end_by_progress(applied):
    applied.progress = 1.0
    applied.progress = 1.0


@pytest.mark.parametrize("end", [end_by_removing, end_by_progress])
def test_a_site_that_training_never_reached_is_named_in_the_end(end):
    model = SmallNet()
    applied = apply(model, POLICY)
    model.blocks = model.blocks[:1]
    model(images())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        end(applied)
    (warning,) = caught
    assert str(warning.message) == (
        "the model ran in training mode, but these sites never did, so nothing was dropped there: "
        "blocks.1.bn; leave out of the policy what this training does not use, call all of the model rather "
        "than parts of it, and where a fused kernel goes past a site name another"
    )
    assert warning.filename == __file__


def test_nothing_is_said_where_there_was_no_training_or_a_warning_before():
    model = SmallNet()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with apply(model, POLICY):
            model.eval()(images())
        applied = apply(model.train(), POLICY)
        model(images())
        applied.progress = 1.0
        applied.remove()
    applied = apply(model, POLICY)
    model.norm.eval()
    with pytest.warns(UserWarning, match="frozen"):
        model(images())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        applied.remove()


def test_a_model_in_evaluation_mode_is_not_frozen():
    model = SmallNet()
    applied = apply(model, POLICY)
    model(images())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.eval()(images())
    assert applied.silent_sites() == ()


# remove


def test_after_removal_everything_is_as_it_was():
    model = SmallNet()
    plain, twin, keys = repr(model), copy.deepcopy(model), list(model.state_dict())
    attributes = set(vars(model))
    applied = apply(model, POLICY)
    assert list(model.state_dict()) == keys
    with applied.disabled():
        model(images())
        twin(images())
    applied.remove()
    applied.remove()
    assert strengths(applied) == {0.0}
    assert repr(model) == plain
    assert set(vars(model)) == attributes
    assert list(model.state_dict()) == keys
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    for mode in (True, False):
        torch.manual_seed(1)
        after = model.train(mode)(images())
        torch.manual_seed(1)
        assert torch.equal(after, twin.train(mode)(images()))


def test_leaving_the_block_removes():
    model = SmallNet()
    with apply(model, POLICY) as applied:
        assert Applied.of(model) is applied
    assert Applied.of(model) is None
    with pytest.raises(KeyError), apply(model, POLICY):
        raise KeyError
    assert Applied.of(model) is None


def test_what_is_removed_cannot_be_steered():
    applied = apply(SmallNet(), POLICY, seed=3)
    state = applied.state_dict()
    applied.remove()
    for steer in (
        lambda: setattr(applied, "progress", 0.5),
        lambda: setattr(applied, "step", 1),
        lambda: applied.load_state_dict(state),
    ):
        with pytest.raises(ApplyError, match="the policy was removed from the model; apply it again"):
            steer()
    with applied.disabled():
        assert strengths(applied) == {0.0}
    assert strengths(applied) == {0.0}
