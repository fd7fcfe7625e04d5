"""Tables of a data set's figures, which `segdeploy data check` and `segdeploy data stats` print."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from segdeploy.checks.figures import Figures

SHOWN = 3
"""Sizes that are named; the rest is counted."""


def splits_table(figures: Mapping[str, Figures]) -> Table:
    """Lay out the splits, a row each."""
    table = Table("split", box=None, pad_edge=False)
    for title in ("pictures", "masks", "labelled"):
        table.add_column(title, justify="right")
    for title in ("sizes", "mean of red, green, blue", "their deviation"):
        table.add_column(title)
    for split, found in figures.items():
        labelled = f"{found.labelled:.1%}" if found.masks else ""
        table.add_row(split, str(found.pictures), str(found.masks), labelled, _sizes(found), _triple(found.mean), _triple(found.std))
    return table


def _sizes(figures: Figures) -> str:
    named = [size if len(figures.sizes) == 1 else f"{size} ({count})" for size, count in list(figures.sizes.items())[:SHOWN]]
    rest = [f"{len(figures.sizes) - SHOWN} more"] if len(figures.sizes) > SHOWN else []
    return ", ".join(named + rest)


def _triple(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def classes_table(figures: Mapping[str, Figures]) -> Table:
    """Lay out the classes, a row each: their share of the labelled pixels of each split, and weights that follow from the first split."""
    table = Table("class", box=None, pad_edge=False)
    labelled = {split: found for split, found in figures.items() if found.masks}
    for split in labelled:
        table.add_column(f"{split}, pixels", justify="right")
        table.add_column("pictures", justify="right")
    for title in ("weight, ENet", "weight, median"):
        table.add_column(title, justify="right")
    for entries in zip(*(found.classes for found in labelled.values()), strict=True):
        shares = [cell for entry in entries for cell in (f"{entry.share:.2%}", str(entry.pictures))]
        weights = ["" if weight is None else f"{weight:.2f}" for weight in (entries[0].weight, entries[0].median_weight)]
        table.add_row(Text(entries[0].name), *shares, *weights)
    return table
