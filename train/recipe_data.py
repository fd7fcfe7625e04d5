"""The data of a recipe: the dataset in a folder, a crop that fits, and a quick check."""

from contextlib import suppress
from pathlib import Path
from shlex import join
from typing import Any

from segdeploy.cli.console import note
from segdeploy.cli.options import same_plugins
from segdeploy.errors import DataError

from .recipe import Recipe

SYNTHETIC = "streets"
"""The dataset that lies in no folder."""


def find_dataset(data: Path, usual: str | None) -> str:
    """Return the name of the dataset in a folder, which the user named without a dataset.

    Args:
        data: The folder.
        usual: The recipe's dataset, which is kept where the folder holds it.
    """
    from segdeploy.datasets.checks.detect import detect_layout
    from segdeploy.datasets.registry import has_no_layout, layout

    if usual is not None and usual != SYNTHETIC:
        with suppress(DataError):
            if has_no_layout(usual) or layout(usual).index(data, "train").pairs:
                return usual
    found = detect_layout(data).name
    note(f"{data} holds {found}; --dataset would choose another")
    return found


def with_fitting_crop(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a recipe with its crop no larger than an input size that was given."""
    crop, size = values.get("crop"), values.get("imgsz")
    if not (crop and size and len(crop) == len(size) == 2):
        return values
    fitting = tuple(map(min, crop, size))
    if fitting != tuple(crop):
        note(
            f"the crop becomes {fitting[0]},{fitting[1]}, since the recipe's is larger than the"
            " input; --crop would choose another"
        )
    return {**values, "crop": fitting}


def check_data(recipe: Recipe) -> None:
    """Check quickly a dataset whose files are known, and print warnings.

    Raises:
        DataError: Something would harm training.
    """
    if not recipe.data:
        return
    from segdeploy.datasets.checks.check import quick_check
    from segdeploy.datasets.checks.split import index_splits
    from segdeploy.datasets.registry import has_no_layout, layout

    if has_no_layout(recipe.dataset):
        return
    indexes, _ = index_splits(layout(recipe.dataset), Path(recipe.data))
    indexes = {split: index for split, index in indexes.items() if split in {"train", "val"}}
    command = ["segdeploy", "data", "check", recipe.data, "--dataset", recipe.dataset]
    more = f"see all with: {join([*command, *same_plugins()])}"
    for finding in quick_check(indexes):
        # A copy in both splits makes scores too high and harms no training; only small datasets are
        # searched for them here.
        if finding.severity == "error" and finding.kind != "copy":
            msg = f"{finding.sentence} ({finding.kind} in {finding.split}; {more})"
            raise DataError(msg)
        note(f"{finding.sentence} ({more})")
