"""The files of the page that runs a network in the browser, for an export and for a server."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from segdeploy.backends.onnx_metadata import read_metadata
from segdeploy.card import CARD_KEY, SELF_TEST_KEY, ModelCard
from segdeploy.errors import ConfigError
from segdeploy.system.files import write_text

from .runtime import runtime_files

MODEL_FILE = "model.onnx"
DESCRIPTION_FILE = "model.json"
SERVICE_FILE = "service.js"
LIST_FILE = "files.js"
SIGNATURE = "// Written by segdeploy."

CARD_FIELDS = ("architecture", "classes", "input", "output", "precision")
"""What the page needs of a card. Scores may be NaN, which JSON does not have."""

TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
    ".txt": "text/plain; charset=utf-8",
}
"""Media types of the page's files, by their endings."""


def page_files(*, webgpu: bool = False) -> Mapping[str, Path]:
    """Return the files of the page that are the same for every network, by their names in it.

    Args:
        webgpu: Whether the runtime for graphics processors is among them.

    Raises:
        ConfigError: This installation has no runtime for browsers.
    """
    page = Path(str(files("segdeploy.web"))) / "page"
    own = {path.name: path for path in sorted(page.iterdir()) if path.suffix in TYPES}
    runtime = runtime_files(webgpu=webgpu)
    return {**own, **{f"runtime/{name}": path for name, path in runtime.items()}}


def check_card(card: ModelCard) -> None:
    """Refuse a network that no image of a browser can be fed to.

    Raises:
        ConfigError: It takes other channels than red, green and blue, or other numbers than uint8.
    """
    if not card.input.is_plain:
        spec = card.input
        msg = (
            f"a browser shows images of red, green and blue in 8 bits, and this network takes"
            f" {', '.join(spec.channels)[:100]} in {spec.dtype}; run it with 'segdeploy run'"
        )
        raise ConfigError(msg)


def describe(model: Path, *, offline: bool, webgpu: bool = False) -> Mapping[str, Any]:
    """Return what the page needs to know of an ONNX file that an export wrote.

    Args:
        model: The file.
        offline: Whether the page is kept in the browser for use without a network.
        webgpu: Whether the runtime for graphics processors is beside the page.

    Raises:
        ModelError: It is no ONNX file.
        ConfigError: It was not exported, so that no output is stored to compare with, or no image
            of a browser can be fed to it.
    """
    metadata = read_metadata(model)
    if not {CARD_KEY, SELF_TEST_KEY} <= metadata.keys():
        msg = f"{model} has no card and expected output; take a file that 'segdeploy export' wrote"
        raise ConfigError(msg)
    card = ModelCard.from_json(metadata[CARD_KEY], source=str(model))
    check_card(card)
    values = to_builtins(card)
    return {
        "card": {key: values[key] for key in CARD_FIELDS},
        "expected": json.loads(metadata[SELF_TEST_KEY]),
        "offline": offline,
        "webgpu": webgpu,
    }


def copy_page(folder: Path, *, webgpu: bool = False) -> None:
    """Copy the files that are the same for every network into a folder.

    Raises:
        ConfigError: This installation has no runtime for browsers.
    """
    for name, file in page_files(webgpu=webgpu).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def complete_page(folder: Path, *, webgpu: bool = False) -> None:
    """Write what depends on the model into a folder that holds it and the page's other files.

    Args:
        folder: A folder that `copy_page` filled, with the ONNX file in it.
        webgpu: Whether it has the runtime for graphics processors.

    Raises:
        ModelError: There is no ONNX file.
        ConfigError: See `describe`.
    """
    description = describe(folder / MODEL_FILE, offline=True, webgpu=webgpu)
    write_text(folder / DESCRIPTION_FILE, json.dumps(description))
    write_text(folder / LIST_FILE, list_files(folder))


def list_files(folder: Path) -> str:
    """Return the content of files.js: the names of a folder's files, and a version of their bytes.

    Args:
        folder: Folder of the page with all other files.
    """
    # The service worker and what it imports are kept by the browser itself.
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    kept = {name: path for name, path in sorted(paths.items()) if path.is_file()}
    names = [name for name in kept if name not in {SERVICE_FILE, LIST_FILE}]
    total = hashlib.sha256()
    for name, path in kept.items():
        total.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    values = {"version": total.hexdigest()[:16], "names": ["./", *names]}
    return f"{SIGNATURE}\nself.FILES = {json.dumps(values, indent=1)};\n"
