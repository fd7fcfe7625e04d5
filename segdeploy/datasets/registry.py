"""The names of the data sets, and the builder of each."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from segdeploy.datasets.layout import Layout, check_split
from segdeploy.datasets.sample import Dataset
from segdeploy.errors import ConfigError, DataError

Builder = Callable[[Path | None, str], Dataset]
B = TypeVar("B", bound=Builder)

_builders: dict[str, Builder] = {}
_layouts: dict[str, Layout] = {}


def register(name: str) -> Callable[[B], B]:
    """Give a builder a name: it takes the folder (None where none was named) and the split, "train" or "val"."""

    def keep(builder: B) -> B:
        if name in _builders:
            msg = f"the data set {name!r} is registered twice; choose another name"
            raise ConfigError(msg)
        _builders[name] = builder
        return builder

    return keep


def register_layout(layout: Layout) -> None:
    """Put a way to lay out files under its name, so that `load` opens its splits and `layout` gives it."""

    @register(layout.name)
    def open_split(data: Path | None, split: str) -> Dataset:
        if data is None:
            msg = f"the data set {layout.name!r} lies in a folder; name it with --data"
            raise ConfigError(msg)
        check_split(layout, split)
        files = layout.survey(data, split).dataset()
        if not files.pairs:
            msg = f"the split {split!r} of {data} holds no picture; add some"
            raise DataError(msg)
        return files

    _layouts[layout.name] = layout


def layout(name: str) -> Layout:
    """Give the way in which a data set lies in files.

    Raises:
        ConfigError: There is no data set of that name, or it lies in no files.
    """
    if name not in _layouts:
        msg = f"there is no data set {name!r} that lies in files; choose one of {', '.join(sorted(_layouts))}"
        raise ConfigError(msg)
    return _layouts[name]


def has_builder_alone(name: str) -> bool:
    """Tell whether a data set is known and its layout is not, as of one that is drawn, or that a plugin reads in its own way."""
    return name in _builders and name not in _layouts


def layouts() -> list[Layout]:
    """All ways in which a data set may lie in files, sorted by name."""
    return [_layouts[name] for name in sorted(_layouts)]


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
