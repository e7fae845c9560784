import copy
import math

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

import autodropout as ad
from autodropout.applied import Applied
from autodropout.applying import apply
from autodropout.errors import UsageError
from autodropout.monte_carlo import mc
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import Policy
from nets import SmallNet

POLICY = Policy({"blocks.*.bn": ConvPattern(height=2, width=2, residual=True)})


def images() -> torch.Tensor:
    return torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def states(model):
    return (
        [module.training for module in model.modules()],
        [len(module._forward_hooks) for module in model.modules()],
        {name: value.clone() for name, value in model.state_dict().items()},
    )


def test_it_is_public():
    assert ad.mc is mc


def test_mean_and_spread_are_those_of_the_passes():
    model = nn.Dropout(0.5)
    x = torch.tensor([1.0, 2.0])
    torch.manual_seed(3)
    passes = torch.stack([F.dropout(x, 0.5) for _ in range(9)])
    torch.manual_seed(3)
    found = mc(model, x, 9)
    assert torch.allclose(found.mean, passes.mean(0))
    assert torch.allclose(found.spread, passes.std(0))


@pytest.mark.parametrize(
    "layer", [ad.PatternDropout(ConvPattern(height=2, width=2, share_c=False)), ad.AdaptiveDropout(3, 0.5)]
)
def test_a_layer_of_ours_in_a_model_of_ones_own_drops(layer):
    model = nn.Sequential(layer, nn.Conv2d(3, 2, 1)).eval()
    assert (mc(model, torch.ones(2, 3, 4, 4), 9).spread > 0).any()
    assert not any(module.training for module in model.modules())


def test_the_spread_of_a_coin():
    torch.manual_seed(0)
    mean, spread = mc(nn.Dropout(0.5), torch.ones(2000), 50)
    assert mean.mean() == pytest.approx(1.0, abs=0.02)
    assert spread.square().mean() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("seed", [None, 3])
def test_a_policy_varies_and_everything_is_as_it_was(training, seed):
    model = SmallNet()
    model.dropout.p = 0.0
    applied = apply(model, POLICY, seed=seed)
    model.train(training)
    model.blocks[1].bn.eval()
    if seed is not None:
        applied.step = 17
    modes, hooks, values = states(model)
    _, spread = mc(model, images(), 5)
    assert (spread > 0).all()
    after = states(model)
    assert after[:2] == (modes, hooks)
    assert all(torch.equal(value, after[2][name]) for name, value in values.items())
    assert applied.silent_sites() == tuple(applied.layers)
    if seed is not None:
        assert {int(layer.step) for layer in applied.layers.values()} == {17}


@pytest.mark.parametrize("seed", [None, 3])
def test_a_manual_seed_repeats_it(seed):
    model = SmallNet()
    apply(model, POLICY, seed=seed)
    torch.manual_seed(1)
    one = mc(model, images(), 4)
    torch.manual_seed(1)
    again = mc(model, images(), 4)
    torch.manual_seed(2)
    other = mc(model, images(), 4)
    assert torch.equal(one.mean, again.mean)
    assert torch.equal(one.spread, again.spread)
    assert not torch.equal(one.mean, other.mean)


def test_normalisation_keeps_to_evaluation():
    """Patterns of strength 0 leave exactly what evaluation returns."""
    model = SmallNet()
    model.dropout.p = 0.0
    applied = apply(model, POLICY)
    model(images())
    plain = copy.deepcopy(model).eval()(images())
    with applied.disabled():
        mean, spread = mc(model, images(), 3)
    assert torch.allclose(mean, plain)
    assert (spread < 1e-6).all()


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop_rate, self.norm = 0.5, nn.BatchNorm1d(3)

    def forward(self, x):
        return F.dropout(self.norm(x), self.drop_rate, self.training)


