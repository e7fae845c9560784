import copy
import math
import os
import pickle
import re
import sys
from itertools import pairwise

import pytest
import torch
import torch._dynamo.testing
import torchvision
from timm.layers import LayerNorm2d
from torch import nn
from torch.nn import functional as F

from autodropout.adapting import Adaptive, Refreshing, adaptive_dropout
from autodropout.adaptive import AdaptiveSettings, adaptive_rates
from autodropout.applied import Applied
from autodropout.applying import apply
from autodropout.attribution import relevance
from autodropout.augmenting import augmented_dropout
from autodropout.errors import ApplyError, SiteError, UsageError
from autodropout.monte_carlo import mc
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import Policy
from nets import SmallNet

SITES = ("norm", "blocks.0.bn", "blocks.1.bn")


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def batch(n=6):
    return torch.randn(n, 2, 6, 6), torch.randint(3, (n,))


def rates(adaptive):
    return {name: layer.rates.tolist() for name, layer in adaptive.layers.items()}


def test_refreshing_sets_rates_by_relevance():
    model, (x, y) = SmallNet(), batch()
    model(x)
    adaptive = adaptive_dropout(model, SITES, 0.3)
    adaptive.refresh(x, y)
    for name, r in relevance(model, x, y, SITES).items():
        torch.testing.assert_close(adaptive.layers[name].rates, adaptive_rates(r, 0.3).float())
        assert adaptive.layers[name].rates.std() > 0


def test_rates_are_refreshed_now_and_then():
    adaptive = adaptive_dropout(SmallNet(), "norm", refreshing=Refreshing(every=3))
    assert [adaptive.observe(*batch()) for _ in range(7)] == [True, False, False, True, False, False, True]
    assert adaptive.layers["norm"].observed == 3


def test_a_model_trains_with_it():
    model, (x, y) = SmallNet(), batch(32)
    adaptive = adaptive_dropout(model, SITES, 0.2, refreshing=Refreshing(every=5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        adaptive.observe(x, y)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert adaptive.silent_sites() == ()
    assert all(sum(r) / len(r) == pytest.approx(0.2) for r in rates(adaptive).values())


def strengths(adaptive):
    return {layer.strength.item() for layer in adaptive.layers.values()}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1.0, 1.0, 1.0]),
        ("ramp", [0.0, 0.5, 1.0]),
        ("early", [1.0, 0.0, 0.0]),
        ("late", [0.0, 1.0, 1.0]),
    ],
)
def test_progress_drives_the_schedule(schedule, expected):
    model, (x, y) = SmallNet(), batch()
    adaptive = adaptive_dropout(model, SITES, 0.3, schedule=schedule)
    adaptive.observe(x, y)
    before = rates(adaptive)
    assert strengths(adaptive) == {expected[0]}
    for progress, strength in zip((0.0, 0.5, 1.0), expected, strict=True):
        adaptive.progress = progress
        model(x)
        assert strengths(adaptive) == {strength}
    assert rates(adaptive) == before
    with adaptive.disabled():
        assert strengths(adaptive) == {0.0}
    assert strengths(adaptive) == {expected[-1]}


def test_the_schedule_goes_on_from_the_state_and_in_copies():
    model = SmallNet()
    adaptive = adaptive_dropout(model, "norm", schedule="ramp")
    adaptive.progress = 0.25
    other = adaptive_dropout(SmallNet(), "norm", schedule="ramp")
    other.load_state_dict(adaptive.state_dict())
    constant = adaptive_dropout(SmallNet(), "norm")
    with pytest.raises(ApplyError, match="state is of schedule 'ramp', what is applied here of 'constant'"):
        constant.load_state_dict(adaptive.state_dict())
    twin = Applied.of(copy.deepcopy(model))
    assert strengths(other) == strengths(twin) == {0.25}
    twin.progress = 0.75
    assert (strengths(twin), strengths(adaptive)) == ({0.75}, {0.25})


def test_a_refresh_may_be_asked_for_otherwise_from_now_on():
    model, (x, y) = SmallNet(), batch()
    adaptive = adaptive_dropout(model, "norm", 0.3)
    adaptive.refreshing = Refreshing(every=2, method="gradient")
    assert [adaptive.observe(x, y) for _ in range(3)] == [True, False, True]
    r = relevance(model, x, y, ["norm"], "gradient")["norm"]
    torch.testing.assert_close(adaptive.layers["norm"].rates, adaptive_rates(r, 0.3).float())


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("method", ["lrp", "gradient"])
def test_refreshes_and_the_schedule_do_not_recompile_a_compiled_model(seed, method):
    torch.compiler.reset()
    model = SmallNet()
    model.dropout.p = 0.0
    adaptive = adaptive_dropout(
        model, SITES, 0.4, refreshing=Refreshing(every=1, method=method), schedule="ramp", seed=seed
    )
    counted = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, fullgraph=True, backend=counted)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    seen = []
    for number in range(4):
        adaptive.progress = number / 4
        if seed is not None:
            adaptive.step = number
        assert adaptive.observe(*batch())
        seen.append(rates(adaptive))
        x, y = batch()
        optimizer.zero_grad()
        if seed is None:
            F.cross_entropy(compiled(x), y).backward()
        else:
            expected = model(x)
            out = compiled(x)
            torch.testing.assert_close(out, expected)
            F.cross_entropy(out, y).backward()
        optimizer.step()
    assert all(one != other for one, other in pairwise(seen))
    assert counted.frame_count == 1


