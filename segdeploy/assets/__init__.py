"""The bundled models, and which of them suits a machine."""

from collections.abc import Mapping
from pathlib import Path

from segdeploy.errors import ModelError

STREET, STREET_INT8 = "street", "street-int8"

FILES: Mapping[str, str] = {STREET: "street.onnx", STREET_INT8: "street-int8.onnx"}
"""Files of the bundled models, by the names that commands take in place of an artifact's path."""

TERMS = "its weights were trained on CamVid and IDD-Lite and are not for commercial use"


def folder() -> Path:
    """Return the folder of the bundled models."""
    return Path(__file__).parent


def find(name: str, folder: Path) -> Path:
    """Return the file of a bundled model.

    Args:
        name: One of `FILES`.
        folder: Folder of the files: `folder()`, unless they are being built.

    Raises:
        ModelError: This installation has no bundled models.
    """
    path = folder / FILES[name]
    if not path.is_file():
        msg = (
            f"this installation has no bundled models ({path} is missing); name another file, for"
            " example --model best.onnx"
        )
        raise ModelError(msg)
    return path


def locate(artifact: Path | str) -> Path:
    """Return the path of an artifact, where a text may be the name of a bundled model.

    Raises:
        ModelError: It is such a name, and this installation has no bundled models.
    """
    if isinstance(artifact, str) and artifact in FILES:
        return find(artifact, folder())
    return Path(artifact)


def short_name(artifact: Path) -> str:
    """Return what a command takes for an artifact: a bundled model's name, or the path."""
    names = (name for name, file in FILES.items() if artifact == folder() / file)
    return next(names, str(artifact))


def choose_model(*, on_processor: bool, has_avx2: bool) -> str:
    """Return the name of the bundled model to run where none is named: the faster one.

    That is int8 on processors with AVX2, and more so on those that have VNNI as well; MODEL_CARD.md
    has the times, and what the masks lose. Other processors and devices were not measured, and get
    the exact model.

    Args:
        on_processor: Whether the processor will run it.
        has_avx2: Whether it has AVX2.
    """
    return STREET_INT8 if on_processor and has_avx2 else STREET
