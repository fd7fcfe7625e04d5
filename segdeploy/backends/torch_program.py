"""Exported programs (.pt2): what a file may contain, and the archive that PyTorch is given.

PyTorch's reader unpickles what an archive marks as pickled, looks up functions by any name below
`torch`, evaluates sizes and guards as Python, and writes the graph as Python source to execute it,
with the names that the file gives. A file that `segdeploy export` wrote needs none of that: tensors
are plain bytes, functions are operators of an allow-list, sizes are sums, and every text is a plain
name.
"""

import ast
import io
import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from segdeploy.backends.torch_operators import is_allowed_target
from segdeploy.errors import ModelError, UntrustedError
from segdeploy.system.torch_archive import Archive, open_archive, to_bytes

MODEL = "models/model.json"
CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
SAMPLES = "data/sample_inputs/model.pt"

TENSOR = re.compile(r"data/weights/weight_\d+|data/constants/tensor_\d+")
PLAIN_ENTRY = re.compile(r"\.data/(version|serialization_id)|byteorder|archive_(format|version)")
"""Entries that are plain bytes or texts."""

MAX_JSON = 256 * 1024 * 1024
"""Largest size of the graph in bytes."""

PLAIN_TEXT = re.compile(r"[\w.]{0,2000}", re.ASCII)
"""A name, as it may occur in Python source."""

VERSION_TEXT = re.compile(r"[\w.+-]{0,100}", re.ASCII)

TREES = re.compile(
    r'(\[1, |[\[\]{}, ]|"(type|context|children_spec)": '
    r'|"builtins\.(tuple|list|dict)"|"(null|\[\])"|null)*'
)
"""How inputs and outputs nest: tuples, lists and dictionaries without keys."""

_ARGUMENTS = """
as_bool as_bools as_device as_expr as_float as_floats as_int as_ints as_layout as_memory_format
as_name as_none as_optional_tensor as_optional_tensors as_scalar_type as_string as_sym_bool
as_sym_float as_sym_floats as_sym_int as_sym_ints as_tensor as_tensors
"""

ARGUMENTS = frozenset(_ARGUMENTS.split())
"""Kinds of values; further ones are objects, operators and graphs inside a graph."""

MAX_SIZE_TEXT = 10_000
MAX_POWERS = 8
"""Powers in one size: PyTorch computes them in numbers without limit."""

_SIZE_FUNCTIONS = """
Add And CeilToInt CleanDiv Eq Float FloatTrueDiv FloorDiv FloorToInt Ge Gt IntTrueDiv Integer Le
Lt Max Min Mod ModularIndexing Mul Ne Not Or Pow PythonMod Rational Symbol ToFloat TruncToInt
Where
"""

SIZE_FUNCTIONS = frozenset(_SIZE_FUNCTIONS.split())
SIZE_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.USub, ast.UAdd)
SYMBOL = re.compile(r"[su]\d+")


def read_program(path: Path, *, trust: bool) -> torch.export.ExportedProgram:
    """Read an exported program, without unnecessary parts unless it is trusted.

    Args:
        path: The file.
        trust: Whether PyTorch may execute whatever the file says.

    Raises:
        ModelError: It is damaged, or of another version of PyTorch.
        UntrustedError: It holds more than the operators of a network, and is not trusted.
    """
    # PyTorch demands the suffix .pt2 of a path, which a file has only once it is proven; of bytes
    # it does not.
    content = io.BytesIO(path.read_bytes()) if trust else checked_program(path)
    disabled_level = logging.root.manager.disable
    # PyTorch logs a traceback of its own before it raises.
    logging.disable(logging.CRITICAL)
    try:
        return torch.export.load(content)
    # A damaged graph makes PyTorch's reader raise anything.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        msg = (
            f"{path} is not an exported program that PyTorch {torch.__version__} reads, or is"
            f" damaged ({reason}); export it again"
        )
        raise ModelError(msg) from error
    finally:
        logging.disable(disabled_level)


def checked_program(path: Path) -> io.BytesIO:
    """Return an exported program for PyTorch to load, rewritten from the checked parts.

    Raises:
        ModelError: The file is missing, damaged, or not an exported program.
        UntrustedError: It holds something that is not on the allow-list.
    """
    with open_archive(path) as archive:
        return to_bytes(dict(_checked_entries(archive)))


def _checked_entries(archive: Archive) -> Iterator[tuple[str, bytes]]:
    """Yield the entries that are given to PyTorch."""
    missing = {MODEL, *CONFIGS, "archive_format", "archive_version"} - set(archive.names())
    if missing:
        msg = f"{archive.path} holds no exported program; was it written by 'segdeploy export'?"
        raise ModelError(msg)
    for name in archive.names():
        if name.startswith("extra/") or name in (MODEL, *CONFIGS):
            # Metadata was read before.
            continue
        if TENSOR.fullmatch(name) or PLAIN_ENTRY.fullmatch(name):
            yield name, archive.read(name)
        elif name != SAMPLES or archive.size(name):
            raise _untrusted(archive, f"an entry {name[:100]!r}")
    # PyTorch demands the example, which may be empty.
    yield SAMPLES, b""
    for name in CONFIGS:
        config = _json(archive, name)
        _check_tensors(config, archive, folder=name.rpartition("/")[0])
        yield name, json.dumps(config).encode()
    program = _json(archive, MODEL)
    _drop_metadata(program)
    _check_program(program, archive)
    yield MODEL, json.dumps(program).encode()