def test_where_a_residual_branch_begins_at_0_the_second_refresh_is_the_first_to_find_something():
    model, (x, y) = SmallNet(), batch()
    twin = copy.deepcopy(model)
    for block in (*model.blocks, *twin.blocks):
        nn.init.zeros_(block.bn.weight)
    runs = [adaptive_dropout(net, "blocks.*.conv", 0.3) for net in (model, twin)]
    runs[0].refresh(x, y)
    for layer in runs[0].layers.values():
        assert layer.average.eq(0).all()
        assert layer.rates.tolist() == pytest.approx([0.3] * layer.num_channels)
    for block in (*model.blocks, *twin.blocks):
        nn.init.ones_(block.bn.weight)
    for run in runs:
        run.refresh(x, y)
    for late, early in zip(runs[0].layers.values(), runs[1].layers.values(), strict=True):
        assert late.rates.std() > 0
        torch.testing.assert_close(late.rates, early.rates)  # zeros weigh nothing


def test_the_other_direction_and_the_other_method():
    model, (x, y) = SmallNet(), batch()
    handles = {}
    for favours in ("important", "unimportant"):
        with adaptive_dropout(
            model,
            "norm",
            0.2,
            settings=AdaptiveSettings(favours=favours),
            refreshing=Refreshing(method="gradient"),
        ) as adaptive:
            adaptive.refresh(x, y)
            handles[favours] = adaptive.layers["norm"].rates
    r = relevance(model, x, y, ["norm"], "gradient")["norm"]
    assert handles["important"].argmin() == r.argmax() == handles["unimportant"].argmax()


def test_remove_gives_the_model_back():
    model, (x, y) = SmallNet(), batch()
    before = {name: set(module.__dict__) for name, module in model.named_modules()}
    children = {name: set(module._modules) for name, module in model.named_modules()}
    keys = list(model.state_dict())
    adaptive = adaptive_dropout(model, SITES)
    adaptive.observe(x, y)
    assert list(model.state_dict()) == keys
    assert isinstance(Applied.of(model), Adaptive)
    with adaptive.disabled():
        assert torch.equal(model.norm(x[:, :1].expand(-1, 4, -1, -1)).eq(0).any(), torch.tensor(False))
    adaptive.remove()
    assert {name: set(module.__dict__) for name, module in model.named_modules()} == before
    assert {name: set(module._modules) for name, module in model.named_modules()} == children
    with pytest.raises(ApplyError, match="was removed"):
        adaptive.refresh(x, y)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_carry_their_own(way):
    model, (x, y) = SmallNet(), batch()
    adaptive = adaptive_dropout(model, SITES, 0.3, refreshing=Refreshing(every=2))
    adaptive.observe(x, y)
    twin = Applied.of(way(model))
    assert rates(twin) == rates(adaptive)
    before = rates(adaptive)
    assert [twin.observe(x, y), twin.observe(*batch())] == [False, True]
    assert rates(adaptive) == before != rates(twin)


def test_the_handle_s_state_goes_on():
    runs = [
        adaptive_dropout(SmallNet(), SITES, 0.3, refreshing=Refreshing(every=2), seed=1) for _ in range(2)
    ]
    first, second = runs
    for _ in range(3):
        first.observe(*batch())
    second.load_state_dict(first.state_dict())
    assert rates(second) == rates(first)
    assert second.state_dict() == first.state_dict()
    assert [run.observe(*batch()) for run in runs] == [False, False]
    with pytest.raises(ApplyError, match=r"the state is of the sites \{'norm': 4\}, what is applied here of"):
        second.load_state_dict(adaptive_dropout(SmallNet(), "norm", seed=1).state_dict())
    with pytest.raises(ApplyError, match="the state lacks"):
        second.load_state_dict({})
    refused = adaptive_dropout(SmallNet(), "norm", seed=1)
    refused.progress = 0.5
    with pytest.raises(ApplyError, match="the state is of the sites"):
        second.load_state_dict(refused.state_dict())
    assert second.state_dict()["progress"] == first.state_dict()["progress"], (
        "what is refused changes nothing"
    )


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda state: state["layers"]["norm"].update(rate=0.6), "the state has a mean rate of 0.6"),
        (lambda state: state["layers"]["norm"]["average"].__setitem__(1, math.nan), "is not finite"),
        (lambda state: state.update(other=1), r"the state has \['other'\], as another kind of dropout does"),
    ],
    ids=["rate", "nan", "foreign"],
)
def test_a_state_of_another_kind_is_refused(damage, text):
    adaptive = adaptive_dropout(SmallNet(), "norm", 0.3)
    adaptive.observe(*batch())
    state, before = adaptive.state_dict(), rates(adaptive)
    damage(state)
    with pytest.raises(ApplyError, match=text):
        adaptive.load_state_dict(state)
    assert rates(adaptive) == before


