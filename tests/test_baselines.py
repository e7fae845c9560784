import copy
import io
import math
import pickle
import re
from collections.abc import Callable, Iterator

import pytest
import torch
import torchvision.ops
from scipy import stats
from torch import Tensor, nn

from autodropout import baselines
from autodropout.errors import ApplyError, PatternError, ShapeError, SiteError, UsageError
from autodropout.mask import conv_keep, token_keep
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.site import Site

Method = Callable[[Tensor, float, bool], Tensor]

METHODS: dict[str, Method] = {
    "units": baselines.drop_units,
    "channels": baselines.drop_channels,
    "path": lambda x, p, training: baselines.drop_path(x, p, "row", training),
    "batch path": lambda x, p, training: baselines.drop_path(x, p, "batch", training),
    "words": baselines.drop_words,
    "features": baselines.drop_features,
    "block": lambda x, p, training: baselines.drop_block(x, p, 3, False, training),
    "shared block": lambda x, p, training: baselines.drop_block(x, p, 3, True, training),
}
MODULES: dict[str, Callable[[float], baselines.Dropout]] = {
    "units": baselines.Dropout,
    "channels": baselines.SpatialDropout,
    "path": baselines.StochasticDepth,
    "batch path": lambda p: baselines.StochasticDepth(p, "batch"),
    "words": baselines.WordDropout,
    "features": baselines.VariationalDropout,
    "block": lambda p: baselines.DropBlock(p, 3),
    "shared block": lambda p: baselines.DropBlock(p, 3, share_c=True),
}
COINS = {  # axes of (N, C, H, W) along which one coin holds
    "units": (),
    "channels": (2, 3),
    "path": (1, 2, 3),
    "batch path": (0, 1, 2, 3),
    "words": (3,),
    "features": (2,),
}
every_method = pytest.mark.parametrize("name", METHODS)
every_coin = pytest.mark.parametrize("name", COINS)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def assert_share(successes: int, draws: int, probability: float) -> None:
    low, high = stats.binom.ppf([5e-7, 1 - 5e-7], draws, probability)
    assert low <= successes <= high


@every_method
def test_function_and_module_draw_the_same(name: str) -> None:
    x = torch.randn(4, 3, 6, 6)
    torch.manual_seed(1)
    expected = [METHODS[name](x, 0.4, True) for _ in range(20)]
    torch.manual_seed(1)
    layer = MODULES[name](0.4)
    torch.testing.assert_close([layer(x) for _ in range(20)], expected, rtol=1e-6, atol=0)
    assert any((y == 0).any() for y in expected)


@every_method
def test_nothing_happens_in_eval(name: str) -> None:
    x = torch.randn(4, 3, 6, 6)
    assert METHODS[name](x, 0.9, False) is x
    assert MODULES[name](0.9).eval()(x) is x


@every_method
def test_probability_zero_changes_nothing(name: str) -> None:
    x = torch.randn(4, 3, 6, 6)
    assert torch.equal(METHODS[name](x, 0.0, True), x)


@every_coin
def test_probability_one_leaves_zeros_and_zero_gradients(name: str) -> None:
    x = torch.randn(4, 3, 6, 6, requires_grad=True)
    for p in (1.0, torch.tensor(1.0)):
        y = METHODS[name](x, p, True)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert not y.any()
        assert not gradient.any()


@every_method
def test_an_infinite_value_that_is_dropped_is_zero(name: str) -> None:
    y = torch.cat([METHODS[name](torch.full((4, 3, 6, 6), math.inf), 0.5, True) for _ in range(20)])
    assert set(y.unique().tolist()) == {0.0, math.inf}


@every_coin
def test_what_is_kept_is_scaled_by_the_expected_share(name: str) -> None:
    y = METHODS[name](torch.ones(16, 4, 6, 6, dtype=torch.float64), 0.2, True)
    assert set(y.unique().tolist()) <= {0.0, 1.25}


@every_coin
def test_one_coin_per_cell(name: str) -> None:
    kept = METHODS[name](torch.ones(8, 4, 5, 6), 0.5, True) != 0
    cells = kept.amin(dim=COINS[name], keepdim=True) if COINS[name] else kept
    assert torch.equal(cells.expand_as(kept), kept)
    if name != "batch path":
        assert 0 < cells.sum() < cells.numel()
        for axis in range(4):
            if cells.shape[axis] > 1:
                assert (cells.diff(dim=axis) != 0).any(), f"equal along axis {axis}"


