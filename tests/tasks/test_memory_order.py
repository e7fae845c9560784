import pytest
import torch
from torch import nn

from autodropout.tasks.fit import FitSettings, fit
from autodropout.tasks.memory_order import stands_channels_last

THIN = nn.Conv2d(4, 8, 1, stride=2)


@pytest.mark.parametrize(
    ("layer", "stands"),
    [
        (THIN, False),
        (nn.Conv2d(8, 16, 1, stride=2), True),
        (nn.Conv2d(4, 8, 1), True),
        (nn.Conv2d(4, 8, 3, stride=2), True),
        (nn.Linear(4, 8), True),
    ],
    ids=repr,
)
def test_strided_pointwise_convolutions_of_few_channels_do_not_stand_it(layer, stands):
    net = nn.Sequential(nn.Conv2d(1, 4, 3), layer)
    assert stands_channels_last(net, torch.device("cpu")) is stands
    assert stands_channels_last(net, torch.device("cuda"))


@pytest.mark.parametrize("channels", [4, 8])
def test_a_network_that_does_not_stand_it_is_trained_all_the_same(channels):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1),
            nn.Conv2d(channels, 16, 1, stride=2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 5),
        )
        batches = [(torch.randn(10, 3, 16, 16), torch.randint(5, (10,))) for _ in range(30)]
        optimiser = torch.optim.SGD(net.parameters(), 0.1)
        fitted = fit(net, optimiser, lambda _: 1.0, batches, FitSettings(steps=30, channels_last=True))
    assert not fitted.diverged
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last) is (channels == 8)
