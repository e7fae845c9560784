"""A policy under Hugging Face accelerate, with gradient accumulation and checkpoints.

pip install autodropout scikit-learn accelerate
accelerate launch examples/accelerate_loop.py
"""

from itertools import count
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import autodropout as ad
from digit_data import accuracy, images, small_net

POLICY = ad.Policy({"1": ad.ConvPattern(height=2, width=2), "4": ad.ConvPattern(height=2, width=2)})


def main(epochs: int = 3, folder: Path = Path("accelerate_loop")) -> torch.nn.Module:
    """Train a small ConvNet on handwritten digits, from the checkpoint in ``folder`` if there is one."""
    torch.manual_seed(0)
    accelerator = Accelerator(gradient_accumulation_steps=2)
    train, test = images()
    model = small_net()
    applied = ad.apply(model, POLICY, seed=0)  # first apply, then prepare, which wraps and compiles
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loader = DataLoader(train, batch_size=50, shuffle=True)
    wrapped, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    accelerator.register_for_checkpointing(applied)  # it has state_dict() and load_state_dict()

    first = 0
    if folder.exists():
        accelerator.load_state(str(folder))
        first = applied.step + 1
    steps = count(first)

    for epoch in range(first // len(loader), epochs):
        wrapped.train()
        for maps, labels in loader:
            applied.step = next(steps)  # one number per micro-batch
            applied.progress = applied.step / (epochs * len(loader))
            with accelerator.accumulate(wrapped):
                accelerator.backward(cross_entropy(wrapped(maps), labels))
                optimizer.step()
                optimizer.zero_grad()
        accelerator.save_state(str(folder))
        accelerator.print(f"epoch {epoch + 1}: test accuracy {accuracy(model, test):.3f}")

    applied.remove()
    return model


if __name__ == "__main__":
    main()
