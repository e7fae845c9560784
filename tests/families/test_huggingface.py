import copy
import io
import pickle

import pytest
import torch
from torch import nn

from autodropout.applied import Applied
from autodropout.applying import apply
from autodropout.errors import ApplyError
from autodropout.families import find_sites
from autodropout.families.huggingface.places import HeadsApart
from autodropout.families.huggingface.weights import NAME, Weights
from autodropout.matching import match, sites
from autodropout.pattern import TokenPattern
from autodropout.policy import ROLES, Policy
from tiny_transformers import TINY, stream, text, transformers, without_dropout

UNITS = TokenPattern(size=1, stride=0, rate=0.3)
EVERYWHERE = Policy({f"role:{role}": UNITS for role in ROLES})
SOFTMAX = Policy({"role:softmax": UNITS})
FUSED = ("gpt2", "gpt-neox", "phi3", "bloom", "modernbert", "deberta")


def look(model):
    return repr(model), list(model.state_dict()), [dict(vars(m)) for m in model.modules()]


def untouched(model, before):
    shown, keys, attributes = before
    assert repr(model) == shown
    assert list(model.state_dict()) == keys
    for module, was in zip(model.modules(), attributes, strict=True):
        assert vars(module).keys() == was.keys()
        assert vars(module).get("config") is was.get("config")
        assert type(module).__module__.split(".")[0] != "autodropout"
        assert not any("autodropout" in str(hook) for hook in module._forward_hooks.values())


@pytest.fixture(params=TINY)
def family(request):
    return TINY[request.param]


def test_every_role_is_found_in_every_layer(family):
    found = [site.role for site in find_sites(family.build())]
    layers = found.count("residual")
    attentions = found.count("query")
    assert layers == (
        1 if family.model == "AlbertModel" else 4 if "decoder_input_ids" in family.batch() else 2
    )
    assert {found.count(role) for role in ("query", "key", "value", "softmax", "output")} == {attentions}
    assert found.count("ffn") == layers
    assert set(found) == set(ROLES)


def test_all_sites_act_in_training_and_none_in_evaluation(family):
    model, batch = family.build().eval(), family.batch()
    before = look(model)
    with torch.no_grad():
        evaluated = stream(model, batch)
    applied = apply(model, EVERYWHERE)
    with torch.no_grad():
        assert torch.equal(stream(model, batch), evaluated)
    assert set(applied.silent_sites()) == set(applied.layers)
    stream(model.train(), batch).square().sum().backward()
    assert applied.silent_sites() == ()
    used = [p for name, p in model.named_parameters() if ".q" in name and p.grad is not None]
    assert all(p.grad.isfinite().all() for p in used)
    assert any(p.grad.count_nonzero() for p in used) or not used
    applied.remove()
    untouched(model.eval(), before)
    with torch.no_grad():
        assert torch.equal(stream(model, batch), evaluated)


def test_at_strength_0_training_is_what_it_was(family):
    model, batch = without_dropout(family.build()).train(), family.batch()
    for mask in (None, torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [1] * 3 + [0] * 4])):
        given = batch if mask is None or "input_ids" not in batch else {**batch, "attention_mask": mask}
        with torch.no_grad():
            before = stream(model, given)
            applied = apply(model, EVERYWHERE)
            dropped = stream(model, given)
            with applied.disabled():
                undropped = stream(model, given)
            applied.remove()
        valid = given["attention_mask"].bool() if undropped.shape[:2] == (3, 7) and mask is not None else ...
        torch.testing.assert_close(undropped[valid], before[valid], rtol=1e-5, atol=2e-6)
        assert not torch.allclose(dropped, before, atol=1e-3)


@pytest.mark.parametrize("name", TINY)
def test_each_role_alone_changes_training(name):
    family = TINY[name]
    model, batch = without_dropout(family.build()).train(), family.batch()
    with torch.no_grad():
        before = stream(model, batch)
        for role in ROLES:
            with apply(model, Policy({f"role:{role}": TokenPattern(size=1, stride=0, rate=0.5)})) as applied:
                changed = not torch.allclose(stream(model, batch), before, atol=1e-5)
                assert changed, role
                assert applied.silent_sites() == ()


