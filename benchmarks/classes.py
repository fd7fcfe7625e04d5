"""Whether the classes of artifacts mean the same, and the same as the data's: told by their names, which the cards carry."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from segdeploy.backends.loading import read_card
from segdeploy.card import LabelClass, ModelCard
from segdeploy.errors import MissingExtraError, ModelError
from segdeploy.evaluation import other_name


def read_cards(artifacts: Sequence[Path]) -> Mapping[Path, ModelCard]:
    """Read the cards of the artifacts that have one: any other is a row that fails, not the end."""
    found = {}
    for path in artifacts:
        with suppress(ModelError, MissingExtraError):
            found[path] = read_card(path)
    return found


def first_card(artifacts: Sequence[Path]) -> ModelCard:
    """Read the card of the first artifact that has one.

    Raises:
        ModelError: None of them has one.
    """
    return next(iter(read_cards(artifacts).values()), None) or read_card(artifacts[-1])


def check_classes(artifacts: Sequence[Path], reference: Path | None) -> None:
    """Refuse to compare the labels of networks that know other classes, or know them in another order.

    Args:
        artifacts: The files.
        reference: The one that the others are compared with; None for none.

    Raises:
        ModelError: An artifact's classes have other names than the reference's.
    """
    names = {path: [entry.name for entry in card.classes] for path, card in read_cards(artifacts).items()}
    for path, found in names.items():
        if found != names.get(reference or path, found):
            msg = f"{path} knows {', '.join(found)} and {reference} {', '.join(names[reference or path])}; measure them one by one"
            raise ModelError(msg)


def other_names(artifacts: Sequence[Path], given: Sequence[LabelClass]) -> tuple[str, ...]:
    """Say of which artifacts classes are compared with the data's of another name, a sentence for all that differ alike."""
    told: dict[str, list[str]] = {}
    for path, card in read_cards(artifacts).items():
        told.setdefault(other_name(card.classes, given), []).append(path.name)
    return tuple(f"{', '.join(names)}: {sentence}." for sentence, names in told.items() if sentence)
