"""Recipe: every value of a run, TOML, overrides, loss terms."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from math import inf
from pathlib import Path
from typing import Any, Self, get_args, get_origin, get_type_hints

from segdeploy.errors import ConfigError
from segdeploy.system.files import to_toml

SCHEDULES = ("poly", "cosine", "one-cycle")


LOSSES = ("ce", "ohem", "focal", "dice", "lovasz")


def read_terms(text: str) -> tuple[tuple[float, str], ...]:
    """Return the weight and the name of each loss in a sum.

    Raises:
        ConfigError: A name is unknown, or a weight is no number above 0.
    """
    return tuple(_read_term(term.strip(), text) for term in text.split("+"))


def _read_term(term: str, text: str) -> tuple[float, str]:
    weight, times, name = term.rpartition("*")
    try:
        number = float(weight) if times else 1.0
    except ValueError:
        number = 0.0
    if not 0 < number < inf or name.strip() not in LOSSES:
        msg = (
            f"loss is {text!r}; it must be one of {', '.join(LOSSES)}, or a sum as ce+dice or"
            " 0.5*ohem+lovasz"
        )
        raise ConfigError(msg)
    return number, name.strip()


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
OPTIMIZERS = ("adamw", "sgd")
CLASS_WEIGHTS = ("none", "inverse-log", "median-frequency")
MOST_HUE = 0.5


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run.

    Attributes:
        model: Name of a registered network.
        arguments: What the network is built with, for example width.
        weights: A checkpoint whose weights the network begins with, also one of other classes; ""
            for fresh weights.
        weights_backbone: What the network's backbone begins with: "imagenet" or a file; "" for
            fresh weights.
        freeze: First epochs in which the encoder keeps its weights and the statistics of its norms;
            -1 for all epochs.
        dataset: Name of a registered dataset.
        data: Folder of the dataset; "" for one that needs none.
        helper: Name of another dataset whose training split is learned from too, in the classes of
            `dataset`; "" for none.
        helper_data: Folder of the helper.
        unions: Of each class of the helper the names of those of ours of which its pixels are one;
            what is left out is of the class of the same name, or not labeled.
        teacher: A checkpoint of the same classes, which decides among those that the truth of a
            helper leaves open; "" for none.
        repeat: How often an epoch sees the images of `dataset` beside once each of the helper's.
        overfit: How many images are trained on and validated with, unchanged: a check that
            learning works; 0 for the whole dataset.
        final: Whether the validation split is learned from too: for the last weights, once every
            choice was made. The scores are then of images that the network knows, and the card
            says so.
        epochs: How often every image is seen.
        patience: Epochs without a better mIoU after which the run ends; 0 for never.
        val_every: Epochs from one validation to the next; the last epoch is always validated.
        imgsz: Height and width of the network's input, in pixels.
        crop: Height and width of the part of such an input that is trained on; 0, 0 for all of it.
        batch: Images at once, on all devices together.
        accumulate: Batches whose gradients make one step.
        loss: Sum of losses, for example "ce", "ohem", "ce+dice" or "0.5*focal+lovasz"; see
            `loss_terms`.
        aux_weight: What the loss of each auxiliary head weighs beside that of the main answer.
        class_weights: What a class weighs in the losses that count pixels: "none" (all alike),
            "inverse-log" (rare ones more, as ENet) or "median-frequency" (rare ones far more, as
            SegNet).
        optimizer: "adamw" or "sgd".
        lr: Learning rate after the warm-up.
        schedule: How it falls to 0: "poly" (with a power of 0.9), "cosine" or "one-cycle".
        warmup: Share of all steps in which the learning rate rises to its value, in [0, 1).
        weight_decay: Decay of the weights of convolutions; norms and biases are left alone.
        momentum: Momentum of "sgd".
        clip: Largest norm of the gradient; 0 for no bound.
        ema: Share that the moving average of the weights keeps in a step, in [0, 1); it is what is
            validated and kept. 0 for no average.
        scale: Smallest and largest enlargement of an image before it is cut to the input's size.
        max_share: Share of a crop's labeled pixels that no class should exceed: ten places are
            tried; 1 for any crop.
        flip: How often an image is mirrored, in [0, 1].
        color: Largest change of brightness, contrast, saturation and tint, in [0, 1).
        hue: Largest turn of the hue, as share of the whole circle, in [0, 0.5].
        blur: How often an image is blurred, in [0, 1].
        mean: Mean of red, green, blue in [0, 1].
        std: Deviation of red, green, blue in [0, 1].
        seed: Seed of all random numbers.
        deterministic: Whether a CUDA device must give the same bits in every run, which costs
            speed; a processor always does.
        device: "auto", "cpu", "cuda" or "cuda:n".
        amp: Whether half precision is used where it is safe, on a device that is fast with it.
        compile: Whether PyTorch compiles the network, which takes minutes and speeds up CUDA
            devices.
        workers: Processes that read images, for each device; -1 chooses by the cores that may be
            used.
        threads: Threads of one operation on a processor; -1 for one a core that may be used.
        memory: GiB of read images that all processes together keep from epoch to epoch.
        tensorboard: Whether the figures are also written as events for TensorBoard.
    """

    model: str = "unet"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""
    weights_backbone: str = ""
    freeze: int = 0
    dataset: str = "streets"
    data: str = ""
    helper: str = ""
    helper_data: str = ""
    unions: Mapping[str, Any] = field(default_factory=dict)
    teacher: str = ""
    repeat: int = 1
    overfit: int = 0
    final: bool = False
    epochs: int = 40
    patience: int = 0
    val_every: int = 1
    imgsz: tuple[int, int] = (360, 480)
    crop: tuple[int, int] = (0, 0)
    batch: int = 8
    accumulate: int = 1
    loss: str = "ce"
    aux_weight: float = 0.4
    class_weights: str = "none"
    optimizer: str = "adamw"
    lr: float = 0.001
    schedule: str = "poly"
    warmup: float = 0.05
    weight_decay: float = 0.01
    momentum: float = 0.9
    clip: float = 1.0
    ema: float = 0.0
    scale: tuple[float, float] = (0.5, 2.0)
    max_share: float = 1.0
    flip: float = 0.5
    color: float = 0.3
    hue: float = 0.0
    blur: float = 0.0
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    seed: int = 0
    deterministic: bool = False
    device: str = "auto"
    amp: bool = True
    compile: bool = False
    workers: int = -1
    threads: int = -1
    memory: float = 1.0
    tensorboard: bool = False

    @property
    def seen(self) -> tuple[int, int]:
        """Height and width of what the network is trained on, in pixels."""
        return self.imgsz if self.crop == (0, 0) else self.crop

    def __post_init__(self) -> None:
        """Check the values before anything heavy is loaded."""
        self._require("freeze", self.freeze >= -1, "0 or more, or -1 for all epochs")
        named = all(isinstance(names, list | tuple) and names for names in self.unions.values())
        self._require(
            "unions",
            named and (not self.unions or bool(self.helper)),
            "a list of names for each class of a helper",
        )
        self._require("helper", not (self.helper and self.overfit), "empty beside overfit")
        self._require("teacher", not self.teacher or bool(self.helper), "empty without a helper")
        self._require(
            "repeat",
            self.repeat > 0 and (self.repeat == 1 or bool(self.helper)),
            "1, or more beside a helper",
        )
        self._require("overfit", self.overfit >= 0, "0 or more")
        self._require("final", not (self.final and self.overfit), "false beside overfit")
        self._require("epochs", self.epochs > 0, "more than 0")
        self._require("patience", self.patience >= 0, "0 or more")
        self._require("val_every", self.val_every > 0, "more than 0")
        self._require("imgsz", min(self.imgsz) > 0, "more than 0 each")
        fits = all(0 < part <= whole for part, whole in zip(self.crop, self.imgsz, strict=True))
        self._require(
            "crop", self.crop == (0, 0) or fits, "more than 0 and at most imgsz each, or 0,0"
        )
        self._require("batch", self.batch > 0, "more than 0")
        self._require("accumulate", self.accumulate > 0, "more than 0")
        read_terms(self.loss)
        self._require("aux_weight", 0 <= self.aux_weight < inf, "0 or more")
        self._require(
            "class_weights", self.class_weights in CLASS_WEIGHTS, " or ".join(CLASS_WEIGHTS)
        )
        self._require("optimizer", self.optimizer in OPTIMIZERS, " or ".join(OPTIMIZERS))
        self._require("lr", 0 < self.lr < inf, "more than 0")
        self._require("schedule", self.schedule in SCHEDULES, " or ".join(SCHEDULES))
        self._require("warmup", 0 <= self.warmup < 1, "within 0 and 1")
        self._require("weight_decay", 0 <= self.weight_decay < inf, "0 or more")
        self._require("momentum", 0 <= self.momentum < 1, "within 0 and 1")
        self._require("clip", 0 <= self.clip < inf, "0 or more")
        self._require("ema", 0 <= self.ema < 1, "within 0 and 1")
        self._require(
            "scale",
            0 < self.scale[0] <= self.scale[1] < inf,
            "a smaller and a larger number above 0",
        )
        self._require("max_share", 0 < self.max_share <= 1, "more than 0, up to 1")
        self._require("flip", 0 <= self.flip <= 1, "within 0 and 1")
        self._require("color", 0 <= self.color < 1, "within 0 and 1")
        self._require("hue", 0 <= self.hue <= MOST_HUE, "within 0 and 0.5")
        self._require("blur", 0 <= self.blur <= 1, "within 0 and 1")
        self._require("mean", all(-inf < value < inf for value in self.mean), "three numbers")
        self._require("std", all(0 < value < inf for value in self.std), "more than 0 each")
        self._require("seed", self.seed >= 0, "0 or more")
        self._require(
            "workers", self.workers >= -1, "0 or more, or -1 for a number that fits the machine"
        )
        self._require(
            "threads", self.threads == -1 or self.threads > 0, "1 or more, or -1 for one a core"
        )
        self._require("memory", 0 <= self.memory < inf, "0 or more")

    def _require(self, name: str, met: bool, wanted: str) -> None:  # noqa: FBT001 - the condition itself
        if not met:
            msg = f"{name} is {getattr(self, name)!r}; it must be {wanted}"
            raise ConfigError(msg)

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON and TOML know them."""
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
        return cls(
            **{
                key: _typed(value, kinds[key], where=f"{key} in {source}")
                for key, value in values.items()
            }
        )

    def to_toml(self) -> str:
        """Write the recipe so that it can be read again."""
        return to_toml(self.to_dict())


def read_recipe(name: str) -> dict[str, Any]:
    """Read the values of a recipe's file, or of a recipe in the box by its name.

    Raises:
        ConfigError: There is none, or it is no TOML.
    """
    box = resources.files("segdeploy.train.recipes")
    place = Path(name) if Path(name).is_file() else box / f"{name}.toml"
    if not place.is_file():
        boxed = sorted(
            entry.name.removesuffix(".toml")
            for entry in box.iterdir()
            if entry.name.endswith(".toml")
        )
        msg = f"there is no recipe {name}; name a TOML file, or one of {', '.join(boxed)}"
        raise ConfigError(msg)
    try:
        return tomllib.loads(place.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{name} is no recipe in TOML: {error}"
        raise ConfigError(msg) from error


def _typed(value: object, kind: Any, *, where: str) -> Any:  # noqa: ANN401 - a type of any of the fields
    """Check a value against the kind of its field.

    A list becomes a tuple and a whole number a broken one.
    """
    if (
        get_origin(kind) is tuple
        and isinstance(value, list | tuple)
        and len(value) == len(get_args(kind))
    ):
        return tuple(
            _typed(part, inner, where=where)
            for part, inner in zip(value, get_args(kind), strict=True)
        )
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = get_origin(kind) or kind
    if plain is tuple or not isinstance(value, plain) or (plain is int and isinstance(value, bool)):
        wanted = (
            f"{len(get_args(kind))} numbers in brackets"
            if plain is tuple
            else {"Mapping": "a table"}.get(plain.__name__, plain.__name__)
        )
        msg = f"{where} is {value!r}; it must be {wanted}"
        raise ConfigError(msg)
    return value


def with_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return the values of a recipe with some of them changed.

    Args:
        values: Keys and values, as TOML gives them.
        overrides: Each a key, with dots for a table's, and a value as in TOML; a text needs no
            quotes. For example `arguments.width=16`.

    Raises:
        ConfigError: One is no such pair, or a dot goes into what is no table.
    """
    changed = dict(values)
    for override in overrides:
        name, equals, text = override.partition("=")
        keys = name.strip().split(".")
        if not equals or not all(keys):
            msg = (
                f"--set {override!r} is no key=value; write for example --set lr=0.01 or --set"
                " arguments.width=16"
            )
            raise ConfigError(msg)
        _put(changed, keys, read_value(text.strip()), override)
    return changed


def _put(table: dict[str, Any], keys: list[str], value: object, override: str) -> None:
    """Put a value into a table of tables, leaving those that it came from as they are."""
    first, *rest = keys
    if not rest:
        table[first] = value
        return
    inner = table.get(first, {})
    if not isinstance(inner, Mapping):
        msg = (
            f"--set {override!r} goes into {first}, which is {inner!r} and no table; leave out what"
            " is behind the dot"
        )
        raise ConfigError(msg)
    table[first] = dict(inner)
    _put(table[first], rest, value, override)


def read_value(text: str) -> object:
    """Read a value as TOML does; what is none is a text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
