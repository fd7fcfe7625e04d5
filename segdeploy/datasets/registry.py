"""Dataset names and what opens them; the dataset that a card names."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from segdeploy.card import MAX_CLASSES, ModelCard
from segdeploy.datasets.dataset import ALL, Dataset, JoinedDataset, fingerprint, with_bands
from segdeploy.datasets.index import BY_FOLDER, Layout, check_split
from segdeploy.errors import ConfigError, DataError, LayoutNotFoundError
from segdeploy.imaging.bands import BandSelection

Builder = Callable[[Path | None, str], Dataset]
B = TypeVar("B", bound=Builder)

PACKAGE = "segdeploy.datasets"

BUILT_IN: Mapping[str, str] = {
    "ade20k": "formats.ade20k",
    "camvid": "formats.camvid",
    "carla": "formats.carla",
    "carvana": "formats.carvana",
    "cityscapes": "formats.cityscapes",
    "coco": "formats.coco",
    "cvat": "formats.cvat",
    "folder": "formats.folder",
    "geotiff": "formats.geotiff",
    "idd_lite": "formats.idd_lite",
    "label_studio": "formats.label_studio",
    "labelme": "formats.labelme",
    "streets": "synthetic.dataset",
    "voc": "formats.voc",
    "yolo": "formats.yolo",
}
"""Names of the built-in datasets, and the module in `segdeploy.datasets` that registers each; it is
imported when the name is first used."""

TERMS: Mapping[str, str] = {
    "ade20k": "the images for research and education only, not for commercial use",
    "camvid": "commonly stated to be CC BY-NC: attribution, not for commercial use",
    "carla": "CARLA's assets are CC BY: attribution; copies on Kaggle state their own",
    "carvana": "the rules of Kaggle's competition",
    "cityscapes": "for research, not for commercial use, after registration",
    "coco": "those of its images and annotations",
    "cvat": "those of your images and annotations",
    "folder": "those of your images and masks",
    "geotiff": "those of your maps and labels",
    "idd_lite": "for research, after registration",
    "label_studio": "those of your images and annotations",
    "labelme": "those of your images and annotations",
    "streets": "none: rendered by segdeploy",
    "voc": "those of your images and masks; Pascal VOC's images are Flickr's",
    "yolo": "those of your images and annotations",
}
"""Terms of each built-in dataset, which may hold for networks that were trained on it."""

_builders: dict[str, Builder] = {}
_layouts: dict[str, Layout] = {}


def register(name: str) -> Callable[[B], B]:
    """Register a function that opens a dataset; for one that has no `Layout`.

    The function takes the dataset's folder (None where none was given) and the split, "train" or
    "val", and returns a `Dataset`.

    Example:
        ```python
        @register("noise")
        def open_noise(data: Path | None, split: str) -> Dataset:
            return Noise(seed=0 if split == "train" else 1)
        ```

    Raises:
        ConfigError: The name is taken.
    """

    def keep(builder: B) -> B:
        _check_free(name, builder.__module__)
        _builders[name] = builder
        return builder

    return keep


def register_layout(layout: Layout) -> None:
    """Register a layout of files by its name, so that `load` opens its splits.

    docs/datasets.md shows an example of a layout.

    Raises:
        ConfigError: The name is taken.
    """

    def open_split(data: Path | None, split: str) -> Dataset:
        if data is None:
            msg = f"the dataset {layout.name!r} lies in a folder; name it with --data"
            raise ConfigError(msg)
        check_split(layout, split)
        files = layout.index(data, split).dataset()
        if not files.pairs:
            msg = f"the split {split!r} of {data} holds no image; add some"
            raise DataError(msg)
        return files

    _check_free(layout.name, type(layout).__module__)
    _builders[layout.name] = open_split
    _layouts[layout.name] = layout


def _check_free(name: str, module: str) -> None:
    """Raise a ConfigError where a name is taken, also by a built-in dataset not imported yet.

    Args:
        name: Name of a dataset.
        module: Full name of the module that registers it.
    """
    built_in = f"{PACKAGE}.{BUILT_IN[name]}" if name in BUILT_IN else None
    if name in _builders or (built_in is not None and module != built_in):
        msg = f"the dataset {name!r} is registered twice; choose another name"
        raise ConfigError(msg)


def _import(name: str) -> None:
    """Import the module of a built-in dataset, which registers it; do nothing for other names."""
    if name in BUILT_IN:
        import_module(f"{PACKAGE}.{BUILT_IN[name]}")


def names() -> list[str]:
    """Return the names of all registered datasets, sorted."""
    return sorted({*BUILT_IN, *_builders})


def load(name: str, data: Path | None, split: str) -> Dataset:
    """Open one split of a dataset.

    Example:
        ```python
        samples = datasets.load("camvid", Path("data/camvid"), "val")
        mask = samples[0].mask  # (H, W) uint8
        ```

    Args:
        name: Registered name, for example "camvid".
        data: Folder of the dataset; None for one that needs none.
        split: "train" or "val"; some datasets have "test". `ALL` is every image.

    Raises:
        ConfigError: There is no dataset or no split of that name, or its folder is not given.
        DataError: The folder does not hold what the layout needs, or a class has no usable name.
    """
    _import(name)
    if name not in _builders:
        msg = f"there is no dataset {name!r}; choose one of {', '.join(names())}"
        raise ConfigError(msg)
    samples = _load_all(name, data) if split == ALL else _builders[name](data, split)
    _check_classes(name, samples)
    return samples


def _load_all(name: str, data: Path | None) -> Dataset:
    """Return every image of a dataset, those of all splits that are there."""
    if (whole := _undivided(name, data)) is not None:
        return whole
    splits = _layouts[name].splits if name in _layouts else ("train", "val")
    found: dict[str, Dataset] = {}
    missing: LayoutNotFoundError | None = None
    for split in splits:
        try:
            found[split] = _builders[name](data, split)
        except LayoutNotFoundError as error:
            missing = missing or error
    if not found:
        assert missing is not None, "every dataset has a split"
        raise missing
    return JoinedDataset(found)


def _undivided(name: str, data: Path | None) -> Dataset | None:
    """Return every image of files that nobody divided into splits; None where they are divided."""
    layout = _layouts.get(name)
    if data is None or layout is None or not getattr(layout, "draws_splits", False):
        return None
    try:
        index = layout.index(data, ALL)
    except LayoutNotFoundError:
        return None
    # Beside files of all there may be some of each split.
    with suppress(DataError):
        if layout.index(data, "train").rule == BY_FOLDER:
            return None
    return index.dataset() if index.pairs else None


def _check_classes(name: str, samples: Dataset) -> None:
    """Raise a DataError where a model card could not hold the classes of a dataset."""
    names = [entry.name for entry in samples.classes]
    if not 1 <= len(names) <= MAX_CLASSES:
        msg = f"the dataset {name!r} has {len(names)} classes; it must have 1 to {MAX_CLASSES}"
        raise DataError(msg)
    for number, text in enumerate(names):
        if not text or not text.isprintable():
            msg = (
                f"class {number} of the dataset {name!r} is called {text!r}; give it a name that"
                " can be printed"
            )
            raise DataError(msg)
        if text in names[:number]:
            msg = f"two classes of the dataset {name!r} are called {text!r}; rename one of them"
            raise DataError(msg)


def layout(name: str) -> Layout:
    """Return the layout of the files of a dataset.

    Raises:
        ConfigError: There is no dataset of that name, or it was registered without a layout.
    """
    _import(name)
    if name not in _layouts:
        known = ", ".join(known.name for known in layouts())
        msg = (
            f"there is no dataset {name!r} whose images and masks lie in pairs of files; choose one"
            f" of {known}"
        )
        raise ConfigError(msg)
    return _layouts[name]


def layouts() -> list[Layout]:
    """Return all layouts, those of plugins included, sorted by name."""
    for name in BUILT_IN:
        _import(name)
    return [_layouts[name] for name in sorted(_layouts)]


def has_no_layout(name: str) -> bool:
    """Return whether a dataset is registered without a layout, as a synthetic one is."""
    _import(name)
    return name in _builders and name not in _layouts


def open_for_card(
    card: ModelCard, name: str | None, *, data: Path | None, split: str
) -> tuple[str, Dataset]:
    """Open a split of the dataset that `resolve_for_card` returns, and return its name with it.

    Raises:
        ConfigError: No dataset is named and the card names none, or there is no dataset or split
            of that name.
        DataError: The folder does not hold what the layout needs.
    """
    chosen, folder = resolve_for_card(card, name, data=data)
    return chosen, read_for(load(chosen, folder, split), card)


def read_for(samples: Dataset, card: ModelCard) -> Dataset:
    """Return a dataset with images as a network takes them.

    Raises:
        ConfigError: The network takes other images than the dataset makes.
    """
    return samples if card.input.is_plain else with_bands(samples, BandSelection.of(card.input))


def split_for_card(card: ModelCard, name: str, data: Path | None) -> str:
    """Return the split that scores a network fairly where none is named.

    Args:
        card: The network's card.
        name: Name of the dataset.
        data: Its folder.

    Returns:
        `ALL` for undivided files, unless the network was trained on some of them; else "val".
    """
    _import(name)
    return "val" if _undivided(name, data) is None or _is_trained_on(card, name, data) else ALL


def _is_trained_on(card: ModelCard, name: str, data: Path | None) -> bool:
    """Return whether a network was trained on this folder, or on one with the same names."""
    training = card.training
    if training is None or data is None:
        return False
    known = training.recipe.get("data")
    if known and Path(str(known)).resolve() == data.resolve():
        return True
    with suppress(DataError):
        train, val = (_builders[name](data, split) for split in ("train", "val"))
        return fingerprint(train=train, val=val) == training.data_hash
    return False


def resolve_for_card(
    card: ModelCard, name: str | None, *, data: Path | None
) -> tuple[str, Path | None]:
    """Return the name of a dataset, and its folder, None where it needs none.

    Of the two paths of a training's folder, the absolute one and the recipe's, the first that is
    there is taken.

    Args:
        card: The network's card.
        name: Name of a dataset; None for the one that the network was trained on.
        data: Folder of the dataset; None for the one of the training, if the dataset is the same.

    Raises:
        ConfigError: No dataset is named and the card names none.
    """
    training = card.training
    if training is None:
        if name is None:
            msg = (
                "the card names no dataset that the network was trained on; name one with --dataset"
            )
            raise ConfigError(msg)
        return name, data
    chosen = name or training.dataset
    if data is not None or chosen != training.dataset:
        return chosen, data
    paths = [Path(str(path)) for path in (training.folder, training.recipe.get("data")) if path]
    return chosen, next((path for path in paths if path.is_dir()), paths[0] if paths else None)
