import pytest
import torch
from torch import nn
from torchvision.models.swin_transformer import (
    PatchMergingV2,
    ShiftedWindowAttention,
    ShiftedWindowAttentionV2,
    SwinTransformer,
    SwinTransformerBlockV2,
)
from torchvision.models.vision_transformer import VisionTransformer

from autodropout.applying import apply
from autodropout.families import find_sites
from autodropout.matching import sites
from autodropout.opening import opened
from opened import assert_close, assert_compiles, assert_each_site_acts, assert_stands, on_roles, randomise

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def vit():
    torch.manual_seed(0)
    return randomise(VisionTransformer(32, 16, 1, 2, 8, 16, num_classes=3))


def swin(version=1):
    torch.manual_seed(0)
    blocks = {"block": SwinTransformerBlockV2, "downsample_layer": PatchMergingV2} if version == 2 else {}
    sizes = {"embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": [4, 4], "num_classes": 3}
    return randomise(SwinTransformer([4, 4], **sizes, stochastic_depth_prob=0.0, **blocks))


@pytest.mark.parametrize("build", [vit, swin, lambda: swin(2)], ids=["vit", "swin", "swin_v2"])
def test_models(build):
    assert_stands(build(), IMAGES)
    assert_each_site_acts(build(), IMAGES)


def test_names():
    five = ("query", "key", "value", "softmax", "output")
    layer = "encoder.layers.encoder_layer_0"
    assert sites(vit()) == (*(f"{layer}.self_attention.{role}" for role in five), f"{layer}.mlp.4", layer)
    assert sites(swin())[:7] == (
        *(f"features.1.0.attn.{role}" for role in five),
        "features.1.0.mlp.4",
        "features.1.0",
    )


def test_tokens_are_those_of_a_window_and_rows_outside():
    model, shapes = swin(), {}
    with apply(model, on_roles("query", "softmax", "output", "ffn", "residual")) as applied:
        for layer in applied.layers.values():
            layer.register_forward_hook(
                lambda self, args, out: shapes.update({self.site.removeprefix("features.1.0"): args[0].shape})
            )
        model(IMAGES)
    windows = 2 * 4  # two images of 8 x 8 patches
    assert shapes[".attn.query"] == shapes[".attn.output"] == (windows, 16, 8)
    assert shapes[".attn.softmax"] == (windows, 2, 16, 16)
    assert shapes[".mlp.4"] == shapes[""] == (2, 8, 8, 8)


@pytest.mark.parametrize("kind", [ShiftedWindowAttention, ShiftedWindowAttentionV2])
@pytest.mark.parametrize(
    ("window", "shift", "size"),
    [
        ((4, 4), (2, 2), (8, 8)),
        ((4, 4), (0, 0), (8, 4)),
        ((4, 4), (2, 2), (7, 9)),  # padded
        ((4, 4), (2, 2), (4, 9)),  # one window covers an axis
        ((3, 4), (1, 2), (6, 3)),
        ((2, 3), (1, 1), (5, 7)),
    ],
    ids=str,
)
def test_windows_opened_are_the_same_function(kind, window, shift, size):
    torch.manual_seed(0)
    for bias in (True, False):
        module = kind(8, list(window), list(shift), 2, qkv_bias=bias)
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.5)
        x = torch.randn(2, *size, 8, requires_grad=True)
        leaves = [x, *module.parameters()]
        expected = module(x)
        gradients = torch.autograd.grad(expected.square().sum(), leaves)
        openings = [opening for site in find_sites(module) for opening in site.openings]
        with opened(module, openings):
            assert torch.equal(module.eval()(x), expected)
            result = module.train()(x)
            torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
            for own, gradient in zip(
                torch.autograd.grad(result.square().sum(), leaves), gradients, strict=True
            ):
                torch.testing.assert_close(own, gradient, rtol=1e-3, atol=1e-3)


def test_own_dropout_draws_as_before():
    module = randomise(ShiftedWindowAttention(8, [4, 4], [2, 2], 2, attention_dropout=0.3, dropout=0.3))
    x = torch.randn(2, 8, 8, 8)
    torch.manual_seed(1)
    before = module(x)
    with opened(module, find_sites(module)[0].openings):
        torch.manual_seed(1)
        assert_close(module(x), before)


def test_an_attention_with_a_forward_of_its_own_is_left_alone():
    class Other(ShiftedWindowAttention):
        def forward(self, x):
            return x

    model = swin()
    model.features[1][0].attn = Other(8, [4, 4], [0, 0], 2)
    assert sites(model)[:2] == ("features.1.0.mlp.4", "features.1.0")


@pytest.mark.slow
def test_compiled():
    assert_compiles(swin().features[1], torch.randn(1, 8, 8, 8))
