"""The model card: what a network is, how an image is fed to it, how it was trained and proven."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, Literal, Self, TypeVar

from segdeploy.errors import CardError
from segdeploy.metrics.agreement import Parity
from segdeploy.metrics.segmentation import Scores

ANSWER_KEY = "segdeploy.answer"
"""Name of the expected answer in the metadata of an exported file."""

CHECKSUM_KEY = "segdeploy.sha256"
"""Name of the checksum over all else that an exported file holds."""


CARD_KEY = "segdeploy.card"
"""Name of the card in the metadata of every artifact."""

SCHEMA = 1
MAX_SIDE = 16384
MAX_CLASSES = 255
MAX_BYTES = 4 * 1024 * 1024

Fit = Literal["stretch", "pad"]
Output = Literal["logits", "classes", "probabilities"]


@dataclass(frozen=True, kw_only=True)
class LabelClass:
    """One class: its name, and its color as red, green, blue in 0 ... 255."""

    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """How an image becomes the network's input.

    Attributes:
        height: Height of the network's input, in pixels.
        width: Width of the network's input, in pixels.
        mean: Mean of red, green, blue in [0, 1], which the graph itself subtracts.
        std: Deviation of red, green, blue in [0, 1], by which the graph itself divides.
        fit: "stretch" to the size, or "pad" at the right and the bottom to keep the image's
            shape.
        stride: Height and width must be multiples of it.
        dynamic: Whether the file answers any multiple of the stride; height and width are the usual
            size then.
    """

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fit: Fit = "stretch"
    stride: int = 1
    dynamic: bool = False


@dataclass(frozen=True, kw_only=True)
class Training:
    """Where the weights come from.

    Attributes:
        dataset: Name of the dataset.
        data_hash: SHA-256 over the names of the images of each split.
        recipe: The values of the recipe.
        versions: Version of each library that took part.
        seed: Seed of all random numbers.
        epochs: How many epochs were done.
        commit: Commit of the code, or "" where there is none.
        split: How the dataset was split, with seed and share where it was drawn by lot; "" where
            nobody wrote it down.
    """

    dataset: str
    data_hash: str
    recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    seed: int
    epochs: int
    commit: str = ""
    split: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Everything that a file must say about itself to be run, checked and made again.

    Attributes:
        architecture: Name of a registered network.
        arguments: Arguments that the network was built with.
        classes: Classes in the order of the logits' channels.
        input: How an image becomes the network's input.
        output: What the file answers; a checkpoint answers logits.
        confidence: Whether a file that answers classes gives the probability of each pixel's class
            beside it.
        precision: Kind of numbers that the file computes with: "fp32", "fp16", "bf16" or "int8".
        conversion: How an exported file was made, for example its calibration and what was left in
            float32; empty where that is all said.
        training: Where the weights come from; None for a network that was never trained.
        scores: Scores on the validation split.
        parity: How an exported file was proven; None in a checkpoint.
        schema: Version of this form.
    """

    architecture: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[LabelClass, ...]
    input: InputSpec
    output: Output = "logits"
    confidence: bool = False
    precision: str = "fp32"
    conversion: Mapping[str, Any] = field(default_factory=dict)
    training: Training | None = None
    scores: Scores | None = None
    parity: Parity | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        """Check the values, so that a card that exists can be trusted."""
        if not 1 <= len(self.classes) <= MAX_CLASSES:
            msg = f"the card has {len(self.classes)} classes; it must have 1 to {MAX_CLASSES}"
            raise CardError(msg)
        spec = self.input
        for side in (spec.height, spec.width):
            if spec.stride < 1 or not 1 <= side <= MAX_SIDE or side % spec.stride:
                msg = (
                    f"the card's input is {spec.height}x{spec.width}; each side must be a multiple"
                    f" of {spec.stride} up to {MAX_SIDE}"
                )
                raise CardError(msg)
        if self.confidence and self.output != "classes":
            msg = (
                f"the card tells of a confidence beside {self.output}, which hold it already; only"
                " classes have one beside them"
            )
            raise CardError(msg)
        for name, values in (("mean", spec.mean), ("std", spec.std)):
            if len(values) != 3 or not all(map(isfinite, values)):
                msg = (
                    f"the card's {name} is {values}; it must be three numbers, for red, green and"
                    " blue"
                )
                raise CardError(msg)
        if min(spec.std) <= 0:
            msg = f"the card's std is {spec.std}; each value must be more than 0"
            raise CardError(msg)

    def to_json(self) -> str:
        """Write the card as JSON text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes, *, source: str) -> Self:
        """Read a card from foreign JSON text.

        Args:
            text: What `to_json` of this or another version wrote.
            source: Name of the file that carries it, for the message.

        Raises:
            CardError: It is no card, a damaged one, or one of a newer schema.
        """
        if len(text) > MAX_BYTES:
            msg = (
                f"{source} carries a card of {len(text)} bytes, more than {MAX_BYTES}; export the"
                " file again"
            )
            raise CardError(msg)
        try:
            values = json.loads(text)
            newer = _positive(values["schema"]) > SCHEMA
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            msg = (
                f"{source} carries a damaged card ({type(error).__name__}: {error}); export the"
                " file again"
            )
            raise CardError(msg) from error
        if newer:
            msg = (
                f"{source} carries a card of schema {values['schema']} and this version reads up to"
                f" {SCHEMA}; upgrade segdeploy"
            )
            raise CardError(msg)
        try:
            return cls(**_typed(values))
        except (
            CardError,
            TypeError,
            KeyError,
            ValueError,
            OverflowError,
            AttributeError,
            RecursionError,
        ) as error:
            msg = (
                f"{source} carries a damaged card ({type(error).__name__}: {error}); export the"
                " file again"
            )
            raise CardError(msg) from error


def _typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn JSON's lists and objects into the card's values, checking each kind."""
    spec = values["input"]
    typed: dict[str, Any] = {
        **values,
        "architecture": _name(values["architecture"]),
        "arguments": dict(_kind(values["arguments"], dict)),
        "classes": tuple(_label_class(entry) for entry in _kind(values["classes"], list)),
        "input": InputSpec(
            **{
                **spec,
                "height": _kind(spec["height"], int),
                "width": _kind(spec["width"], int),
                "stride": _positive(spec["stride"]),
                "mean": _triple(spec["mean"]),
                "std": _triple(spec["std"]),
                "fit": _one_of(spec["fit"], ("stretch", "pad")),
                "dynamic": _kind(spec["dynamic"], bool),
            }
        ),
        "output": _one_of(values["output"], ("logits", "classes", "probabilities")),
        # Absent in a card of the first version.
        "confidence": _kind(values.get("confidence", False), bool),
        "precision": _name(values["precision"]),
        "conversion": dict(_kind(values.get("conversion", {}), dict)),
    }
    for name, kind in (
        ("scores", Scores.from_dict),
        ("parity", Parity.from_dict),
        ("training", _training),
    ):
        typed[name] = kind(_kind(values[name], dict)) if values.get(name) is not None else None
    return typed


