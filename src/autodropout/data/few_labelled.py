"""Image sets of which only some training images show their label."""

from dataclasses import dataclass, replace

from autodropout.data.drawing import SPLIT_SEED, few_labels
from autodropout.data.images import ImageData, chosen
from autodropout.data.photographs import PhotographData
from autodropout.data.source import ImageSource
from autodropout.data.splits import Splits
from autodropout.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class FewLabelled:
    """Another source's images, most of them without their label; an ``ImageSource`` itself.

    Its training images are those with a label; all training images of the other source, those included, are
    ``ImageData.unlabelled``. Channels are scaled by the statistics of all of them, which need no labels.

    Attributes:
        source: Where the images come from.
        num_labels: Training images that show their label, the same number of each class.
        num_validation: How many of these give the reward instead; 0 keeps the other source's validation
            images, or leaves none.
        seed: Of the draw.

    Raises:
        UsageError: More labels give the reward than there are.
    """

    source: ImageSource
    num_labels: int
    num_validation: int = 0
    seed: int = SPLIT_SEED

    def __post_init__(self) -> None:
        if not 0 <= self.num_validation < self.num_labels:
            raise UsageError(
                f"num_validation is {self.num_validation!r}; expected 0 to {self.num_labels - 1}, fewer than "
                "there are labels"
            )

    @property
    def num_classes(self) -> int:
        """Classes there are."""
        return self.source.num_classes

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return self.source.channels

    @property
    def side(self) -> int:
        """Height and width of an image in pixels."""
        return self.source.side

    @property
    def needs(self) -> str:
        """Which files it needs and where they are looked for."""
        return self.source.needs

    def check(self, folder: str | None) -> None:
        """Raise a DataError where the files are not there."""
        self.source.check(folder)

    def load(self, folder: str | None) -> ImageData:
        """Return the images, split, and those without labels."""
        data = self.source.load(folder)
        if isinstance(data, PhotographData):
            raise UsageError(
                "photographs show few labels by themselves: set train_per_class and unlabelled of Photographs"
            )
        train, validation = data.splits.train, data.splits.validation
        drawn = few_labels(train.labels.numpy(), self.num_labels, self.num_validation, self.seed)
        if self.num_validation:
            validation = chosen(train, drawn.validation)
        splits = Splits(train=chosen(train, drawn.labelled), validation=validation, test=data.splits.test)
        return replace(data, splits=splits, unlabelled=chosen(train, drawn.unlabelled))