def _json(archive: Archive, name: str) -> Any:  # noqa: ANN401
    try:
        values = json.loads(archive.read(name, limit=MAX_JSON))
    except (ValueError, RecursionError) as error:
        msg = f"{archive.path} is damaged ({type(error).__name__}: {error}); export it again"
        raise ModelError(msg) from error
    if not isinstance(values, dict):
        msg = f"{archive.path} is damaged ({name} is not an object); export it again"
        raise ModelError(msg)
    return values


def _check_tensors(config: Any, archive: Archive, *, folder: str) -> None:  # noqa: ANN401
    """Check that all tensors are plain bytes, and not larger than these."""
    tensors = config.get("config")
    if set(config) != {"config"} or not isinstance(tensors, dict):
        raise _untrusted(archive, "a list of tensors of an unknown form")
    for name, tensor in tensors.items():
        _check_text(name, archive)
        if not isinstance(tensor, dict) or tensor.get("use_pickle") is not False:
            raise _untrusted(archive, f"a tensor {name[:100]!r} with use_pickle")
        entry = str(tensor.get("path_name"))
        if not TENSOR.fullmatch(f"{folder}/{entry}") or f"{folder}/{entry}" not in archive:
            raise _untrusted(archive, f"a tensor with path_name {entry[:100]!r}")
        # A value of at least a byte stands for each element: nothing is expanded when it is read.
        sizes = [value for key, value in _pairs((tensor.get("tensor_meta") or {}).get("sizes"))]
        if not all(type(size) is int and size >= 0 for size in sizes) or math.prod(
            sizes
        ) > archive.size(f"{folder}/{entry}"):
            raise _untrusted(archive, f"a tensor {name[:100]!r} that is larger than its bytes")
        for key, value in _pairs(tensor):
            _check_text(key, archive)
            if isinstance(value, str):
                _check_text(value, archive)


def _drop_metadata(program: Any) -> None:  # noqa: ANN401
    """Remove where a node came from in the exporter's code, which PyTorch looks up by its name."""
    module = program.get("graph_module")
    graph = module.get("graph") if isinstance(module, dict) else None
    nodes = graph.get("nodes") if isinstance(graph, dict) else None
    for node in nodes if isinstance(nodes, list) else []:
        if isinstance(node, dict):
            node["metadata"] = {}


def _check_program(program: object, archive: Archive) -> None:
    """Check every key and every text of a graph."""
    for key, value in _pairs(program):
        _check_text(key, archive)
        if key.startswith("as_") and key not in ARGUMENTS:
            raise _untrusted(archive, f"a value of the kind {key[:100]!r}")
        if key in ("guards_code", "treespec_namedtuple_fields") and value:
            raise _untrusted(archive, f"{key}, which is Python")
        if key in TEXTS:
            what, is_harmless = TEXTS[key]
            if not is_harmless(str(value)):
                raise _untrusted(archive, f"{what} {str(value)[:100]!r}")
        else:
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str):
                    _check_text(text, archive)


def _check_text(text: str, archive: Archive) -> None:
    if not PLAIN_TEXT.fullmatch(text):
        raise _untrusted(archive, f"a name {text[:100]!r}")


def _is_size(text: str) -> bool:
    """Return whether an expression of sizes consists of numbers, symbols and arithmetic."""
    if len(text) > MAX_SIZE_TEXT or text.count("Pow") > MAX_POWERS:
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(_is_size_node(node) for node in ast.walk(tree.body))


def _is_size_node(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))]):
            return SYMBOL.fullmatch(name) is not None and all(
                keyword.arg in ("positive", "integer") for keyword in node.keywords
            )
        case ast.Call(func=ast.Name(id="Pow"), args=[_, power], keywords=[]):
            return ast.unparse(power) in ("Integer(2)", "Integer(-1)", "2", "-1")
        case ast.Call(func=ast.Name(id=name), keywords=[]):
            return name in SIZE_FUNCTIONS - {"Symbol", "Pow"}
        case ast.Constant(value=bool()):
            return True
        case ast.Constant(value=int(value) | float(value)):
            return abs(value) < 2**64
        case ast.Constant(value=str(value)):
            return SYMBOL.fullmatch(value) is not None
        case ast.Name(id=name):
            return SYMBOL.fullmatch(name) is not None or name in SIZE_FUNCTIONS
        case _:
            return isinstance(
                node, (ast.BinOp, ast.UnaryOp, ast.keyword, ast.Load, *SIZE_OPERATORS)
            )


TEXTS: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "expr_str": ("a size", _is_size),
    "in_spec": ("inputs", TREES.fullmatch),
    "out_spec": ("outputs", TREES.fullmatch),
    "target": ("the operator", is_allowed_target),
    "torch_version": ("a version", VERSION_TEXT.fullmatch),
}
"""Keys whose texts are not plain names: what they are, and the check."""


def _pairs(value: object) -> Iterator[tuple[str, Any]]:
    """Yield every key with its value inside a JSON value."""
    pending = [value]
    while pending:
        inner = pending.pop()
        if isinstance(inner, dict):
            yield from inner.items()
            pending.extend(inner.values())
        elif isinstance(inner, list):
            pending.extend(inner)


def _untrusted(archive: Archive, what: str) -> UntrustedError:
    return UntrustedError(archive.path, what)
