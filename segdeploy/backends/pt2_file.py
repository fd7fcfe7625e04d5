"""What an exported program of PyTorch carries, read without PyTorch, once it is found to hold nothing that could be executed.

PyTorch's own reader unpickles what an archive marks as pickled, looks functions up by any name below `torch`, and evaluates sizes and
guards as Python. A file that `segdeploy export` wrote needs none of that: tensors are plain bytes, functions are operators, sizes are sums.
"""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from segdeploy.backends.archive_file import MAX_BYTES, checksum, open_archive, read_entry
from segdeploy.backends.archive_file import read_texts as read_extra
from segdeploy.errors import ModelError

__all__ = ["checksum", "read_texts"]

MODEL = "models/model.json"
CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
SAMPLES = "data/sample_inputs/model.pt"

PLAIN = re.compile(
    r"extra/[^/]+|data/weights/weight_\d+|data/constants/tensor_\d+|\.data/(version|serialization_id)|byteorder|archive_(format|version)|version"
)
"""Entries of bytes alone."""

OPERATOR = re.compile(r"torch\.ops\.aten\.\w+\.\w+|torch\.sym_(int|max|min|float|not|sum)|_operator\.\w+|math\.\w+")
SYMBOL = re.compile(r"'[su]\d+'")
SIZES = re.compile(r"[\w\s(),+\-*/=<>]*")
WORD = re.compile(r"[A-Za-z_]\w*")
KNOWN = re.compile(
    r"[su]\d+|Add|And|CeilToInt|CleanDiv|Eq|False|Float|FloorDiv|FloorToInt|Ge|Gt|IntTrueDiv|Integer|Le|Lt|Max|Min|Mod|ModularIndexing"
    r"|Mul|Ne|Not|Or|Pow|PythonMod|Rational|Symbol|True|TruncToInt|Where|integer|positive"
)
"""What a size may be computed with."""


def read_texts(path: Path) -> Mapping[str, str]:
    """Give the texts that a file carries by their keys (card, answer, checksum), once the file is found harmless.

    Raises:
        ModelError: The file is missing, no archive of PyTorch, or holds what could be executed.
    """
    with open_archive(path) as archive:
        entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
        for name, entry in entries.items():
            if not PLAIN.fullmatch(name) and name not in (MODEL, *CONFIGS) and not (name == SAMPLES and not entry.file_size):
                raise _sly(path, f"an entry {name[:100]!r}")
        if not {MODEL, *CONFIGS} <= entries.keys():
            msg = f"{path} holds no exported program; was it written by 'segdeploy export'?"
            raise ModelError(msg)
        for name in CONFIGS:
            _check_tensors(_json(archive, entries[name], path), path)
        _check_program(_json(archive, entries[MODEL], path), path)
    return read_extra(path)


def _json(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> Any:  # noqa: ANN401 - foreign JSON
    try:
        return json.loads(read_entry(archive, entry, path, MAX_BYTES))
    except (ValueError, RecursionError) as error:
        msg = f"{path} is damaged ({type(error).__name__}: {error}); export it again"
        raise ModelError(msg) from error


def _check_tensors(config: object, path: Path) -> None:
    """Refuse tensors that are not plain bytes."""
    for key, value in _pairs(config):
        if (key == "use_pickle" and value is not False) or (key == "path_name" and not re.fullmatch(r"(weight|tensor)_\d+", str(value))):
            raise _sly(path, f"a tensor with {key} {str(value)[:100]!r}")


def _check_program(program: object, path: Path) -> None:
    """Refuse functions that are no operators, and sizes and guards that are more than sums."""
    for key, value in _pairs(program):
        if key == "target" and not OPERATOR.fullmatch(str(value)):
            raise _sly(path, f"a function {str(value)[:100]!r}")
        if key == "expr_str" and not _is_size(str(value)):
            raise _sly(path, f"a size {str(value)[:100]!r}")
        if key == "guards_code" and value != []:
            raise _sly(path, "guards that are Python")


def _is_size(text: str) -> bool:
    bare = SYMBOL.sub("s0", text)
    return SIZES.fullmatch(bare) is not None and all(KNOWN.fullmatch(word) for word in WORD.findall(bare))


def _pairs(value: object) -> Iterator[tuple[str, Any]]:
    """Walk over every key and its value within a JSON value."""
    left = [value]
    while left:
        inner = left.pop()
        if isinstance(inner, dict):
            yield from inner.items()
            left.extend(inner.values())
        elif isinstance(inner, list):
            left.extend(inner)


def _sly(path: Path, what: str) -> ModelError:
    return ModelError(f"{path} holds {what}, which PyTorch might execute, and was not loaded; use only files that 'segdeploy export' wrote")
