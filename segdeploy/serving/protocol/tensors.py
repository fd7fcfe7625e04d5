"""Tensors of the protocol: their types, checked, from JSON or raw bytes, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Batch
from segdeploy.backends.base import INPUT, check_batch
from segdeploy.card import ModelCard
from segdeploy.errors import ConfigError, RequestError

Array = npt.NDArray[Any]

INPUT_TYPE = "UINT8"

MASK = "mask"
"""Name of the output that the server computes: the class of each pixel of the network's input."""

MAX_DIMENSIONS = 8


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """Name, type and shape of a tensor; -1 is a side that is free."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def inputs_of(card: ModelCard) -> list[TensorInfo]:
    """Return the input of a model."""
    spec = card.input
    sides = (-1, -1) if spec.dynamic else (spec.height, spec.width)
    return [TensorInfo(name=INPUT, datatype=INPUT_TYPE, shape=(-1, *sides, 3))]


def outputs_of(card: ModelCard) -> list[TensorInfo]:
    """Return the outputs of a model: the file's own, and the mask."""
    spec = card.input
    sides = (-1, -1) if spec.dynamic else (spec.height, spec.width)
    mask = TensorInfo(name=MASK, datatype="UINT8", shape=(-1, *sides))
    if card.output == "classes":
        return [TensorInfo(name="classes", datatype="UINT8", shape=(-1, *sides)), mask]
    shape = (-1, len(card.classes), -1, -1)
    return [TensorInfo(name=card.output, datatype="FP32", shape=shape), mask]


def datatype_of(array: Array) -> str:
    """Return the protocol's name of an output's type."""
    return "UINT8" if array.dtype == np.uint8 else "FP32"


def check_input(
    card: ModelCard, *, names: Sequence[str], datatype: str, shape: Sequence[int]
) -> int:
    """Check the inputs of a request before their bytes are looked at, and return their number.

    Args:
        card: Card of the model.
        names: Names of the inputs.
        datatype: Type of the first one.
        shape: Its shape.

    Raises:
        RequestError: They are not what the model takes.
    """
    if list(names) != [INPUT]:
        shown = ", ".join(name[:64] for name in names[:4]) or "none"
        msg = f"the inputs are: {shown}; this model takes one, which is called {INPUT!r}"
        raise RequestError(msg, status=400)
    if datatype != INPUT_TYPE:
        msg = f"the input {INPUT!r} is {datatype[:32]!r}; send {INPUT_TYPE}, RGB, 0 to 255"
        raise RequestError(msg, status=400)
    if len(shape) > MAX_DIMENSIONS or any(not 0 <= side < 1 << 31 for side in shape):
        msg = f"the shape {list(shape)[:MAX_DIMENSIONS]} is impossible; send {_sides(card)}"
        raise RequestError(msg, status=400)
    return prod(shape)


def from_bytes(content: bytes | memoryview, *, shape: Sequence[int], card: ModelCard) -> Batch:
    """Return raw bytes as a batch.

    Raises:
        RequestError: They are too few or too many, or no batch of the model.
    """
    if len(content) != prod(shape):
        msg = (
            f"the input {INPUT!r} has {len(content)} bytes, and its shape {list(shape)} needs"
            f" {prod(shape)}; send them all"
        )
        raise RequestError(msg, status=400)
    return _checked(np.frombuffer(content, np.uint8).reshape(shape), card)


def from_numbers(values: object, *, shape: Sequence[int], card: ModelCard) -> Batch:
    """Return numbers of JSON, flat or nested, as a batch.

    Raises:
        RequestError: They are not whole numbers in 0 ... 255, or too few or too many.
    """
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError):
        array = np.asarray("")
    if array.dtype.kind not in "iu" or (array.size and not 0 <= array.min() <= array.max() <= 255):
        msg = f"the data of {INPUT!r} is not made of whole numbers from 0 to 255; send such numbers"
        raise RequestError(msg, status=400)
    if array.size != prod(shape):
        msg = (
            f"the input {INPUT!r} has {array.size} numbers, and its shape {list(shape)} needs"
            f" {prod(shape)}; send them all"
        )
        raise RequestError(msg, status=400)
    return _checked(array.astype(np.uint8).reshape(shape), card)


def _checked(batch: Batch, card: ModelCard) -> Batch:
    try:
        check_batch(batch, card)
    except ConfigError as error:
        raise RequestError(str(error), status=400) from error
    return batch


def _sides(card: ModelCard) -> str:
    return str(list(inputs_of(card)[0].shape)).replace("-1", "any")
