import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autodropout.applying import apply, match, sites, space_for
from autodropout.augmenting import augmented_dropout
from autodropout.consuming import CONSUMER
from autodropout.conv_space import ConvSpace
from autodropout.engine.confirm import Confirmation
from autodropout.engine.run import search
from autodropout.errors import ApplyError, PatternError, SiteError, SpaceError
from autodropout.models.digits_net import DigitsNet
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from autodropout.space_json import space_from_json

NOISY = ConvPattern(height=1, width=1, stride=1, repeat=2, share_c=False, backward_rate=0.4)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def policy(backward_rate=0.4, schedule="constant"):
    pattern = ConvPattern(height=2, width=2, share_c=False, backward_rate=backward_rate)
    return Policy({"block1.bn1": pattern}, schedule)


def test_the_layer_behind_sees_the_pattern_forward_and_more_backward():
    net = DigitsNet(4).double().train()
    layer = apply(net, policy()).layers["block1.bn1"]
    conv, seen = net.block1.conv2, {}
    conv.register_forward_pre_hook(lambda module, args: seen.update(u=args[0]))
    conv.register_forward_hook(lambda module, args, z: seen.update(z=z))
    draw = layer.behind.draw

    def drawn(h):
        seen["noise"] = draw(h)
        return seen["noise"]

    layer.behind.draw = drawn
    x = torch.randn(16, 1, 8, 8).double()
    net(x)
    u, z = seen["u"], seen["z"]
    forward, backward = seen["noise"]
    assert forward.dropped is None
    eps = (~backward.dropped).double() / 0.6
    assert 0.3 < backward.dropped.double().mean() < 0.5
    assert (u == 0).double().mean() > 0.05  # the pattern's zeros and those of the ReLU
    torch.testing.assert_close(z, F.conv2d(u, conv.weight, padding=1))
    delta = torch.randn_like(z)
    weight, of_u = torch.autograd.grad(z, [conv.weight, u], delta)
    torch.testing.assert_close(
        weight, torch.nn.grad.conv2d_weight(u * eps, conv.weight.shape, delta, padding=1)
    )
    torch.testing.assert_close(of_u, torch.nn.grad.conv2d_input(u.shape, conv.weight, delta, padding=1) * eps)


def test_it_is_steered_with_the_pattern_and_taken_away_with_it():
    net, x = DigitsNet(4).train(), torch.randn(8, 1, 8, 8)
    before = {name: (set(m.__dict__), set(m._modules)) for name, m in net.named_modules()}
    keys = list(net.state_dict())

    def gradient():
        for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.reset_running_stats()
        net.zero_grad()
        net(x).square().sum().backward()
        return net.block1.conv2.weight.grad.clone()

    plain = gradient()
    applied = apply(net, policy(schedule="late"), seed=3)
    assert list(net.state_dict()) == keys
    assert torch.equal(gradient(), plain)
    applied.progress = 0.9
    applied.step = 5
    first = gradient()
    assert torch.equal(gradient(), first)
    applied.step = 6
    assert not torch.equal(gradient(), first)
    with applied.disabled():
        assert torch.equal(gradient(), plain)
    with apply(DigitsNet(4), policy(0.0)) as none:
        assert none.layers["block1.bn1"].behind is None
    applied.remove()
    assert {name: (set(m.__dict__), set(m._modules)) for name, m in net.named_modules()} == before
    assert torch.equal(gradient(), plain)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_have_noise_of_their_own(way):
    net = DigitsNet(4).train()
    apply(net, policy())
    twin = way(net)
    behind = twin.block1.conv2.get_submodule(CONSUMER)
    assert twin.block1.bn1.get_submodule("_autodropout").behind is behind
    assert behind is not net.block1.conv2.get_submodule(CONSUMER)
    twin(torch.randn(4, 1, 8, 8)).sum().backward()
    assert behind.fired


