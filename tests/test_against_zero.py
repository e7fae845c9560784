import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autodropout.adapting import Refreshing, adaptive_dropout
from autodropout.attribution import attribute, relevance
from autodropout.attribution.against_zero import STEPS
from autodropout.errors import MissingError, ShapeError, UsageError

pytest.importorskip("captum")


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Residual(nn.Module):
    """head(act2(body(act1(stem(x))) + shortcut(x))), the sum in place as torchvision's blocks have it."""

    def __init__(self, inplace=True):
        super().__init__()
        self.stem, self.act1, self.body = nn.Linear(5, 6), nn.ReLU(inplace=inplace), nn.Linear(6, 4)
        self.shortcut, self.act2, self.head = nn.Linear(5, 4), nn.ReLU(inplace=inplace), nn.Linear(4, 3)

    def forward(self, x):
        h = self.body(self.act1(self.stem(x)))
        h += self.shortcut(x)
        return self.head(self.act2(h))


SITES = ["stem", "body", "shortcut", "act2"]


def example(net):
    return net.double(), torch.randn(7, 5).double(), torch.tensor([0, 1, 2, 0, 1, 2, 0])


def logits(net, x, y):
    return net(x).gather(1, y[:, None]).squeeze(1).detach()


def with_zeros_at(net, name, x, y):
    handle = net.get_submodule(name).register_forward_hook(lambda module, args, h: torch.zeros_like(h))
    try:
        return logits(net, x, y)
    finally:
        handle.remove()


def test_integrated_gradients_sum_to_what_the_site_is_worth_beside_a_shortcut_too():
    net, x, y = example(Residual())
    found = attribute(net, x, y, SITES, "integrated_gradients")
    for name in SITES:
        worth = logits(net, x, y) - with_zeros_at(net, name, x, y)
        torch.testing.assert_close(found[name].sum(1), worth, atol=0.03, rtol=0.1)
    torch.testing.assert_close(  # behind the last activation the logit is linear
        found["act2"], attribute(net, x, y, SITES, "gradient")["act2"]
    )


def test_integrated_gradients_are_the_mean_gradient_on_the_way():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x, y = torch.randn(5, 3).double(), torch.tensor([0, 1, 1, 0, 1])
    found = attribute(net, x, y, ["0"], "integrated_gradients")["0"]
    h, total = net[0](x).detach(), torch.zeros(5, 4).double()
    for step in range(1000):
        state = ((step + 0.5) / 1000 * h).requires_grad_()
        picked = net[2](net[1](state)).gather(1, y[:, None]).sum()
        total += torch.autograd.grad(picked, state)[0] / 1000
    torch.testing.assert_close(found, h * total, atol=1e-5, rtol=1e-4)
    assert STEPS == 16


def rescale(net, x, y):
    """DeepLIFT's Rescale rule as its paper writes it: m(in) = m(out) * change out / change in."""
    zero = torch.zeros_like(x)
    states = []
    for given in (x, zero):
        a = net.stem(given)
        b = net.body(F.relu(a))
        states.append((a, b, b + net.shortcut(given)))
    (a, b, s), (a0, b0, s0) = states
    m_s = net.head.weight[y] * (F.relu(s) - F.relu(s0)) / (s - s0)
    m_a = (m_s @ net.body.weight) * (F.relu(a) - F.relu(a0)) / (a - a0)
    shortcut, shortcut0 = net.shortcut(x), net.shortcut(zero)
    act2 = (F.relu(s) - F.relu(s0)) * net.head.weight[y]
    found = {"stem": (a - a0) * m_a, "body": (b - b0) * m_s, "shortcut": (shortcut - shortcut0) * m_s}
    return {name: r.detach() for name, r in (found | {"act2": act2}).items()}


def test_deeplift_is_the_rescale_rule_although_the_sum_is_made_in_place():
    net, x, y = example(Residual())
    keys = {name: set(module.__dict__) for name, module in net.named_modules()}
    found = attribute(net, x, y, SITES, "deeplift")
    expected = rescale(net, x, y)
    for name in SITES:
        torch.testing.assert_close(found[name], expected[name])
    change = logits(net, x, y) - logits(net, torch.zeros_like(x), y)
    torch.testing.assert_close(found["act2"].sum(1), change)
    torch.testing.assert_close(found["body"].sum(1) + found["shortcut"].sum(1), change)
    assert net.act1.inplace
    assert net.act2.inplace
    assert {name: set(module.__dict__) for name, module in net.named_modules()} == keys
    assert all(parameter.grad is None for parameter in net.parameters())


class Twice(Residual):
    def forward(self, x):
        return self.head(self.act1(self.body(self.act1(self.stem(x))) + self.shortcut(x)))


