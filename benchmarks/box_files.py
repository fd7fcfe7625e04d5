"""From a checkpoint to the files of the box: what its card may tell, and how large they may be."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from segdeploy import box
from segdeploy.backends.loading import read_card
from segdeploy.card import ModelCard
from segdeploy.checkpoint import Checkpoint, save_checkpoint
from segdeploy.console import note
from segdeploy.errors import ConfigError, GateError, ModelError

from .box_card import is_final
from .outside import Call, call

MIB = 2**20
MOST_INT8, MOST = 5 * MIB, 16 * MIB
"""Bytes of the file in 8 bits, and of both files."""


def nobodys(loaded: Checkpoint, commit: str) -> Checkpoint:
    """Take from a checkpoint's card where files lay on the machine that trained it, and add the commit where it tells none.

    Raises:
        ModelError: It was never trained.
    """
    training = loaded.card.training
    if training is None:
        msg = "the checkpoint's card tells of no training; name one that 'segdeploy train' wrote"
        raise ModelError(msg)
    recipe = {key: "" if isinstance(value, str) and Path(value).is_absolute() else value for key, value in training.recipe.items()}
    told = replace(training, recipe=recipe, commit=training.commit or commit)
    return Checkpoint(card=replace(loaded.card, training=told), weights=loaded.weights, state={})


def judged_by(card: ModelCard, path: Path | None) -> ModelCard | None:
    """Give the card whose scores tell what to expect of weights that learned from the validation split too; None where they did not.

    Args:
        card: Of the weights.
        path: A checkpoint of the same recipe that never saw that split.

    Raises:
        ConfigError: There is no such checkpoint, or one that is not needed, or of another network.
    """
    assert card.training is not None, "it was checked before"
    if not is_final(card.training):
        if path is not None:
            msg = f"these weights never saw the validation split, so their own scores tell; leave out --judged {path}"
            raise ConfigError(msg)
        return None
    other = None if path is None else read_card(path)
    fits = other is not None and other.training is not None and not is_final(other.training) and other.scores is not None
    if other is None or not fits or (other.architecture, other.arguments) != (card.architecture, card.arguments):
        msg = "these weights learned from the validation split; name the same network's checkpoint that did not, with --judged BEST.pt"
        raise ConfigError(msg)
    return other


def export_both(checkpoint: Checkpoint, folder: Path, data: Path, run: Call = call) -> dict[str, Path]:
    """Let `segdeploy export` write and prove both files.

    Raises:
        SegdeployError: One of them cannot be made; the message is the command's own.
        GateError: They are too large.
    """
    assert checkpoint.card.training is not None
    source = folder / "best.pt"
    save_checkpoint(source, checkpoint)
    made = {}
    for name, precision in ((box.FLOAT, "fp32"), (box.EIGHT_BITS, "int8")):
        note(f"exporting {precision}")
        made[name] = folder / box.FILES[name]
        asked = [
            "--precision",
            precision,
            "--output-file",
            str(made[name]),
            "--dataset",
            checkpoint.card.training.dataset,
            "--data",
            str(data),
        ]
        run(["segdeploy", "export", str(source), *asked, "--proof-pictures", "1000000"])
    check_sizes({name: path.stat().st_size for name, path in made.items()})
    return made


def check_sizes(sizes: Mapping[str, int]) -> None:
    """Refuse what would make every installation too large.

    Raises:
        GateError: The files are too large.
    """
    for what, size, most in ((box.EIGHT_BITS, sizes[box.EIGHT_BITS], MOST_INT8), ("the box", sum(sizes.values()), MOST)):
        if size > most:
            msg = f"{what} has {size / MIB:.1f} MiB and may have {most / MIB:.0f}; train a smaller network"
            raise GateError(msg)
