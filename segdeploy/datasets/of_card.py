"""The data set that a network is asked about: the one that was named, else the one that it was trained on."""

from pathlib import Path

from segdeploy.card import ModelCard
from segdeploy.datasets.registry import load
from segdeploy.datasets.sample import Dataset
from segdeploy.errors import ConfigError


def open_for(card: ModelCard, name: str | None, *, data: Path | None, split: str) -> tuple[str, Dataset]:
    """Open a split, and give the data set's name with it.

    Args:
        card: The network's card.
        name: Name of a data set; the one of the training where None.
        data: Folder of the data set; where None, the one of the training if the data set is the same.
        split: "train" or "val".

    Raises:
        ConfigError: Nothing was named and the card names nothing, or there is no data set or split of that name.
        DataError: The folder does not hold what the layout needs.
    """
    training = card.training
    if name is None and training is None:
        msg = "the card names no data set that the network was trained on; name one with --dataset"
        raise ConfigError(msg)
    chosen = name or (training.dataset if training is not None else "")
    if data is None and training is not None and training.dataset == chosen and training.recipe.get("data"):
        data = Path(str(training.recipe["data"]))
    return chosen, load(chosen, data, split)
