"""The callback under the real Trainer, on the CPU."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from trained_jobs import KEY, POLICY, WRONG_OPTIONS, assert_untouched, data, net, weights

from autodropout.applied import Applied
from autodropout.errors import ApplyError, PatternError, SiteError, UsageError
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import Policy

hf = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from autodropout.integrations.huggingface import PolicyCallback  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("error:nothing was dropped"),
    pytest.mark.filterwarnings("ignore:.*pin_memory"),
]


class Module(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, images, labels):
        logits = self.net(images)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


class Watch(hf.TrainerCallback):
    """Notes (step, progress) at each micro-batch's end."""

    def __init__(self):
        self.seen = []

    def on_substep_end(self, *_, model, **__):
        applied = Applied.of(model.net)
        self.seen.append((None if applied.seed is None else applied.step, applied.progress))

    on_step_end = on_substep_end


class Stop(hf.TrainerCallback):
    def on_step_end(self, *_, **__):
        raise RuntimeError("stop here")


def rows(num=16):
    images, labels = data(num).tensors
    return [{"images": image, "labels": label} for image, label in zip(images, labels, strict=True)]


def trainer(path, model, *callbacks, **options):
    arguments = hf.TrainingArguments(
        output_dir=str(path),
        **{
            "num_train_epochs": 2,
            "per_device_train_batch_size": 4,
            "learning_rate": 0.01,
            "report_to": "none",
            "save_strategy": "no",
            "disable_tqdm": True,
            "use_cpu": True,
            "logging_strategy": "no",
        }
        | options,
    )
    return hf.Trainer(model, arguments, train_dataset=rows(), eval_dataset=rows(8), callbacks=list(callbacks))


def mine(policy=POLICY, **options):
    return PolicyCallback(policy, **({"submodule": "net", "existing": "off", "seed": 3} | options))


def trained(path, *callbacks, **options):
    model = Module()
    trainer(path, model, *callbacks, **options).train()
    return model


def test_it_steers_every_micro_batch_and_gives_the_model_back(tmp_path):
    watch, callback = Watch(), mine()
    model = trained(tmp_path, watch, callback)
    assert watch.seen == [(n, n / 8) for n in range(8)]
    assert callback.applied.layers["blocks.0.bn"].strength == 0
    assert all(layer.fired for layer in callback.applied.layers.values())
    assert_untouched(model.net)
    assert model.net.dropout.p == 0.25


def test_steps_count_micro_batches_under_gradient_accumulation(tmp_path):
    watch = Watch()
    trained(tmp_path, watch, mine(), gradient_accumulation_steps=3)
    # 4 micro-batches an epoch are an update of three and one of one
    assert watch.seen == [(n, [0, 0, 0, 1, 2, 2, 2, 3][n] / 4) for n in range(8)]


def test_the_seed_decides_what_is_learned(tmp_path):
    first, again, other = (trained(tmp_path, mine(seed=seed)) for seed in (3, 3, 4))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_without_a_seed_there_is_no_step(tmp_path):
    watch = Watch()
    trained(tmp_path, watch, mine(seed=None))
    assert {step for step, _ in watch.seen} == {None}


def test_evaluation_drops_nothing(tmp_path):
    model, same = Module(), []
    batch = torch.stack([row["images"] for row in rows(8)])

    class Look(hf.TrainerCallback):
        def on_prediction_step(self, *_, **__):
            assert not Applied.of(model.net).layers["blocks.0.bn"].training
            with torch.no_grad():
                same.append(torch.equal(model.net(batch), model.net(batch)))

    trainer(tmp_path, model, mine(), Look(), eval_strategy="epoch", per_device_eval_batch_size=4).train()
    assert same == [True] * 4


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_resumed_run_goes_on_bit_for_bit(tmp_path, accumulate):
    options = {
        "num_train_epochs": 4,
        "save_strategy": "steps",
        "save_steps": 3,
        "gradient_accumulation_steps": accumulate,
    }
    whole = trained(tmp_path, mine(), **options)
    kept = json.loads((tmp_path / "checkpoint-3/trainer_state.json").read_text(encoding="utf8"))
    batches = {1: 3, 3: 7}[accumulate]
    run = kept["stateful_callbacks"]["PolicyCallback"]["run"]
    assert run["batches"] == batches
    assert run["applied"]["step"] == batches - 1
    watch, resumed = Watch(), Module()
    job = trainer(tmp_path / "again", resumed, watch, mine(), **options)
    job.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert watch.seen[0] == (batches, 3 / {1: 16, 3: 8}[accumulate])
    assert torch.equal(weights(resumed), weights(whole))


def test_without_the_step_it_would_not(tmp_path):
    options = {"num_train_epochs": 4, "save_strategy": "steps", "save_steps": 3}
    whole = trained(tmp_path, mine(), **options)
    file = tmp_path / "checkpoint-3/trainer_state.json"
    kept = json.loads(file.read_text(encoding="utf8"))
    kept["stateful_callbacks"].pop("PolicyCallback")
    file.write_text(json.dumps(kept), encoding="utf8")
    resumed = Module()
    job = trainer(tmp_path / "again", resumed, mine(), **options)
    with pytest.warns(UserWarning, match="the checkpoint holds no state of a policy; the policy begins with"):
        job.train(resume_from_checkpoint=str(file.parent))
    assert not torch.equal(weights(resumed), weights(whole))
    assert (tmp_path / "again/checkpoint-6/trainer_state.json").exists()


def test_the_checkpoint_of_another_seed_is_refused_and_leaves_the_model_alone(tmp_path):
    trained(tmp_path, mine(), save_strategy="epoch")
    model = Module()
    with pytest.raises(ApplyError, match="the state is of seed 3, what is applied here of 4"):
        trainer(tmp_path, model, mine(seed=4)).train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert_untouched(model.net)


