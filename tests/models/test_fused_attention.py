"""Attention without its weights: heads that are widened for it, and when it may be called."""

import math
import warnings

import pytest
import torch
from torch import nn

from autodropout.applying import apply
from autodropout.baselines import DropAttention, on_sites
from autodropout.models.decoder import Decoder
from autodropout.models.encoder_decoder import EncoderDecoder
from autodropout.models.fused_attention import attend, attend_widened, needs_weights
from autodropout.models.transformer_blocks import TransformerSize
from autodropout.models.transformer_xl import TransformerXL, XlSize
from autodropout.pattern import TokenPattern
from autodropout.policy import Policy

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
ON = TokenPattern(size=1, rate=0.5)
OFF = {"no size": TokenPattern(size=0), "no rate": TokenPattern(size=2, rate=0.0)}
MASKS = ("nothing", "a causal one", "a bool one", "a float one")


def heads(width, dtype=torch.float64):
    generator = torch.Generator().manual_seed(width)
    return [torch.randn(2, 3, 5, width, generator=generator, dtype=dtype) for _ in range(3)]


def masked(kind):
    """The same mask as ``attend`` takes it, and as what is added to the scores."""
    visible = torch.rand(2, 1, 5, 5, generator=torch.Generator().manual_seed(0)) < 0.6
    visible[..., 0] = True
    bias = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    later = torch.zeros(5, 5, dtype=torch.float64).masked_fill(~torch.ones(5, 5).tril().bool(), -math.inf)
    return {
        "nothing": ((), torch.zeros(())),
        "a causal one": ((None, True), later),
        "a bool one": ((visible,), torch.zeros(2, 1, 5, 5).double().masked_fill(~visible, -math.inf)),
        "a float one": ((bias,), bias),
    }[kind]


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("width", [3, 8, 38])
def test_widened_heads_attend_as_narrow_ones(width, kind):
    given, added = masked(kind)
    found, expected = [], []
    for attention, results in ((attend_widened, found), (None, expected)):
        parts = [part.requires_grad_() for part in heads(width)]
        query, key, value = parts
        if attention is None:
            h = (query @ key.mT / math.sqrt(width) + added).softmax(-1) @ value
        else:
            h = attention(*parts, *given)
        assert h.shape == (2, 3, 5, width)
        h.square().sum().backward()
        results += [h.detach(), *(part.grad for part in parts)]
    for ours, formula in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, formula, rtol=1e-12, atol=1e-12)


def test_what_a_kernel_is_called_with(monkeypatch):
    seen, real = [], nn.functional.scaled_dot_product_attention

    def spied(query, key, value, mask=None, **options):
        seen.append((query.shape[-1], key.shape[-1], value.shape[-1], options))
        return real(query, key, value, mask, **options)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", spied)
    attend_widened(*heads(38))
    attend(*heads(38), causal=True)
    assert seen == [
        (40, 40, 40, {"is_causal": False, "scale": 38**-0.5}),
        (38, 38, 38, {"is_causal": True}),  # the CPU takes any width
    ]


@pytest.mark.parametrize("kind", MASKS)
def test_on_the_cpu_nothing_is_changed(kind):
    given, parts = masked(kind)[0], heads(38)
    mask, causal = (given or (None,))[0], kind == "a causal one"
    theirs = nn.functional.scaled_dot_product_attention(*parts, mask, is_causal=causal)
    assert torch.equal(attend(*parts, *given), theirs)


def place(pattern=None, factory=None):
    """The module that attention weights go through, something standing on it."""
    net = nn.ModuleDict({"softmax": nn.Identity()})
    if factory is not None:
        on_sites(net, ["softmax"], factory)
    if pattern is not None:
        apply(net, Policy({"softmax": pattern}), layouts={"softmax": "NTC"})
    return net.train().softmax


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_weights_are_wanted_where_something_acts_on_them(device):
    assert not needs_weights(place(), device)
    for pattern in OFF.values():
        assert not needs_weights(place(pattern), device)
        assert not needs_weights(place(pattern).eval(), device)
    for softmax in (place(ON), place(factory=lambda _: DropAttention(0.1))):
        assert needs_weights(softmax, device)
        assert needs_weights(softmax.eval(), device) == (device == CPU)


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
@pytest.mark.parametrize("pattern", [None, ON, *OFF.values()], ids=["none", "on", *OFF])
def test_whoever_looks_on_sees_them(device, pattern):
    softmax = place(pattern)
    softmax.register_forward_hook(lambda module, args, output: None)
    assert needs_weights(softmax, device)
    assert needs_weights(softmax.eval(), device)


SIZE = TransformerSize(layers=1, width=8, heads=2, hidden=8)
TOKENS = torch.randint(1, 11, (3, 6), generator=torch.Generator().manual_seed(0))
NETS = {
    "decoder": lambda: Decoder(vocabulary=11, context=6, layers=1, width=8, heads=2),
    "encoder-decoder": lambda: EncoderDecoder(vocabulary=11, size=SIZE),
    "transformer-xl": lambda: TransformerXL(XlSize(vocabulary=11, layers=1, heads=2, width=8, inner=8)),
}


@pytest.mark.parametrize("pattern", OFF.values(), ids=OFF)
@pytest.mark.parametrize("kind", NETS)
def test_a_pattern_that_is_off_changes_nothing_and_is_not_missed(kind, pattern):
    torch.manual_seed(0)
    net = NETS[kind]()
    given = (TOKENS, TOKENS) if kind == "encoder-decoder" else (TOKENS,)
    plain, evaluated = net(*given), net.eval()(*given)
    net.train()
    with warnings.catch_warnings(), apply(net, Policy({"role:softmax": pattern})) as applied:
        warnings.simplefilter("error")
        assert applied.silent_sites() != ()
        assert torch.equal(net(*given), plain)
        assert applied.silent_sites() == ()
        applied.progress = 1.0
        assert torch.equal(net.eval()(*given), evaluated)
        net.train()
