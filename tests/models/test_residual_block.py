import pytest
import torch
from torch import nn

from autodropout.models.cifar_resnet import PaddedShortcut
from autodropout.models.residual_block import ResidualBlock, projection


@pytest.mark.parametrize("shortcut", [projection, PaddedShortcut])
@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 8, 2), (4, 8, 1), (4, 4, 2)])
def test_a_block_is_its_equation(shortcut, inputs, outputs, stride):
    torch.manual_seed(0)
    block = ResidualBlock(inputs, outputs, stride, shortcut).double()
    x = torch.randn(2, inputs, 8, 8, dtype=torch.float64)
    block.eval()
    h = block.bn1(block.conv1(x)).clamp(min=0)
    expected = (block.bn2(block.conv2(h)) + block.shortcut(x)).clamp(min=0)
    assert torch.equal(block(x), expected)
    assert block(x).shape == (2, outputs, 8 // stride, 8 // stride)


def test_the_shortcut_is_a_module_everywhere():
    assert isinstance(ResidualBlock(4, 4).shortcut, nn.Identity)
    assert isinstance(ResidualBlock(4, 8).shortcut, nn.Conv2d)
    assert isinstance(ResidualBlock(4, 8, 2, PaddedShortcut).shortcut, PaddedShortcut)
