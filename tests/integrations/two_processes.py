"""Two processes train one model, whole and resumed; each rank writes what it saw.

python two_processes.py lightning DIRECTORY
torchrun --nproc-per-node 2 two_processes.py huggingface DIRECTORY
"""

import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from torch import distributed as dist
from trained_jobs import POLICY, assert_untouched, weights

from autodropout.applied import Applied
from autodropout.policy import Policy

CONSTANT = Policy(dict(POLICY.sites))  # with a ramp the first masks are empty on every rank


def digest(tensor):
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


class Masks:
    """Digests of the masks drawn at one site, in order."""

    def __init__(self):
        self.drawn = []

    def watch(self, model):
        layer = Applied.of(model).layers["blocks.0.bn"]
        layer.register_forward_hook(lambda _, args, out: self.drawn.append(digest(out == 0)))


def lightning(out, checkpoint, masks):
    import lightning.pytorch as L
    from test_lightning_callback import Module, loader, mine

    class Look(L.Callback):
        def on_train_start(self, trainer, module):
            masks.watch(module.net)

    module = Module()
    keep = L.callbacks.ModelCheckpoint(dirpath=out, filename="{epoch}", save_top_k=-1)
    trainer = L.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=4,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=True,
        callbacks=[mine(CONSTANT), Look(), keep],
    )
    trainer.fit(module, loader(), ckpt_path=checkpoint)
    return module, out / "epoch=1.ckpt"


def huggingface(out, checkpoint, masks):
    from test_huggingface_callback import Module, hf, mine, trainer

    class Look(hf.TrainerCallback):
        def on_train_begin(self, *_, model, **__):
            masks.watch(model.net)

    module = Module()
    options = {"save_strategy": "epoch", "num_train_epochs": 4, "ddp_backend": "gloo"}
    job = trainer(out, module, mine(CONSTANT), Look(), **options)
    job.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    return module, out / "checkpoint-4"


def main(library, out):
    run = {"lightning": lightning, "huggingface": huggingface}[library]
    seen = {}
    checkpoint = None
    for name in ("whole", "resumed"):
        masks = Masks()
        module, checkpoint = run(Path(out) / name, checkpoint, masks)
        assert_untouched(module.net)
        seen[name] = {"masks": masks.drawn, "weights": digest(weights(module.net))}
    assert dist.get_world_size() == 2
    (Path(out) / f"rank{dist.get_rank()}.json").write_text(json.dumps(seen), encoding="utf8")


if __name__ == "__main__":
    main(*sys.argv[1:])
