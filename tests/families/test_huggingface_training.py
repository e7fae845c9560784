"""A Hugging Face model with a policy, through what surrounds a model in training."""

import os
import sys

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from autodropout.applied import Applied
from autodropout.applying import apply
from autodropout.errors import ApplyError
from autodropout.existing import own_dropout
from autodropout.monte_carlo import mc
from autodropout.pattern import TokenPattern
from autodropout.policy import ROLES, Policy
from tiny_transformers import TINY, stream, text, transformers, without_dropout

UNITS = TokenPattern(size=1, stride=0, rate=0.3)
EVERYWHERE = Policy({f"role:{role}": UNITS for role in ROLES})
MASK = torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [1] * 3 + [0] * 4])
OWN = {
    "bert": {},
    "albert": {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.2},
    "distilbert": {},
    "deberta-v2": {},
    "gpt2": {},
    "gpt-neo": {"attention_dropout": 0.2, "resid_dropout": 0.2, "embed_dropout": 0.2},
    "gpt-neox": {"attention_dropout": 0.2, "hidden_dropout": 0.2},
    "bloom": {"attention_dropout": 0.2, "hidden_dropout": 0.2},
    "opt": {"attention_dropout": 0.2},
    "llama": {"attention_dropout": 0.2},
    "gemma2": {"attention_dropout": 0.2},
    "phi3": {"resid_pdrop": 0.2, "embd_pdrop": 0.2, "attention_dropout": 0.2},
    "t5": {},
    "bart": {"attention_dropout": 0.2, "activation_dropout": 0.2, "encoder_layerdrop": 0.5},
    "vit": {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.2},
    "dinov2": {"drop_path_rate": 0.5, "attention_probs_dropout_prob": 0.2},
}


@pytest.mark.parametrize("name", OWN)
def test_all_dropout_of_the_models_own_is_found_and_silenced(name):
    model, batch = TINY[name].build(**OWN[name]), TINY[name].batch()
    rates = own_dropout(model)
    with torch.no_grad():
        evaluated = stream(model.eval(), batch)
        model.train()
        assert not torch.allclose(stream(model, batch), evaluated, atol=1e-4)
        with apply(model, EVERYWHERE, existing="off") as applied, applied.disabled():
            assert own_dropout(model) == ()
            torch.testing.assert_close(stream(model, batch), evaluated, rtol=1e-5, atol=2e-6)
    assert own_dropout(model) == rates


def test_apply_then_average_then_compile():
    torch._dynamo.reset()
    model = without_dropout(TINY["bert"].build(num_hidden_layers=1)).train()
    plain = model.state_dict().keys()
    applied = apply(model, EVERYWHERE)
    applied.follow()
    average = AveragedModel(model, use_buffers=True)
    compiled = torch.compile(model, backend="eager")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    batch = {**text(), "attention_mask": MASK}
    for _ in range(2):
        stream(compiled, batch).square().mean().backward()
        optimiser.step()
        average.update_parameters(model)
    assert applied.silent_sites() == ()
    twin = average.module
    assert twin.state_dict().keys() == plain
    with torch.no_grad():
        evaluated = stream(twin.eval(), batch)
        Applied.of(twin).remove()
        assert torch.equal(stream(twin, batch), evaluated)
        assert Applied.of(model) is applied
        applied.remove()
        assert model.state_dict().keys() == plain
        assert torch.equal(stream(compiled.eval(), batch), stream(model, batch))
    torch._dynamo.reset()


def test_what_is_compiled_already_is_refused():
    with pytest.raises(ApplyError, match="apply the policy first, then compile"):
        apply(torch.compile(TINY["bert"].build(), backend="eager"), EVERYWHERE)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", ["BertForSequenceClassification", "GPTNeoXForSequenceClassification"])
def test_predictions_spread_by_each_role(name, role):
    family = TINY["bert" if "Bert" in name else "gpt-neox"]
    torch.manual_seed(0)
    model = getattr(transformers, name)(family.build().config)
    without_dropout(model).eval()
    applied = apply(model, Policy({f"role:{role}": UNITS}))
    applied.follow()
    for mask in (MASK, MASK[:, :6]):
        _, spread = mc(
            model, {"input_ids": text()["input_ids"][:, : mask.shape[1]], "attention_mask": mask}, 3
        )
        assert (spread > 0).all()
    assert not any(module.training for module in model.modules())


def test_generation_and_saving_see_nothing_of_it(tmp_path):
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(TINY["gpt2"].build(bos_token_id=1, eos_token_id=2).config).eval()
    options = {"attention_mask": MASK.flip(1), "max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    before = model.generate(**text(), **options)
    apply(model, EVERYWHERE).follow()
    assert torch.equal(model.generate(**text(), **options), before)
    model.save_pretrained(tmp_path)
    loaded = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    assert Applied.of(loaded) is None
    assert loaded.config._attn_implementation == "sdpa"
    assert torch.equal(loaded.generate(**text(), **options), before)


def exported(model):
    """Return the operations of a model's exported graph, in order."""
    graph = torch.export.export(model, (), dict(text())).graph
    return [str(node.target) for node in graph.nodes if node.op == "call_function"]


def test_exported_evaluation_is_what_it_was():
    model = TINY["bert"].build(num_hidden_layers=1).eval()
    plain = exported(model)
    assert any("scaled_dot_product_attention" in operation for operation in plain)
    apply(model, EVERYWHERE).follow()
    assert exported(model) == plain


def replica(rank: int, folder: str) -> None:
    """One of two data-parallel processes: each has a batch of its own, with padding of its own."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    model = without_dropout(TINY["bert"].build()).train()
    applied = apply(model, EVERYWHERE, seed=7)
    applied.follow()
    seen = []
    model.encoder.layer[0].output.dense.register_forward_hook(lambda _, __, output: seen.append(output == 0))
    parallel = nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
    for step in range(2):
        applied.step = step
        mask = MASK if rank == 0 else MASK.flip(0)
        stream(parallel, {**text(), "attention_mask": mask}).square().sum().backward()
    torch.save([torch.stack(seen), model.encoder.layer[0].output.dense.weight.grad], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo over a file")
def test_two_replicas_drop_different_units_of_their_own_tokens(tmp_path):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.spawn(replica, (str(tmp_path),), nprocs=2)
    (one, gradient), (other, same) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert torch.equal(gradient, same)
    for dropped, mask in ((one, MASK), (other, MASK.flip(0))):
        assert not dropped[:, mask == 0].any()
        assert dropped[:, mask == 1].float().mean().item() == pytest.approx(0.3, abs=0.05)
        assert not torch.equal(dropped[0], dropped[1])
    assert not torch.equal(one, other.flip(1))