def test_the_trainer_may_build_the_callback_again(tmp_path):
    options = {"num_train_epochs": 4, "save_strategy": "steps", "save_steps": 3}
    whole = trained(tmp_path, mine(), **options)
    resumed = Module()
    other = PolicyCallback(Policy({}), seed=8)
    job = trainer(tmp_path, resumed, other, restore_callback_states_from_checkpoint=True, **options)
    job.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert torch.equal(weights(resumed), weights(whole))
    assert_untouched(resumed.net)


def test_checkpoints_hold_the_plain_model(tmp_path):
    trained(tmp_path, mine(), save_strategy="epoch")
    from safetensors.torch import load_file

    kept = load_file(tmp_path / "checkpoint-4/model.safetensors")
    assert kept.keys() == Module().state_dict().keys()


def test_a_with_block_gives_the_model_back_after_an_exception(tmp_path):
    model = Module()
    with pytest.raises(RuntimeError, match="stop here"), mine() as callback:
        trainer(tmp_path, model, callback, Stop()).train()
    assert_untouched(model.net)
    assert model.net.dropout.p == 0.25


def test_train_again_cleans_up_what_an_exception_left(tmp_path):
    model, callback = Module(), mine()
    job = trainer(tmp_path, model, callback, Stop())
    with pytest.raises(RuntimeError, match="stop here"):
        job.train()
    assert Applied.of(model.net) is not None
    job.remove_callback(Stop)
    job.train()
    assert_untouched(model.net)


def test_a_second_training_starts_anew(tmp_path):
    model, watch = Module(), Watch()
    job = trainer(tmp_path, model, watch, mine(), num_train_epochs=1)
    job.train()
    job.train()
    assert watch.seen == [(n, n / 4) for n in [*range(4), *range(4)]]


def test_a_key_that_matches_nothing_stops_the_training_before_it_starts(tmp_path):
    model = Module()
    wrong = PolicyCallback(Policy({"blocks.*.norm": ConvPattern(height=1, width=1)}), submodule="net")
    with pytest.raises(SiteError, match=r"blocks\.\*\.norm"):
        trainer(tmp_path, model, wrong).train()
    assert_untouched(model.net)


def test_two_of_them_are_refused(tmp_path):
    model = Module()
    with pytest.raises(UsageError, match="several callbacks of type PolicyCallback and keeps one state for"):
        trainer(tmp_path, model, mine(), mine()).train()
    assert_untouched(model.net)


def test_a_trainer_that_compiles_traces_the_policy(tmp_path):
    callback = mine()
    model = trained(tmp_path, callback, torch_compile=True, torch_compile_backend="eager")
    assert all(layer.fired for layer in callback.applied.layers.values())
    assert torch.equal(weights(model), weights(trained(tmp_path, mine())))
    assert_untouched(model.net)


def test_each_training_of_a_trainer_that_compiles_traces_the_policy(tmp_path):
    callback = mine()
    job = trainer(tmp_path, Module(), callback, torch_compile=True, torch_compile_backend="eager")
    for _ in range(2):
        job.train()
        assert all(layer.fired for layer in callback.applied.layers.values())


def test_layouts_make_further_sites(tmp_path):
    policy = Policy({"stem": ConvPattern(height=1, width=1)})
    callback = mine(policy, layouts={"stem": "NCHW"})
    trained(tmp_path, callback)
    assert set(callback.applied.layers) == {"stem"}


class Words(nn.Module):
    """What BERT's feed-forward puts out in training, and which of it came out as zeros."""

    def __init__(self):
        super().__init__()
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        self.bert = hf.BertModel(hf.BertConfig(vocab_size=9, **sizes))
        self.zeros = []

    def forward(self, input_ids, attention_mask, labels):
        handle = self.bert.encoder.layer[0].output.dense.register_forward_hook(
            lambda _, __, out: self.zeros.append((out == 0).all(2))
        )
        out = self.bert(input_ids=input_ids, attention_mask=attention_mask).pooler_output
        handle.remove()
        return {"loss": F.cross_entropy(out, labels)}


def test_padding_and_protected_tokens_are_never_dropped(tmp_path):
    model = Words()
    row = {
        "input_ids": torch.tensor([1, 4, 5, 6, 2, 0, 0]),
        "attention_mask": torch.tensor([1, 1, 1, 1, 1, 0, 0]),
        "labels": torch.tensor(0),
    }
    words = Policy({"role:ffn": TokenPattern(size=1, share_c=True, rate=0.5)})
    job = trainer(tmp_path, model, mine(words, submodule="bert", protect=(1, 2)), num_train_epochs=4)
    job.train_dataset = [row] * 16
    job.train()
    dropped = torch.cat(model.zeros).any(0)
    assert dropped.tolist() == [False, True, True, True, False, False, False]


def test_a_policy_is_a_policy_or_its_json():
    assert mine().state()["args"]["policy"] == POLICY.to_json()
    mine_too = mine(layouts={"stem": "NCHW"}, protect=(1, 2))
    again = PolicyCallback.from_state(json.loads(json.dumps(mine_too.state())))
    assert again.state() == mine_too.state()
    with pytest.raises(PatternError, match="not a policy"):
        PolicyCallback("policy.json")
    with pytest.raises(UsageError, match="the policy is a dict; expected a Policy"):
        PolicyCallback({KEY: None})


@pytest.mark.parametrize(("options", "message"), WRONG_OPTIONS)
def test_wrong_arguments_are_refused_at_once(options, message):
    with pytest.raises(UsageError, match=message):
        PolicyCallback(POLICY, **options)
