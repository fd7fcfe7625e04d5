"""Whether a file that has its final name is whole, by its format."""

import json
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

TEMPORARY = (".part", ".kept", ".lock")
"""Ends of the names of files that are not yet whole, or are of no use to the user."""


def find_fault(path: Path) -> str:
    """Return why a file is not whole; "" where it is, or has a temporary name."""
    if not path.is_file() or path.name.endswith(TEMPORARY):
        return ""
    check = CHECKS.get(path.suffix)
    try:
        if check is not None:
            check(path)
    except Exception as error:  # noqa: BLE001 - whatever a reader raises, the file is not whole
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return ""


def _json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


def _json_lines(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not text or text.endswith("\n"), "the last line is cut"
    for line in text.splitlines():
        json.loads(line)


def _toml(path: Path) -> None:
    tomllib.loads(path.read_text(encoding="utf-8"))


def _image(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        image.load()


def _film(path: Path) -> None:
    import av

    with av.open(str(path), metadata_errors="replace") as container:
        frames = sum(1 for _ in container.decode(video=0))
    assert frames, "it has no frame"


def _artifact(path: Path) -> None:
    from segdeploy.backends.loading import KINDS, read_card

    read_card(path)
    missing = [other for other in KINDS[path.suffix].companions(path) if not other.is_file()]
    assert not missing, f"there is no {missing[0]}"


def _checkpoint(path: Path) -> None:
    from segdeploy.models.checkpoint import load_checkpoint

    load_checkpoint(path).network()


def _archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def _text(path: Path) -> None:
    assert path.read_text(encoding="utf-8"), "it is empty"


CHECKS: Mapping[str, Callable[[Path], None]] = {
    ".json": _json,
    ".geojson": _json,
    ".jsonl": _json_lines,
    ".toml": _toml,
    ".png": _image,
    ".jpg": _image,
    ".tif": _image,
    ".mp4": _film,
    ".mkv": _film,
    ".onnx": _artifact,
    ".xml": _artifact,
    ".torchscript": _artifact,
    ".pt2": _artifact,
    ".mnn": _artifact,
    ".param": _artifact,
    ".pt": _checkpoint,
    ".npz": _archive,
    ".html": _text,
    ".csv": _text,
    ".svg": _text,
}
"""Readers by the end of a file's name; each raises an error where a file is not whole."""
