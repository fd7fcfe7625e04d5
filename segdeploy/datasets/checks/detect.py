"""Which dataset a folder holds where nobody says it, and the splits that are there."""

from pathlib import Path
from shlex import quote

from segdeploy.datasets.checks.split import survey_all
from segdeploy.datasets.class_map import LEGEND
from segdeploy.datasets.dataset import Dataset
from segdeploy.datasets.formats.coco import UNDIVIDED
from segdeploy.datasets.index import Layout
from segdeploy.datasets.registry import has_builder_alone, layout, layouts, load
from segdeploy.errors import AbsentError, ConfigError, DataError


def recognize(data: Path) -> Layout:
    """Find the layout in which a folder holds images to train with.

    Raises:
        ConfigError: No layout fits, or more than one does.
        DataError: There is no such folder, or what it holds is meant for one layout and cannot be
            used.
    """
    if not data.is_dir():
        msg = f"there is no folder {data}; check the name"
        raise DataError(msg)
    matched, unmatched, fault = _try_all(data)
    fits = matched or unmatched
    if len(fits) > 1:
        msg = f"{data} may hold {' or '.join(one.name for one in fits)}; say which with --dataset"
        raise ConfigError(msg)
    if fits:
        return fits[0]
    if fault is not None:
        raise fault
    if (data / LEGEND).exists():
        return layout(_meant_by_legend(data))
    known = ", ".join(one.name for one in layouts())
    describe = f"segdeploy data init {quote(str(data))}"
    msg = (
        f"no known dataset lies in {data}; name one of {known} with --dataset, or describe your"
        f" own: {describe}"
    )
    raise ConfigError(msg)


def _try_all(data: Path) -> tuple[list[Layout], list[Layout], DataError | None]:
    """Find the layouts with pairs, those with files of which none has its counterpart, and the first fault in what is there."""
    matched: list[Layout] = []
    unmatched: list[Layout] = []
    fault: DataError | None = None
    for one in layouts():
        try:
            survey = one.survey(data, "train")
        except AbsentError:
            continue
        except DataError as error:
            fault = fault or error
            continue
        if not survey.pairs and survey.lonely:
            unmatched.append(one)
        # Any folder looks as if image and truth lay side by side in each file, so that proves
        # nothing.
        elif any(pair.mask != pair.image for pair in survey.pairs[:1]):
            matched.append(one)
    return matched, unmatched, fault


def _meant_by_legend(data: Path) -> str:
    """Guess which layout is incomplete where there is a classes.toml, so that what it lacks can be told."""
    if (data / "annotations").is_dir() or (data / UNDIVIDED).is_file():
        return "coco"
    return (
        "labelme" if any(data.glob("*.json")) or any((data / "train").glob("*.json")) else "folder"
    )


def open_splits(dataset: str | None, data: Path | None) -> tuple[str, dict[str, Dataset]]:
    """Open every split that is there.

    Args:
        dataset: Name of the dataset; None to find out.
        data: Its folder; None for one that is drawn.

    Returns:
        The dataset's name, and its splits by their names.

    Raises:
        ConfigError: Neither is given, or they do not fit each other.
        DataError: There is no training split, or a file of a split has no counterpart.
    """
    if data is None:
        if dataset is None:
            msg = "no dataset is named; name a folder, or one that is drawn with --dataset streets"
            raise ConfigError(msg)
        return dataset, {split: load(dataset, None, split) for split in ("train", "val")}
    if dataset is not None and has_builder_alone(dataset):
        return dataset, {split: load(dataset, data, split) for split in ("train", "val")}
    chosen = layout(dataset) if dataset else recognize(data)
    surveys, _ = survey_all(chosen, data)
    return chosen.name, {split: survey.dataset() for split, survey in surveys.items()}
