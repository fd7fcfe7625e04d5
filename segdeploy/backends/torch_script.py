"""TorchScript: what a file may contain, and the archive that PyTorch is given.

A file that `segdeploy export` wrote is one frozen method: a list of assignments that call operators
on tensors and numbers, without a loop, a class or an attribute. The code is read as Python, which
has the same syntax for these, and rewritten from what was read; the weights are described by a
pickle, which is handled the same.
"""

import ast
import io
import re
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import torch

from segdeploy.backends.torch_operators import PRIMITIVES, is_allowed
from segdeploy.errors import ModelError, UntrustedError
from segdeploy.system.torch_archive import (
    Archive,
    StoredTensor,
    open_archive,
    read_pickle,
    to_bytes,
)

PLAIN_ENTRY = re.compile(r"byteorder|version|\.data/(version|serialization_id)")
CODE = re.compile(r"code/__torch__(/\w+)*\.py", re.ASCII)
DROPPED = re.compile(r"extra/[^/]+|code/.*\.debug_pkl|constants\.pkl|data\.pkl|\.data/.*")
"""Metadata was read before, debug information is not needed, and the rest is rewritten."""

MAX_CODE = 8 * 1024 * 1024
MAX_DEPTH = 50
"""Largest size of the code in bytes, and how deep brackets may nest in it."""

NAME = re.compile(r"[A-Za-z_]\w{0,200}", re.ASCII)
CONSTANT = re.compile(r"c(\d{1,9})", re.ASCII)
TEXT = re.compile(r"[\w .:]{0,100}", re.ASCII)
DEVICE = re.compile(r"torch\.device\('(cpu|cuda(:\d)?)'\)")
RESERVED = frozenset(
    {"self", "torch", "ops", "CONSTANTS", "annotate", "uninitialized", "__torch__"}
)
CASTS = frozenset({"bool", "float", "int", "len"})
TYPES = frozenset({"Tensor", "bool", "float", "int", "number", "str", "NoneType"})
CONTAINERS = frozenset({"List", "Optional", "Tuple"})

MODULE = "__torch__"
CLASS = "Network"
"""The class gets this name, whatever it had."""

DATA = b"\x80\x02c%b\n%b\n)\x81}(ub." % (MODULE.encode(), CLASS.encode())
"""Pickle of an object of the class without attributes."""


def read_script(path: Path, *, device: torch.device, trust: bool) -> torch.jit.ScriptModule:
    """Read a TorchScript file, without unnecessary parts unless it is trusted.

    Args:
        path: The file.
        device: Where its weights are placed.
        trust: Whether PyTorch may execute whatever the file says.

    Raises:
        ModelError: It is damaged, or of another version of PyTorch.
        UntrustedError: It holds more than the operators of a network, and is not trusted.
    """
    content = io.BytesIO(path.read_bytes()) if trust else checked_script(path)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*torch\.jit")
            module: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call]
                content, map_location=device
            )
    except (RuntimeError, ValueError) as error:
        msg = (
            f"{path} is not a TorchScript file that PyTorch {torch.__version__} reads, or is"
            f" damaged ({type(error).__name__}); export it again"
        )
        raise ModelError(msg) from error
    return module


def checked_script(path: Path) -> io.BytesIO:
    """Return a TorchScript file for PyTorch to load, rewritten from the checked parts.

    Raises:
        ModelError: The file is missing, damaged, or not a TorchScript file.
        UntrustedError: It holds something that is not on the allow-list.
    """
    with open_archive(path) as archive:
        return to_bytes(dict(_checked_entries(archive)))


