import copy
import pickle

import torch
from torch import nn

from autodropout.families.mixing import Mixin, class_of, mix


class Twice(Mixin):
    def forward(self, x):
        return self._autodropout_place(2 * super().forward(x)) if self.training else super().forward(x)


class Heir(nn.Linear):
    pass


def test_the_mixin_stands_before_the_class_until_it_is_closed():
    module, x = Heir(2, 2), torch.randn(3, 2)
    before, text, attributes = module(x), repr(module), sorted(vars(module))
    closing = mix(module, Twice, "place")
    assert isinstance(module, Heir)
    assert isinstance(module, Twice)
    assert class_of(module) is Heir
    assert repr(module).startswith("OpenedHeir(")
    assert torch.equal(module(x), 2 * before)
    assert torch.equal(module.eval()(x), before)
    closing.close()
    closing.close()
    assert type(module) is class_of(module) is Heir
    assert repr(module) == text
    assert sorted(vars(module)) == attributes


def test_copies_and_pickles_are_of_the_same_class():
    module, x = Heir(2, 2), torch.randn(3, 2)
    mix(module, Twice, "place")
    for twin in (copy.deepcopy(module), copy.copy(module), pickle.loads(pickle.dumps(module))):
        assert type(twin) is type(module)
        assert torch.equal(twin(x), module(x))


def test_a_closing_that_travelled_closes_its_own_copy():
    module = Heir(2, 2)
    twin, closing = pickle.loads(pickle.dumps((module, mix(module, Twice, "place"))))
    closing.close()
    assert type(twin) is Heir
    assert isinstance(module, Twice)


def test_two_modules_of_one_class_share_the_class_made():
    one, two = Heir(2, 2), Heir(2, 2)
    mix(one, Twice, "place")
    mix(two, Twice, "place")
    assert type(one) is type(two)
