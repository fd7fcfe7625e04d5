"""The data set that a network is asked about: the one that was named, else the one that it was trained on."""

from pathlib import Path

from segdeploy.card import ModelCard
from segdeploy.datasets.registry import load
from segdeploy.datasets.sample import Dataset
from segdeploy.errors import ConfigError


def open_for(card: ModelCard, name: str | None, *, data: Path | None, split: str) -> tuple[str, Dataset]:
    """Open a split of the data set of `place_for`, and give its name with it.

    Raises:
        ConfigError: Nothing was named and the card names nothing, or there is no data set or split of that name.
        DataError: The folder does not hold what the layout needs.
    """
    chosen, folder = place_for(card, name, data=data)
    return chosen, load(chosen, folder, split)


def place_for(card: ModelCard, name: str | None, *, data: Path | None) -> tuple[str, Path | None]:
    """Give the name of a data set, and its folder, None where it needs none.

    Args:
        card: The network's card.
        name: Name of a data set; the one of the training where None.
        data: Folder of the data set; where None, the one of the training if the data set is the same.

    Raises:
        ConfigError: Nothing was named and the card names nothing.
    """
    training = card.training
    if name is None and training is None:
        msg = "the card names no data set that the network was trained on; name one with --dataset"
        raise ConfigError(msg)
    chosen = name or (training.dataset if training is not None else "")
    if data is None and training is not None and training.dataset == chosen and training.recipe.get("data"):
        data = Path(str(training.recipe["data"]))
    return chosen, data
