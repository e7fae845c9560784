import torch
from torch import nn

from autodropout.models.digits_net import DigitsNet


def test_shapes():
    assert DigitsNet()(torch.zeros(3, 1, 8, 8)).shape == (3, 10)
    assert DigitsNet(width=4, num_classes=7, side=12)(torch.zeros(2, 1, 12, 12)).shape == (2, 7)


def test_the_shortcut_is_a_module_of_its_own_and_is_reached():
    for name in ("block1", "block2"):
        net = DigitsNet()
        before = net(torch.ones(2, 1, 8, 8))
        net.get_submodule(f"{name}.shortcut").register_forward_hook(lambda module, args, output: output * 0)
        assert not torch.equal(net(torch.ones(2, 1, 8, 8)), before)
    assert isinstance(DigitsNet().block1.shortcut, nn.Identity)


def test_a_site_after_each_batchnorm_in_the_order_of_the_forward_pass():
    net, seen = DigitsNet(), []
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(
                lambda module, args, output, name=name: seen.append((name, output.shape[2:]))
            )
    net(torch.zeros(2, 1, 8, 8))
    assert [site.name for site in net.autodropout_sites()] == [name for name, _ in seen]
    assert [tuple(size) for _, size in seen] == [(8, 8)] * 3 + [(4, 4)] * 2


def test_every_site_and_shortcut_is_a_named_module():
    net = DigitsNet()
    names = dict(net.named_modules())
    for site in net.autodropout_sites():
        assert site.layout == "NCHW"
        assert site.role is None
        assert site.name in names
        assert site.shortcut is None or site.shortcut in names
    shortcuts = {site.name: site.shortcut for site in net.autodropout_sites()}
    assert shortcuts["bn"] is None
    assert shortcuts["block2.bn1"] == "block2.shortcut"


def test_it_is_small():
    assert sum(p.numel() for p in DigitsNet().parameters()) < 30_000
