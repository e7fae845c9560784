"""The callback under the real Trainer, on the CPU."""

import signal
import warnings

import pytest
import torch
from torch.utils.data import DataLoader
from trained_jobs import KEY, POLICY, WRONG_OPTIONS, assert_untouched, data, loss, net, weights

from autodropout.applied import Applied
from autodropout.errors import ApplyError, SiteError, UsageError
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy

L = pytest.importorskip("lightning.pytorch")

from autodropout.integrations.lightning import PolicyCallback  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(num_workers|tensorboardX|litlogger|exists and is not empty):UserWarning",
    "ignore::DeprecationWarning:lightning",
    "ignore:.*(LeafSpec|no `val_dataloader`|callbacks used to create the checkpoint)",
    "error:nothing was dropped",
)


class Module(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = net()

    def training_step(self, batch, _):
        return loss(self.net, *batch)

    def validation_step(self, batch, _):
        self.log("loss", loss(self.net, *batch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


class Watch(L.Callback):
    """Notes (step, progress, strength) at each micro-batch's end."""

    def __init__(self, part="net"):
        self.seen, self.part = [], part

    def on_train_batch_end(self, trainer, module, *_):
        applied = Applied.of(module.get_submodule(self.part))
        step = None if applied.seed is None else applied.step
        self.seen.append((step, applied.progress, applied.layers["blocks.0.bn"].strength.item()))


def trainer(path, *callbacks, checkpoints=False, library=L, **options):
    options = {"max_epochs": 2} | options
    return library.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=checkpoints,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=path,
        callbacks=list(callbacks),
        **options,
    )


def loader(num=16):
    return DataLoader(data(num), batch_size=4)


def mine(policy=POLICY, **options):
    return PolicyCallback(policy, **({"submodule": "net", "existing": "off", "seed": 3} | options))


def fitted(path, *callbacks, **options):
    module = Module()
    trainer(path, *callbacks, **options).fit(module, loader())
    return module


def test_it_steers_every_micro_batch_and_gives_the_model_back(tmp_path):
    watch, callback = Watch(), mine()
    module = fitted(tmp_path, callback, watch)
    assert [step for step, _, _ in watch.seen] == list(range(8))
    assert [progress for _, progress, _ in watch.seen] == [n / 8 for n in range(8)]
    assert [strength for _, _, strength in watch.seen] == pytest.approx(
        [POLICY.strength(n / 8) for n in range(8)]
    )
    assert all(layer.fired for layer in callback.applied.layers.values())
    assert_untouched(module.net)
    assert module.net.dropout.p == 0.25


def test_the_seed_decides_what_is_learned(tmp_path):
    first, again = fitted(tmp_path, mine()), fitted(tmp_path, mine())
    other = fitted(tmp_path, mine(seed=4))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_validation_drops_nothing(tmp_path):
    module, seen = Module(), []

    class Look(L.Callback):
        def on_validation_batch_start(self, trainer, module, batch, *_):
            with torch.no_grad():
                seen.append(torch.equal(module.net(batch[0]), module.net(batch[0])))
            assert not Applied.of(module.net).layers["blocks.0.bn"].training

    trainer(tmp_path, mine(), Look()).fit(module, loader(), loader())
    assert seen == [True] * len(seen)
    assert len(seen) == 8


def test_steps_count_micro_batches_under_gradient_accumulation(tmp_path):
    watch = Watch()
    fitted(tmp_path, mine(), watch, accumulate_grad_batches=2)
    assert [step for step, _, _ in watch.seen] == list(range(8))


def test_progress_follows_max_steps_where_they_are_nearer(tmp_path):
    watch = Watch()
    fitted(tmp_path, mine(), watch, max_epochs=100, max_steps=5)
    assert [progress for _, progress, _ in watch.seen] == [n / 5 for n in range(5)]


def test_without_a_seed_there_is_no_step(tmp_path):
    watch = Watch()
    fitted(tmp_path, mine(seed=None), watch)
    assert {step for step, _, _ in watch.seen} == {None}


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path):
    keep = L.callbacks.ModelCheckpoint(dirpath=tmp_path, filename="{epoch}", save_top_k=-1)
    whole = fitted(tmp_path, mine(), keep, checkpoints=True, max_epochs=4)
    kept = torch.load(tmp_path / "epoch=1.ckpt", weights_only=True)["callbacks"]["PolicyCallback[net]"]
    assert kept == {
        "applied": {"progress": 7 / 16, "step": 7, "seed": 3, "policy": POLICY.key},
        "batches": 8,
    }
    resumed, watch = Module(), Watch()
    trainer(tmp_path, mine(), watch, max_epochs=4).fit(resumed, loader(), ckpt_path=tmp_path / "epoch=1.ckpt")
    assert watch.seen[0][:2] == (8, 0.5)
    assert torch.equal(weights(resumed), weights(whole))


def test_without_the_step_it_would_not(tmp_path, monkeypatch):
    keep = L.callbacks.ModelCheckpoint(dirpath=tmp_path, filename="{epoch}", save_top_k=-1)
    whole = fitted(tmp_path, mine(), keep, checkpoints=True, max_epochs=4)
    monkeypatch.setattr(PolicyCallback, "load_state_dict", lambda *_: None)
    resumed = Module()
    with pytest.warns(UserWarning, match=r"holds no state of PolicyCallback\[net\]; the policy begins with"):
        trainer(tmp_path, mine(), max_epochs=4).fit(resumed, loader(), ckpt_path=tmp_path / "epoch=1.ckpt")
    assert not torch.equal(weights(resumed), weights(whole))


def test_the_checkpoint_of_another_policy_or_seed_is_refused(tmp_path):
    fitted(tmp_path, mine(), L.callbacks.ModelCheckpoint(dirpath=tmp_path, filename="last"), checkpoints=True)
    module = Module()
    with pytest.raises(ApplyError, match="the state is of seed 3, what is applied here of 4"):
        trainer(tmp_path, mine(seed=4)).fit(module, loader(), ckpt_path=tmp_path / "last.ckpt")
    assert_untouched(module.net)


def test_the_checkpoint_of_the_end_holds_the_state_and_plain_weights(tmp_path):
    module, callback = Module(), mine()
    run = trainer(tmp_path, callback)
    run.fit(module, loader())
    run.save_checkpoint(tmp_path / "end.ckpt")
    kept = torch.load(tmp_path / "end.ckpt", weights_only=True)
    assert kept["callbacks"]["PolicyCallback[net]"]["batches"] == 8
    assert kept["state_dict"].keys() == Module().state_dict().keys()


def test_a_second_fit_of_one_trainer_does_not_repeat_masks(tmp_path):
    module, watch = Module(), Watch()
    run = trainer(tmp_path, mine(), watch)
    run.fit(module, loader())
    run.fit_loop.max_epochs = 3
    run.fit(module, loader())
    assert [step for step, _, _ in watch.seen] == list(range(12))


def test_a_new_trainer_starts_anew_with_the_same_callback(tmp_path):
    watch, callback = Watch(), mine()
    fitted(tmp_path, callback, watch, max_epochs=1)
    fitted(tmp_path, callback, watch, max_epochs=1)
    assert [step for step, _, _ in watch.seen] == [*range(4), *range(4)]


@pytest.fixture
def interrupts():
    """Ctrl-C as it was: the Trainer ignores it from the first one on."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
@pytest.mark.parametrize("interruption", [RuntimeError("stop here"), KeyboardInterrupt()])
def test_an_exception_gives_the_model_back_too(tmp_path, interruption):
    class Stop(L.Callback):
        def on_train_batch_end(self, *_):
            raise interruption

    module = Module()
    with pytest.raises((RuntimeError, SystemExit)):
        trainer(tmp_path, mine(), Stop()).fit(module, loader())
    assert_untouched(module.net)
    assert module.net.dropout.p == 0.25


def test_a_key_that_matches_nothing_stops_the_fit_before_it_starts(tmp_path):
    module = Module()
    wrong = PolicyCallback(Policy({"blocks.*.norm": ConvPattern(height=1, width=1)}), submodule="net")
    with pytest.raises(SiteError, match=r"blocks\.\*\.norm"):
        trainer(tmp_path, wrong).fit(module, loader())
    assert_untouched(module.net)


def test_a_submodule_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SiteError, match='no module "nett"'):
        trainer(tmp_path, mine(submodule="nett")).fit(Module(), loader())


def test_names_may_start_from_the_whole_module(tmp_path):
    callback = PolicyCallback(Policy({f"net.{KEY}": POLICY.sites[KEY]}))
    fitted(tmp_path, callback)
    assert set(callback.applied.layers) == {"net.blocks.0.bn", "net.blocks.1.bn"}
    assert callback.state_key == "PolicyCallback"


def test_layouts_make_further_sites(tmp_path):
    policy = Policy({"stem": ConvPattern(height=1, width=1)})
    callback = mine(policy, layouts={"stem": "NCHW"})
    fitted(tmp_path, callback)
    assert set(callback.applied.layers) == {"stem"}


def test_protected_tokens_need_a_model_that_has_tokens(tmp_path):
    module = Module()
    with pytest.raises(UsageError, match="Hugging Face"):
        trainer(tmp_path, mine(protect=(1,))).fit(module, loader())
    assert_untouched(module.net)


def test_two_parts_may_have_policies_of_their_own(tmp_path):
    class Two(Module):
        def __init__(self):
            super().__init__()
            self.other = net()

        def training_step(self, batch, _):
            return loss(self.net, *batch) + loss(self.other, *batch)

    first, second = mine(), mine(submodule="other", seed=9)
    trainer(tmp_path, first, second).fit(Two(), loader())
    assert (first.applied.seed, second.applied.seed) == (3, 9)


def test_a_schedule_needs_an_end(tmp_path):
    with pytest.raises(UsageError, match="'ramp', but this Trainer has no end to measure progress by; give"):
        trainer(tmp_path, mine(), max_epochs=-1, limit_train_batches=1).fit(Module(), loader())


def test_a_constant_policy_needs_none(tmp_path):
    class Enough(L.Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = trainer.global_step >= 6

    watch = Watch()
    callback = PolicyCallback(Policy(dict(POLICY.sites)), submodule="net")
    fitted(tmp_path, callback, watch, Enough(), max_epochs=-1)
    assert {progress for _, progress, _ in watch.seen} == {0.0}


def test_a_site_that_never_runs_is_named_once(tmp_path):
    class Idle(Module):
        def training_step(self, batch, _):
            self.net.blocks[1].bn.eval()
            return loss(self.net, *batch)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(tmp_path, mine()).fit(Idle(), loader())
    texts = [str(w.message) for w in caught if "nothing was dropped at these sites" in str(w.message)]
    assert len(texts) == 1
    assert "in the first batch: blocks.1.bn;" in texts[0]


def test_a_model_compiled_from_outside_is_traced_with_the_policy(tmp_path):
    module, callback = Module(), mine()
    trainer(tmp_path, callback).fit(torch.compile(module, backend="eager"), loader())
    assert all(layer.fired for layer in callback.applied.layers.values())
    assert torch.equal(weights(module), weights(fitted(tmp_path, mine())))
    assert_untouched(module.net)


def test_batch_normalisation_is_converted_before_the_policy_comes(tmp_path):
    class Convert(L.Callback):  # as strategies do, which call it sync_batchnorm=True, for GPUs only
        def setup(self, trainer, module, stage):
            module.net = torch.nn.SyncBatchNorm.convert_sync_batchnorm(module.net)

    callback = mine()
    fitted(tmp_path, callback, Convert())
    assert all(layer.fired for layer in callback.applied.layers.values())


class Average:
    """What a copy with decay 0 has to be after each step: the model itself."""

    def __init__(self):
        self.callback, self.differences = L.callbacks.EMAWeightAveraging(decay=0.0), []

    def look(self, module):
        mine, copy = module.state_dict(), self.callback._average_model.module.state_dict()
        self.differences.append(max((mine[name] - copy[name]).abs().max().item() for name in mine))


@pytest.mark.parametrize("first", ["policy", "average"])
def test_an_averaged_copy_pairs_what_belongs_together(tmp_path, first):
    average = Average()

    class Look(L.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            average.look(module)

    callback = mine()
    pair = [callback, average.callback]
    module = fitted(tmp_path, *(pair if first == "policy" else reversed(pair)), Look())
    assert average.differences == [0.0] * 8
    assert all(layer.fired for layer in callback.applied.layers.values())
    assert_untouched(module.net)


def test_a_resumed_run_with_an_average_goes_on_bit_for_bit(tmp_path):
    keep = L.callbacks.ModelCheckpoint(dirpath=tmp_path, filename="{epoch}", save_top_k=-1)
    options = {"checkpoints": True, "max_epochs": 4}
    whole = fitted(tmp_path, mine(), L.callbacks.EMAWeightAveraging(decay=0.5), keep, **options)
    resumed = Module()
    job = trainer(tmp_path, mine(), L.callbacks.EMAWeightAveraging(decay=0.5), max_epochs=4)
    job.fit(resumed, loader(), ckpt_path=tmp_path / "epoch=1.ckpt")
    assert torch.equal(weights(resumed), weights(whole))


def test_a_part_that_is_compiled_already_is_refused(tmp_path):
    module = Module()
    module.net = torch.compile(module.net, backend="eager")
    with pytest.raises(ApplyError, match="compiled, and compiled code ignores new hooks"):
        trainer(tmp_path, mine()).fit(module, loader())


def test_the_name_pytorch_lightning_works_alike(tmp_path):
    pl = pytest.importorskip("pytorch_lightning")

    class Old(pl.LightningModule):
        training_step = Module.training_step
        configure_optimizers = Module.configure_optimizers

        def __init__(self):
            super().__init__()
            self.net = net()

    module = Old()
    trainer(tmp_path, mine(), library=pl).fit(module, loader())
    assert torch.equal(weights(module), weights(fitted(tmp_path, mine())))


def test_only_a_policy_is_a_policy():
    with pytest.raises(UsageError, match=r"the policy is a dict; expected a Policy, such as Policy\.load"):
        PolicyCallback({})


@pytest.mark.parametrize(("options", "message"), WRONG_OPTIONS)
def test_wrong_arguments_are_refused_at_once(options, message):
    with pytest.raises(UsageError, match=message):
        PolicyCallback(POLICY, **options)
