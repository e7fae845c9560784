import pytest

from autodropout.suggesting import suggested

KNOWN = ["digits", "cifar10-small", "cifar100-small", "mnist-small"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digit", "did you mean 'digits'? Choose well"),
        ("cifar-small", "did you mean 'cifar10-small'? Choose well"),
        ("cifar", "did you mean 'cifar10-small' or 'cifar100-small'? Choose well"),
        ("ci", "choose well"),
        ("zebra", "choose well"),
        ("", "choose well"),
    ],
)
def test_the_nearest_name_comes_first(name, expected):
    assert suggested(name, iter(KNOWN), "choose well") == expected