@pytest.mark.parametrize(
    ("build", "x"),
    [
        (Functional, torch.randn(5, 3)),
        (lambda: nn.TransformerEncoderLayer(8, 2, 16, 0.2, batch_first=True), torch.randn(2, 5, 8)),
        (
            lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.2, batch_first=True), 2),
            torch.randn(2, 5, 8),
        ),
        (
            lambda: timm.create_model("resnet10t", num_classes=2, drop_rate=0.3, drop_path_rate=0.5),
            torch.randn(2, 3, 64, 64),
        ),
    ],
)
def test_the_models_own_dropout_varies(build, x):
    model = build()
    modes, _, values = states(model)
    _, spread = mc(model, x, 4)
    assert (spread > 0).any()
    assert states(model)[0] == modes
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in values.items())


def test_sites_that_were_opened_vary():
    model = timm.create_model("resnet10t", num_classes=2)
    site = "layer1.0.bn2"
    apply(model, Policy({site: ConvPattern(height=2, width=2, stride=2, repeat="fill", residual=True)}))
    assert (mc(model, torch.randn(2, 3, 64, 64), 3).spread > 0).all()


def test_a_compiled_model_runs_uncompiled():
    torch.compiler.reset()
    model = SmallNet()
    apply(model, POLICY)
    compiled = torch.compile(model, backend="eager")
    compiled.eval()(images())
    torch.manual_seed(0)
    expected = mc(model, images(), 3)
    torch.manual_seed(0)
    found = mc(compiled, images(), 3)
    assert torch.equal(found.spread, expected.spread)
    assert (found.spread > 0).all()


def test_inputs_and_outputs_of_other_kinds():
    class Answer:
        def __init__(self, logits):
            self.logits = logits

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = nn.Dropout(0.5)

        def forward(self, a, b):
            return Answer(self.dropout(a + b).to(torch.bfloat16))

    ones = torch.ones(64)
    for inputs in ((ones, ones), {"a": ones, "b": ones}):
        found = mc(Two(), inputs, 5)
        assert found.mean.dtype == torch.float32
        assert (found.spread > 0).any()
    assert mc(nn.Dropout(0.5), torch.ones(9, dtype=torch.float64), 3).mean.dtype == torch.float64


def test_a_failing_pass_leaves_the_model_as_it_was():
    model = SmallNet()
    applied = apply(model, POLICY)
    modes, hooks, _ = states(model)
    with pytest.raises(RuntimeError):
        mc(model, torch.ones(1, 9, 8, 8), 2)
    assert states(model)[:2] == (modes, hooks)
    applied.remove()
    assert Applied.of(model) is None


@pytest.mark.parametrize("samples", [1, 0, True, 2.0, math.nan])
def test_too_few_samples(samples):
    with pytest.raises(UsageError, match=r"samples is .*; expected a whole number of at least 2"):
        mc(nn.Dropout(), torch.ones(1), samples)


def test_a_model_without_dropout_is_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0))
    with pytest.raises(UsageError, match="nothing in the model drops; apply a policy, or give it dropout"):
        mc(model, torch.ones(1, 2), 2)
    assert model.training


@pytest.mark.parametrize(
    ("build", "kind"), [(lambda x: (x,), "tuple"), (lambda x: x.int(), "torch.int32"), (str, "str")]
)
def test_outputs_that_are_no_float_tensor_are_refused(build, kind):
    model = nn.Dropout(0.5)
    model.register_forward_hook(lambda module, args, output: build(output))
    with pytest.raises(UsageError, match=f"the model returns a {kind}; expected a float tensor"):
        mc(model, torch.ones(2), 2)


def test_token_sites_vary():
    layer = nn.Sequential(nn.Linear(3, 3))
    apply(layer, Policy({"0": TokenPattern(size=1, rate=0.5)}), layouts={"0": "NTC"})
    assert (mc(layer, torch.ones(2, 4, 3), 6).spread > 0).any()


@pytest.mark.filterwarnings("error")  # such as of sites that training left out: there was none
@pytest.mark.parametrize("role", ["softmax", "output", "ffn", "residual"])
def test_a_bare_layer_of_torch_varies(role):
    """In evaluation such a layer does not count its places among its modules."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True).eval()
    with apply(layer, Policy({f"role:{role}": TokenPattern(size=1, rate=0.5)})) as applied:
        _, spread = mc(layer, torch.randn(2, 5, 8), 4)
        assert (spread > 0).any()
        assert not any(place.training for place in applied.layers.values())
