"""Answers in the form that the evaluation servers of data sets read: one PNG a picture, with the makers' own ids."""

from collections.abc import Callable, Mapping
from pathlib import Path

from segdeploy.datasets.ade20k import to_original_ids as ade20k_ids
from segdeploy.datasets.cityscapes import to_original_ids as cityscapes_ids
from segdeploy.errors import ConfigError
from segdeploy.pictures import write_picture
from segdeploy.scores import Mask

SERVERS: Mapping[str, Callable[[Mask], Mask]] = {"ade20k": ade20k_ids, "cityscapes": cityscapes_ids}


def ids_writer(name: str, folder: Path) -> Callable[[str, Mask], None]:
    """Give a function that writes the mask of a picture as `NAME.png` into a folder.

    Args:
        name: Name of a data set that has an evaluation server.
        folder: Where the files are written; it is made if it is missing.

    Raises:
        ConfigError: The data set has no evaluation server.
    """
    if name not in SERVERS:
        msg = f"the data set {name!r} has no ids for an evaluation server; --save-ids knows {', '.join(SERVERS)}"
        raise ConfigError(msg)
    return lambda picture, mask: write_picture(folder / f"{picture}.png", SERVERS[name](mask))
