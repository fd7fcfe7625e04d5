"""Everything that decides what a training run does, as one value."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from math import inf
from pathlib import Path
from typing import Any, Self, get_args, get_origin, get_type_hints

from segdeploy.errors import ConfigError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
OPTIMIZERS = ("adamw", "sgd")
LOSSES = ("ce", "dice", "ce+dice")
CLASS_WEIGHTS = ("none", "inverse-log")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run.

    Attributes:
        model: Name of a registered network.
        arguments: What the network is built with, for example width.
        dataset: Name of a registered data set.
        data: Folder of the data set; "" for one that needs none.
        epochs: How often every picture is seen.
        imgsz: Height and width of the network's input, in pixels.
        batch: Pictures in one step.
        loss: "ce" (cross entropy), "dice", or their sum "ce+dice", in which rare classes weigh more.
        class_weights: What a class weighs in the cross entropy: "none" (all alike) or "inverse-log" (rare ones more, as ENet).
        optimizer: "adamw" or "sgd".
        lr: Learning rate after the warm-up; it falls to 0 with a power of 0.9.
        warmup: Share of all steps in which the learning rate rises to its value, in [0, 1).
        weight_decay: Decay of the weights of convolutions; norms and biases are left alone.
        momentum: Momentum of "sgd".
        clip: Largest norm of the gradient; 0 for no bound.
        scale: Smallest and largest enlargement of a picture before it is cut to the input's size.
        flip: How often a picture is mirrored, in [0, 1].
        color: Largest change of brightness, contrast, saturation and tint, in [0, 1).
        mean: Mean of red, green, blue in [0, 1].
        std: Deviation of red, green, blue in [0, 1].
        seed: Seed of all random numbers.
        device: "auto", "cpu", "cuda" or "cuda:n".
        amp: Whether a CUDA device computes in half precision where that is safe.
        workers: Processes that read pictures; -1 chooses by the cores that may be used.
        threads: Threads of one operation on a processor; -1 for one a core that may be used.
        memory: GiB of read pictures that all processes together keep from epoch to epoch.
    """

    model: str = "unet"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    dataset: str = "streets"
    data: str = ""
    epochs: int = 40
    imgsz: tuple[int, int] = (360, 480)
    batch: int = 8
    loss: str = "ce"
    class_weights: str = "none"
    optimizer: str = "adamw"
    lr: float = 0.001
    warmup: float = 0.05
    weight_decay: float = 0.01
    momentum: float = 0.9
    clip: float = 1.0
    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    color: float = 0.3
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    seed: int = 0
    device: str = "auto"
    amp: bool = True
    workers: int = -1
    threads: int = -1
    memory: float = 1.0

    def __post_init__(self) -> None:
        """Check the values before anything heavy is loaded."""
        self._require("epochs", self.epochs > 0, "more than 0")
        self._require("imgsz", min(self.imgsz) > 0, "more than 0 each")
        self._require("batch", self.batch > 0, "more than 0")
        self._require("loss", self.loss in LOSSES, " or ".join(LOSSES))
        self._require("class_weights", self.class_weights in CLASS_WEIGHTS, " or ".join(CLASS_WEIGHTS))
        self._require("optimizer", self.optimizer in OPTIMIZERS, " or ".join(OPTIMIZERS))
        self._require("lr", 0 < self.lr < inf, "more than 0")
        self._require("warmup", 0 <= self.warmup < 1, "within 0 and 1")
        self._require("weight_decay", 0 <= self.weight_decay < inf, "0 or more")
        self._require("momentum", 0 <= self.momentum < 1, "within 0 and 1")
        self._require("clip", 0 <= self.clip < inf, "0 or more")
        self._require("scale", 0 < self.scale[0] <= self.scale[1] < inf, "a smaller and a larger number above 0")
        self._require("flip", 0 <= self.flip <= 1, "within 0 and 1")
        self._require("color", 0 <= self.color < 1, "within 0 and 1")
        self._require("mean", all(-inf < value < inf for value in self.mean), "three numbers")
        self._require("std", all(0 < value < inf for value in self.std), "more than 0 each")
        self._require("seed", self.seed >= 0, "0 or more")
        self._require("workers", self.workers >= -1, "0 or more, or -1 for a number that fits the machine")
        self._require("threads", self.threads == -1 or self.threads > 0, "1 or more, or -1 for one a core")
        self._require("memory", 0 <= self.memory < inf, "0 or more")

    def _require(self, name: str, met: bool, wanted: str) -> None:  # noqa: FBT001 - the condition itself
        if not met:
            msg = f"{name} is {getattr(self, name)!r}; it must be {wanted}"
            raise ConfigError(msg)

    def to_dict(self) -> dict[str, Any]:
        """Give the values as JSON and TOML know them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, source: str) -> Self:
        """Read foreign values; whatever is left out has its default.

        Args:
            values: Keys and values of a recipe, as TOML or JSON gives them.
            source: Where they come from, for the message.

        Raises:
            ConfigError: A key is unknown, or a value is of the wrong kind or out of its range.
        """
        kinds = get_type_hints(cls)
        unknown = sorted(values.keys() - kinds.keys())
        if unknown:
            msg = f"{source} has the unknown key {unknown[0]!r}; a recipe knows {', '.join(kinds)}"
            raise ConfigError(msg)
        return cls(**{key: _typed(value, kinds[key], where=f"{key} in {source}") for key, value in values.items()})

    def to_toml(self) -> str:
        """Write the recipe so that it can be read again."""
        values = self.to_dict()
        arguments = values.pop("arguments")
        lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
        if arguments:
            lines += ["", "[arguments]", *(f"{key} = {_toml(value)}" for key, value in arguments.items())]
        return "\n".join(lines) + "\n"


def read_recipe(name: str) -> dict[str, Any]:
    """Read the values of a recipe's file, or of a recipe in the box by its name.

    Raises:
        ConfigError: There is none, or it is no TOML.
    """
    box = resources.files("segdeploy.train.recipes")
    place = Path(name) if Path(name).is_file() else box / f"{name}.toml"
    if not place.is_file():
        boxed = sorted(entry.name.removesuffix(".toml") for entry in box.iterdir() if entry.name.endswith(".toml"))
        msg = f"there is no recipe {name}; name a TOML file, or one of {', '.join(boxed)}"
        raise ConfigError(msg)
    try:
        return tomllib.loads(place.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{name} is no recipe in TOML: {error}"
        raise ConfigError(msg) from error


def _typed(value: object, kind: Any, *, where: str) -> Any:  # noqa: ANN401 - a type of any of the fields
    """Check a value against the kind of its field; a list becomes a tuple and a whole number a broken one."""
    if get_origin(kind) is tuple and isinstance(value, list | tuple) and len(value) == len(get_args(kind)):
        return tuple(_typed(part, inner, where=where) for part, inner in zip(value, get_args(kind), strict=True))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = get_origin(kind) or kind
    if plain is tuple or not isinstance(value, plain) or (plain is int and isinstance(value, bool)):
        wanted = f"{len(get_args(kind))} numbers" if plain is tuple else {"Mapping": "a table"}.get(plain.__name__, plain.__name__)
        msg = f"{where} is {value!r}; it must be {wanted}"
        raise ConfigError(msg)
    return value


def _toml(value: Any) -> str:  # noqa: ANN401 - what a recipe holds
    """Write one value; TOML spells texts, numbers, truth and lists as JSON does."""
    return json.dumps(value, ensure_ascii=False)
