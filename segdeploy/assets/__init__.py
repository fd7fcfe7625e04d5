"""The bundled models and which suits a machine."""

from collections.abc import Mapping
from pathlib import Path

from segdeploy.errors import ModelError

FLOAT, EIGHT_BITS = "street", "street-int8"

FILES: Mapping[str, str] = {FLOAT: "street.onnx", EIGHT_BITS: "street-int8.onnx"}
"""Files in the box, by the names that stand for them wherever a command takes the path of an
artifact."""

TERMS = "its weights were trained on CamVid and IDD-Lite and are not for commercial use"


def folder() -> Path:
    """Return the folder of the package's own files."""
    return Path(__file__).parent


def find(name: str, place: Path) -> Path:
    """Return the file in the box that a name stands for.

    Args:
        name: One of `FILES`.
        place: Where the files lie: `folder()`, unless the box is being filled.

    Raises:
        ModelError: This copy of the package carries none.
    """
    path = place / FILES[name]
    if not path.is_file():
        msg = (
            f"this copy of segdeploy carries no network ({path} is missing); name a file of your"
            " own, as in --model best.onnx"
        )
        raise ModelError(msg)
    return path


def locate(artifact: Path | str) -> Path:
    """Return the path of an artifact: a text may be the name of one in the box.

    Raises:
        ModelError: It is, and this copy of the package carries none.
    """
    return (
        find(artifact, folder())
        if isinstance(artifact, str) and artifact in FILES
        else Path(artifact)
    )


def short_name(artifact: Path) -> str:
    """Return what a command takes for an artifact, in short.

    The name of one in the box, the path of any other.
    """
    return next(
        (name for name, file in FILES.items() if artifact == folder() / file), str(artifact)
    )


def choose_model(*, on_processor: bool, has_avx2: bool) -> str:
    """Choose the name of the file to run where nobody named one.

    The faster one, as far as it was measured.

    That is 8 bits on processors with AVX2, and more so on those that have VNNI beside it;
    MODEL_CARD.md has the times, and what the masks lose. Other processors and devices were not
    measured, and get the file that is exact.

    Args:
        on_processor: Whether the processor will run it.
        has_avx2: Whether it has AVX2.
    """
    return EIGHT_BITS if on_processor and has_avx2 else FLOAT
