import pytest
import timm
import torch
from timm.layers.attention import Attention

from autodropout.applying import apply
from autodropout.matching import match, sites
from autodropout.pattern import TokenPattern
from autodropout.policy import ROLES, Policy
from opened import (
    assert_close,
    assert_compiles,
    assert_each_site_acts,
    assert_stands,
    on_roles,
    randomise,
    run,
)

SMALL = {"embed_dim": 16, "num_heads": 2, "depth": 1, "num_classes": 3}
STAGES = {"embed_dim": 8, "num_heads": (2,), "depths": (2,), "num_classes": 3, "drop_path_rate": 0.0}

PLAIN = [
    ("vit_tiny_patch16_224", {"img_size": 32}),
    ("deit_tiny_distilled_patch16_224", {"img_size": 32}),
    ("vit_base_patch16_rpn_224", {"img_size": 32}),
    ("vit_base_patch16_xp_224", {"img_size": 32}),
    ("vit_base_patch16_18x2_224", {"img_size": 32}),
    ("vit_dlittle_patch16_reg1_gap_256", {"img_size": 32}),
    ("vit_relpos_small_patch16_224", {"img_size": 32}),
    ("samvit_base_patch16_224", {"img_size": 32}),
    ("beit_base_patch16_224", {"img_size": 32}),
    ("eva_giant_patch14_224", {"img_size": 28}),
    ("eva02_tiny_patch14_224", {"img_size": 28}),
    ("vit_small_patch16_dinov3", {"img_size": 32}),
    ("vit_small_patch16_dinov3_qkvb", {"img_size": 32}),
    ("gemma4_vit_167m", {"img_size": 96, "intermediate_size": 32}),
    ("vit_5b_patch16_sapiens2", {"img_size": 32, "num_kv_heads": 1}),
]
WINDOWED = [
    ("swin_tiny_patch4_window7_224", {"img_size": 32, "window_size": 4}),
    ("swinv2_tiny_window8_256", {"img_size": 32, "window_size": 4}),
    ("swinv2_cr_tiny_224", {"img_size": 32, "window_size": 4}),
]
CASES = [(name, SMALL | options) for name, options in PLAIN] + [
    (n, STAGES | options) for n, options in WINDOWED
]


def made(name, options):
    torch.manual_seed(0)
    return randomise(timm.create_model(name, **options))


def images(options):
    size = options["img_size"]
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "options"), CASES, ids=[name for name, _ in CASES])
def test_models(name, options):
    assert_stands(made(name, options), images(options))
    assert_each_site_acts(made(name, options), images(options))


def test_a_block_with_one_output_projection_for_all_has_five_roles():
    options = SMALL | {"img_size": 32}
    model = made("vit_dpwee_patch16_reg1_gap_256", options)
    assert_stands(model, images(options), roles=("query", "key", "value", "softmax", "residual"))


@pytest.fixture
def vit():
    return made(*CASES[0])


IMAGES = images(CASES[0][1])


def test_names(vit):
    assert sites(vit) == (
        "blocks.0.attn.query",
        "blocks.0.attn.key",
        "blocks.0.attn.value",
        "blocks.0.attn.attn_drop",
        "blocks.0.attn.proj",
        "blocks.0.mlp",
        "blocks.0",
    )
    with apply(vit, on_roles("softmax")):
        assert len(sites(vit)) == 7
    found = {one.site.role: one.site for one in match(vit, on_roles("query", "key", "value"))}
    assert {site.module for site in found.values()} == {"blocks.0.attn.qkv"}
    assert [found[role].channels for role in ("query", "key", "value")] == [(0, 16), (16, 32), (32, 48)]


@pytest.mark.parametrize(("name", "options"), CASES, ids=[name for name, _ in CASES])
def test_query_is_query_and_value_is_value(name, options):
    """Without values or weights every token gathers the same; without queries tokens still differ."""
    model = made(name, options)
    whole = TokenPattern(size="whole", share_t=True, share_c=True, rate=1.0)
    constant = {}
    for role in ("query", "value", "softmax"):
        seen = []
        (last, *_) = [site for site in sites(model) if site.endswith((".proj", ".o_proj", "attn_out_proj"))]
        with apply(model, Policy({f"role:{role}": whole})):
            handle = model.get_submodule(last).register_forward_pre_hook(
                lambda _, args, seen=seen: seen.append(args[0])
            )
            run(model.train(), (images(options),))
            handle.remove()
        constant[role] = bool((seen[0].flatten(0, -2).std(0) < 1e-6).all())
    assert constant == {"query": False, "value": True, "softmax": True}


def test_the_fused_kernel_is_left_only_where_weights_are_touched(vit, monkeypatch):
    calls = []
    kernel = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *args, **given: (calls.append(1), kernel(*args, **given))[1],
    )
    for roles, training, fused in (
        (("query", "residual"), True, 1),
        (("softmax",), True, 0),
        (("softmax",), False, 1),
    ):
        calls.clear()
        with apply(vit, on_roles(*roles)):
            vit.train(training)(IMAGES)
        assert len(calls) == fused


def test_class_and_register_tokens_are_tokens(vit):
    shapes = []
    with apply(vit, on_roles("residual")) as applied:
        applied.layers["blocks.0"].register_forward_hook(lambda _, args, out: shapes.append(args[0].shape))
        vit(IMAGES)
    assert shapes == [(2, 1 + 4, 16)]


def test_a_class_token_that_is_not_valid_is_kept(vit):
    seen = []
    everything = TokenPattern(size="whole", share_t=True, share_c=True, rate=1.0)
    with apply(vit, Policy({"blocks.0": everything, "role:softmax": everything})) as applied:
        applied.valid_tokens = torch.arange(5)[None] > 0
        applied.layers["blocks.0"].register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
        vit(IMAGES)
    ((before, after),) = seen
    assert torch.equal(after[:, 0], before[:, 0])
    assert not after[:, 1:].any()


def test_a_subclass_is_known_by_whose_forward_it_has(vit):
    class Heir(Attention):
        pass

    class Other(Attention):
        def forward(self, x, **given):
            return x

    attn = vit.blocks[0].attn
    before = run(vit.train(), (IMAGES,))
    attn.__class__ = Heir
    with apply(vit, on_roles(*ROLES)) as applied, applied.disabled():
        assert isinstance(attn, Heir)
        assert_close(run(vit, (IMAGES,)), before)
    attn.__class__ = Other
    assert sites(vit) == ()


@pytest.mark.parametrize("place", [8, pytest.param(0, marks=pytest.mark.slow)], ids=["beit", "vit"])
def test_compiled(place):
    name, options = CASES[place]
    assert_compiles(made(name, options), images(options))
