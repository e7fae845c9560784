"""torchvision's transforms, imported where they are used: most tasks do without them."""

from types import ModuleType

from autodropout.errors import MissingError


def vision() -> ModuleType:
    """Return ``torchvision.transforms.v2``.

    Raises:
        MissingError: torchvision is not installed.
    """
    try:
        from torchvision.transforms import v2
    except ImportError as error:
        raise MissingError(
            "torchvision is not installed, and Mixup, CutMix and RandAugment come from it; "
            "pip install 'autodropout[images]'"
        ) from error
    transforms: ModuleType = v2
    return transforms
