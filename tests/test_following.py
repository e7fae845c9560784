import copy
import pickle
import re

import pytest
import torch
import torch._dynamo.testing
from torch import nn

from autodropout.applied import Applied
from autodropout.applying import apply
from autodropout.errors import ApplyError, ShapeError, UsageError
from autodropout.pattern import TokenPattern
from autodropout.policy import ROLES, Policy
from autodropout.site import Site
from tiny_transformers import TINY, stream, text, transformers, without_dropout

UNITS = TokenPattern(size=1, stride=0, rate=0.4)
GONE = TokenPattern(size="whole", share_t=True, share_c=True, rate=1.0)
EVERYWHERE = Policy({f"role:{role}": UNITS for role in ROLES})
MASK = torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [1] * 3 + [0] * 4])
BATCH = {"attention_mask": MASK, **text()}
LAST = {"bert": "encoder.layer.1.residual", "llama": "layers.1.residual", "gpt2": "h.1.residual"}


def ready(name="bert"):
    return without_dropout(TINY[name].build()).train()


def dropped_tokens(model, batch):
    """Return where all of the stream was dropped from the last layer, (N, T)."""
    seen = []
    layer = Applied.of(model).layers[LAST.get(model.config.model_type, "encoder.layer.1.residual")]
    hook = layer.register_forward_hook(lambda _, __, output: seen.append(output))
    stream(model, batch)
    hook.remove()
    return ~seen[0].any(-1)


@pytest.mark.parametrize("name", LAST)
def test_padding_is_read_off_the_batch(name):
    model = ready(name)
    applied = apply(model, Policy({LAST[name]: GONE}))
    applied.follow()
    assert torch.equal(dropped_tokens(model, BATCH), MASK.bool())
    assert torch.equal(dropped_tokens(model, {**BATCH, "attention_mask": MASK.flip(0)}), MASK.flip(0).bool())
    assert dropped_tokens(model, text()).all()


def test_protected_tokens_are_looked_for_in_the_batch():
    model = ready()
    applied = apply(model, Policy({LAST["bert"]: GONE}))
    ids = BATCH["input_ids"].clone()
    ids[:, 0], ids[1, 4] = 1, 2
    expected = MASK.bool() & (ids != 1) & (ids != 2)
    applied.follow(protect=(1, 2))
    assert torch.equal(dropped_tokens(model, {**BATCH, "input_ids": ids}), expected)
    assert torch.equal(dropped_tokens(model, {"input_ids": ids}), (ids != 1) & (ids != 2))
    applied.follow()
    assert torch.equal(dropped_tokens(model, {**BATCH, "input_ids": ids}), MASK.bool())


@pytest.mark.parametrize(
    "name", ["bert", "roberta", "albert", "gpt2", "gpt-neox", "opt", "llama", "t5", "bart"]
)
def test_all_roles_follow_in_training_and_evaluation_is_as_before(name):
    model, batch = ready(name), {**TINY[name].batch(), "attention_mask": MASK}
    applied = apply(model, EVERYWHERE)
    applied.follow(protect=(3,))
    stream(model, batch).square().sum().backward()
    assert applied.silent_sites() == ()
    with torch.no_grad():
        evaluated = stream(model.eval(), batch)
        applied.remove()
        assert torch.equal(stream(model, batch), evaluated)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_arguments_may_be_positional():
    model = ready()
    apply(model, Policy({LAST["bert"]: GONE})).follow()
    seen = []
    Applied.of(model).layers[LAST["bert"]].register_forward_hook(lambda _, __, output: seen.append(output))
    model(BATCH["input_ids"], MASK)
    assert torch.equal(~seen[0].any(-1), MASK.bool())


def test_encoder_and_decoder_have_their_own_tokens():
    model = ready("bart")
    batch = {**TINY["bart"].batch(), "attention_mask": MASK}
    batch["decoder_attention_mask"] = torch.tensor([[1] * 5, [1] * 4 + [0], [1] * 2 + [0] * 3])
    keys = ("encoder.layers.0.self_attn.k_proj", "decoder.layers.0.self_attn.k_proj")
    across = "decoder.layers.0.encoder_attn"
    names = [*keys, f"{across}.k_proj", f"{across}.softmax"]
    applied = apply(model, Policy(dict.fromkeys(names, GONE)))
    applied.follow()
    seen = {}
    for name, layer in applied.layers.items():
        layer.register_forward_hook(lambda _, args, output, name=name: seen.update({name: output == args[0]}))
    stream(model, batch)
    inner, outer = batch["decoder_attention_mask"].bool(), MASK.bool()
    assert torch.equal(~seen[keys[0]].all(-1), outer)
    assert torch.equal(~seen[keys[1]].all(-1), inner)
    assert torch.equal(~seen[f"{across}.k_proj"].all(-1), outer)
    weights = ~seen[f"{across}.softmax"][:, 0]
    assert torch.equal(weights, inner[..., None] & outer[:, None])


def test_heads_around_the_model_change_nothing():
    model = transformers.BertForSequenceClassification(TINY["bert"].build().config).train()
    applied = apply(nn.ModuleDict({"net": model}), EVERYWHERE)
    applied.follow(protect=(3,))
    model(**BATCH, labels=torch.zeros(3, dtype=torch.int64)).loss.backward()
    assert applied.silent_sites() == ()


