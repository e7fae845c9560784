import copy
import pickle
import re

import pytest
import torch
import torch._dynamo.testing
from torch import nn

from autodropout.applied import Applied
from autodropout.applying import apply
from autodropout.errors import ApplyError, ShapeError
from autodropout.layers import PatternDropout
from autodropout.mask import drop
from autodropout.models.decoder import Decoder
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import ROLES, Policy
from autodropout.site import Site

UNITS = TokenPattern(size=1, stride=0, rate=0.4)
GONE = TokenPattern(size="whole", share_t=True, share_c=True, rate=1.0)


def draws(*shape, share=0.6, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


def slow_drop(h, keep, valid):
    """Eq. 1 one element after the other, over those that take part."""
    keep, valid = keep.expand(h.shape), valid.expand(h.shape)
    size = sum(1 for index in valid.nonzero())
    kept = sum(1 for index in valid.nonzero() if keep[tuple(index)])
    y = h.clone()
    for index in map(tuple, torch.ones_like(valid).nonzero()):
        if valid[index]:
            y[index] = h[index] * size / kept if keep[index] else 0.0
    return y


# drop(h, keep, valid)


@pytest.mark.parametrize(
    ("keep", "valid"),
    [
        ((3, 5, 4), (3, 5, 1)),
        ((3, 5, 1), (3, 5, 1)),
        ((3, 1, 4), (3, 5, 1)),
        ((3, 1, 1), (1, 5, 1)),
        ((5, 4), (3, 5, 4)),
        ((1, 1, 4), (3, 1, 1)),
    ],
)
def test_drop_is_equation_1_over_what_takes_part(keep, valid):
    h = torch.randn(3, 5, 4, dtype=torch.float64)
    keep, valid = draws(*keep), draws(*valid, share=0.7, seed=1)
    torch.testing.assert_close(drop(h, keep, valid), slow_drop(h, keep, valid), rtol=1e-14, atol=0)


def test_where_all_takes_part_it_is_drop():
    h, keep = torch.randn(3, 5, 4), draws(3, 5, 1)
    assert torch.equal(drop(h, keep, torch.ones(3, 5, 1, dtype=torch.bool)), drop(h, keep))


def test_the_mean_factor_over_what_takes_part_is_1():
    keep, valid = draws(3, 5, 1), draws(3, 5, 1, seed=3)
    y = drop(torch.ones(3, 5, 4, dtype=torch.float64), keep, valid)
    assert y[valid.expand_as(y)].mean().item() == pytest.approx(1.0, rel=1e-14)


def test_what_takes_no_part_stays_bit_for_bit_even_where_it_is_not_finite():
    h, valid = torch.randn(2, 3, 4, dtype=torch.float16), torch.tensor([[True, False, True]] * 2)[..., None]
    h[0, 1, 0], h[1, 1, 1] = torch.inf, torch.nan
    y = drop(h, torch.zeros(2, 3, 4, dtype=torch.bool), valid)
    assert torch.equal(y[:, 1].nan_to_num(7.0), h[:, 1].nan_to_num(7.0))
    assert y.dtype == torch.float16
    assert not y[:, ::2].any()


def test_where_nothing_takes_part_all_stays():
    h = torch.randn(2, 3, 4)
    assert torch.equal(drop(h, draws(2, 3, 4), torch.zeros(2, 3, 1, dtype=torch.bool)), h)


def test_gradients_of_what_takes_no_part_pass():
    keep, valid = draws(2, 3, 4), draws(2, 3, 1, seed=2)
    h = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda h: drop(h, keep, valid), h)


