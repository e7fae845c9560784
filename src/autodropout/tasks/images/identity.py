"""What a training on images is, in words that its checkpoint keeps."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import BuiltinFunctionType, FunctionType

from autodropout.data.source import ImageSource
from autodropout.tasks.images.networks import Network
from autodropout.tasks.images.recipe import ImageRecipe
from autodropout.tasks.images.uda.batches import Unlabelled


def identified(
    given: str, network: Network, source: ImageSource, recipe: ImageRecipe, unlabelled: Unlabelled | None
) -> str:
    """Return the identity of a training: what the caller says, and what the task's name does not say.

    A task's name and key stay what they are where its network, images or recipe are replaced; a checkpoint
    of the one must not be gone on with by the other. Where the folder of data is does not count.

    Args:
        given: Task, policy and seed, for example.
        network: What is trained.
        source: The images and how they are split.
        recipe: How it is trained.
        unlabelled: What is learned from images without labels, if anything.

    Returns:
        One line; digests of eight digits stand for what is too long to read.
    """
    return (
        f"{given}, {network.title}, {recipe.steps} steps of {recipe.batch_size} images, "
        f"data {_digest(source)}, recipe {_digest((recipe, unlabelled))}"
    )


def described(value: object) -> str:
    """Return a text that is the same for equal settings in every process, unlike ``repr`` of a function.

    Dataclasses are described field by field, functions by where they are defined and objects of other
    classes by their class alone.

    Example:
        >>> from autodropout.data.augmentation import Flips
        >>> described((Flips(rate=0.5), described, None))
        '(Flips(rate=0.5), autodropout.tasks.images.identity.described, None)'
    """
    match value:
        case None | bool() | int() | float() | str():
            return repr(value)
        case tuple() | list():
            return f"({', '.join(map(described, value))})"
        case Mapping():
            return f"{{{', '.join(f'{described(key)}: {described(one)}' for key, one in value.items())}}}"
        case partial():
            return f"partial{described((value.func, value.args, value.keywords))}"
        case FunctionType() | BuiltinFunctionType() | type():
            return f"{value.__module__}.{value.__qualname__}"
    if not is_dataclass(value):
        return described(type(value))
    parts = (f"{field.name}={described(getattr(value, field.name))}" for field in fields(value))
    return f"{type(value).__name__}({', '.join(parts)})"


def _digest(value: object) -> str:
    return hashlib.blake2b(described(value).encode(), digest_size=4).hexdigest()