def test_a_model_without_padding_has_valid_tokens_all_over():
    model = ready("vit")
    applied = apply(model, EVERYWHERE)
    applied.follow()
    stream(model, TINY["vit"].batch())
    assert applied.silent_sites() == ()
    applied.valid_tokens = torch.tensor([[False, True, True, True, True]])


def test_copies_and_pickles_follow_by_themselves():
    model = ready()
    apply(model, Policy({LAST["bert"]: GONE})).follow()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(dropped_tokens(twin, BATCH), MASK.bool())
        Applied.of(twin).remove()
        assert not any(module._forward_pre_hooks for module in twin.modules())
    assert torch.equal(dropped_tokens(model, {**BATCH, "attention_mask": MASK.flip(0)}), MASK.flip(0).bool())


def test_compiles_with_the_model_and_not_again():
    torch._dynamo.reset()
    model = ready()
    apply(model, Policy({LAST["bert"]: GONE})).follow(protect=(1,))
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    num = set()
    for seed in range(4):
        mask = (torch.rand(3, 7, generator=torch.Generator().manual_seed(seed)) < 0.7).long()
        mask[:, 0] = 1
        output = stream(compiled, {**BATCH, "attention_mask": mask})
        assert torch.equal(output.any(-1), mask == 0)
        num.add(counter.frame_count)
    assert len(num) == 1
    torch._dynamo.reset()


# what users do wrong


def test_there_must_be_a_model_to_follow():
    applied = apply(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), Policy({}))
    with pytest.raises(UsageError) as error:
        applied.follow()
    assert str(error.value) == (
        "no pattern stands in a Hugging Face model, whose attention_mask could be read, or in a module "
        "with autodropout_tokens(); set valid_tokens "
        "before each batch instead"
    )


@pytest.mark.parametrize(
    ("protect", "text"),
    [
        ("[CLS]", "protect is '[CLS]'; expected ids of tokens, such as tokenizer.all_special_ids"),
        (3, "protect is 3; expected ids of tokens"),
        (["[CLS]"], "protect contains '[CLS]'; expected ids of tokens, which are whole numbers"),
        ([True], "protect contains True; expected"),
        ([None], "protect contains None; expected"),
    ],
)
def test_what_is_no_id_is_refused(protect, text):
    applied = apply(ready(), EVERYWHERE)
    with pytest.raises(UsageError, match=re.escape(text)):
        applied.follow(protect=protect)


def test_protected_tokens_need_ids():
    model = ready()
    apply(model, EVERYWHERE).follow(protect=(1,))
    with pytest.raises(
        UsageError, match="the batch has no input_ids in which to look for the protected tokens"
    ):
        model(inputs_embeds=torch.randn(3, 7, 32))


def test_masks_of_another_kind_are_refused():
    model = ready()
    apply(model, EVERYWHERE).follow()
    with pytest.raises(
        ShapeError, match=re.escape("attention_mask is (3, 1, 7, 7); follow() reads masks of")
    ):
        model(**{**BATCH, "attention_mask": torch.ones(3, 1, 7, 7)})


def test_tokens_that_are_set_end_the_following():
    model = ready()
    applied = apply(model, Policy({LAST["bert"]: GONE}))
    applied.follow()
    tokens = torch.zeros(3, 7, dtype=torch.bool)
    tokens[:, 1] = True
    applied.valid_tokens = tokens
    assert torch.equal(dropped_tokens(model, BATCH), tokens)
    applied.follow()
    assert applied.valid_tokens is None
    assert torch.equal(dropped_tokens(model, BATCH), MASK.bool())


def test_what_cannot_be_followed_leaves_an_earlier_following():
    model = ready()
    applied = apply(model, Policy({LAST["bert"]: GONE}))
    applied.follow()
    with pytest.raises(UsageError, match="protect is 1"):
        applied.follow(protect=1)
    assert torch.equal(dropped_tokens(model, BATCH), MASK.bool())


def test_nothing_follows_what_was_removed():
    applied = apply(ready(), EVERYWHERE)
    applied.remove()
    with pytest.raises(ApplyError, match="removed"):
        applied.follow()


class Stack(nn.Module):
    """A stack of one's own, which counts tokens of 0 as padding."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.end = nn.Identity()

    def autodropout_sites(self):
        return [Site(name="end", layout="NTC")]

    def autodropout_tokens(self, ids, scale=1.0):
        return {"input_ids": ids, "attention_mask": ids != 0}

    def forward(self, ids, scale=1.0):
        return self.end(self.embedding(ids) * scale)


def test_a_stack_of_ones_own_says_which_tokens_it_takes():
    ids = torch.tensor([[1, 5, 6, 2], [1, 7, 2, 0]])
    for protect, expected in (((), ids != 0), ((1, 2), ids > 2)):
        stack = Stack()
        apply(stack, Policy({"end": GONE})).follow(protect=protect)
        assert torch.equal(~stack(ids, scale=2.0).any(-1), expected)
        inside = nn.Sequential(copy.deepcopy(stack))
        assert torch.equal(~inside(ids).any(-1), expected)
