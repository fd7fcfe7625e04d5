"""Checks of an ONNX graph before a runtime takes memory for it.

A file of some kilobytes can declare tensors of many gigabytes, call functions that call functions,
and repeat a graph for ever. Its message is read without any library: message, field and type
numbers are those of onnx.proto.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segdeploy.backends.onnx_metadata import (
    GRAPH,
    DamagedError,
    fields,
    not_onnx,
    text_of,
    varint,
)
from segdeploy.errors import ModelError, UntrustedError
from segdeploy.system.budget import check_budget

FUNCTION = 25

MAX_DEPTH = 32
"""How deep graphs may be nested."""

MAX_NODES = 200_000
"""Largest number of nodes once each call of a function has become the function's nodes."""

MAX_SHARING = 4
"""How many times as large as the files all tensors together may be without a question: some share
their data."""

MAX_CONSTANTS = 1 << 24
"""Largest number of elements that constants may grow to when they are computed in advance."""

IN_MEMORY = "_ORT_MEM_ADDR_"
"""In the name of a file with data, ONNX Runtime's mark of an address in memory."""

_UNBOUNDED = """
Loop Scan SequenceMap BeamSearch GreedySearch Sampling WhisperBeamSearch StringConcat
"""

UNBOUNDED = frozenset(_UNBOUNDED.split())
"""Operators that repeat a graph as often as they like, or whose results are outside the memory that
ONNX Runtime counts."""

_SAME = """
Abs Cast Ceil Constant DequantizeLinear Exp Flatten Floor Identity Log Neg Not QuantizeLinear
Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Round Sigmoid Slice Sqrt
Squeeze Tanh Transpose Unsqueeze
"""

SAME_SIZE = frozenset(_SAME.split())
"""Operators whose result has at most as many elements as their largest input."""

_PRODUCT = """
Add And Div Equal Gather Gemm Greater Less MatMul Max Min Mod Mul Or Pow Sub Where
"""

PRODUCT_SIZE = frozenset(_PRODUCT.split())
"""Operators whose result has at most as many elements as those of their inputs multiplied."""

SHAPES = {"Shape": 8, "Size": 1}
"""Operators that ONNX Runtime computes in advance also of what is no constant, and the elements of
their results."""

_BITS = {1: 32, 6: 32, 7: 64, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 4: 16, 5: 16, 10: 16, 16: 16}
"""Bits of an element by the number of its type, where they are not 8."""


@dataclass
class _Graph:
    """What was found in a file.

    Attributes:
        path: The file.
        declared: Bytes that all tensors have by their shapes.
        locations: Names of the files with tensors.
        constants: Upper bounds of the elements of each constant, by its name.
        computed: Upper bound of the elements of all constants that are computed from others.
        calls: Operators of the graph, and of each function by domain and name.
    """

    path: Path
    declared: int = 0
    locations: list[str] = field(default_factory=list)
    constants: dict[str, int] = field(default_factory=dict)
    computed: int = 0
    calls: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=dict)


MAIN = ("", "")
"""Stands for the graph itself among functions."""


def check_graph(content: bytes, path: Path) -> bool:
    """Check what a graph declares, before a runtime reads it.

    Args:
        content: Bytes of the file.
        path: The file; tensors may lie in other files of its folder.

    Returns:
        Whether constants are small enough, by what the graph declares, that a runtime may compute
        in advance what depends on constants only.

    Raises:
        ModelError: It is damaged, refers to data outside its folder, or declares tensors that are
            larger than its budget.
        UntrustedError: It holds operators that may run for ever.
    """
    graph = _Graph(path=path)
    try:
        for number, value in fields(memoryview(content)):
            if number == GRAPH:
                _read_graph(_message(value), graph, caller=MAIN, depth=0)
            elif number == FUNCTION:
                _read_function(_message(value), graph)
        nodes = _count_nodes(graph.calls)
    except DamagedError as error:
        raise not_onnx(path, error) from error
    if nodes > MAX_NODES:
        msg = (
            f"{path} holds functions that become more than {MAX_NODES} operators, and was not"
            " loaded; use only files that you trust"
        )
        raise ModelError(msg)
    size = len(content) + _check_locations(path, graph.locations)
    if graph.declared > MAX_SHARING * size:
        check_budget(f"{path} declares tensors", graph.declared, size=size, error=ModelError)
    return len(graph.calls) == 1 and graph.computed <= MAX_CONSTANTS


def _read_graph(message: memoryview, graph: _Graph, *, caller: tuple[str, str], depth: int) -> None:
    if depth > MAX_DEPTH:
        msg = f"graphs are nested more than {MAX_DEPTH} deep"
        raise DamagedError(msg)
    graph.calls.setdefault(caller, [])
    parts = list(fields(message))
    # Tensors first: a node may stand before them.
    for number, value in parts:
        if number == 5:
            name, elements = _read_tensor(_message(value), graph)
            graph.constants[name] = elements
        elif number == 15:
            _read_sparse(_message(value), graph)
    for number, value in parts:
        if number == 1:
            _read_node(_message(value), graph, caller=caller, depth=depth)


def _read_function(message: memoryview, graph: _Graph) -> None:
    parts = list(fields(message))
    names = {number: text_of(value) for number, value in parts if number in (1, 10)}
    caller = (names.get(10, ""), names.get(1, ""))
    graph.calls.setdefault(caller, [])
    for number, value in parts:
        if number == 7:
            _read_node(_message(value), graph, caller=caller, depth=0)


