import itertools

import pytest
import torch
from torch import nn

from autodropout.applying import apply
from autodropout.errors import ShapeError, UsageError
from autodropout.families import attention, find_sites
from autodropout.matching import match, sites
from autodropout.opening import opened
from autodropout.pattern import TokenPattern
from autodropout.policy import Policy
from opened import assert_compiles, assert_each_site_acts, assert_stands, look, on_roles

N, T, S, HEADS, WIDTH = 3, 5, 4, 2, 8
ROLES = attention.PLACES


def made(**options):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(WIDTH, HEADS, **options)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module


def inputs(module):
    generator = torch.Generator().manual_seed(1)
    shapes = (N, T, WIDTH), (N, S, module.kdim), (N, S, module.vdim)
    tensors = [torch.randn(shape, generator=generator) for shape in shapes]
    return tensors if module.batch_first else [h.transpose(0, 1) for h in tensors]


def same_input(batch_first=True):
    h = torch.randn(N, T, WIDTH, generator=torch.Generator().manual_seed(1))
    h = h if batch_first else h.transpose(0, 1)
    return h, h, h


def padding():
    mask = torch.zeros(N, S, dtype=torch.bool)
    mask[0, 2:] = mask[2, 1] = True
    return mask


def masks():
    bools = torch.zeros(T, S, dtype=torch.bool)
    bools[0, 1:] = True
    generator = torch.Generator().manual_seed(2)
    floats = [torch.randn(shape, generator=generator) for shape in ((T, S), (N * HEADS, T, S))]
    pairs = [(None, None), (padding(), None), (None, bools), (padding(), bools)]
    more = [(None, floats[0]), (None, floats[1]), (padding() * -50.0, floats[1])]
    return pairs + more


def both(module, tensors, **options):
    """What an attention returns by itself and opened, in the module's own mode, from one seed."""
    openings = [opening for site in find_sites(module) for opening in site.openings]
    results = []
    torch.manual_seed(4)
    results.append(module(*tensors, **options))
    with opened(module, openings):
        torch.manual_seed(4)
        results.append(module(*tensors, **options))
    return results


def assert_same(before, after, exactly=False):
    for expected, result in zip(before, after, strict=True):
        assert (expected is None) == (result is None)
        if expected is not None:
            tolerance = 0.0 if exactly else 1e-5
            torch.testing.assert_close(result, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_first": True},
        {"bias": False},
        {"kdim": 6, "vdim": 7},
        {"kdim": 6, "vdim": 7, "bias": False, "batch_first": True},
        {"add_bias_kv": True, "add_zero_attn": True},
        {"add_bias_kv": True, "kdim": 6, "batch_first": True},
        {"add_zero_attn": True, "batch_first": True},
    ],
    ids=str,
)
def test_opened_it_is_the_same_function(options):
    module = made(**options)
    for (pad, mask), weights, average in itertools.product(masks(), (True, False), (True, False)):
        given = {
            "key_padding_mask": pad,
            "attn_mask": mask,
            "need_weights": weights,
            "average_attn_weights": average,
        }
        assert_same(*both(module.train(), inputs(module), **given))
        assert_same(*both(module.eval(), inputs(module), **given), exactly=True)


@pytest.mark.parametrize("batch_first", [True, False])
def test_self_attention_and_its_fused_kernel_in_evaluation(batch_first):
    module = made(batch_first=batch_first)
    with torch.no_grad():
        assert_same(*both(module.eval(), same_input(batch_first)), exactly=True)
    assert_same(*both(module.train(), same_input(batch_first)))


def test_own_dropout_draws_as_before_where_weights_are_asked_for():
    assert_same(*both(made(dropout=0.5).train(), inputs(made())))


def test_the_causal_hint_is_taken():
    mask = nn.Transformer.generate_square_subsequent_mask(T)
    for weights in (True, False):
        given = {"attn_mask": mask, "is_causal": True, "need_weights": weights}
        assert_same(*both(made(batch_first=True).train(), same_input(), **given))


def test_one_sample_without_a_batch():
    module = made(batch_first=False)
    h = torch.randn(T, WIDTH)
    mask = torch.randn(HEADS, T, T)
    pad = torch.tensor([False, False, True, False, True]) * -50.0
    for weights in (True, False):
        given = {"attn_mask": mask, "key_padding_mask": pad, "need_weights": weights}
        assert_same(*both(module.train(), (h, h, h), **given))


