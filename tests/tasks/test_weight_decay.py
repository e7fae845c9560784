from torch import nn

from autodropout.models.decoder import Decoder
from autodropout.tasks.weight_decay import decay_groups


def test_only_matrices_decay():
    net = Decoder(vocabulary=9, context=8, layers=1, width=8, heads=2)
    decayed, kept = decay_groups(net, 0.1)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    assert {names[id(p)].rpartition(".")[2] for p in decayed["params"]} == {"weight"}
    assert {names[id(p)].rpartition(".")[0].rpartition(".")[2] for p in kept["params"]} >= {"norm", "query"}
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    assert len(decayed["params"]) + len(kept["params"]) == len(names)


def test_without_biases_and_norms_there_is_one_group():
    (group,) = decay_groups(nn.Linear(2, 3, bias=False), 0.1)
    assert [p.shape for p in group["params"]] == [(3, 2)]
