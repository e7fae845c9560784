import copy
import math
import re
from functools import partial

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

import two_passes
from autodropout.attribution import attribute, relevance
from autodropout.errors import ShapeError, SiteError, UsageError
from nets import SmallNet


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def shared(layer, h, z, r_out, epsilon):
    """The epsilon rule as loops over every product of a unit and a weight."""
    r = torch.zeros_like(h)
    for out, unit, weight in two_passes.connections(layer, h):
        denominator = z[out].item() + (epsilon if z[out] >= 0 else -epsilon)
        r[unit] += h[unit].item() * layer.weight[weight].item() * r_out[out].item() / denominator
    return r.detach()


def start(logits, targets):
    return logits.detach() * F.one_hot(targets, logits.shape[-1])


def warmed(model, shape):
    """A model in float64 whose batch normalisation has statistics and whose biases are not 0."""
    model = model.double().train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(4, *shape).double())
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


@pytest.mark.parametrize("epsilon", [1e-6, 0.1])
def test_dense_layers_follow_the_rule(epsilon):
    net = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).double()
    x, targets = torch.randn(6, 5).double(), torch.tensor([0, 1, 2, 0, 1, 2])
    found = attribute(net, x, targets, ["0", "1", "2"], epsilon=epsilon)
    h = net[1](net[0](x)).detach()
    logits = net[2](h)
    expected = shared(net[2], h, logits, start(logits, targets), epsilon)
    torch.testing.assert_close(found["2"], start(logits, targets))
    torch.testing.assert_close(found["1"], expected)
    torch.testing.assert_close(found["0"], expected)


def test_convolutions_pooling_and_flattening_follow_the_rule():
    conv = nn.Conv2d(2, 3, 3, stride=2, padding=1)
    net = nn.Sequential(
        nn.Identity(), conv, nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3, 2)
    ).double()
    x, targets, epsilon = torch.randn(2, 2, 4, 4).double(), torch.tensor([0, 1]), 0.05
    found = attribute(net, x, targets, ["0", "1", "3"], epsilon=epsilon)
    z = conv(x)
    h = net[2](z)
    pooled = net[3](h)
    logits = net[5](pooled.flatten(1))
    r_pooled = shared(net[5], pooled.flatten(1), logits, start(logits, targets), epsilon).reshape(2, 3, 1, 1)
    denominator = pooled + epsilon * torch.where(pooled < 0, -1.0, 1.0)
    r_h = h / 4 * r_pooled / denominator
    torch.testing.assert_close(found["3"], r_pooled)
    torch.testing.assert_close(found["1"], r_h.detach())
    torch.testing.assert_close(found["0"], shared(conv, x, z, r_h, epsilon))


class Branches(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.body, self.shortcut, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.way = way

    def forward(self, x):
        a, b = self.body(x), self.shortcut(x)
        if self.way == "plus":
            h = a + b
        elif self.way == "in place":
            a += b
            h = a
        elif self.way == "in place, result unused":
            h = a
            a.add_(b)
            F.relu(h, inplace=True)
        else:
            h = torch.add(a, b)
        return self.head(F.relu(h))


@pytest.mark.parametrize("way", ["plus", "in place", "in place, result unused", "function"])
def test_residual_sums_are_shared_by_contribution(way):
    net, epsilon = Branches(way).double(), 0.05
    x, targets = torch.randn(3, 4).double(), torch.tensor([2, 0, 1])
    found = attribute(net, x, targets, ["body", "shortcut"], epsilon=epsilon)
    a, b = net.body(x).detach(), net.shortcut(x).detach()
    h = F.relu(a + b)
    logits = net.head(h)
    r_h = shared(net.head, h, logits, start(logits, targets), epsilon)
    denominator = a + b + epsilon * torch.where(a + b < 0, -1.0, 1.0)
    torch.testing.assert_close(found["body"], a * r_h / denominator)
    torch.testing.assert_close(found["shortcut"], b * r_h / denominator)


def folded(conv, norm):
    """The convolution that does what both do."""
    twin = copy.deepcopy(conv)
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    twin.weight.data = conv.weight * scale.reshape(-1, 1, 1, 1)
    twin.bias = nn.Parameter(
        (0 if conv.bias is None else conv.bias - 0) * scale + norm.bias - norm.running_mean * scale
    )
    return twin


@pytest.mark.parametrize("bias", [True, False])
def test_batch_normalisation_is_folded_into_the_layer_before(bias):
    net = nn.Sequential(
        nn.Identity(),
        nn.Conv2d(2, 3, 3, bias=bias),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 3),
    )
    net = warmed(net, (2, 4, 4))
    x, targets = torch.randn(2, 2, 4, 4).double(), torch.tensor([2, 1])
    with torch.no_grad():
        plain = nn.Sequential(net[0], folded(net[1], net[2]), *net[3:])
    torch.testing.assert_close(plain(x), net(x))
    expected = attribute(plain, x, targets, ["0", "1"], epsilon=0.05)
    found = attribute(net, x, targets, ["0", "1", "2"], epsilon=0.05)
    torch.testing.assert_close(
        (found["0"], found["2"], found["1"]), (expected["0"], expected["1"], expected["1"])
    )


