"""Files found by name, paired by name, and split by lot where their makers chose no split."""

import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from segdeploy.datasets.layout import Pair
from segdeploy.errors import AbsentError, DataError
from segdeploy.pictures import ENDINGS

SEED = 0
HELD_OUT = 0.2
"""Share of a data set that becomes its validation split where its makers chose none."""


def find_files(folder: Path, endings: Collection[str] = ENDINGS, *, needs: str) -> dict[str, Path]:
    """Find the files of one folder by the end of their names.

    Args:
        folder: Where to look; folders in it are not entered, and hidden files are left out.
        endings: How a name may end, in small letters, for example "_mask.gif"; large letters are taken for small ones.
        needs: What the layout needs, to be told where it is missing.

    Returns:
        Path of each file by its name without the ending.

    Raises:
        AbsentError: There is no such folder, or no such file in it.
        DataError: The folder cannot be read, or two files differ in their ending only.
    """
    found = _scan(folder, endings, needs=needs)
    if not found:
        raise _nothing(folder, endings, needs=needs)
    return found


def find_folders(folder: Path, *, needs: str) -> list[Path]:
    """Name the folders in a folder, sorted; raises AbsentError where there is no such folder or none in it."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except OSError as error:
        raise _unopened(folder, error, needs=needs) from error
    if not names:
        msg = f"there is no folder in {folder}; {needs}"
        raise AbsentError(msg)
    return [folder / name for name in names]


def find_below(folder: Path, endings: Collection[str], *, needs: str) -> dict[str, Path]:
    """Find the files in the folders of a folder as `find_files` does, by the folder's name, a slash and their own."""
    inner = find_folders(folder, needs=needs)
    found = {f"{one.name}/{key}": path for one in inner for key, path in _scan(one, endings, needs=needs).items()}
    if not found:
        raise _nothing(folder / "*", endings, needs=needs)
    return found


def _scan(folder: Path, endings: Collection[str], *, needs: str) -> dict[str, Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and not entry.is_dir())
    except OSError as error:
        raise _unopened(folder, error, needs=needs) from error
    found: dict[str, Path] = {}
    longest_first = sorted(endings, key=len, reverse=True)
    for name in names:
        ending = next((one for one in longest_first if name.lower().endswith(one)), None)
        if ending is None:
            continue
        key = name[: -len(ending)]
        if key in found:
            msg = f"{found[key]} and {folder / name} have one name; remove one of them"
            raise DataError(msg)
        found[key] = folder / name
    return found


def _unopened(folder: Path, error: OSError, *, needs: str) -> DataError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return AbsentError(f"there is no folder {folder}; {needs}")
    return DataError(f"cannot read the folder {folder}: {error.strerror or error}")


def _nothing(folder: Path, endings: Collection[str], *, needs: str) -> AbsentError:
    return AbsentError(f"no file in {folder} is named *{', *'.join(sorted(endings))}; {needs}")


def match(images: Mapping[str, Path], masks: Mapping[str, Path]) -> tuple[tuple[Pair, ...], tuple[Path, ...]]:
    """Pair pictures and masks by their keys; a slash in a key becomes an underscore in the name.

    Returns:
        The pairs, sorted by key, and the files whose key the other side lacks, sorted.
    """
    pairs = tuple(Pair(name=key.replace("/", "_"), image=images[key], mask=masks[key]) for key in sorted(images.keys() & masks.keys()))
    lonely = [path for side, other in ((images, masks), (masks, images)) for key, path in side.items() if key not in other]
    return pairs, tuple(sorted(lonely))


def without_truth(images: Mapping[str, Path]) -> tuple[Pair, ...]:
    """Make pairs of pictures whose truth nobody has."""
    return tuple(Pair(name=key.replace("/", "_"), image=images[key], mask=None) for key in sorted(images))


def held_out(groups: Collection[str]) -> frozenset[str]:
    """Draw the groups that become the validation split: a fifth of them, at least one, never all.

    The lot of a group is the SHA-256 of the seed and its name, so that the draw is the same on every machine.

    Raises:
        DataError: There is only one group.
    """
    if len(set(groups)) < 2:
        msg = f"only {next(iter(groups), 'nothing')} is there to be split into train and val; at least two are needed"
        raise DataError(msg)
    lots = sorted(set(groups), key=lambda group: hashlib.sha256(f"{SEED}/{group}".encode()).digest())
    return frozenset(lots[: max(1, round(HELD_OUT * len(lots)))])


def draw_split(pairs: Sequence[Pair], split: str, *, group: Callable[[Pair], str], of: str) -> tuple[tuple[Pair, ...], str]:
    """Keep the pairs of one split, "train" or "val", where all pictures of a group fall on one side.

    Args:
        pairs: All pairs.
        split: "train" or "val".
        group: Names the group of a pair.
        of: What a group is, in the plural, for example "cars".

    Returns:
        The pairs of the split, and the rule in words.

    Raises:
        DataError: There is only one group.
    """
    val = held_out([group(pair) for pair in pairs]) if pairs else frozenset()
    rule = f"{HELD_OUT:.0%} of the {of} are val, drawn by SHA-256 with seed {SEED}"
    return tuple(pair for pair in pairs if (group(pair) in val) == (split == "val")), rule
