"""A policy in a training loop of your own: apply, steer, checkpoint, resume, remove.

    pip install autodropout scikit-learn torchvision
    python examples/plain_loop.py

Stop it with Ctrl-C and start it again: it goes on as if nothing had happened, masks included.
"""

from pathlib import Path

import torch
import torchvision
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import autodropout as ad
from digit_data import accuracy, images

TILES = ad.ConvPattern(height=1, width=1, stride=1, repeat=2, rotate=45.0)
POLICY = ad.Policy({"layer2.*.bn2": TILES, "layer3.*.bn2": TILES}, schedule="ramp")


def main(epochs: int = 3, checkpoint: Path = Path("plain_loop.pt")) -> torch.nn.Module:
    """Train a torchvision ResNet-18 on handwritten digits, from the checkpoint if there is one."""
    torch.manual_seed(0)
    train, test = images(side=32, channels=3)
    model = torchvision.models.resnet18(num_classes=10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    steps = -(-len(train) // 50)

    # With seed= each mask is a pure function of seed, rank, site and step; without it there is no step.
    applied = ad.apply(model, POLICY, seed=0)
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        first = saved["epochs"]
        model.load_state_dict(saved["model"])  # the same keys with and without a policy
        optimizer.load_state_dict(saved["optimizer"])
        applied.load_state_dict(saved["policy"])

    for epoch in range(first, epochs):
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(epoch)).tolist()
        model.train()
        for batch, (maps, labels) in enumerate(DataLoader(train, batch_size=50, sampler=order)):
            step = epoch * steps + batch
            applied.step = step
            applied.progress = step / (epochs * steps)
            loss = cross_entropy(model(maps), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        saved = {"epochs": epoch + 1, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(saved | {"policy": applied.state_dict()}, checkpoint)
        print(f"epoch {epoch + 1}: test accuracy {accuracy(model, test):.3f}")

    applied.remove()  # the model as it was, but trained
    return model


if __name__ == "__main__":
    main()