def _read_node(message: memoryview, graph: _Graph, *, caller: tuple[str, str], depth: int) -> None:
    inputs, outputs, sizes = [], [], []
    operator = domain = ""
    for number, value in fields(message):
        if number == 1:
            inputs.append(text_of(value))
        elif number == 2:
            outputs.append(text_of(value))
        elif number == 4:
            operator = text_of(value)
            if operator in UNBOUNDED:
                raise UntrustedError(graph.path, f"the operator {operator!r}")
        elif number == 7:
            domain = text_of(value)
        elif number == 5:
            sizes.append(_read_attribute(_message(value), graph, caller=caller, depth=depth))
    graph.calls[caller].append((domain, operator))
    if operator in SHAPES:
        size = SHAPES[operator]
    elif all(name in graph.constants for name in inputs if name):
        size = _grown(operator, [*(graph.constants[name] for name in inputs if name), *sizes])
        graph.computed += size
    else:
        return
    graph.constants.update(dict.fromkeys(outputs, size))


def _grown(operator: str, sizes: list[int]) -> int:
    """Return an upper bound of the elements that an operator makes of constants."""
    if operator in SAME_SIZE:
        return max(sizes, default=1)
    if operator == "Concat":
        return sum(sizes)
    if operator in PRODUCT_SIZE:
        # Attributes have a size of at least 1 each.
        return min(math.prod(sizes), MAX_CONSTANTS + 1)
    return MAX_CONSTANTS + 1


def _read_attribute(
    message: memoryview, graph: _Graph, *, caller: tuple[str, str], depth: int
) -> int:
    """Return how many elements the tensor of an attribute has; 1 for other attributes."""
    size = 1
    for number, value in fields(message):
        if number in (5, 10):
            size = _read_tensor(_message(value), graph)[1]
        elif number in (6, 11):
            _read_graph(_message(value), graph, caller=caller, depth=depth + 1)
        elif number in (22, 23):
            size = _read_sparse(_message(value), graph)
        elif number in (7, 8):
            size = max(size, len(message))
    return size


def _read_tensor(message: memoryview, graph: _Graph) -> tuple[str, int]:
    """Return the name of a tensor, and how many elements it has by its shape."""
    sides: list[int] = []
    name, bits = "", 8
    for number, value in fields(message):
        if number == 1:
            sides.extend(_integers(value))
        elif number == 2 and isinstance(value, int):
            bits = _BITS.get(value, 8)
        elif number == 8:
            name = text_of(value)
        elif number == 13:
            pair = dict(fields(_message(value)))
            if text_of(pair.get(1)) == "location":
                graph.locations.append(text_of(pair.get(2)))
    elements = _product(sides)
    graph.declared += elements * bits // 8
    return name, elements


def _read_sparse(message: memoryview, graph: _Graph) -> int:
    """Return how many elements a sparse tensor has, which a runtime makes a dense one."""
    sides: list[int] = []
    for number, value in fields(message):
        if number in (1, 2):
            name, _ = _read_tensor(_message(value), graph)
            if number == 1:
                graph.constants[name] = MAX_CONSTANTS + 1
        elif number == 3:
            sides.extend(_integers(value))
    elements = _product(sides)
    graph.declared += elements * 8
    return elements


def _product(sides: list[int]) -> int:
    if any(side >= 1 << 63 for side in sides):
        msg = "a tensor has a negative size"
        raise DamagedError(msg)
    return math.prod(sides)


def _integers(value: memoryview | int) -> Iterator[int]:
    """Yield the integers of a repeated field, which may be packed."""
    if isinstance(value, int):
        yield value
        return
    at = 0
    while at < len(value):
        number, at = varint(value, at)
        yield number


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        msg = "a number in place of a message"
        raise DamagedError(msg)
    return value


def _count_nodes(calls: Mapping[tuple[str, str], list[tuple[str, str]]]) -> int:
    """Return how many nodes a graph has once functions are replaced by theirs.

    Raises:
        DamagedError: A function calls itself, or there is no graph.
    """
    counts: dict[tuple[str, str], int] = {}

    def count(name: tuple[str, str], depth: int) -> int:
        if depth > MAX_DEPTH:
            msg = f"functions call each other more than {MAX_DEPTH} deep, or for ever"
            raise DamagedError(msg)
        if name not in counts:
            counts[name] = sum(
                count(called, depth + 1) if called in calls and called != MAIN else 1
                for called in calls[name]
            )
        return counts[name]

    if MAIN not in calls:
        msg = "it holds no graph"
        raise DamagedError(msg)
    return count(MAIN, 0)


def _check_locations(path: Path, locations: list[str]) -> int:
    """Check where data outside a file lies, and return the size of these files in bytes.

    Raises:
        ModelError: It lies outside the folder of the file, or is missing.
    """
    if not locations:
        return 0
    folder = path.parent.resolve()
    size = 0
    for location in sorted(set(locations)):
        try:
            file = (folder / location).resolve()
            inside = file.is_relative_to(folder) and IN_MEMORY not in location
            found = file.is_file()
        # A name of a NUL or of too many bytes, or links in a circle.
        except (ValueError, OSError, RuntimeError):
            inside = found = False
        if not inside:
            msg = (
                f"{path} refers to data outside its folder ({location[:100]!r}) and was not loaded;"
                " use only files that you trust"
            )
            raise ModelError(msg)
        if not found:
            msg = f"{path} needs the file {location[:100]!r} beside it, which is missing; copy both"
            raise ModelError(msg)
        size += file.stat().st_size
    return size
