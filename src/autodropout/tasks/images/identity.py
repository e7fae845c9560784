"""What a training on images is, in words that its checkpoint keeps."""

import hashlib
import marshal
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, BuiltinMethodType, FunctionType, MethodType, ModuleType

import torch

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
        f"data {_digest(source)}, recipe {_digest((network, recipe, unlabelled))}"
    )


def described(value: object) -> str:
    """Return a text that is the same for equal settings in every process, unlike ``repr`` of a function.

    Dataclasses and other objects are described attribute by attribute, functions by where they are defined
    and, where they have no name of their own there, by their code.

    Example:
        >>> from autodropout.data.augmentation import Flips
        >>> described((0.5, Flips, None))
        '(0.5, autodropout.data.augmentation.crops.Flips, None)'
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
        case MethodType() | BuiltinMethodType() if not isinstance(value.__self__, ModuleType | None):
            return f"{described(value.__self__)}.{value.__name__}"
        case FunctionType() if "<" in value.__qualname__:
            inside = [cell.cell_contents for cell in value.__closure__ or ()]
            code = hashlib.blake2b(marshal.dumps(value.__code__), digest_size=4).hexdigest()
            return f"{value.__module__}.{value.__qualname__} {code}{described(inside)}"
        case FunctionType() | BuiltinFunctionType() | type():
            return f"{value.__module__}.{value.__qualname__}"
        case Path() | Enum() | torch.dtype() | torch.device():
            return str(value)
        case torch.Tensor():
            return f"tensor{described(value.tolist())}"
    settings = getattr(value, "__dict__", {})
    kept = [field.name for field in fields(value)] if is_dataclass(value) else sorted(settings)
    parts = (f"{name}={described(getattr(value, name))}" for name in kept)
    return f"{type(value).__module__}.{type(value).__qualname__}({', '.join(parts)})"


def _digest(value: object) -> str:
    return hashlib.blake2b(described(value).encode(), digest_size=4).hexdigest()