@every_coin
def test_coins_fall_as_often_as_they_should(name: str) -> None:
    dropped, coins = 0, 0
    for _ in range(600 if name == "batch path" else 8):
        cells = (METHODS[name](torch.ones(32, 8, 6, 7), 0.3, True) == 0).amax(dim=COINS[name], keepdim=True)
        dropped, coins = dropped + int(cells.sum()), coins + cells.numel()
    assert_share(dropped, coins, 0.3)


def test_features_along_another_axis_of_time() -> None:
    kept = baselines.drop_features(torch.ones(5, 16, 8), 0.5, time_dim=0) != 0
    assert torch.equal(kept[:1].expand_as(kept), kept)
    assert (kept[0].diff(dim=0) != 0).any()
    kept = baselines.VariationalDropout(0.5, time_dim=0)(torch.ones(5, 16, 8)) != 0
    assert torch.equal(kept[:1].expand_as(kept), kept)


@every_method
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_dtype_shape_and_layout_stay(name: str, dtype: torch.dtype) -> None:
    x = torch.randn(4, 3, 6, 6, dtype=dtype).to(memory_format=torch.channels_last)
    y = METHODS[name](x, 0.3, True)
    assert (y.shape, y.dtype) == (x.shape, dtype)


@pytest.mark.parametrize("shape", [(0, 3, 6, 6), (2, 3, 1, 1), (1, 1, 3, 7)])
@every_method
def test_small_and_empty_maps(name: str, shape: tuple[int, ...]) -> None:
    y = METHODS[name](torch.ones(shape), 0.3, True)
    assert y.shape == shape
    assert torch.isfinite(y).all()


