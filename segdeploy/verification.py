"""Whether a file still is, and still answers, what was exported."""

from dataclasses import dataclass
from pathlib import Path

from segdeploy.backends.base import card_of
from segdeploy.backends.loading import Kind
from segdeploy.card import ModelCard
from segdeploy.errors import GateError, ModelError
from segdeploy.selfcheck import ANSWER_KEY, CHECKSUM_KEY, Answer, Met, built_in_picture


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found about a file that passed.

    Attributes:
        card: Its card.
        device: What ran it.
        met: How well the stored answer was met.
    """

    card: ModelCard
    device: str
    met: Met


def verify(path: Path, kind: Kind, *, device: str = "auto") -> Verified:
    """Check an exported file by what it carries: its checksum, its card, and its answer to the built-in picture.

    Args:
        path: The file.
        kind: What it is, whatever its ending.
        device: Where it runs.

    Raises:
        GateError: The bytes or the answer are not those of the export.
        ModelError: The file cannot be loaded, or was exported without an answer.
        CardError: It carries no usable card.
    """
    texts = kind.read_texts(path)
    card = card_of(texts, source=str(path))
    if not {ANSWER_KEY, CHECKSUM_KEY} <= texts.keys():
        msg = f"{path} carries no answer and checksum to verify; verify what 'segdeploy export' wrote, or use 'segdeploy eval'"
        raise ModelError(msg)
    if kind.checksum(path) != texts[CHECKSUM_KEY]:
        msg = f"{path} was changed after it was exported: its checksum is another; export it again"
        raise GateError(msg)
    answer = Answer.from_json(texts[ANSWER_KEY], source=str(path))
    backend = kind.load(path, device=device)
    given = backend.run(built_in_picture(card.input.height, card.input.width))
    return Verified(card=card, device=backend.device, met=answer.check(given, source=str(path)))
