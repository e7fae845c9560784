import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autodropout.errors import UsageError
from autodropout.tasks.text.r_drop import RDrop, agreement, language_model_objective, token_loss


class Net(nn.Module):
    """Logits of a token, with noise from torch's generator."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(7, 7)
        self.drop = nn.Dropout(0.5)

    def forward(self, tokens):
        return self.drop(self.table(tokens))


def called(net, tokens):
    return net(tokens)


TOKENS = torch.tensor([[0, 1, 2], [3, 4, 5]])
LABELS = torch.tensor([[1, 2, 3], [4, 5, -100]])


def test_agreement_is_the_mean_of_both_divergences():
    first, second = torch.randn(2, 2, 3, 7, dtype=torch.float64)
    total, count = 0.0, 0
    for n in range(2):
        for t in range(3):
            if LABELS[n, t] == -100:
                continue
            p, q = first[n, t].softmax(0), second[n, t].softmax(0)
            total += sum(float(a * (a / b).log() + b * (b / a).log()) / 2 for a, b in zip(p, q, strict=True))
            count += 1
    assert float(agreement(first, second, LABELS)) == pytest.approx(total / count, rel=1e-5)
    assert float(agreement(first, first, LABELS)) == 0.0


def test_it_is_one_pass_of_the_batch_twice():
    net = Net()
    torch.manual_seed(1)
    found = language_model_objective(called, RDrop(weight=2.0))(net, (TOKENS, LABELS), 0.0)
    torch.manual_seed(1)
    logits = net(torch.cat([TOKENS, TOKENS]))
    assert not torch.equal(*logits.chunk(2))  # under two draws
    losses = [F.cross_entropy(half.flatten(0, 1), LABELS.flatten()) for half in logits.chunk(2)]
    expected = sum(losses) / 2 + 2.0 * agreement(*logits.chunk(2), LABELS)
    torch.testing.assert_close(found, expected)


def test_without_dropout_it_is_the_plain_loss():
    net = Net().eval()
    plain = language_model_objective(called, None)(net, (TOKENS, LABELS), 0.0)
    torch.testing.assert_close(plain, token_loss(net(TOKENS), LABELS))
    torch.testing.assert_close(language_model_objective(called, None, 3.0)(net, (TOKENS, LABELS), 0.0), plain)


def test_what_was_prepared_has_the_word():
    calls = []

    def seen(net, tokens):
        calls.append(len(tokens))
        return net(tokens)

    net = Net()
    language_model_objective(seen, RDrop(weight=0.0), 1.0)(net, (TOKENS, LABELS), 0.0)
    language_model_objective(seen, object(), 1.0)(net, (TOKENS, LABELS), 0.0)
    language_model_objective(seen, object())(net, (TOKENS, LABELS), 0.0)
    assert calls == [2, 4, 2]


def test_it_makes_two_passes_agree():
    agreed = {}
    for weight in (0.0, 20.0):
        net = Net()
        optimiser = torch.optim.SGD(net.parameters(), 0.5)
        objective = language_model_objective(called, RDrop(weight=weight))
        for _ in range(60):
            optimiser.zero_grad()
            objective(net, (TOKENS, LABELS), 0.0).backward()
            optimiser.step()
        agreed[weight] = agreement(net(TOKENS), net(TOKENS), LABELS).item()
    assert agreed[20.0] < agreed[0.0] / 2


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_no_weights(weight):
    with pytest.raises(UsageError, match=f"R-Drop's weight is {weight}; expected a number of at least 0"):
        RDrop(weight=weight)