def test_a_state_of_adaptive_dropout_is_none_of_augmented_dropout():
    state = adaptive_dropout(SmallNet(), "norm").state_dict()
    with pytest.raises(ApplyError, match=r"as another kind of dropout does"):
        augmented_dropout(SmallNet(), "head").load_state_dict(state)


@pytest.mark.parametrize("norm", [LayerNorm2d, torchvision.models.convnext.LayerNorm2d])
def test_units_of_layer_norms_over_maps_are_channels(norm):
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), norm(8), nn.Flatten(), nn.LazyLinear(3))
    x, targets = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
    net(x)
    assert relevance(net, x, targets, ["1"], "gradient")["1"].shape == (8,)
    adaptive = adaptive_dropout(net, "1", 0.5, refreshing=Refreshing(method="gradient"), seed=1)
    adaptive.observe(x, targets)
    dropped = (adaptive.layers["1"](torch.ones(4, 8, 8, 8)) == 0).flatten(2)
    assert dropped.any()
    assert torch.equal(dropped.all(2), dropped.any(2)), "whole channels"


@pytest.mark.parametrize("batch_first", [True, False])
def test_samples_have_coins_of_their_own_where_steps_come_first(batch_first):
    layer = nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=batch_first)
    net = nn.ModuleDict({"encoder": nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)})
    adaptive = adaptive_dropout(net, "encoder.layers.0.linear1", 0.5, seed=1)
    (dropping,) = adaptive.layers.values()
    out = dropping(torch.ones(16, 16, 12)) == 0
    samples, steps = (0, 1) if batch_first else (1, 0)
    assert torch.equal(out.all(steps), out.any(steps)), "a unit is dropped at all steps of a sample"
    assert not torch.equal(out.all(samples), out.any(samples)), "not in all samples"


def test_a_module_that_is_exchanged_after_the_first_pass_is_noticed():
    for applied_to in (
        lambda net: augmented_dropout(net, "0", 0.5),
        lambda net: adaptive_dropout(net, "0", 0.5),
        lambda net: apply(net, Policy({"0": TokenPattern(size=1, rate=0.1)}), layouts={"0": "NTC"}),
    ):
        net, x = nn.Sequential(nn.Linear(4, 4)), torch.randn(2, 3, 4)
        applied = applied_to(net)
        net(x)
        assert applied.silent_sites() == ()
        net[0] = nn.Linear(4, 4)
        assert applied.silent_sites() == ("0",)
        with pytest.raises(ApplyError, match='site "0": another module was put there after apply'):  # noqa: PT012
            for _ in range(64):
                net(x)
        applied.remove()


@pytest.mark.parametrize("names", ["blocks.*.bn", ["norm", "blocks.1.bn"]])
@pytest.mark.parametrize("policy_first", [True, False])
def test_beside_a_policy_on_other_modules_and_on_the_same(names, policy_first):
    model, (x, y) = SmallNet(), batch()
    before = {name: (set(m.__dict__), set(m._modules)) for name, m in model.named_modules()}
    policy = Policy({"norm": ConvPattern(height=2, width=2), "blocks.0.bn": ConvPattern(height=2, width=2)})
    for adaptive_goes_first in (True, False):
        if policy_first:
            apply(model, policy)
        adaptive = adaptive_dropout(model, names)
        applied = Applied.of(model) if policy_first else apply(model, policy)
        assert applied.policy == policy
        adaptive.observe(x, y)
        model(x)
        assert applied.silent_sites() == adaptive.silent_sites() == ()
        assert (mc(model, x, 4).spread > 0).any()
        for handle in (adaptive, applied) if adaptive_goes_first else (applied, adaptive):
            handle.remove()
        assert Applied.of(model) is None
    assert {name: (set(m.__dict__), set(m._modules)) for name, m in model.named_modules()} == before


def test_both_act_on_the_same_module():
    model = nn.Sequential(nn.BatchNorm2d(400)).train()
    apply(model, Policy({"0": ConvPattern(height="whole", width=1, repeat="fill", stride=1)}))
    adaptive_dropout(model, "0", 0.5)
    with torch.no_grad():
        y = model(torch.randn(2, 400, 2, 6))
    columns = y.eq(0).all(1).all(1)  # the pattern drops every other column of all channels
    assert columns.sum(1).tolist() == [3, 3]
    kept = y.movedim(1, -1)[~columns.unsqueeze(1).expand(-1, 2, -1)]
    assert 0.4 < kept.eq(0).float().mean().item() < 0.6


