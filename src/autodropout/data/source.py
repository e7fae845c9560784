"""Where a task's images come from: which set, how it is split, and what to do where it is missing."""

from typing import TYPE_CHECKING, Protocol

from autodropout.data.images import ImageData

if TYPE_CHECKING:
    from autodropout.data.photographs import PhotographData

ELSEWHERE = "meanwhile the tasks digits and pydoc-lm need no download (autodropout tasks lists all)"
"""What else can be run at once; the end of every sentence about missing images."""


class ImageSource(Protocol):
    """A data set of images: a frozen dataclass that says how it is split."""

    @property
    def num_classes(self) -> int:
        """Classes there are."""
        ...

    @property
    def channels(self) -> int:
        """Channels of an image: 3, or 1 for grey ones."""
        ...

    @property
    def side(self) -> int:
        """Height and width of an image in pixels."""
        ...

    @property
    def needs(self) -> str:
        """One line: which files it needs, how large they are and where they are looked for."""
        ...

    def check(self, folder: str | None) -> None:
        """Raise a DataError where the files are not there; how far it looks into them is its own choice.

        Args:
            folder: As for ``load``.
        """
        ...

    def load(self, folder: str | None) -> "ImageData | PhotographData":
        """Return the images, or their names where they are too many for memory, split.

        A second call in one process returns what the first one did.

        Args:
            folder: Folder of data sets; None for what the variable ``AUTODROPOUT_DATA`` says, or ``data``.

        Raises:
            DataError: Files are missing or damaged.
        """
        ...
