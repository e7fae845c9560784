import pytest
import torch
from torch import nn

from autodropout.errors import UsageError
from autodropout.probing import map_size, output_shapes
from autodropout.site import Site
from nets import SmallNet


def test_shapes_of_named_modules():
    shapes = output_shapes(SmallNet(), ["norm", "blocks.1.bn", "head"], torch.ones(2, 2, 6, 5))
    assert shapes == {"norm": (2, 4, 6, 5), "blocks.1.bn": (2, 4, 6, 5), "head": (2, 3)}


def test_the_model_stays_as_it_was():
    model = SmallNet()
    model.norm.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    output_shapes(model, ["norm"], torch.ones(2, 2, 6, 5))
    assert [module.training for module in model.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.norm._forward_hooks


def test_examples_may_be_tuples_and_dicts():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Identity()

        def forward(self, a, b):
            return self.inner(a + b)

    ones = torch.ones(3)
    assert output_shapes(Two(), ["inner"], (ones, ones)) == {"inner": (3,)}
    assert output_shapes(Two(), ["inner"], {"a": ones, "b": ones}) == {"inner": (3,)}


def test_modules_that_do_not_run_or_return_no_tensor_are_missing():
    model = nn.Sequential(nn.LSTM(3, 4))
    model.add_module("unused", nn.Identity())
    model.forward = lambda x: model[0](x)
    assert output_shapes(model, ["0", "unused"], torch.ones(2, 3)) == {}


def test_an_example_that_the_model_does_not_take_is_refused_and_leaves_no_trace():
    model = SmallNet()
    with pytest.raises(UsageError, match=r"the model cannot be run on example_input: .*channels"):
        output_shapes(model, ["norm"], torch.ones(2, 5, 6, 6))
    assert model.training
    assert not model.norm._forward_hooks


@pytest.mark.parametrize(
    ("layout", "shape", "size"),
    [
        ("NCHW", (1, 2, 3, 4), (3, 4)),
        ("NHWC", (1, 3, 4, 2), (3, 4)),
        ("NTC", (1, 2, 3, 4), None),
        ("NCHW", None, None),
        ("NCHW", (1, 2), None),
    ],
)
def test_map_size(layout, shape, size):
    assert map_size(Site(name="x", layout=layout), shape) == size
