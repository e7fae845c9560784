import pytest
import torch
from torch import nn

from autodropout.applying import apply
from autodropout.families import transformer
from autodropout.matching import match, sites
from autodropout.pattern import TokenPattern
from autodropout.policy import ROLES, Policy
from opened import assert_close, assert_compiles, assert_each_site_acts, assert_stands, on_roles

N, T, WIDTH = 3, 5, 8


def encoder(layers=1, **options):
    torch.manual_seed(0)
    options = {"dropout": 0.0, "batch_first": True} | options
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, 2, 16, **options), layers)


def stream(batch_first=True, length=T):
    h = torch.randn(N, length, WIDTH, generator=torch.Generator().manual_seed(length))
    return h if batch_first else h.transpose(0, 1)


def padding():
    mask = torch.zeros(N, T, dtype=torch.bool)
    mask[0, 3:] = True
    return mask


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_encoders(norm_first, batch_first):
    model = encoder(norm_first=norm_first, batch_first=batch_first)
    assert_stands(model, stream(batch_first))
    assert_each_site_acts(model, stream(batch_first))


@pytest.mark.parametrize("norm_first", [True, False])
def test_decoders(norm_first):
    torch.manual_seed(0)
    layer = nn.TransformerDecoderLayer(WIDTH, 2, 16, dropout=0.0, batch_first=True, norm_first=norm_first)
    assert_stands(layer, stream(), stream(length=4))
    assert_each_site_acts(layer, stream(), stream(length=4))


def test_sites_of_both_sides():
    model = nn.Transformer(WIDTH, 2, 1, 1, 16, batch_first=True)
    five = ("query", "key", "value", "softmax", "output")
    assert sites(model) == (
        *(f"encoder.layers.0.self_attn.{role}" for role in five),
        "encoder.layers.0.ffn",
        "encoder.layers.0.residual",
        *(f"decoder.layers.0.self_attn.{role}" for role in five),
        *(f"decoder.layers.0.multihead_attn.{role}" for role in five),
        "decoder.layers.0.ffn",
        "decoder.layers.0.residual",
    )


def test_what_a_decoder_attends_to_has_tokens_of_its_own():
    torch.manual_seed(0)
    layer = nn.TransformerDecoderLayer(WIDTH, 2, 16, batch_first=True)
    units = TokenPattern(size=1, stride=0, rate=0.5)
    with apply(layer, Policy({f"role:{role}": units for role in ROLES})) as applied:
        applied.valid_tokens = torch.ones(3, 5, dtype=torch.bool)
        layer(torch.randn(3, 5, WIDTH), torch.randn(3, 7, WIDTH))
        assert applied.silent_sites() == ()


def test_sites_of_an_attention_are_listed_as_its():
    policy = Policy({"layers.0.*.query": TokenPattern(size=1), "layers.0.ffn": TokenPattern(size=1)})
    expected = ["MultiheadAttention", "TransformerEncoderLayer"]
    model = encoder()
    assert [found.module for found in match(model, policy)] == expected
    with apply(model, policy):
        assert [found.module for found in match(model, policy)] == expected


@pytest.mark.parametrize("padded", [True, False])
def test_evaluation_takes_the_fused_kernel_as_before(padded, monkeypatch):
    """With padding the stack makes nested tensors of its input, which nothing but that kernel takes."""
    calls = []
    kernel = torch._transformer_encoder_layer_fwd
    monkeypatch.setattr(
        torch, "_transformer_encoder_layer_fwd", lambda *args: (calls.append(args), kernel(*args))[1]
    )
    model = encoder(layers=2).eval()
    mask = padding() if padded else None
    with torch.no_grad():
        before = model(stream(), src_key_padding_mask=mask)
        assert len(calls) == 2
        with apply(model, on_roles(*ROLES)):
            assert torch.equal(model(stream(), src_key_padding_mask=mask), before)
            assert len(calls) == 4


def test_a_hook_of_the_users_own_still_counts():
    layer = encoder().layers[0]
    with apply(layer, on_roles("ffn")):
        inside = dict(layer.named_modules())
        assert set(layer.eval().modules()) == {m for name, m in inside.items() if "_autodropout" not in name}
        assert set(layer.train().modules()) == set(inside.values())


def test_padding_and_causal_masks_in_training():
    model = encoder().train()
    causal = nn.Transformer.generate_square_subsequent_mask(T)
    for given in ({"src_key_padding_mask": padding()}, {"mask": causal}, {"mask": causal, "is_causal": True}):
        before = model(stream(), **given)
        with apply(model, on_roles(*ROLES)) as applied, applied.disabled():
            assert_close(model(stream(), **given), before)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_sites_of_the_stream_are_n_t_c(batch_first):
    model = encoder(batch_first=batch_first)
    shapes = []
    with apply(model, on_roles("ffn", "residual")) as applied:
        for layer in applied.layers.values():
            layer.register_forward_hook(lambda _, args, out: shapes.append(args[0].shape))
        model(stream(batch_first))
        model(stream()[0])
    assert shapes == 2 * [(N, T, WIDTH)] + 2 * [(T, WIDTH)]


def test_a_subclass_keeps_what_it_overrides():
    class Doubled(nn.TransformerEncoderLayer):
        def _ff_block(self, x):
            return 2 * super()._ff_block(x)

    torch.manual_seed(0)
    layer = Doubled(WIDTH, 2, 16, dropout=0.0, batch_first=True).train()
    before = layer(stream())
    with apply(layer, on_roles("ffn")) as applied, applied.disabled():
        assert_close(layer(stream()), before)
        assert applied.silent_sites() == ()


def test_a_layer_with_an_attention_of_another_kind_is_not_known():
    layer = encoder().layers[0]
    layer.self_attn = nn.Identity()
    assert transformer.sites_of(layer) is None


@pytest.mark.slow
def test_compiled():
    assert_compiles(encoder().layers[0], stream())
