"""The names of the data sets, and the builder of each."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from segdeploy.datasets.sample import Dataset
from segdeploy.errors import ConfigError

Builder = Callable[[Path | None, str], Dataset]
B = TypeVar("B", bound=Builder)

_builders: dict[str, Builder] = {}


def register(name: str) -> Callable[[B], B]:
    """Give a builder a name: it takes the folder (None where none was named) and the split, "train" or "val"."""

    def keep(builder: B) -> B:
        if name in _builders:
            msg = f"the data set {name!r} is registered twice; choose another name"
            raise ConfigError(msg)
        _builders[name] = builder
        return builder

    return keep


def names() -> list[str]:
    """Names of all registered data sets, sorted."""
    return sorted(_builders)


def load(name: str, data: Path | None, split: str) -> Dataset:
    """Open one split of a data set.

    Args:
        name: Registered name, for example "camvid".
        data: Folder of the data set; None for one that needs none.
        split: "train" or "val".

    Raises:
        ConfigError: There is no data set of that name.
        DataError: The folder does not hold what the layout needs.
    """
    if name not in _builders:
        msg = f"there is no data set {name!r}; choose one of {', '.join(names())}"
        raise ConfigError(msg)
    return _builders[name](data, split)