# what exactly is dropped


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_the_pattern_acts_on_the_very_weights(kernel):
    model = without_dropout(TINY["bert"].build(attn_implementation=kernel)).train()
    batch = {**text(), "attention_mask": torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [1] * 7])}
    seen = []
    with apply(model, SOFTMAX) as applied:
        layer = applied.layers["encoder.layer.0.attention.self.softmax"]
        layer.register_forward_hook(lambda _, args, output: seen.append((args[0], output)))
        stream(model, batch)
    (weights, dropped), *_ = seen
    assert weights.shape == (3, 4, 7, 7)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 4, 7))
    assert not weights[1, :, :, 5:].any()
    kept = dropped != 0
    assert not kept.all()
    factor = (dropped / weights)[kept]
    torch.testing.assert_close(factor, factor[:1].expand_as(factor))


def test_a_causal_model_without_a_mask_stays_causal():
    model, batch = without_dropout(TINY["llama"].build()).train(), text()
    with apply(model, SOFTMAX) as applied, torch.no_grad(), applied.disabled():
        before = stream(model, batch)
        batch["input_ids"][:, 4:] = 3
        after = stream(model, batch)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.equal(before[:, 4:], after[:, 4:])


def test_the_models_own_dropout_of_the_weights_stays():
    model = TINY["bert"].build(attention_probs_dropout_prob=0.5, hidden_dropout_prob=0.0).train()
    with apply(model, SOFTMAX) as applied, applied.disabled(), torch.no_grad():
        seen = []
        layer = applied.layers["encoder.layer.0.attention.self.softmax"]
        layer.register_forward_hook(lambda _, args, __: seen.append(args[0]))
        stream(model, text())
    assert 0.3 < (seen[0] == 0).float().mean() < 0.7


def attended(model, batch):
    """Return what the first layer's output projection is given."""
    first = next(site for site in find_sites(model) if site.role == "output")
    seen = []
    hook = model.get_submodule(first.name).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        stream(model, batch)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("name", FUSED)
def test_fused_projections_are_cut_where_the_model_cuts_them(name):
    model, batch = without_dropout(TINY[name].build()).train(), TINY[name].batch()
    before = attended(model, batch)

    def changed(role, change):
        with apply(model, Policy({f"role:{role}": UNITS})) as applied, applied.disabled():
            layer = next(iter(applied.layers.values()))
            layer.register_forward_hook(lambda _, args, __: change(args[0].clone()))
            return attended(model, batch)

    def without_one(h):
        h[:, 2] = 0
        return h

    assert not changed("value", torch.zeros_like).any()
    query = (changed("query", without_one) != before).any(-1).any(0)
    assert query.tolist() == [False, False, True, False, False, False, False]
    for role in ("key", "value"):
        assert (changed(role, without_one) != before).any(-1).any(0)[3:].all(), role


def test_grouped_heads_have_their_own_widths():
    model = TINY["phi3"].build()
    found = [site for site in find_sites(model) if site.module == "layers.0.self_attn.qkv_proj"]
    assert [(site.role, site.channels) for site in found] == [
        ("query", (0, 32)),
        ("key", (32, 48)),
        ("value", (48, 64)),
    ]


def test_a_layer_with_two_attentions_tells_them_apart():
    options = {"is_decoder": True, "add_cross_attention": True}
    model = without_dropout(TINY["gpt2"].build(add_cross_attention=True)).train()
    found = [site for site in find_sites(model) if site.name.startswith("h.0.")]
    assert [site.name[4:] for site in found if site.cross] == [
        "crossattention.q_attn",
        "crossattention.key",
        "crossattention.value",
        "crossattention.softmax",
    ]
    batch = {**text(), "encoder_hidden_states": torch.randn(3, 4, 32)}
    with apply(model, EVERYWHERE) as applied:
        stream(model, batch)
        assert applied.silent_sites() == ()
    bert = find_sites(TINY["bert"].build(**options))
    assert [site.cross for site in bert if site.role == "softmax"] == [False, True] * 2


