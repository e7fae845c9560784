import pytest
import torch
from torch import nn

from autodropout.augmented import is_consumer
from autodropout.errors import UsageError
from autodropout.families import find_sites
from autodropout.models.all_conv import AllConv
from autodropout.models.network_in_network import NetworkInNetwork

BOTH = pytest.mark.parametrize("kind", [AllConv, NetworkInNetwork])


def test_they_are_as_large_as_published():
    assert sum(p.numel() for p in AllConv().parameters()) == 1_369_738
    assert sum(p.numel() for p in NetworkInNetwork().parameters()) == 966_986


@BOTH
@pytest.mark.parametrize(("side", "channels"), [(32, 3), (16, 3), (9, 1)])
def test_shapes_and_sites(kind, side, channels):
    net = kind(7, channels, multiplier=0.05)
    outputs = {}

    def note(name):
        return lambda module, args, h: outputs.update({name: h.shape})

    for name, layer in net.named_children():
        layer.register_forward_hook(note(name))
    assert net(torch.randn(2, channels, side, side)).shape == (2, 7)
    assert [site.name for site in find_sites(net)] == [f"conv{n}" for n in range(1, 9)]
    for site in find_sites(net):
        if site.consumer is not None:
            reader = net.get_submodule(site.consumer)
            assert is_consumer(reader)
            assert reader.in_channels == outputs[site.name][1]
    if side == 32 and kind is AllConv:
        sides = [outputs[f"conv{n}"][-1] for n in range(1, 10)]
        assert sides == [32, 32, 16, 16, 16, 8, 6, 6, 6]
    if side == 32 and kind is NetworkInNetwork:
        assert [outputs[f"conv{n}"][-1] for n in (3, 6, 9)] == [32, 16, 8]


@BOTH
def test_pooling_stands_between_a_site_and_its_reader_nowhere(kind):
    net, x = kind(4, 1, multiplier=0.05).double(), torch.randn(2, 1, 16, 16).double()
    puts, reads = {}, {}
    for layer in net.children():
        layer.register_forward_hook(lambda module, args, h: puts.update({module: h}))
        layer.register_forward_pre_hook(lambda module, args: reads.update({module: args[0]}))
    net(x)
    for site in find_sites(net):
        if site.consumer is not None:
            read = reads[net.get_submodule(site.consumer)]
            torch.testing.assert_close(read, nn.functional.relu(puts[net.get_submodule(site.name)]))


@BOTH
def test_a_layer_without_channels_is_refused(kind):
    with pytest.raises(UsageError, match=r"multiplier is 0\.001; expected at least one channel"):
        kind(multiplier=0.001)