@every_method
def test_gradient(name: str) -> None:
    def drawn(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return METHODS[name](x, 0.4, True)

    x = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(drawn, x)


@every_method
def test_a_schedule_compiles_once(name: str) -> None:
    graphs = 0

    def counted(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., object]:
        nonlocal graphs
        graphs += 1
        return graph.forward

    layer = MODULES[name](0.0)
    x = torch.ones(8, 4, 6, 6)
    torch.compiler.reset()
    compiled = torch.compile(layer, backend=counted, fullgraph=True)
    dropped = []
    for p in (0.0, 0.1, 0.2, 0.9, 1.0):
        layer.p = p
        dropped.append((compiled(x) == 0).sum().item())
    assert graphs == 1
    assert dropped[0] == 0
    assert dropped[-1] > 0.5 * x.numel()


@every_method
def test_module_is_a_dropout_without_state(name: str) -> None:
    layer = MODULES[name](0.25)
    assert isinstance(layer, nn.modules.dropout._DropoutNd)
    assert layer.p == 0.25
    assert isinstance(layer.p, float)
    assert layer.state_dict() == {}
    assert list(layer.parameters()) == []
    assert "p=0.25" in repr(layer)


@every_method
def test_module_survives_copies_and_casts(name: str) -> None:
    layer = MODULES[name](0.3)
    saved = io.BytesIO()
    torch.save(layer, saved)
    saved.seek(0)
    x = torch.randn(4, 3, 6, 6)
    torch.manual_seed(5)
    expected = layer(x)
    for other in (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        torch.load(saved, weights_only=False),
        copy.deepcopy(layer).half(),
        copy.deepcopy(layer).to("meta").to_empty(device="cpu"),
    ):
        torch.manual_seed(5)
        assert torch.equal(other(x), expected)
        assert other.p == 0.3


def test_reprs_say_what_else_is_set() -> None:
    assert repr(baselines.StochasticDepth(0.1, "batch")) == "StochasticDepth(p=0.1, mode=batch)"
    assert repr(baselines.VariationalDropout(0.1)) == "VariationalDropout(p=0.1, time_dim=-2)"
    assert repr(baselines.DropBlock(0.1, 5)) == "DropBlock(p=0.1, block_size=5, share_c=False)"


@every_method
@pytest.mark.parametrize("p", [-0.1, 1.5, math.nan, True, "0.1"])
def test_p_must_be_a_probability(name: str, p: float) -> None:
    text = re.escape(f"p is {p!r}; expected a drop probability between 0 and 1")
    with pytest.raises(UsageError, match=text):
        METHODS[name](torch.ones(2, 3, 6, 6), p, True)
    with pytest.raises(UsageError, match=text):
        MODULES[name](p)


def test_p_may_be_no_vector() -> None:
    with pytest.raises(UsageError, match=r"p has shape \(2,\); expected a number or a 0-dim tensor"):
        baselines.drop_units(torch.ones(3), torch.tensor([0.1, 0.2]))


def test_p_changes_only_to_a_probability() -> None:
    layer = baselines.Dropout()
    with pytest.raises(UsageError, match="p is 2; expected a drop probability between 0 and 1"):
        layer.p = 2
    assert layer.p == 0.5


@pytest.mark.parametrize(
    ("method", "shape", "text"),
    [
        (
            baselines.drop_channels,
            (4, 3),
            r"x has shape \(4, 3\); expected \(N, C, \.\.\.\) with at least one",
        ),
        (lambda x, p: baselines.drop_path(x, p), (), r"x has shape \(\); expected \(N, \.\.\.\)"),
        (baselines.drop_words, (4,), r"x has shape \(4,\); expected \(\.\.\., T, C\)"),
        (baselines.drop_features, (4,), r"x has shape \(4,\); expected \(\.\.\., T, C\)"),
        (
            lambda x, p: baselines.drop_block(x, p, 3),
            (4, 3, 8),
            r"x has shape \(4, 3, 8\); expected \(N, C, H",
        ),
        (lambda x, p: baselines.drop_block(x, p, 3), (4, 3, 8, 8, 8), r"8, 8, 8\); expected \(N, C, H, W\)"),
    ],
)
def test_shapes_are_refused(method: Callable[..., Tensor], shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        method(torch.ones(shape), 0.1)


@every_method
def test_integers_are_refused(name: str) -> None:
    with pytest.raises(ShapeError, match=r"x has dtype torch\.int64; expected a float dtype"):
        METHODS[name](torch.ones(2, 3, 6, 6, dtype=torch.int64), 0.1, True)


def test_other_arguments_are_refused() -> None:
    with pytest.raises(
        ShapeError, match=r"x has shape \(2, 3\) and no axis 2; set time_dim to its axis of time"
    ):
        baselines.drop_features(torch.ones(2, 3), 0.1, time_dim=2)
    for build in (
        lambda: baselines.drop_path(torch.ones(2), 0.1, "column"),
        lambda: baselines.StochasticDepth(0.1, "column"),
    ):
        with pytest.raises(UsageError, match=r"mode is 'column'; expected \"batch\" or \"row\""):
            build()
    for size in (0, 2.0, True):
        with pytest.raises(UsageError, match=f"block_size is {size}; expected a whole number of at least 1"):
            baselines.DropBlock(0.1, size)
        with pytest.raises(UsageError, match=f"block_size is {size}"):
            baselines.drop_block(torch.ones(1, 1, 4, 4), 0.1, size)
    with pytest.raises(UsageError, match="the map is 0 x 4; expected at least 1 x 1"):
        baselines.block_drop_rate(0.1, 0, 4, 2)


def test_stochastic_depth_as_torchvision() -> None:
    x = torch.randn(64, 3, 4, 4)
    for mode in ("row", "batch"):
        for training in (True, False):
            ours, theirs = (
                [f(x, 0.4, mode, training) for _ in range(30)]
                for f in (baselines.drop_path, torchvision.ops.stochastic_depth)
            )
            values = [
                {round(v, 5) for y in ys for v in (y[y != 0] / x[y != 0]).tolist()} for ys in (ours, theirs)
            ]
            assert values[0] == values[1]


def test_linear_decay_grows_to_p() -> None:
    assert baselines.linear_decay(0.2, 4) == pytest.approx((0.05, 0.1, 0.15, 0.2))
    assert baselines.linear_decay(0.3, 1) == (0.3,)
    with pytest.raises(UsageError, match="num_blocks is 0; expected a whole number of at least 1"):
        baselines.linear_decay(0.2, 0)
    with pytest.raises(UsageError, match=r"p is 1\.2; expected a drop probability"):
        baselines.linear_decay(1.2, 3)


def blocks_by_hand(seeds: Tensor, height: int, width: int, side: int) -> Tensor:
    dropped = torch.zeros(*seeds.shape[:2], height, width, dtype=torch.bool)
    for n, c, y, x in seeds.nonzero().tolist():
        for down in range(side):
            for right in range(side):
                dropped[n, c, y + down, x + right] = True
    return dropped


@pytest.mark.parametrize("share_c", [True, False])
@pytest.mark.parametrize(("height", "width", "side"), [(8, 8, 3), (7, 9, 4), (5, 6, 1), (4, 7, 9)])
def test_blocks_are_those_of_the_seeds(height: int, width: int, side: int, share_c: bool) -> None:
    p, cut = 0.4, min(side, height, width)
    gamma = p / cut**2 * height * width / ((height - cut + 1) * (width - cut + 1))
    x = torch.randn(6, 5, height, width)
    torch.manual_seed(2)
    y = baselines.drop_block(x, p, side, share_c)
    torch.manual_seed(2)
    seeds = torch.rand(6, 1 if share_c else 5, height - cut + 1, width - cut + 1) < gamma
    keep = ~blocks_by_hand(seeds, height, width, cut)
    torch.testing.assert_close(y, x * keep * (keep.numel() / keep.sum()))
    assert 0 < seeds.sum() < seeds.numel()


@pytest.mark.parametrize(("height", "width", "side"), [(3, 3, 2), (2, 4, 2), (1, 5, 1), (3, 4, 3), (4, 3, 1)])
def test_block_drop_rate_is_the_sum_over_all_seedings(height: int, width: int, side: int) -> None:
    p = 0.35
    places = (height - side + 1) * (width - side + 1)
    gamma = p / side**2 * height * width / places
    expected = 0.0
    for code in range(2**places):
        seeds = torch.tensor([code >> bit & 1 for bit in range(places)])
        share = (
            blocks_by_hand(seeds.reshape(1, 1, height - side + 1, -1), height, width, side).double().mean()
        )
        number = int(seeds.sum())
        expected += gamma**number * (1 - gamma) ** (places - number) * share.item()
    assert baselines.block_drop_rate(p, height, width, side) == pytest.approx(expected, rel=1e-12)


def block_pixel_rates(p: float, size: int, side: int) -> Tensor:
    gamma = p / side**2 * size**2 / (size - side + 1) ** 2
    holders = torch.tensor(
        [[1.0 * (max(0, y - side + 1) <= s <= min(y, size - side)) for s in range(size)] for y in range(size)]
    ).sum(dim=1)
    return 1 - (1 - gamma) ** holders.outer(holders)


@pytest.mark.parametrize("who", ["ours", "torchvision"])
def test_every_pixel_is_dropped_as_often_as_it_should(who: str) -> None:
    method = baselines.drop_block if who == "ours" else torchvision.ops.drop_block2d
    draws = 30_000
    dropped = (method(torch.ones(draws // 10, 10, 9, 9), 0.2, 5) == 0).sum(dim=(0, 1))
    rates = block_pixel_rates(0.2, 9, 5)
    for count, rate in zip(dropped.flatten().tolist(), rates.flatten().tolist(), strict=True):
        assert_share(count, draws, rate)
    assert rates.mean() == pytest.approx(baselines.block_drop_rate(0.2, 9, 9, 5))


def test_realised_rates_at_14_by_14() -> None:
    timm_drop = pytest.importorskip("timm.layers.drop")
    x = torch.ones(64, 128, 14, 14)
    asked = 0.1
    ours, torchvisions, timms = (
        (y == 0).float().mean().item()
        for y in (
            baselines.drop_block(x, asked, 7),
            torchvision.ops.drop_block2d(x, asked, 7),
            timm_drop.drop_block_2d(x, asked, 7, couple_channels=False),
        )
    )
    assert baselines.block_drop_rate(asked, 14, 14, 7) == pytest.approx(0.0929, abs=1e-4)
    assert ours == pytest.approx(0.0929, abs=0.003)
    assert torchvisions == pytest.approx(0.0929, abs=0.003)
    assert timms > 0.17


def test_half_precision_scale_of_large_maps() -> None:
    x = torch.ones(4, 32, 32, 32, dtype=torch.float16)
    assert not torchvision.ops.drop_block2d(x, 0.1, 3).any()
    y = baselines.drop_block(x, 0.1, 3)
    kept = y != 0
    expected = torch.tensor(kept.numel() / kept.sum().item()).half()
    assert (y[kept] == expected).all()
    assert 0.85 < kept.float().mean() < 0.95


def test_even_blocks() -> None:
    x = torch.ones(2, 3, 8, 8)
    with pytest.raises(ValueError, match="block size should be odd"):
        torchvision.ops.drop_block2d(x, 0.1, 4)
    assert baselines.drop_block(x, 0.5, 4).shape == x.shape


def test_points_of_the_pattern_families() -> None:
    assert baselines.spatial_dropout(0.1) == ConvPattern(
        height="whole", width="whole", share_c=False, rate=0.1
    )
    assert baselines.stochastic_depth(0.1) == ConvPattern(height="whole", width="whole", rate=0.1)
    assert baselines.dropout(0.1) == TokenPattern(size=1, stride=0, rate=0.1)
    assert baselines.word_dropout(0.1) == TokenPattern(size=1, share_c=True, rate=0.1)
    assert baselines.variational_dropout(0.1) == TokenPattern(size="whole", share_t=True, rate=0.1)
    with pytest.raises(PatternError, match="rate is 2; expected a probability"):
        baselines.dropout(2)


POINTS = {
    "spatial": (baselines.spatial_dropout, (3, 2, 4, 5), baselines.drop_channels),
    "path": (baselines.stochastic_depth, (3, 2, 4, 5), baselines.drop_path),
    "units": (baselines.dropout, (3, 4, 5), baselines.drop_units),
    "words": (baselines.word_dropout, (3, 4, 5), baselines.drop_words),
    "features": (baselines.variational_dropout, (3, 4, 5), baselines.drop_features),
}


@pytest.mark.parametrize("name", POINTS)
def test_points_keep_the_same_masks_in_distribution(name: str) -> None:
    point, shape, method = POINTS[name]
    pattern = point(0.3)
    draw = conv_keep if isinstance(pattern, ConvPattern) else token_keep
    counts: dict[str, dict[int, int]] = {"pattern": {}, "method": {}}
    joint: dict[str, Tensor] = {}
    draws = 1500
    for who in counts:
        total = torch.zeros(math.prod(shape), math.prod(shape))
        for _ in range(draws):
            keep = (
                draw(pattern, shape).expand(shape)
                if who == "pattern"
                else method(torch.ones(shape), 0.3) != 0
            )
            flat = keep.flatten().float()
            total += flat.outer(flat)
        joint[who] = total / draws
    # Equal first and second moments of all cells, each within bounds at 1e-6 for a difference of two means.
    bound = 4.9 * math.sqrt(2 * 0.25 / draws)
    assert (joint["pattern"] - joint["method"]).abs().max() < bound


def small_net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Sequential(nn.ReLU(), nn.Conv2d(8, 4, 1)))


def test_modules_on_sites_act_in_training_only_and_go_without_a_trace() -> None:
    net, x = small_net(), torch.randn(4, 3, 8, 8)
    keys, before = list(net.state_dict()), net.eval()(x)
    rates = baselines.linear_decay(0.8, 2)
    sites = ["1", Site(name="2.1", layout="NCHW")]
    placed = baselines.on_sites(net, sites, lambda position: baselines.SpatialDropout(rates[position]))
    assert {name: module.p for name, module in placed.modules.items()} == {"1": 0.4, "2.1": 0.8}
    assert list(net.state_dict()) == keys
    assert torch.equal(net(x), before)
    zeros = (net.train()(x) == 0).all(dim=(2, 3))
    assert 0 < zeros.sum() < zeros.numel()
    placed.remove()
    placed.remove()
    assert not (net(x) == 0).all(dim=(2, 3)).any()
    assert [name for name, _ in net.named_modules()] == [name for name, _ in small_net().named_modules()]


def test_modules_on_sites_go_with_the_context() -> None:
    net = small_net()
    with baselines.on_sites(net, ["1"], lambda _: baselines.DropBlock(0.1, 3)):
        assert any(isinstance(module, baselines.DropBlock) for module in net.modules())
    assert not any(isinstance(module, baselines.DropBlock) for module in net.modules())


def test_a_failed_placement_leaves_the_model_as_it_was() -> None:
    net = small_net()
    for sites, error, text in (
        (["1", "nowhere"], SiteError, 'the model has no module "nowhere"'),
        (["1", "2"], SiteError, 'site "2" is a Sequential'),
        ([], UsageError, r"sites is \[\]; expected a sequence of at least one name"),
        ("1", UsageError, "sites is '1'; expected a sequence of at least one name"),
    ):
        with pytest.raises(error, match=text):
            baselines.on_sites(net, sites, lambda _: baselines.Dropout())
        assert not any(isinstance(module, baselines.Dropout) for module in net.modules())
    with (
        baselines.on_sites(net, ["1"], lambda _: baselines.Dropout()),
        pytest.raises(ApplyError, match='site "1" already has a pattern'),
    ):
        baselines.on_sites(net, ["1"], lambda _: baselines.Dropout())