def test_one_module_takes_one():
    model = SmallNet()
    adaptive_dropout(model, "norm")
    with pytest.raises(ApplyError, match=r'site "norm" already has adaptive dropout; remove\(\) what was'):
        adaptive_dropout(model, ["blocks.0.bn", "norm"])
    assert not any(name.startswith("_autodropout") for name in model.blocks[0].bn._modules)


def test_monte_carlo_passes_drop():
    model, x = SmallNet().eval(), batch()[0]
    model.dropout.p = 0.0
    adaptive_dropout(model, SITES, 0.5, seed=3)
    statistics = model.norm.running_mean.clone()
    assert (mc(model, x, 10).spread > 0).any()
    assert torch.equal(model.norm.running_mean, statistics)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Linear(3, 5), (2, 7, 3)),
        (nn.Conv1d(3, 5, 1), (2, 3, 7)),
        (nn.BatchNorm1d(3), (2, 3)),
        (nn.GroupNorm(1, 3), (2, 3, 4)),
        (nn.LayerNorm(3), (2, 7, 3)),
        (nn.RMSNorm(3), (2, 7, 3)),
    ],
)
def test_units_of_known_modules(module, shape):
    net = nn.Sequential(module)
    adaptive = adaptive_dropout(net, "0", 0.5)
    out = net(torch.randn(shape))
    assert out.shape[adaptive.layers["0"].axis] == adaptive.layers["0"].num_channels


def test_embeddings():
    net = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3))
    adaptive = adaptive_dropout(net, "*", refreshing=Refreshing(every=1))
    assert adaptive.observe(torch.randint(9, (2, 5)), torch.randint(3, (2, 5)))


@pytest.mark.parametrize(
    ("names", "error", "text"),
    [
        ("dropout", SiteError, '"dropout": Dropout has no known number of units; name a Linear'),
        ("blocks", SiteError, 'site "blocks" is a Sequential'),
        ("nowhere", SiteError, 'the model has no module "nowhere"'),
        ("*.x", SiteError, "the glob '*.x' matches no module that will do"),
        ([], UsageError, "names is []"),
    ],
)
def test_names_are_checked(names, error, text):
    with pytest.raises(error, match=re.escape(text)):
        adaptive_dropout(SmallNet(), names)


def test_settings_are_checked():
    with pytest.raises(UsageError, match="every is 0; expected a whole number of at least 1"):
        Refreshing(every=0)
    with pytest.raises(UsageError, match="method is 'lime'; expected one of 'lrp', 'gradient'"):
        Refreshing(method="lime")
    with pytest.raises(UsageError, match="schedule is 'linear'; expected one of constant, ramp, early, late"):
        adaptive_dropout(SmallNet(), "norm", schedule="linear")
    with pytest.raises(UsageError, match="rate is 1"):
        adaptive_dropout(SmallNet(), "norm", 1.0)
    for wrong, text in (
        ({"refreshing": 50}, "got 50; expected autodropout.adapting.Refreshing(...)"),
        ({"settings": {"most": 0.5}}, "expected autodropout.adaptive.AdaptiveSettings(...)"),
        ({"seed": "a"}, "seed is 'a'; expected a whole number"),
        ({"seed": 1.5}, "seed is 1.5; expected a whole number"),
    ):
        with pytest.raises(UsageError, match=re.escape(text)):
            adaptive_dropout(SmallNet(), "norm", **wrong)
    with pytest.raises(UsageError, match="whole is 'no'; expected True or False"):
        AdaptiveSettings(whole="no")


def replica(rank: int, folder: str) -> None:
    """One of two data-parallel processes: refresh on examples of its own, write down the rates."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    torch.manual_seed(0)
    model = SmallNet()
    adaptive = adaptive_dropout(model, "norm", 0.3)
    parallel = nn.parallel.DistributedDataParallel(model)
    torch.manual_seed(rank + 1)
    x, y = batch()
    alone = relevance(model, x, y, ["norm"])["norm"]
    adaptive.observe(x, y)
    F.cross_entropy(parallel(x), y).backward()
    torch.save([alone, adaptive.layers["norm"].average, adaptive.layers["norm"].rates], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo over a file")
def test_two_data_parallel_replicas_share_their_relevance(tmp_path):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.spawn(replica, args=(str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert not torch.equal(first[0], second[0])
    torch.testing.assert_close(first[1], (first[0] + second[0]) / 2)
    assert torch.equal(first[1], second[1])
    assert torch.equal(first[2], second[2])