def _checked_entries(archive: Archive) -> Iterator[tuple[str, bytes]]:
    """Yield the entries that are given to PyTorch."""
    codes = [name for name in archive.names() if CODE.fullmatch(name)]
    if not codes or "constants.pkl" not in archive:
        msg = (
            f"{archive.path} is not a TorchScript file, or is damaged; was it written by 'segdeploy"
            " export'?"
        )
        raise ModelError(msg)
    if len(codes) > 1:
        raise UntrustedError(archive.path, f"the code of {len(codes)} classes")
    tensors = read_pickle(archive, "constants.pkl", folder="constants")
    if not isinstance(tensors, tuple) or not all(isinstance(t, StoredTensor) for t in tensors):
        raise UntrustedError(archive.path, "constants that are no tensors")
    entries = {f"constants/{tensor.key}" for tensor in tensors}
    for name in archive.names():
        if name in entries or PLAIN_ENTRY.fullmatch(name):
            yield name, archive.read(name)
        elif name not in codes and not DROPPED.fullmatch(name):
            raise UntrustedError(archive.path, f"an entry {name[:100]!r}")
    yield "constants.pkl", _pickle_tensors(tensors)
    yield "data.pkl", DATA
    code = archive.read(codes[0], limit=MAX_CODE)
    yield f"code/{MODULE}.py", _Code(archive.path, constants=len(tensors)).rewrite(code).encode()


class _Code:
    """Reads the code of a file, and rewrites it."""

    def __init__(self, path: Path, *, constants: int) -> None:
        self._path = path
        self._constants = constants

    def rewrite(self, code: bytes) -> str:
        """Return the code of a class of one method `forward`, which was read completely."""
        method = self._method(self._parse(code))
        arguments = [argument.arg for argument in method.args.args]
        plain = ast.arguments(
            posonlyargs=[], args=method.args.args, kwonlyargs=[], kw_defaults=[], defaults=[]
        )
        if ast.dump(plain) != ast.dump(method.args) or len(arguments) != 2:
            self._refuse("a method with other arguments than an image", method)
        types = [method.args.args[1].annotation, method.returns]
        for annotation in types:
            self._check_type(annotation)
        self._check_name(arguments[1])
        for statement in method.body:
            self._check_statement(statement)
        image, returned = (ast.unparse(annotation) for annotation in types if annotation)
        lines = [
            f"class {CLASS}(Module):",
            "  __parameters__ = []",
            "  __buffers__ = []",
            f"  def forward(self: {MODULE}.{CLASS}, {arguments[1]}: {image}) -> {returned}:",
            *(f"    {ast.unparse(statement)}" for statement in method.body),
        ]
        return "\n".join(lines) + "\n"

    def _parse(self, code: bytes) -> ast.Module:
        """Return the tree of a code; deep nesting would overflow the stack of any parser."""
        depth = deepest = 0
        for byte in code:
            if byte in b"([{":
                depth += 1
                deepest = max(deepest, depth)
            elif byte in b")]}":
                depth -= 1
        if deepest > MAX_DEPTH:
            raise UntrustedError(self._path, f"code of {deepest} brackets within each other")
        try:
            return ast.parse(code.decode("ascii"))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            what = f"code that cannot be read ({type(error).__name__})"
            raise UntrustedError(self._path, what) from error

    def _method(self, tree: ast.Module) -> ast.FunctionDef:
        """Return the method of a module that is one class of one method."""
        match tree.body:
            case [
                ast.ClassDef(
                    bases=[ast.Name(id="Module")], keywords=[], decorator_list=[], body=body
                )
            ]:
                methods = [part for part in body if not self._is_empty_list(part)]
                match methods:
                    case [ast.FunctionDef(name="forward", decorator_list=[]) as method]:
                        return method
        raise UntrustedError(self._path, "code that is not one class of one method 'forward'")

    def _is_empty_list(self, statement: ast.stmt) -> bool:
        return ast.unparse(statement) in ("__parameters__ = []", "__buffers__ = []")

    def _check_statement(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self._check_name(name)
                self._check_value(value)
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=value):
                for target in names:
                    if not isinstance(target, ast.Name):
                        self._refuse("the assignment", statement)
                    self._check_name(target.id)
                self._check_value(value)
            case ast.Return(value=ast.expr() as value):
                self._check_value(value)
            case _:
                self._refuse("the statement", statement)

    def _check_value(self, value: ast.expr) -> None:
        """Check an expression, and all that it consists of."""
        match value:
            case ast.Name(id=name):
                self._check_name(name)
            case ast.Constant(value=constant) if _is_plain(constant):
                pass
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float()) as operand):
                self._check_value(operand)
            case ast.List(elts=values) | ast.Tuple(elts=values):
                for inner in values:
                    self._check_value(inner)
            case ast.Attribute(value=ast.Name(id="CONSTANTS"), attr=name):
                match_ = CONSTANT.fullmatch(name)
                if match_ is None or int(match_[1]) >= self._constants:
                    self._refuse("the constant", value)
            case ast.Call():
                self._check_call(value)
            case _:
                self._refuse("the expression", value)

    def _check_call(self, call: ast.Call) -> None:
        arguments = list(call.args)
        match call.func:
            case ast.Attribute(value=ast.Name(id="torch"), attr=name) if is_allowed(name):
                pass
            case ast.Attribute(
                value=ast.Attribute(value=ast.Name(id="ops"), attr="prim"), attr=name
            ) if name in PRIMITIVES:
                pass
            case ast.Attribute(
                value=ast.Attribute(value=ast.Name(id="ops"), attr="aten"), attr=name
            ) if is_allowed(name):
                pass
            case ast.Attribute(value=ast.Name(id="torch"), attr="device"):
                if not DEVICE.fullmatch(ast.unparse(call)):
                    self._refuse("the device", call)
            case ast.Name(id=name) if name in CASTS:
                pass
            case ast.Name(id="annotate") if len(arguments) == 2:
                self._check_type(arguments.pop(0))
            case _:
                self._refuse("the operator", call.func)
        for keyword in call.keywords:
            self._check_name(keyword.arg or "")
            arguments.append(keyword.value)
        for argument in arguments:
            self._check_value(argument)

    def _check_type(self, annotation: ast.expr | None) -> None:
        match annotation:
            case ast.Name(id=name) if name in TYPES:
                pass
            case ast.Subscript(value=ast.Name(id=name), slice=inner) if name in CONTAINERS:
                for part in inner.elts if isinstance(inner, ast.Tuple) else [inner]:
                    self._check_type(part)
            case _:
                self._refuse("the type", annotation or ast.Constant(value=None))

    def _check_name(self, name: str) -> None:
        if not NAME.fullmatch(name) or name in RESERVED | CASTS:
            raise UntrustedError(self._path, f"the name {name[:100]!r}")

    def _refuse(self, what: str, node: ast.AST) -> NoReturn:
        raise UntrustedError(self._path, f"{what} {ast.unparse(node)[:100]!r}")