def test_what_does_not_fit_is_refused_and_nothing_stays_behind():
    net = DigitsNet(4)
    text = (
        'site "block1.bn2": the pattern has backward_rate=0.4, but no Linear or convolution is known that '
        "alone reads the site; set backward_rate=0 there"
    )
    with pytest.raises(SiteError, match=text.replace(".", r"\.")):
        match(net, Policy({"block1.bn2": NOISY}))
    augmented_dropout(net, "block1.conv2")
    with pytest.raises(ApplyError, match=r'"block1\.conv2" already has such dropout'):
        apply(net, Policy({"block1.bn1": NOISY}))
    assert not any(name == "_autodropout" for m in net.modules() for name in m._modules)
    odd = DigitsNet(4)
    odd.block1.conv2 = nn.Sequential(odd.block1.conv2)
    with pytest.raises(
        SiteError, match=r'site "block1\.bn1" is read by "block1\.conv2": Sequential is no Linear'
    ):
        apply(odd, Policy({"block1.bn1": NOISY}))
    assert not any(name == "_autodropout" for m in odd.modules() for name in m._modules)
    for value in (-0.1, 1.0, "much"):
        with pytest.raises(PatternError, match="backward_rate is "):
            ConvPattern(height=1, width=1, backward_rate=value)


def test_policies_without_it_keep_their_json_and_with_it_come_back():
    assert "backward_rate" not in policy(0.0).to_json()
    assert Policy({"a": ConvPattern(height=3, width=3, stride=2, repeat=2)}).key == "e494f727c48b"
    assert '"backward_rate": 0.4' in policy().to_json()
    assert Policy.from_json(policy().to_json()) == policy()
    assert policy().key != policy(0.0).key


def test_the_space_decides_it_where_one_layer_reads_the_site():
    net, x = DigitsNet(4), torch.zeros(1, 1, 8, 8)
    plain = space_for(net, x)
    space = space_for(net, x, backward_rates=(0.0, 0.001, 0.1))
    assert plain.key != space.key
    assert "backward_rates" not in plain.to_json()
    assert space_from_json(space.to_json()) == space
    assert len(space) == len(plain) + len(sites(net))
    values = {c.site: c.values for c in space.choices if c.name == "backward_rate"}
    assert {site for site, found in values.items() if len(found) == 3} == {"block1.bn1", "block2.bn1"}
    assert {found for found in values.values() if len(found) < 3} == {(0.0,)}
    tokens = [n - 1 for n in space.cardinalities]
    found = space.decode(tokens)
    assert found.sites["block1.bn1"].backward_rate == 0.1
    assert space.decode(space.encode(found)) == found
    apply(net, found).remove()
    with pytest.raises(SpaceError, match=r"'block1\.bn1' has backward_rate 0\.1; in this space every"):
        plain.encode(found)
    with pytest.raises(SpaceError, match="consumed names"):
        ConvSpace(sites={"a": (4, 4)}, backward_rates=(0.0, 0.1), consumed=("b",))
    lone = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    with pytest.raises(SiteError, match="backward_rates are given, but of no site of the model a Linear or"):
        space_for(lone, torch.zeros(1, 1, 8, 8), backward_rates=(0.0, 0.1))


def test_a_search_decides_it_as_any_other_choice(tmp_path):
    space = space_for(DigitsNet(4), torch.zeros(1, 1, 8, 8), backward_rates=(0.0, 0.1))
    few = Confirmation(top=1, seeds=1)

    def train(found, seed):
        net = DigitsNet(4).train()
        apply(net, found, seed=seed)
        F.cross_entropy(net(torch.randn(8, 1, 8, 8)), torch.arange(8) % 10).backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
        return sum(pattern.backward_rate > 0.0 for pattern in found.sites.values())

    study = search(
        train, space, trials=16, searcher="random", executor="inline", out=tmp_path / "s", confirm=few
    )
    rewards = [trial.reward for trial in study.trials]
    assert set(rewards) == {0.0, 1.0, 2.0}
    assert {p.backward_rate for p in study.best.policy.sites.values() if p.backward_rate} == {0.1}
    assert "0.1" in study.best.policy.to_json()