def test_the_stream_is_the_first_of_a_tuple():
    model = without_dropout(TINY["t5"].build()).train()
    gone = TokenPattern(size="whole", share_t=True, share_c=True, rate=1.0)
    batch = TINY["t5"].batch()
    with apply(model, Policy({"decoder.block.1.residual": gone})), torch.no_grad():
        assert not stream(model, batch).any()
        assert model(**batch).encoder_last_hidden_state.any()


# copies, pickles, kernels and compilers


def test_a_feed_forward_of_all_tokens_in_one_row_has_masks_per_sample():
    model = without_dropout(TINY["opt"].build()).train()
    whole = TokenPattern(size="whole", share_t=True, share_c=True, rate=0.5)
    seen = []
    with apply(model, Policy({"decoder.layers.0.fc2": whole})) as applied:
        applied.layers["decoder.layers.0.fc2"].register_forward_hook(lambda _, __, h: seen.append(h))
        torch.manual_seed(0)
        stream(model, {"input_ids": torch.full((16, 7), 5)})
    dropped = (seen[0] == 0).flatten(1)
    assert seen[0].shape == (16, 7, 32)
    assert torch.equal(dropped.any(1), dropped.all(1))
    assert 0 < dropped.all(1).sum() < 16


@pytest.mark.parametrize("name", ["bert", "albert"])
def test_a_feed_forward_in_chunks_has_one_mask_for_all_tokens(name):
    model = without_dropout(TINY[name].build(chunk_size_feed_forward=1))
    before = look(model)
    evaluated = stream(model.eval(), text())
    trained = stream(model.train(), text())
    seen = []
    with apply(model, Policy({"role:ffn": UNITS})) as applied:
        applied.valid_tokens = torch.ones(3, 7, dtype=torch.bool)
        place = next(iter(applied.layers.values()))
        place.register_forward_hook(lambda _, __, h: seen.append(h))
        assert not torch.allclose(stream(model, text()), trained)
        with applied.disabled():
            torch.testing.assert_close(stream(model, text()), trained)
        assert torch.equal(stream(model.eval(), text()), evaluated)
    assert {h.shape for h in seen} == {(3, 7, 32)}
    untouched(model, before)


def test_copies_and_pickles_carry_their_own():
    model, batch = without_dropout(TINY["t5"].build()).train(), TINY["t5"].batch()
    before = look(model)
    apply(model, EVERYWHERE)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        applied = Applied.of(twin)
        stream(twin, batch).sum().backward()
        assert applied.silent_sites() == ()
        assert Applied.of(model).silent_sites() == tuple(Applied.of(model).layers)
        applied.remove()
        assert (repr(twin), list(twin.state_dict())) == before[:2]
        assert all(vars(m).get("config", twin.config)._attn_implementation == "sdpa" for m in twin.modules())


def test_a_pickle_opens_attentions_in_a_process_that_opened_none(monkeypatch):
    model = without_dropout(TINY["bert"].build()).train()
    apply(model, SOFTMAX)
    stored = io.BytesIO(pickle.dumps(model))
    registry = transformers.modeling_utils.ALL_ATTENTION_FUNCTIONS
    monkeypatch.delitem(registry._global_mapping, NAME)
    loaded = pickle.load(stored)
    assert stream(loaded, text()).isfinite().all()


def test_eager_functions_may_scale_by_the_width_of_the_values():
    model = without_dropout(TINY["gpt2"].build()).train()
    with apply(model, SOFTMAX) as applied, applied.disabled(), torch.no_grad():
        usual = stream(model, text())
        for place in (m for m in model.modules() if isinstance(m, Weights)):
            place.eager = scaled_by_values
        torch.testing.assert_close(stream(model, text()), usual)


