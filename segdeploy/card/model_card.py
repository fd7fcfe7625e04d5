"""The model card: what a network is, how an image is fed to it, how it was trained and proven."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from msgspec import Meta, Struct, field, to_builtins
from msgspec.structs import replace

from segdeploy.card.input_spec import BAND_DEFAULTS, InputSpec
from segdeploy.errors import CardError
from segdeploy.metrics.scores import Parity, Scores
from segdeploy.system.schema import convert

CARD_KEY = "segdeploy.card"
"""Metadata key of the card in every artifact."""

SELF_TEST_KEY = "segdeploy.answer"
"""Metadata key of the output that an exported file must return for the built-in test image."""

CHECKSUM_KEY = "segdeploy.sha256"
"""Metadata key of the checksum over all else that an exported file holds."""

SCHEMA = 2
"""Newest schema version of the card; a reader refuses newer ones. Schema 2 is written only where
the network takes other images than red, green and blue of uint8, which schema 1 cannot say."""

MAX_CLASSES = 255
MAX_BYTES = 4 * 1024 * 1024

Output = Literal["logits", "classes", "probabilities"]
Channel = Annotated[int, Meta(ge=0, le=255)]


class LabelClass(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One class: its name, and its color as red, green, blue in 0 ... 255."""

    name: str
    color: tuple[Channel, Channel, Channel]


INPUT_DEFAULTS: Mapping[str, Any] = {
    "bgr": False,
    "resample": "halving",
    **to_builtins(BAND_DEFAULTS),
}
"""Fields of an input that the first versions do not know, with what these do."""


DATA_PATHS = frozenset({"data", "extra_data", "helper_data"})
"""Keys of a recipe, also of version 0.1.0, that hold folders of the machine that trained."""