def _is_plain(value: object) -> bool:
    """Return whether a constant is None, a number of 64 bits, or a plain text."""
    match value:
        case None | bool():
            return True
        case int() | float():
            return abs(value) < 2**63
        case str():
            return TEXT.fullmatch(value) is not None
    return False


def _pickle_tensors(tensors: tuple[StoredTensor, ...]) -> bytes:
    """Return the pickle of a tuple of tensors, as PyTorch reads it."""
    return b"\x80\x02(%bt." % b"".join(_pickle_tensor(tensor) for tensor in tensors)


def _pickle_tensor(tensor: StoredTensor) -> bytes:
    storage = b"(%bctorch\n%b\n%b%b%btQ" % (
        _pickle_text("storage"),
        tensor.kind.encode(),
        _pickle_text(tensor.key),
        _pickle_text("cpu"),
        _pickle_number(tensor.count),
    )
    shape, strides = (
        b"(%bt" % b"".join(map(_pickle_number, numbers))
        for numbers in (tensor.shape, tensor.strides)
    )
    return b"ctorch._utils\n_rebuild_tensor_v2\n(%b%b%b%b\x89ccollections\nOrderedDict\n)RtR" % (
        storage,
        _pickle_number(tensor.offset),
        shape,
        strides,
    )


def _pickle_text(text: str) -> bytes:
    content = text.encode()
    return b"X%b%b" % (struct.pack("<I", len(content)), content)


def _pickle_number(number: int) -> bytes:
    if number < 2**31:
        return b"J%b" % struct.pack("<i", number)
    return b"\x8a\x08%b" % struct.pack("<q", number)