class Functional(Residual):
    def forward(self, x):
        return self.head(F.relu(self.body(F.relu(self.stem(x))) + self.shortcut(x)))


def test_where_captum_goes_wrong_deeplift_is_refused():
    net, x, y = example(Twice(inplace=False))
    text = (
        r'^the module "act1" runs 2 times in a forward pass, where DeepLIFT by captum goes wrong; use method='
    )
    with pytest.raises(UsageError, match=text):
        attribute(net, x, y, ["stem"], "deeplift")
    net, x, y = example(Functional())
    text = (
        r"DeepLIFT's contributions miss the change of the output by \d+%: an activation that is called as a"
    )
    with pytest.raises(UsageError, match=text):
        attribute(net, x, y, ["stem"], "deeplift")
    tokens = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(8, 3))
    with pytest.raises(UsageError, match="compares with inputs of zeros, and no input is of float dtype"):
        attribute(tokens, torch.randint(9, (2, 2)), torch.tensor([0, 1]), ["0"], "deeplift")


class Labelled(nn.Module):
    """Called by keywords, with tokens beside numbers, a loss-free output object, a target for each token."""

    def __init__(self):
        super().__init__()
        self.embedding, self.lstm, self.head = (
            nn.Embedding(9, 4),
            nn.LSTM(4, 5, batch_first=True),
            nn.Linear(5, 9),
        )

    def forward(self, tokens, scale):
        output, _ = self.lstm(self.embedding(tokens) * scale[:, None, None])
        return self.head(output)


@pytest.mark.parametrize("method", ["gradient", "integrated_gradients"])
def test_sequences_by_keywords_and_recurrent_layers(method):
    net = Labelled().double()
    inputs = {"tokens": torch.randint(9, (3, 6)), "scale": torch.rand(3).double()}
    targets = torch.randint(9, (3, 6))
    found = attribute(net, inputs, targets, ["embedding", "lstm"], method)
    assert {name: r.shape for name, r in found.items()} == {"embedding": (3, 6, 4), "lstm": (3, 6, 5)}
    output, _ = net.lstm(net.embedding(inputs["tokens"]) * inputs["scale"][:, None, None])
    torch.testing.assert_close(found["lstm"], (output * net.head.weight[targets]).detach())
    units = relevance(net, inputs, targets, ["embedding", "lstm"], method)
    assert {name: r.shape for name, r in units.items()} == {"embedding": (4,), "lstm": (5,)}


@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift"])
def test_rates_follow_it_and_the_batch_must_come_first(method):
    net, x, y = example(Residual())
    adaptive = adaptive_dropout(net, ["stem", "body"], 0.3, refreshing=Refreshing(method=method))
    net.train()
    assert adaptive.observe(x, y)
    assert net.training
    assert adaptive.layers["stem"].rates.std() > 0
    adaptive.remove()
    text = r"the model is called with a tensor of shape \(\) and targets for 7 examples; this method needs"
    double = nn.Sequential(net)
    double.forward = lambda x, factor: net(x) * factor
    with pytest.raises(ShapeError, match=text):
        attribute(double, (x, torch.tensor(2.0)), y, ["0.body"], method)


def test_a_site_whose_batch_is_not_first():
    class StepsFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.RNN(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.rnn(x.transpose(0, 1))[0][-1])

    with pytest.raises(
        ShapeError, match=r'site "rnn" has an output of shape \(5, 2, 4\) and targets for 2 examples'
    ):
        attribute(StepsFirst(), torch.randn(2, 5, 3), torch.tensor([0, 1]), ["rnn"], "integrated_gradients")


@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift"])
def test_without_captum_the_extra_is_named(method, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    net, x, y = example(Residual())
    with pytest.raises(MissingError, match=r"install it with: pip install 'autodropout\[adaptive\]'$"):
        attribute(net, x, y, ["stem"], method)


@pytest.mark.slow
def test_residual_networks_whose_activations_are_modules_of_their_own():
    timm, torchvision = pytest.importorskip("timm"), pytest.importorskip("torchvision")
    x, y = torch.randn(4, 3, 32, 32), torch.randint(10, (4,))
    net = timm.create_model("resnet18", num_classes=10).eval()
    sites = ["layer1.0.bn1", "layer2.0.bn2", "layer4.1.bn2"]
    found = relevance(net, x, y, sites, "deeplift")
    assert [found[name].shape for name in sites] == [(64,), (128,), (512,)]
    with pytest.raises(UsageError, match=r'the module "layer1\.0\.relu" runs 2 times'):
        relevance(torchvision.models.resnet18(num_classes=10), x, y, ["layer1.0.bn1"], "deeplift")