def test_a_query_that_may_attend_to_nothing_gets_zeros_and_finite_gradients():
    module = made(batch_first=True).train()
    mask = torch.zeros(T, T, dtype=torch.bool)
    mask[1] = True
    before, after = both(module, same_input(), attn_mask=mask, need_weights=False)
    assert_same(before, after)
    with apply(module, on_roles("softmax")):
        output, weights = module(*same_input(), attn_mask=mask)
        output.sum().backward()
    assert not weights[:, 1].any()
    assert all(p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested", "ignore:the model ran")
def test_nested_tensors_are_refused_in_training_as_before():
    module = made(batch_first=True).train()
    ragged = torch.nested.nested_tensor([torch.randn(2, WIDTH), torch.randn(3, WIDTH)])
    with (
        apply(module, on_roles("query")),
        pytest.raises(AssertionError, match="does not support NestedTensor"),
    ):
        module(ragged, ragged, ragged)


@pytest.mark.parametrize("batch_first", [True, False])
def test_applied_and_given_back(batch_first):
    module = made(batch_first=batch_first)
    assert_stands(module, *inputs(module), roles=ROLES)
    assert_each_site_acts(module, *inputs(module))


def test_compiled():
    assert_compiles(made(batch_first=True), *same_input())


@pytest.mark.parametrize("batch_first", [True, False])
def test_sites_are_n_t_c_whatever_the_module_takes(batch_first):
    module = made(batch_first=batch_first)
    shapes = {}
    with apply(module, on_roles(*ROLES)) as applied:
        for name, layer in applied.layers.items():
            layer.register_forward_hook(lambda _, args, out, name=name: shapes.update({name: args[0].shape}))
        module(*inputs(module))
    assert shapes == {
        "query": (N, T, WIDTH),
        "key": (N, S, WIDTH),
        "value": (N, S, WIDTH),
        "softmax": (N, HEADS, T, S),
        "output": (N, T, WIDTH),
    }


def test_each_place_drops_what_it_says():
    module = made(batch_first=True, bias=False)
    whole = TokenPattern(size="whole", share_t=True, share_c=True, rate=1.0)
    for role in ("value", "softmax", "output"):
        with apply(module, Policy({f"role:{role}": whole})):
            assert not module(*inputs(module))[0].any()
    for role in ("query", "key"):
        with apply(module, Policy({f"role:{role}": whole})):
            torch.testing.assert_close(module(*inputs(module))[1], torch.full((N, T, S), 1 / S))


def test_returned_weights_are_those_that_were_used():
    module = made(batch_first=True)
    with apply(module, on_roles("softmax")):
        output, weights = module(*inputs(module), average_attn_weights=False)
    assert (weights == 0).any()
    with torch.no_grad():
        value = (
            module.in_proj_weight.chunk(3)[2] @ inputs(module)[2].mT
            + module.in_proj_bias.chunk(3)[2][:, None]
        )
        heads = value.mT.unflatten(-1, (HEADS, -1)).transpose(1, 2)
        expected = module.out_proj((weights @ heads).transpose(1, 2).flatten(2))
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)


def test_found_anywhere_and_listed_while_applied():
    model = nn.ModuleDict({"attend": made(), "norm": nn.LayerNorm(WIDTH)})
    names = tuple(f"attend.{role}" for role in ROLES)
    assert sites(model) == names
    with apply(model, on_roles("key")):
        assert sites(model) == names
    assert [one.module for one in match(model, on_roles("key"))] == ["MultiheadAttention"]


def test_a_subclass_with_a_forward_of_its_own_is_left_alone():
    class Other(nn.MultiheadAttention):
        def forward(self, x):
            return x

    class Heir(nn.MultiheadAttention):
        pass

    assert sites(nn.ModuleList([Other(4, 2)])) == ()
    heir = Heir(4, 2)
    assert len(sites(heir)) == 5
    before = look(heir)
    with apply(heir, on_roles("query")):
        assert isinstance(heir, Heir)
    assert look(heir) == before


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"is_causal": True}, UsageError, "is_causal is only a hint about attn_mask, which is None"),
        (
            {"attn_mask": torch.zeros(T, T)},
            ShapeError,
            r"attn_mask has shape \(5, 5\); expected \(5, 4\), or \(6, 5, 4\) for one per sample and head",
        ),
        (
            {"key_padding_mask": torch.zeros(N, T)},
            ShapeError,
            r"key_padding_mask has shape \(3, 5\); expected \(3, 4\), one row per sample",
        ),
    ],
    ids=["causal", "mask", "padding"],
)
def test_wrong_masks_say_what_is_expected(given, error, text):
    module = made()
    with apply(module, on_roles("query")), pytest.raises(error, match=text):
        module(*inputs(module), **given)