class Tapped(nn.Module):
    """Batch normalisation alone does not use the convolution's output."""

    def __init__(self):
        super().__init__()
        self.start, self.conv, self.norm = nn.Identity(), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
        self.head = nn.Linear(2, 3)

    def forward(self, x):
        h = self.conv(self.start(x))
        return self.head((self.norm(h) + h).mean((2, 3)))


def test_batch_normalisation_beside_another_use_is_a_layer_of_its_own():
    net = warmed(Tapped(), (2, 3, 3))
    x, targets = torch.randn(2, 2, 3, 3).double(), torch.tensor([2, 1])
    exact = attribute(net, x, targets, ["start", "conv", "norm"], epsilon=1e-13)
    plain = attribute(net, x, targets, ["start", "conv", "norm"], "gradient")
    torch.testing.assert_close(exact, plain)


@pytest.mark.parametrize("net", ["ours", "resnet18"])
def test_as_epsilon_vanishes_it_is_gradient_times_activation(net):
    if net == "ours":
        model, x = warmed(SmallNet(), (2, 6, 6)), torch.randn(3, 2, 6, 6).double()
        sites = ["norm", "blocks.0.bn", "blocks.0.shortcut", "blocks.1", "head"]
    else:
        model = warmed(torchvision.models.resnet18(num_classes=3), (3, 32, 32))
        x, sites = (
            torch.randn(3, 3, 32, 32).double(),
            ["bn1", "layer1.0.bn1", "layer2.0.downsample.1", "layer4.1"],
        )
    targets = torch.tensor([0, 1, 2])
    found = attribute(model, x, targets, sites, epsilon=1e-14)
    torch.testing.assert_close(found, attribute(model, x, targets, sites, "gradient"), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("net", ["ours", "resnet18"])
def test_relevance_is_conserved_without_biases(net):
    if net == "ours":
        model, shape, sites = SmallNet(), (2, 6, 6), ["stem", "norm", "blocks.0", "blocks.1"]
    else:
        model, shape = torchvision.models.resnet18(num_classes=3), (3, 32, 32)
        sites = ["conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool"]
    model = warmed(model, shape)
    for module in model.modules():
        for name in ("bias", "running_mean"):
            if isinstance(getattr(module, name, None), torch.Tensor):
                getattr(module, name).data.zero_()
    x, targets = torch.randn(3, *shape).double(), torch.tensor([0, 1, 2])
    logits = model(x).gather(1, targets[:, None])[:, 0].detach()
    for r in attribute(model, x, targets, sites, epsilon=1e-14).values():
        torch.testing.assert_close(r.flatten(1).sum(1), logits, rtol=1e-6, atol=1e-9)


def test_what_is_lost_is_what_biases_contribute():
    net = nn.Sequential(nn.Identity(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x, targets = torch.randn(6, 5).double(), torch.tensor([0, 1, 2, 0, 1, 2])
    found = attribute(net, x, targets, ["0", "1"], epsilon=1e-14)
    z = net[1](x)
    lost = (net[1].bias / z * found["1"]).sum(1).detach()
    torch.testing.assert_close(found["0"].sum(1) + lost, found["1"].sum(1))


RATED = [
    *("conv1", "bn1", "layer2.0.downsample.1"),
    *(
        f"layer{n}.{block}.{part}"
        for n in (1, 2, 3, 4)
        for block in (0, 1)
        for part in ("conv1", "bn1", "bn2")
    ),
]
"""Where adaptive dropout may stand in a ResNet-18."""


def zennit_relevance(model, x, targets, epsilon):
    """Relevance of the input and at ``RATED``, by zennit."""
    zennit = pytest.importorskip("zennit", reason="a test-only oracle that is not installed")
    from zennit import attribution, composites, rules, torchvision, types

    layer_map = [
        (types.Activation, rules.Pass()),
        (zennit.layer.Sum, rules.Norm(epsilon)),
        (types.AvgPool, rules.Norm(epsilon)),
        (types.Convolution, rules.Epsilon(epsilon)),
        (types.Linear, rules.Epsilon(epsilon)),
    ]
    composite = composites.LayerMapComposite(layer_map, canonizers=[torchvision.ResNetCanonizer()])
    twin, outputs = copy.deepcopy(model), {}
    with attribution.Gradient(twin, composite) as attributor:
        for module in twin.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 0.0  # folded, they would still divide by the root of 1 + eps
        for name in RATED:
            twin.get_submodule(name).register_forward_hook(partial(keep, outputs, name))
        logits, _ = attributor(x, torch.zeros(len(x), 3).double())
        _, r = attributor(x, start(logits, targets))
    return r, {name: output.grad for name, output in outputs.items()}


def keep(outputs, name, module, inputs, output):
    """Forward hook: keep an output and, later, what comes back to it."""
    output.retain_grad()
    outputs[name] = output


@pytest.mark.parametrize("epsilon", [1e-6, 0.01])
def test_it_agrees_with_zennit_on_resnet18(epsilon):
    model = warmed(torchvision.models.resnet18(num_classes=3), (3, 32, 32))
    x, targets = torch.randn(3, 3, 32, 32).double(), torch.tensor([0, 1, 2])
    of_input, at_sites = zennit_relevance(model, x, targets, epsilon)
    whole = nn.Sequential(nn.Identity(), model)
    found = attribute(whole, x, targets, ["0", *(f"1.{name}" for name in RATED)], epsilon=epsilon)
    expected = {"0": of_input} | {f"1.{name}": r for name, r in at_sites.items()}
    assert found.keys() == expected.keys()
    for name, r in expected.items():
        scale = r.abs().max().item()
        assert scale > 0
        torch.testing.assert_close(found[name], r, rtol=1e-9, atol=1e-10 * scale)


def test_relevance_is_the_mean_of_its_size_per_unit():
    model = warmed(SmallNet(), (2, 6, 6))
    x, targets = torch.randn(3, 2, 6, 6).double(), torch.tensor([0, 1, 2])
    sites = ["norm", "blocks.0", "head"]
    full = attribute(model, x, targets, sites)
    found = relevance(model, x, targets, sites, axes={"blocks.0": 1})
    assert {name: r.shape for name, r in found.items()} == {"norm": (4,), "blocks.0": (4,), "head": (3,)}
    torch.testing.assert_close(found["blocks.0"], full["blocks.0"].abs().mean((0, 2, 3)))
    torch.testing.assert_close(found["head"], full["head"].abs().mean(0))


def test_units_of_sequences_stand_on_the_last_axis():
    net = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3))
    tokens, targets = torch.randint(9, (2, 5)), torch.randint(3, (2, 5))
    found = relevance(net, tokens, targets, ["0", "1", "2"], "gradient")
    assert [r.shape for r in found.values()] == [(4,), (6,), (6,)]
    assert relevance(nn.Sequential(net[0], net[1], net[3]), tokens, targets, ["1"])["1"].shape == (6,)


def test_nothing_of_the_model_changes():
    model = SmallNet().train()
    model.stem.eval()
    model(torch.randn(4, 2, 6, 6)).sum().backward()
    state = copy.deepcopy(model.state_dict())
    gradients = [p.grad.clone() for p in model.parameters()]
    x = torch.randn(3, 2, 6, 6)
    given = x.clone()
    for method in ("lrp", "gradient"):
        relevance(model, x, torch.tensor([0, 1, 2]), ["norm"], method)
    assert all(torch.equal(a, b) for a, b in zip(state.values(), model.state_dict().values(), strict=True))
    assert all(torch.equal(a, p.grad) for a, p in zip(gradients, model.parameters(), strict=True))
    assert (model.training, model.stem.training, model.norm.training) == (True, False, True)
    assert not model.norm._forward_hooks
    assert torch.equal(x, given)
    assert not x.requires_grad


def test_frozen_parameters_and_no_grad():
    model = warmed(SmallNet(), (2, 6, 6)).requires_grad_(False)
    x, targets = torch.randn(3, 2, 6, 6).double(), torch.tensor([0, 1, 2])
    with torch.no_grad():
        for method in ("lrp", "gradient"):
            assert relevance(model, x, targets, ["norm"], method)["norm"].any()


def test_in_place_activations_do_not_change_what_is_seen():
    nets = [nn.Sequential(nn.Linear(5, 4), nn.ReLU(inplace), nn.Linear(4, 3)) for inplace in (True, False)]
    nets[1].load_state_dict(nets[0].state_dict())
    x, targets = torch.randn(6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    for method in ("lrp", "gradient"):
        found, expected = (attribute(net, x, targets, ["0"], method) for net in nets)
        torch.testing.assert_close(found, expected)


class Reports(nn.Module):
    """Takes a dict, returns an object with logits."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x, scale=1.0):
        return type("Output", (), {"logits": self.linear(x) * scale})()


def test_inputs_in_dicts_and_tuples():
    model, x, targets = Reports(), torch.randn(2, 4), torch.tensor([0, 2])
    expected = attribute(model, x, targets, ["linear"])
    torch.testing.assert_close(attribute(model, {"x": x}, targets, ["linear"]), expected)
    twice = attribute(model, (x, 2.0), targets, ["linear"])
    torch.testing.assert_close(twice["linear"], 2 * expected["linear"])


class Bytes(nn.Module):
    """Makes floats of its inputs itself."""

    def __init__(self, made):
        super().__init__()
        self.made = made
        self.scaled, self.norm = nn.Identity(), nn.BatchNorm1d(4)
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        h = self.norm(self.scaled(self.made(x)))
        return self.last(self.first(h).relu())


@pytest.mark.parametrize(
    ("made", "inputs"),
    [
        (lambda x: x / 255, torch.randint(256, (6, 4), dtype=torch.uint8)),
        (lambda x: F.one_hot(x, 4).float(), torch.randint(4, (6,))),
        (lambda x: x[0], ([torch.randn(6, 4)],)),
    ],
    ids=["bytes", "one-hot", "nested"],
)
def test_relevance_comes_to_layers_behind_inputs_that_are_no_float_tensors(made, inputs):
    torch.manual_seed(0)
    net = Bytes(made).eval()
    nn.init.normal_(net.norm.running_mean)
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    floats = made(inputs[0] if isinstance(inputs, tuple) else inputs)
    plain = copy.deepcopy(net)
    plain.made = nn.Identity()
    expected = attribute(plain, floats, targets, ["norm", "first"])
    torch.testing.assert_close(attribute(net, inputs, targets, ["norm", "first"]), expected)
    with pytest.raises(UsageError, match='"scaled" puts out is not traced back to float inputs'):
        attribute(net, inputs, targets, ["scaled"])


def test_relevance_comes_to_bags_of_embeddings():
    net = nn.Sequential(nn.EmbeddingBag(7, 4, mode="sum"), nn.Linear(4, 3, bias=False)).double()
    x, targets = torch.randint(7, (5, 2)), torch.tensor([0, 1, 2, 0, 1])
    found = attribute(net, x, targets, ["0"], epsilon=0.0)["0"]
    torch.testing.assert_close(found.sum(1), net(x).gather(1, targets[:, None]).squeeze(1).detach())


class Gate(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.linear, self.what = nn.Linear(3, 3), what

    def forward(self, x):
        h = self.linear(x)
        if self.what == "view":
            h.view(-1).mul_(2.0)
        if self.what == "product":
            return h * h.sigmoid()
        if self.what == "quotient":
            return torch.ones(3) / h
        return h.softmax(1) if self.what == "softmax" else h


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("product", "no rule that propagates relevance through torch.Tensor.mul of 2 hidden states"),
        ("quotient", "no rule that propagates relevance through torch.Tensor.div; use method"),
        ("softmax", "no rule that propagates relevance through torch.Tensor.softmax; use method"),
        ("view", "torch.Tensor.mul_ changes a view of a hidden state in place"),
    ],
)
def test_what_has_no_rule_is_refused_by_name(what, text):
    x, targets = torch.randn(2, 3), torch.tensor([0, 1])
    with pytest.raises(UsageError, match=re.escape(text)):
        attribute(Gate(what), x, targets, ["linear"])
    assert attribute(Gate(what), x, targets, ["linear"], "gradient")["linear"].shape == (2, 3)


def test_batch_normalisation_without_statistics_is_refused():
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False))
    with pytest.raises(UsageError, match="batch normalisation without running statistics has no such rule"):
        attribute(net, torch.randn(4, 3), torch.zeros(4, dtype=torch.int64), ["0"])


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"method": "captum"}, UsageError, "method is 'captum'; expected one of 'lrp', 'gradient'"),
        ({"epsilon": -1.0}, UsageError, "epsilon is -1.0; expected a number of at least 0"),
        ({"epsilon": math.nan}, UsageError, "epsilon is nan"),
        ({"sites": "norm"}, UsageError, "sites is 'norm'; expected a sequence of at least one name"),
        ({"sites": []}, UsageError, "sites is []"),
        ({"sites": ["nrom"]}, SiteError, "the model has no module \"nrom\"; did you mean 'norm'?"),
        ({"sites": ["x*"]}, SiteError, 'the model has no module "x*"; this has no globs: name each module'),
        ({"model": None}, UsageError, "model is a NoneType; expected a torch.nn.Module"),
        ({"sites": ["spare"]}, SiteError, "the model did not run spare; name modules that it calls"),
        ({"sites": ["blocks"]}, SiteError, 'say along which one it has units, such as axes={"blocks": 1}'),
        ({"axes": {"norm": 4}}, SiteError, 'site "norm" has an output of 4 axes, and none of number 4'),
        ({"targets": [0, 1]}, ShapeError, "targets is [0, 1]; expected int64 (3,), a class for each output"),
        ({"targets": torch.zeros(3)}, ShapeError, "targets is torch.float32 (3,); expected int64 (3,)"),
        ({"targets": torch.zeros(2, dtype=torch.int64)}, ShapeError, "targets is torch.int64 (2,)"),
        ({"targets": torch.tensor([0, 3, 1])}, ShapeError, "targets lie from 0 to 3; expected 0 to 2"),
    ],
)
def test_arguments_are_checked(changes, error, text):
    model = SmallNet()
    model.spare = nn.Linear(2, 2)
    given = {"targets": torch.tensor([0, 1, 2]), "sites": ["norm"]} | changes
    function = attribute if "epsilon" in changes else relevance
    with pytest.raises(error, match=re.escape(text)):
        function(given.pop("model", model), torch.randn(3, 2, 6, 6), **given)
    assert not model.norm._forward_hooks
    assert model.training


class TwiceUsed(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        return self.linear(self.linear(x))


@pytest.mark.parametrize("method", ["lrp", "gradient", "integrated_gradients", "deeplift"])
def test_an_empty_batch_is_refused(method):
    with pytest.raises(ShapeError, match="the batch is empty; relevance needs at least one example"):
        relevance(nn.Sequential(nn.Linear(2, 2)), torch.rand(0, 2), torch.zeros(0).long(), ["0"], method)


@pytest.mark.parametrize("method", ["lrp", "gradient", "integrated_gradients"])
def test_inference_mode_is_left_aside(method):
    net, targets = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), torch.tensor([0, 1])
    x = torch.randn(2, 4)
    expected = relevance(net, x, targets, ["0"], method)
    with torch.inference_mode():
        torch.testing.assert_close(relevance(net, x.clone(), targets.clone(), ["0"], method), expected)


def test_a_module_that_runs_twice_is_refused():
    with pytest.raises(SiteError, match='site "linear" runs more than once'):
        attribute(TwiceUsed(), torch.randn(2, 3), torch.tensor([0, 1]), ["linear"])


def test_a_module_that_returns_no_tensor_is_refused():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    net = nn.Sequential(Pair())
    with pytest.raises(SiteError, match='site "0" returns a tuple; expected one tensor'):
        attribute(net, torch.randn(2, 3), torch.tensor([0, 1]), ["0"], "gradient")


def test_a_compiled_model_runs_uncompiled():
    torch.compiler.reset()
    model, x, targets = SmallNet().eval(), torch.randn(3, 2, 6, 6), torch.tensor([0, 1, 2])
    expected = attribute(model, x, targets, ["norm"])
    compiled = torch.compile(model, backend="eager")
    compiled(x)
    torch.testing.assert_close(attribute(model, x, targets, ["norm"]), expected)
    found = attribute(compiled, x, targets, ["_orig_mod.norm"])
    torch.testing.assert_close(found["_orig_mod.norm"], expected["norm"])
