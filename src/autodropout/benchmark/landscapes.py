"""The landscapes that come with the package, by name."""

import os
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from autodropout.benchmark.deviation import Noise, noise_of, without_dropout
from autodropout.benchmark.released import Release, Released, read_release
from autodropout.benchmark.surrogate import Surrogate
from autodropout.errors import DataError, UsageError
from autodropout.policy import Policy
from autodropout.space import Space
from autodropout.suggesting import suggested

if TYPE_CHECKING:
    import pandas

_SUFFIX = ".jsonl"


class Benchmark:
    """A landscape of released trials, its noise, and a surrogate that stands for training.

    Args:
        release: The trials.
        name: Word for it.
    """

    def __init__(self, release: Release, name: str) -> None:
        self.release, self.name = release, name

    def __repr__(self) -> str:
        return f"Benchmark({self.name!r}, {len(self.trials)} trials)"

    @property
    def trials(self) -> tuple[Released, ...]:
        """All trials."""
        return self.release.trials

    @property
    def space(self) -> Space:
        """The space that most trials are from."""
        return next(iter(self.release.spaces.values()))

    @cached_property
    def noise(self) -> Noise:
        """How far rewards move from seed to seed.

        Raises:
            DataError: No policy was trained with two seeds.
        """
        return noise_of(self.trials)

    @cached_property
    def surrogate(self) -> Surrogate:
        """Expected reward of any policy; fitted at first use, which takes seconds.

        Raises:
            UsageError: scikit-learn is not installed.
        """
        return Surrogate(self.trials, self.release.spaces, regressor=self.release.regressor)

    @cached_property
    def none(self) -> float:
        """Mean reward over the seeds of trials without any dropout; the surrogate's where there are none."""
        bare = without_dropout(self.trials)
        return float(bare.mean()) if len(bare) else self.surrogate.value(Policy({}))

    def to_frame(self) -> "pandas.DataFrame":
        """Return the trials as a pandas table with the columns of the released Parquet file.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise UsageError(
                "a table needs pandas, which is not installed; install it with: pip install pandas"
            ) from error
        from autodropout.benchmark.columns import columns

        return pandas.DataFrame(columns(self.release))


def names() -> tuple[str, ...]:
    """Return the names that ``load`` knows."""
    found = (file.name for file in _home().iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX)))


def load(name: str | os.PathLike[str]) -> Benchmark:
    """Return a landscape that comes with the package, or one that lies in a file.

    Args:
        name: One of ``names()``; or the path of a file that ``experiments/release.py`` wrote.

    Raises:
        UsageError: There is neither such a landscape nor such a file.
        DataError: The file is damaged.
    """
    path = Path(name)
    if path.suffix == _SUFFIX:
        return Benchmark(read_release(_read(path), str(path)), path.stem)
    if str(name) not in names():
        known = suggested(str(name), names(), f"this version has: {', '.join(names()) or 'none'}")
        raise UsageError(
            f"there is no benchmark {str(name)!r}; {known}. "
            f"A landscape of your own is named by its file, which ends in {_SUFFIX} (no folder, no Parquet)"
        )
    file = _home() / f"{name}{_SUFFIX}"
    return Benchmark(read_release(file.read_text(encoding="utf8"), str(name)), str(name))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf8")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}); name a released landscape's file"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text; name a released landscape's file") from error


def _home() -> Traversable:
    return files("autodropout.benchmark") / "data"