def scaled_by_values(module, query, key, value, mask, **kwargs):
    weights = (query @ key.transpose(-1, -2) / value.shape[-1] ** 0.5 + mask).softmax(-1)
    return (weights @ value).transpose(1, 2), weights


def test_the_configuration_of_the_model_is_never_touched():
    model = TINY["bert"].build()
    with apply(model, SOFTMAX):
        assert model.config._attn_implementation == "sdpa"
        assert NAME not in model.config.to_json_string()
        model.set_attn_implementation("eager")
        with torch.no_grad():
            eager = model.eval()(**text(), output_attentions=True)
    with torch.no_grad():
        assert torch.equal(eager[0], model(**text())[0])
    assert len(eager.attentions) == 2
    assert model.encoder.layer[0].attention.self.config is model.config


@pytest.mark.parametrize("kernel", ["flash_attention_2", "flex_attention"])
def test_kernels_without_weights_are_refused(kernel):
    model = TINY["llama"].build()
    before = look(model)
    model.config._attn_implementation = kernel
    with pytest.raises(ApplyError, match="cannot be opened") as error:
        apply(model, EVERYWHERE)
    assert str(error.value) == (
        '"layers.0.self_attn" cannot be opened: the attention weights of LlamaAttention never exist in the '
        f'kernel "{kernel}", so no pattern can act on them; call model.set_attn_implementation("sdpa") '
        "before apply, or leave the role softmax out of the policy"
    )
    untouched(model, before)
    others = Policy({f"role:{role}": UNITS for role in ROLES if role != "softmax"})
    apply(model, others).remove()


def test_weights_computed_in_another_way_are_refused():
    model = TINY["gpt2"].build(reorder_and_upcast_attn=True, attn_implementation="eager")
    with pytest.raises(ApplyError, match=r"reorder_and_upcast_attn=True computes .* set it to False"):
        apply(model, SOFTMAX)


def test_compiles_as_one_graph_once():
    torch._dynamo.reset()
    model = without_dropout(TINY["bert"].build()).train()
    applied = apply(model, EVERYWHERE)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    batch = {**text(), "attention_mask": torch.ones(3, 7, dtype=torch.int64)}
    outputs = [stream(compiled, batch) for _ in range(2)]
    assert not torch.equal(*outputs)
    assert applied.silent_sites() == ()
    torch._dynamo.reset()


@pytest.mark.parametrize(("name", "layers"), [("llama", "layers"), ("opt", "decoder.layers")])
def test_checkpointed_layers_draw_the_same_masks_again(name, layers):
    model = without_dropout(TINY[name].build()).train()
    apply(model, EVERYWHERE)

    def gradient():
        torch.manual_seed(5)
        model.zero_grad()
        stream(model, text()).square().sum().backward()
        q_proj = model.get_submodule(f"{layers}.0.self_attn.q_proj")
        return q_proj.weight.grad.clone()

    plain = gradient()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    torch.testing.assert_close(gradient(), plain)


def test_half_precision_keeps_its_dtype():
    model = without_dropout(TINY["gpt-neox"].build()).train().bfloat16()
    with apply(model, EVERYWHERE):
        output = stream(model, text())
    assert output.dtype == torch.bfloat16
    assert output.isfinite().all()


# the model around the layers


def test_heads_and_wrappers_keep_the_names_of_modules():
    model = transformers.BertForSequenceClassification(TINY["bert"].build().config)
    assert sites(model)[0] == "bert.encoder.layer.0.attention.self.query"
    table = str(match(model, Policy({"bert.encoder.layer.*.output.dense": UNITS})))
    assert table.count("output.dense  Linear") == 2
    nested = nn.ModuleDict({"text": model})
    assert sites(nested)[0] == "text.bert.encoder.layer.0.attention.self.query"


def test_equal_openings_compare_equal():
    assert HeadsApart(4) == HeadsApart(4)
    assert HeadsApart(4) != HeadsApart(2)
