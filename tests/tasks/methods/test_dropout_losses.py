import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autodropout.augmenting import augmented_dropout
from autodropout.errors import UsageError
from autodropout.monte_carlo import mc
from autodropout.tasks.fit import FitSettings, fit
from autodropout.tasks.methods.distillation import Probabilities, distilling
from autodropout.tasks.methods.expectation_linear import ExpectationLinear


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def batches(n):
    for _ in range(n):
        yield torch.randn(32, 4), torch.zeros(32, dtype=torch.int64)


def test_the_student_learns_the_average_over_all_masks():
    teacher = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    teacher[2].weight.data *= 4
    augmented_dropout(teacher, "2", 0.5, 0.0)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    student.load_state_dict(teacher.state_dict())
    x = torch.randn(200, 4)
    average = mc(Probabilities(teacher), x, 400).mean

    def distance(net):
        return F.kl_div(net(x).log_softmax(1), average, reduction="batchmean").item()

    first = distance(student)
    optimiser = torch.optim.Adam(student.parameters(), 0.01)
    fit(
        student, optimiser, lambda _: 1.0, batches(200), FitSettings(steps=200, objective=distilling(teacher))
    )
    assert distance(student) < 0.3 * first
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    with pytest.raises(UsageError, match="samples is 1; expected at least 2"):
        distilling(teacher, 1)


def test_the_penalty_is_the_distance_from_evaluation():
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3)).double()
    x, y = torch.randn(5, 4).double(), torch.tensor([0, 1, 2, 0, 1])
    torch.manual_seed(1)
    found = ExpectationLinear(weight=0.7)(net, (x, y), 0.0)
    assert net.training
    assert net[1].training
    torch.manual_seed(1)
    noisy, mean = net(x), net.eval()(x)
    expected = F.cross_entropy(noisy, y) + 0.7 * (noisy - mean).square().sum() / 5
    torch.testing.assert_close(found, expected)
    gradients = torch.autograd.grad(found, list(net.parameters()))
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
    net[1].p = 0.0
    plain = ExpectationLinear(weight=9.0)(net.train(), (x, y), 0.0)
    torch.testing.assert_close(plain, F.cross_entropy(net(x), y))
    with pytest.raises(UsageError, match=r"weight is -1\.0; expected at least 0"):
        ExpectationLinear(weight=-1.0)