class Training(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the weights come from.

    Attributes:
        dataset: Name of the dataset.
        data_hash: SHA-256 over the names of the images of each split.
        recipe: The values of the recipe.
        versions: Version of each library that was used.
        seed: Seed of all random numbers.
        epochs: How many epochs were done.
        commit: Commit of the code, or "" where there is none.
        split: How the dataset was split, with seed and share where the split was random; "" where
            it is not known.
        folder: Absolute path of the dataset's folder, beside the path in the recipe, which may be
            relative; "" where there is none. Exported files carry neither.
    """

    dataset: str
    data_hash: str
    recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    seed: int
    epochs: int
    commit: str = ""
    split: str = ""
    folder: str = ""

    def without_paths(self) -> Self:
        """Return the training without the folders of its data, as exported files carry it."""
        paths = dict.fromkeys(DATA_PATHS & self.recipe.keys(), "")
        return replace(self, recipe={**self.recipe, **paths}, folder="")


class ModelCard(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that is needed to run, check and reproduce a file.

    Attributes:
        architecture: Name of a registered network.
        arguments: Arguments that the network was built with.
        classes: Classes in the order of the logits' channels.
        input: How an image becomes the network's input.
        output: What the file returns; a checkpoint's network returns logits.
        confidence: Whether a file that returns classes returns the probability of each pixel's
            class beside it.
        precision: Kind of numbers that the file computes with: "fp32", "fp16", "bf16" or "int8".
        conversion: How an exported or adopted file was converted, for example its calibration and
            what was left in float32; empty where nothing is to be said.
        threshold: Where a checkpoint's network has a channel for every class but the first, the
            background: the probability from which on a pixel belongs to a class. None where each
            class has a channel.
        training: Where the weights come from; None for a network that was never trained.
        scores: Scores on the validation split.
        parity: How an exported file was proven; None in a checkpoint.
    """

    architecture: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[LabelClass, ...]
    input: InputSpec
    output: Output = "logits"
    confidence: bool = False
    precision: str = "fp32"
    conversion: Mapping[str, Any] = field(default_factory=dict)
    threshold: float | None = None
    training: Training | None = None
    scores: Scores | None = None
    parity: Parity | None = None

    @property
    def schema(self) -> int:
        """Oldest schema version that can say what this card says."""
        return 1 if self.input.is_plain else SCHEMA

    def __post_init__(self) -> None:
        """Check the values, so that a card that exists can be trusted.

        Raises:
            CardError: A value is impossible.
        """
        if not 1 <= len(self.classes) <= MAX_CLASSES:
            msg = f"the card has {len(self.classes)} classes; it must have 1 to {MAX_CLASSES}"
            raise CardError(msg)
        for name in (self.architecture, self.precision, *(entry.name for entry in self.classes)):
            # Control characters of an untrusted file must not reach a terminal.
            if not name or not name.isprintable():
                msg = f"the card holds the name {name[:40]!r}; it must be printable text"
                raise CardError(msg)
        if self.confidence and self.output != "classes":
            msg = (
                f"the card has a confidence beside {self.output}, which hold it"
                " already; only classes have one beside them"
            )
            raise CardError(msg)
        if self.threshold is not None and not (len(self.classes) > 1 and 0 < self.threshold < 1):
            msg = (
                f"the card has the threshold {self.threshold} and {len(self.classes)} classes; it"
                " must be between 0 and 1, for two classes or more"
            )
            raise CardError(msg)
        self.input.check()

    def to_json(self) -> str:
        """Return the card as JSON text, its keys sorted.

        Newer fields stand in it only where they matter: versions without them refuse such a card,
        and read all others.
        """
        values = {**to_builtins(self), "schema": self.schema}
        newer: list[tuple[dict[str, Any], Mapping[str, Any]]] = [
            (values, {"threshold": None}),
            (values["input"], INPUT_DEFAULTS),
        ]
        if self.training is not None:
            newer.append((values["training"], {"folder": ""}))
        for part, defaults in newer:
            for key, default in defaults.items():
                if part[key] == default:
                    del part[key]
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes, *, source: str) -> Self:
        """Read a card from JSON text of any origin.

        Args:
            text: What `to_json` of this or another version wrote.
            source: Name of the file that contains it, for the message.

        Raises:
            CardError: It is not a card, a damaged one, or one of a newer schema.
        """
        if len(text) > MAX_BYTES:
            msg = (
                f"{source} has a card of {len(text)} bytes, more than {MAX_BYTES}; export the"
                " file again"
            )
            raise CardError(msg)

        def damaged(problem: object) -> CardError:
            return CardError(f"{source} has a damaged card ({problem}); export the file again")

        try:
            # msgspec's own decoder refuses NaN, which a score may be.
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise damaged(error) from error
        schema = convert(values, _Versioned, refuse=damaged).schema
        if schema > SCHEMA:
            msg = (
                f"{source} has a card of schema {schema} and this version reads up to"
                f" {SCHEMA}; upgrade segdeploy"
            )
            raise CardError(msg)
        try:
            card = convert(_without_schema(values), cls, refuse=CardError)
            _check_complete(values)
        except CardError as error:
            raise damaged(error) from error
        return card


def printable_name(text: str) -> str:
    """Return a name as a card can hold it; "" where nothing of it can be printed.

    Annotation tools leave no-break spaces, tabs, line breaks and joiners in the names of classes.
    White space becomes single spaces, and what cannot be printed is left out.
    """
    kept = "".join(sign for sign in text if sign.isprintable() or sign.isspace())
    return " ".join(kept.split())


def _without_schema(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a card, in which the schema follows from the others."""
    return {key: value for key, value in values.items() if key != "schema"}


class _Versioned(Struct):
    """What a card of any schema has."""

    schema: Annotated[int, Meta(ge=1)]


def _check_complete(values: Mapping[str, Any]) -> None:
    """Refuse a card without what every version wrote.

    A default, such as a fit or a stride, would change the masks silently.
    """
    stored = {*values, *(f"input.{key}" for key in values["input"])}
    for key in ("arguments", "output", "precision", "input.fit", "input.stride", "input.dynamic"):
        if key not in stored:
            msg = f"the key {key!r} is missing"
            raise CardError(msg)
