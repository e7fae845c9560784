"""A policy in Lightning: one callback.

pip install 'autodropout[lightning]' scikit-learn
python examples/lightning_fit.py
"""

from pathlib import Path

import lightning.pytorch as lightning
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import autodropout as ad
from autodropout.integrations.lightning import PolicyCallback
from digit_data import accuracy, images, small_net

TILE = ad.ConvPattern(height=2, width=2, share_c=False)
POLICY = ad.Policy({"1": TILE, "4": TILE}, schedule="ramp")


class Digits(lightning.LightningModule):
    """A small ConvNet on handwritten digits."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_net()

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Return the loss of one batch."""
        maps, labels = batch
        return cross_entropy(self.net(maps), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=0.01)


def main(epochs: int = 3, folder: Path = Path("lightning_fit")) -> torch.nn.Module:
    """Train; checkpoints are in ``folder``, and ``fit(..., ckpt_path=)`` goes on with the same masks."""
    lightning.seed_everything(0)
    train, test = images()
    module = Digits()
    trainer = lightning.Trainer(
        max_epochs=epochs,
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        callbacks=[PolicyCallback(POLICY, submodule="net", seed=0)],
    )
    trainer.fit(module, DataLoader(train, batch_size=50, shuffle=True))
    print(f"test accuracy {accuracy(module.net, test):.3f}")
    return module.net


if __name__ == "__main__":
    main()