def _training(values: Mapping[str, Any]) -> Training:
    kinds = {
        "dataset": str,
        "data_hash": str,
        "recipe": dict,
        "versions": dict,
        "seed": int,
        "epochs": int,
        "commit": str,
    }
    checked: dict[str, Any] = {name: _kind(values[name], kind) for name, kind in kinds.items()}
    return Training(**{**values, **checked, "split": _kind(values.get("split", ""), str)})


T = TypeVar("T")


def _kind(value: object, kind: type[T]) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        msg = f"{str(value)[:40]!r} is no {kind.__name__}"
        raise TypeError(msg)
    return value


def _name(value: object) -> str:
    """Take a text that is shown to people.

    Control characters of a foreign file have no business on a terminal.
    """
    text = _kind(value, str)
    if not text or not text.isprintable():
        msg = f"{text[:40]!r} is no printable name"
        raise ValueError(msg)
    return text


def _positive(value: object) -> int:
    number = _kind(value, int)
    if number < 1:
        msg = f"{number} is not positive"
        raise ValueError(msg)
    return number


def _one_of(value: object, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        msg = f"{str(value)[:40]!r} is none of {', '.join(allowed)}"
        raise ValueError(msg)
    return str(value)


def _triple(values: Any) -> tuple[float, float, float]:  # noqa: ANN401 - foreign JSON
    red, green, blue = (float(value) for value in values)
    if not all(isfinite(value) for value in (red, green, blue)):
        msg = f"{values} holds a value that is no number"
        raise ValueError(msg)
    return red, green, blue


def _label_class(entry: Mapping[str, Any]) -> LabelClass:
    red, green, blue = (_kind(value, int) for value in entry["color"])
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        msg = f"color {entry['color']} is not within 0 to 255"
        raise ValueError(msg)
    return LabelClass(name=_name(entry["name"]), color=(red, green, blue))