@pytest.mark.parametrize(
    ("valid", "text"),
    [
        (
            torch.ones(2, 3, 1),
            "valid is torch.float32; expected torch.bool, True where the hidden state takes",
        ),
        (torch.ones(2, 4, 1, dtype=torch.bool), "valid has shape (2, 4, 1), the hidden state (2, 3, 4)"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(valid, text):
    with pytest.raises(ShapeError, match=re.escape(text)):
        drop(torch.ones(2, 3, 4), torch.ones(2, 3, 4, dtype=torch.bool), valid)


# in a layer

TOKENS = torch.tensor([[True, True, False], [True, False, False]])


def test_a_layer_drops_from_valid_tokens_only():
    layer = PatternDropout(UNITS)
    layer.set_valid_tokens(TOKENS)
    y = layer(torch.ones(2, 3, 400))
    assert torch.equal(y[~TOKENS], torch.ones(3, 400))
    factors = y[TOKENS].unique()
    assert factors.numel() == 2
    assert y[TOKENS].mean().item() == pytest.approx(1.0, abs=1e-5)
    layer.set_valid_tokens(None)
    assert (layer(torch.ones(2, 3, 400))[~TOKENS] == 0).any()


def test_a_layer_draws_the_masks_that_it_draws_without_valid_tokens():
    layer = PatternDropout(TokenPattern(size=2, stride=1, rate=0.5), seed=3)
    h = torch.ones(2, 3, 8)
    kept = layer(h) != 0
    layer.set_valid_tokens(TOKENS)
    assert torch.equal((layer(h) != 0)[TOKENS], kept[TOKENS])


def test_of_weights_a_valid_querys_share_of_valid_keys_takes_part():
    layer = PatternDropout(GONE, sequences=("own", "own"))
    layer.set_valid_tokens(TOKENS)
    y = layer(torch.ones(2, 4, 3, 3))
    both = TOKENS[:, None, :, None] & TOKENS[:, None, None, :]
    assert torch.equal(y, (~both).expand(2, 4, 3, 3).float())


def test_what_attends_to_another_sequence_takes_keys_from_it():
    other = torch.tensor([[True, False], [True, True]])
    layer = PatternDropout(GONE, sequences=("own", "other"))
    layer.set_valid_tokens(TOKENS, other)
    y = layer(torch.ones(2, 4, 3, 2))
    both = TOKENS[:, None, :, None] & other[:, None, None, :]
    assert torch.equal(y, (~both).expand(2, 4, 3, 2).float())
    layer.set_valid_tokens(TOKENS)
    assert torch.equal(layer(torch.ones(2, 4, 3, 2)), (~TOKENS)[:, None, :, None].expand(2, 4, 3, 2).float())
    key = PatternDropout(GONE, sequences=("other", None))
    key.set_valid_tokens(TOKENS, other)
    assert torch.equal(key(torch.ones(2, 2, 5)), (~other)[..., None].expand(2, 2, 5).float())


def test_tokens_may_come_first():
    layer = PatternDropout(GONE, layout="TNC")
    layer.set_valid_tokens(TOKENS)
    assert torch.equal(layer(torch.ones(3, 2, 5)), (~TOKENS).t()[..., None].expand(3, 2, 5).float())


def test_one_row_stands_for_the_batch():
    layer = PatternDropout(GONE)
    layer.set_valid_tokens(torch.tensor([[False, True, True]]))  # [CLS] of a vision Transformer
    assert layer(torch.ones(4, 3, 2))[:, :, 0].tolist() == [[1.0, 0.0, 0.0]] * 4


def test_maps_have_no_tokens():
    layer = PatternDropout(ConvPattern(height="whole", width="whole", share_c=False))
    layer.set_valid_tokens(TOKENS)
    assert layer(torch.ones(2, 3, 4, 4)).shape == (2, 3, 4, 4)


@pytest.mark.parametrize("shape", [(2, 4, 5), (3, 3, 5), (6, 5)])
def test_tokens_of_another_batch_are_refused(shape):
    layer = PatternDropout(UNITS, site="layer.0")
    layer.set_valid_tokens(TOKENS)
    with pytest.raises(ShapeError) as error:
        layer(torch.ones(shape))
    assert str(error.value) == (
        f'site "layer.0": the valid tokens have shape (2, 3), the hidden state {shape}; set valid_tokens '
        "before each batch to (N, T) of that batch, or to None"
    )


@pytest.mark.parametrize(
    ("role", "cross", "sequences"),
    [
        ("softmax", False, ("own", "own")),
        ("softmax", True, ("own", "other")),
        ("key", True, ("other", None)),
        ("value", False, ("own", None)),
        ("query", True, ("own", None)),
        (None, False, ("own", None)),
    ],
)
def test_a_sites_part_says_whose_tokens_it_has(role, cross, sequences):
    assert Site(name="x", layout="NTC", role=role, cross=cross).sequences == sequences


# in a model


def decoder():
    torch.manual_seed(0)
    return Decoder(vocabulary=20, context=6, layers=2, width=16, heads=2).train()


def test_the_whole_model_follows():
    model, words = decoder(), torch.arange(12).reshape(2, 6)
    valid = torch.tensor([[True] * 4 + [False] * 2, [True] * 2 + [False] * 4])
    applied = apply(model, Policy({f"role:{role}": UNITS for role in ROLES}))
    assert applied.valid_tokens is None
    applied.valid_tokens = valid
    assert applied.valid_tokens is valid
    model(words).sum().backward()
    assert applied.silent_sites() == ()
    with pytest.raises(ShapeError, match=r'site "blocks.0.query": the valid tokens have shape \(2, 6\)'):
        model(words[:, :5])
    applied.valid_tokens = None
    model(words[:, :5])
    applied.valid_tokens = valid
    applied.remove()
    model(words[:, :5])
    with pytest.raises(ApplyError, match="removed"):
        applied.valid_tokens = valid


def test_the_stream_of_other_tokens_is_untouched():
    model, words = decoder(), torch.arange(12).reshape(2, 6)
    seen = []
    model.norm.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(words)
    with apply(model, Policy({"blocks.1.residual": UNITS})) as applied:
        applied.valid_tokens = torch.tensor([[False, True, True, True, False, False]])
        model(words)
    plain, dropped = seen
    same = (plain == dropped).all(-1)
    assert same.tolist() == [[True, False, False, False, True, True]] * 2


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        (torch.ones(2, 6, dtype=torch.int64), "torch.int64 of shape (2, 6)"),
        (torch.ones(2, 6, 1, dtype=torch.bool), "torch.bool of shape (2, 6, 1)"),
        ([[True, False]], "list"),
    ],
)
def test_what_is_no_mask_of_tokens_is_refused(tokens, found):
    applied = apply(decoder(), Policy({"role:ffn": UNITS}))
    with pytest.raises(ShapeError) as error:
        applied.valid_tokens = tokens
    assert str(error.value) == (
        f"valid_tokens is {found}; expected torch.bool of shape (N, T), True where a token takes part, such "
        "as attention_mask.bool()"
    )


def test_copies_and_pickles_have_tokens_of_their_own():
    model = decoder()
    apply(model, Policy({"role:residual": GONE})).valid_tokens = torch.tensor([[False] * 6])
    words = torch.arange(12).reshape(2, 6)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        Applied.of(twin).valid_tokens = torch.tensor([[True] * 6])
        assert not twin(words)[..., 0].any()
        assert model(words).any()


def test_new_tokens_do_not_compile_anew():
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()
    layer = PatternDropout(GONE)
    compiled = torch.compile(nn.Sequential(layer), backend=counter, fullgraph=True)
    for seed in range(4):
        tokens = draws(2, 3, seed=seed)
        layer.set_valid_tokens(tokens)
        assert torch.equal(compiled(torch.ones(2, 3, 4))[..., 0], (~tokens).float())
    assert counter.frame_count == 1
    torch._dynamo.reset()
