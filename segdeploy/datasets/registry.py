"""Dataset names and builders; the dataset a card names."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from segdeploy.card import ModelCard
from segdeploy.datasets.dataset import Dataset
from segdeploy.datasets.index import Layout, check_split
from segdeploy.errors import ConfigError, DataError

Builder = Callable[[Path | None, str], Dataset]
B = TypeVar("B", bound=Builder)

DATASETS = "segdeploy.datasets"

BUILT_IN: Mapping[str, str] = {
    "ade20k": "formats.ade20k",
    "camvid": "formats.camvid",
    "carla": "formats.carla",
    "carvana": "formats.carvana",
    "cityscapes": "formats.cityscapes",
    "coco": "formats.coco",
    "folder": "formats.folder",
    "idd_lite": "formats.idd_lite",
    "labelme": "formats.labelme",
    "streets": "synthetic.dataset",
}
"""Names of the package's own datasets, and the module in `segdeploy.datasets` that registers
each."""

_builders: dict[str, Builder] = {}
_layouts: dict[str, Layout] = {}


def register(name: str) -> Callable[[B], B]:
    """Return a builder a name: it takes the folder (None where none was named) and the split, "train" or "val"."""

    def keep(builder: B) -> B:
        _claim(name, builder.__module__)
        _builders[name] = builder
        return builder

    return keep


def register_layout(layout: Layout) -> None:
    """Put a way to lay out files under its name, so that `load` opens its splits and `layout` gives it."""

    def open_split(data: Path | None, split: str) -> Dataset:
        if data is None:
            msg = f"the dataset {layout.name!r} lies in a folder; name it with --data"
            raise ConfigError(msg)
        check_split(layout, split)
        files = layout.survey(data, split).dataset()
        if not files.pairs:
            msg = f"the split {split!r} of {data} holds no image; add some"
            raise DataError(msg)
        return files

    _claim(layout.name, type(layout).__module__)
    _builders[layout.name] = open_split
    _layouts[layout.name] = layout


def _claim(name: str, module: str) -> None:
    """Refuse a name that is taken, also by a built-in dataset that was not imported yet."""
    if name in _builders or (name in BUILT_IN and module != f"{DATASETS}.{BUILT_IN[name]}"):
        msg = f"the dataset {name!r} is registered twice; choose another name"
        raise ConfigError(msg)


def _import(name: str) -> None:
    """Import the module of a built-in dataset, which registers it."""
    if name in BUILT_IN:
        import_module(f"{DATASETS}.{BUILT_IN[name]}")


def layout(name: str) -> Layout:
    """Return the way in which a dataset lies in files.

    Raises:
        ConfigError: There is no dataset of that name, or it lies in no files.
    """
    _import(name)
    if name not in _layouts:
        msg = (
            f"there is no dataset {name!r} that lies in files; choose one of"
            f" {', '.join(sorted(one.name for one in layouts()))}"
        )
        raise ConfigError(msg)
    return _layouts[name]


def has_builder_alone(name: str) -> bool:
    """Return whether a dataset is known and its layout is not, as of one that is drawn, or that a plugin reads in its own way."""
    _import(name)
    return name in _builders and name not in _layouts


def layouts() -> list[Layout]:
    """All ways in which a dataset may lie in files, sorted by name."""
    for name in BUILT_IN:
        _import(name)
    return [_layouts[name] for name in sorted(_layouts)]


def names() -> list[str]:
    """Names of all registered datasets, sorted."""
    return sorted({*BUILT_IN, *_builders})


def load(name: str, data: Path | None, split: str) -> Dataset:
    """Open one split of a dataset.

    Args:
        name: Registered name, for example "camvid".
        data: Folder of the dataset; None for one that needs none.
        split: "train" or "val".

    Raises:
        ConfigError: There is no dataset of that name.
        DataError: The folder does not hold what the layout needs.
    """
    _import(name)
    if name not in _builders:
        msg = f"there is no dataset {name!r}; choose one of {', '.join(names())}"
        raise ConfigError(msg)
    return _builders[name](data, split)


def open_for(
    card: ModelCard, name: str | None, *, data: Path | None, split: str
) -> tuple[str, Dataset]:
    """Open a split of the dataset of `place_for`, and give its name with it.

    Raises:
        ConfigError: Nothing was named and the card names nothing, or there is no dataset or split
            of that name.
        DataError: The folder does not hold what the layout needs.
    """
    chosen, folder = place_for(card, name, data=data)
    return chosen, load(chosen, folder, split)


def place_for(card: ModelCard, name: str | None, *, data: Path | None) -> tuple[str, Path | None]:
    """Return the name of a dataset, and its folder, None where it needs none.

    Args:
        card: The network's card.
        name: Name of a dataset; the one of the training where None.
        data: Folder of the dataset; where None, the one of the training if the dataset is the
            same.

    Raises:
        ConfigError: Nothing was named and the card names nothing.
    """
    training = card.training
    if name is None and training is None:
        msg = "the card names no dataset that the network was trained on; name one with --dataset"
        raise ConfigError(msg)
    chosen = name or (training.dataset if training is not None else "")
    if (
        data is None
        and training is not None
        and training.dataset == chosen
        and training.recipe.get("data")
    ):
        data = Path(str(training.recipe["data"]))
    return chosen, data
