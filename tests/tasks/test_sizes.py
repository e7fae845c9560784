"""The parameters that the list of tasks shows are those of the networks."""

import pytest
import torch

from autodropout.tasks.registry import TASKS
from autodropout.tasks.sizes import PARAMETERS


def test_every_task_has_its_size():
    assert PARAMETERS.keys() == TASKS.keys()


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_sizes_are_those_of_the_networks(name):
    if name.startswith("imagenet"):
        pytest.importorskip("timm", reason="the ResNets are timm's")
        pytest.importorskip("torchvision", reason="the EfficientNets are torchvision's")
    with torch.device("meta"):  # no number is drawn
        model = TASKS[name].model()
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]
