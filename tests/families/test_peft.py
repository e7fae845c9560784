import pytest
import torch
from torch import nn

from autodropout.applied import Applied
from autodropout.applying import apply
from autodropout.errors import ApplyError, SiteError
from autodropout.families import find_sites
from autodropout.matching import match, sites
from autodropout.pattern import TokenPattern
from autodropout.policy import ROLES, Policy
from tiny_transformers import TINY, stream, text, without_dropout

peft = pytest.importorskip("peft", reason="the wrappers are those of peft")

UNITS = TokenPattern(size=1, stride=0, rate=0.3)
EVERYWHERE = Policy({f"role:{role}": UNITS for role in ROLES})
TARGETS = {
    "bert": ["query", "value"],
    "gpt2": ["c_attn"],
    "llama": ["q_proj", "down_proj"],
    "t5": ["q"],
}


def adapted(name):
    config = peft.LoraConfig(
        target_modules=TARGETS[name], r=2, init_lora_weights=False, fan_in_fan_out=name == "gpt2"
    )
    return peft.get_peft_model(without_dropout(TINY[name].build()), config).train()


@pytest.mark.parametrize("name", TARGETS)
def test_a_model_with_adapters_has_the_names_of_the_model(name):
    assert sites(adapted(name)) == sites(TINY[name].build())
    assert [s.channels for s in find_sites(adapted(name))] == [
        s.channels for s in find_sites(TINY[name].build())
    ]


@pytest.mark.parametrize("name", TARGETS)
def test_patterns_act_on_the_sum_of_projection_and_adapter(name):
    model, batch = adapted(name), TINY[name].batch()
    shown, keys = repr(model), list(model.state_dict())
    with torch.no_grad():
        before = stream(model, batch)
        evaluated = stream(model.eval(), batch)
    applied = apply(model.train(), EVERYWHERE)
    with applied.disabled(), torch.no_grad():
        torch.testing.assert_close(stream(model, batch), before, rtol=1e-5, atol=2e-6)
    stream(model, batch).square().sum().backward()
    assert applied.silent_sites() == ()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained
    assert all(p.grad.isfinite().all() for p in trained)
    with torch.no_grad():
        assert torch.equal(stream(model.eval(), batch), evaluated)
    applied.remove()
    assert (repr(model.train()), list(model.state_dict())) == (shown, keys)
    assert Applied.of(model) is None


def test_all_of_a_projection_is_dropped_with_its_adapter():
    model = adapted("bert")
    gone = TokenPattern(size="whole", share_t=True, share_c=True, rate=1.0)
    seen = []
    module = model.get_base_model().encoder.layer[0].attention.self.query
    with apply(model, Policy({"encoder.layer.0.attention.self.query": gone})), torch.no_grad():
        module.register_forward_hook(lambda _, __, output: seen.append(output))
        stream(model, text())
    assert type(module).__module__.startswith("peft.")
    assert not seen[0].any()


def test_the_table_names_the_wrapped_module():
    table = str(match(adapted("bert"), Policy({"encoder.layer.0.attention.self.query": UNITS})))
    assert "encoder.layer.0.attention.self.query  Linear" in table


def test_names_with_the_wrapper_in_them_are_answered_with_those_without():
    policy = Policy({"base_model.model.encoder.layer.0.attention.self.query": UNITS})
    with pytest.raises(SiteError, match="no site") as error:
        match(adapted("bert"), policy)
    assert '"encoder.layer.0.attention.self.query"' in str(error.value)


def test_a_wrapper_within_a_module_is_looked_through_too():
    model = nn.ModuleDict({"text": adapted("bert")})
    assert sites(model)[0] == "text.encoder.layer.0.attention.self.query"
    apply(model, EVERYWHERE)
    stream(model["text"], text())
    assert Applied.of(model).silent_sites() == ()


def test_prompts_are_looked_through_too():
    config = peft.PromptTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=3)
    model = peft.get_peft_model(without_dropout(TINY["bert"].build()), config).train()
    assert sites(model) == sites(TINY["bert"].build())
    with apply(model, EVERYWHERE) as applied:
        stream(model, {**text(), "attention_mask": torch.ones(3, 7, dtype=torch.int64)})
        assert applied.silent_sites() == ()


@pytest.mark.parametrize("name", TARGETS)
def test_adapters_put_in_after_apply_are_refused_and_the_order_that_works_is_named(name):
    model, batch = without_dropout(TINY[name].build()).train(), TINY[name].batch()
    applied = apply(model, EVERYWHERE)
    config = peft.LoraConfig(target_modules=TARGETS[name], r=2, fan_in_fan_out=name == "gpt2")
    wrapped = peft.get_peft_model(model, config).train()
    message = r'site ".*" and \d+ more: another module was put there after apply, as peft.get_peft_model does'
    with pytest.raises(ApplyError, match=message):
        stream(wrapped, batch)
    applied.remove()
    with apply(wrapped, EVERYWHERE) as again:
        stream(wrapped, batch)
        assert again.silent_sites() == ()


def test_adapters_elsewhere_are_none_of_the_policys_business():
    model, batch = without_dropout(TINY["bert"].build()).train(), TINY["bert"].batch()
    applied = apply(model, Policy({"role:output": UNITS}))
    wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=TARGETS["bert"], r=2)).train()
    stream(wrapped, batch)
    assert applied.silent_sites() == ()
