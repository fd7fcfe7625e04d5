"""Detection of the dataset that lies in a folder, and of its splits."""

from pathlib import Path
from shlex import quote

from segdeploy.datasets.checks.split import index_splits
from segdeploy.datasets.class_map import CLASS_MAP_FILE
from segdeploy.datasets.dataset import Dataset
from segdeploy.datasets.formats.coco_files import UNDIVIDED
from segdeploy.datasets.index import Layout
from segdeploy.datasets.registry import has_no_layout, layout, layouts, load
from segdeploy.errors import ConfigError, DataError, LayoutNotFoundError


def open_splits(dataset: str | None, data: Path | None) -> tuple[str, dict[str, Dataset]]:
    """Open every split of a dataset.

    Args:
        dataset: Name of the dataset; None to detect it.
        data: Its folder; None for a synthetic one.

    Returns:
        The dataset's name, and its splits by their names.

    Raises:
        ConfigError: Neither is given, or they do not fit each other.
        DataError: There is no training split, or a file of a split has no counterpart.
    """
    if data is None and dataset is None:
        msg = "no dataset is named; name a folder, or the synthetic one with --dataset streets"
        raise ConfigError(msg)
    if dataset is not None and (data is None or has_no_layout(dataset)):
        return dataset, {split: load(dataset, data, split) for split in ("train", "val")}
    assert data is not None
    chosen = layout(dataset) if dataset else detect_layout(data)
    indexes, _ = index_splits(chosen, data)
    return chosen.name, {split: index.dataset() for split, index in indexes.items()}


def detect_layout(data: Path) -> Layout:
    """Return the layout in which a folder holds images to train on.

    Raises:
        ConfigError: No layout fits, or more than one does.
        DataError: There is no such folder, or its files contradict the layout that they follow.
    """
    if not data.is_dir():
        msg = f"there is no folder {data}; check the name"
        raise DataError(msg)
    matched, unmatched, fault = _try_layouts(data)
    candidates = matched or unmatched
    if len(candidates) > 1:
        names = " or ".join(candidate.name for candidate in candidates)
        msg = f"{data} may hold {names}; choose one with --dataset"
        raise ConfigError(msg)
    if candidates:
        return candidates[0]
    if fault is not None:
        raise fault
    if (data / CLASS_MAP_FILE).exists():
        return layout(_guess_by_class_map(data))
    known = ", ".join(known.name for known in layouts())
    msg = (
        f"no known dataset lies in {data}; name one of {known} with --dataset, or describe your"
        f" own: segdeploy data init {quote(str(data))}"
    )
    raise ConfigError(msg)


def _try_layouts(data: Path) -> tuple[list[Layout], list[Layout], DataError | None]:
    """Try all layouts on a folder.

    Returns:
        Those that find pairs, those that find files of which none has its counterpart, and the
        first error in files that are there.
    """
    matched: list[Layout] = []
    unmatched: list[Layout] = []
    fault: DataError | None = None
    for candidate in layouts():
        try:
            index = candidate.index(data, "train")
        except LayoutNotFoundError:
            continue
        except DataError as error:
            fault = fault or error
            continue
        if not index.pairs and index.unpaired:
            unmatched.append(candidate)
        # Any folder of images may be one with image and mask side by side in each file, so that
        # layout is never detected.
        elif any(pair.mask != pair.image for pair in index.pairs[:1]):
            matched.append(candidate)
    return matched, unmatched, fault


def _guess_by_class_map(data: Path) -> str:
    """Return which layout is incomplete where there is a classes.toml, to report what it lacks."""
    if (data / "annotations").is_dir() or any((data / file).is_file() for file, _ in UNDIVIDED):
        return "coco"
    if any(data.glob("*.json")) or any((data / "train").glob("*.json")):
        return "labelme"
    return "folder"
