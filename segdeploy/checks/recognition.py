"""Which data set a folder holds where nobody says it, and the splits that are there."""

from pathlib import Path

from segdeploy.checks.split import survey_all
from segdeploy.datasets.layout import Layout
from segdeploy.datasets.registry import layout, layouts, load
from segdeploy.datasets.sample import Dataset
from segdeploy.errors import ConfigError, DataError


def recognize(data: Path) -> Layout:
    """Find the layout in which a folder holds pictures to train with.

    Raises:
        ConfigError: No layout fits, or more than one does.
    """
    fits = [one.name for one in layouts() if _fits(one, data)]
    if not fits:
        known = ", ".join(one.name for one in layouts())
        msg = f"no known data set lies in {data}; name one of {known} with --dataset, or describe your own: segdeploy data init {data}"
        raise ConfigError(msg)
    if len(fits) > 1:
        msg = f"{data} may hold {' or '.join(fits)}; say which with --dataset"
        raise ConfigError(msg)
    return layout(fits[0])


def _fits(candidate: Layout, data: Path) -> bool:
    """Tell whether there are pairs; any folder looks as if picture and truth lay side by side in each file, so that proves nothing."""
    try:
        pairs = candidate.survey(data, "train").pairs
    except DataError:
        return False
    return any(pair.mask != pair.image for pair in pairs[:1])


def open_splits(dataset: str | None, data: Path | None) -> tuple[str, dict[str, Dataset]]:
    """Open every split that is there.

    Args:
        dataset: Name of the data set; None to find out.
        data: Its folder; None for one that is drawn.

    Returns:
        The data set's name, and its splits by their names.

    Raises:
        ConfigError: Neither is given, or they do not fit each other.
        DataError: There is no training split, or a file of a split has no counterpart.
    """
    if data is None:
        if dataset is None:
            msg = "no data set is named; name a folder, or one that is drawn with --dataset streets"
            raise ConfigError(msg)
        return dataset, {split: load(dataset, None, split) for split in ("train", "val")}
    chosen = layout(dataset) if dataset else recognize(data)
    surveys, _ = survey_all(chosen, data)
    return chosen.name, {split: survey.dataset() for split, survey in surveys.items()}
