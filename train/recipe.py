"""Recipe: every value of a training run, read from TOML and from `--set KEY=VALUE`."""

from collections.abc import Mapping
from math import isfinite
from typing import Any, Literal, Self

import msgspec

from segdeploy.card import IMAGENET_MEAN, IMAGENET_STD, MAX_SIDE, Dtype, Rule
from segdeploy.errors import ConfigError
from segdeploy.system.machine import MAX_THREADS
from segdeploy.system.schema import convert, shown
from segdeploy.system.toml import to_toml

LOSSES = ("ce", "ohem", "focal", "dice", "lovasz")
SCHEDULES = ("poly", "cosine", "one-cycle")
OPTIMIZERS = ("adamw", "sgd")
TRACKERS = ("tensorboard", "mlflow", "wandb")
CLASS_WEIGHTS = ("none", "inverse-log", "median-frequency")
MAX_HUE = 0.5

MAX_COUNT, MAX_REPEAT, MAX_WORKERS = 1_000_000, 1000, 256
MAX_FACTOR, MAX_SCALE, MAX_SEED = 1e6, 100.0, 2**63 - 1
"""Bounds beyond any use, within which no computation with a value overflows, and no list or pool of
its size exhausts the machine."""

RENAMED_KEYS = {
    "helper": "extra_dataset",
    "helper_data": "extra_data",
    "unions": "coarse_classes",
}
"""Keys of version 0.1.0 and their present names; the older ones are still read everywhere."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every value of one training run.

    Attributes:
        model: Name of a registered network.
        arguments: Arguments that the network is built with, for example width.
        weights: Checkpoint whose weights the network starts from, also one of other classes; "" for
            random weights.
        weights_backbone: Pretrained weights of the backbone: "imagenet" or a file; "" for random
            weights.
        freeze: First epochs in which the encoder is frozen, the statistics of its norms included;
            -1 for all epochs.
        dataset: Name of a registered dataset.
        data: Folder of the dataset; "" for one that needs none.
        extra_dataset: Name of a second dataset whose training split is trained on too, in the
            classes of `dataset`; its classes may be coarser. "" for none.
        extra_data: Folder of the second dataset.
        coarse_classes: For a class of the second dataset the names of the classes of `dataset` that
            it covers. A class that is left out is the class of the same name, or not labeled.
        teacher: A checkpoint of the same classes whose output decides among the classes that a
            coarse class covers; "" for none.
        repeat: How often an epoch repeats the images of `dataset`; those of the second dataset
            occur once.
        overfit: Train and validate on this many images, without augmentation: a check that
            learning works. 0 for the whole dataset.
        final: Also train on the validation split: for the last weights, after every choice. The
            scores are then of images that the network was trained on, and the card says so.
        epochs: Passes over the training split.
        minutes: Minutes after which the run ends with the best that fits: there are fewer epochs,
            and the learning rate decays in time. 0 for no limit.
        patience: Epochs without a better mIoU after which the run ends; 0 for never.
        val_every: Epochs from one validation to the next; the last epoch is always validated.
        imgsz: Height and width of the network's input, in pixels.
        crop: Height and width of the crop of such an input that is trained on; 0, 0 for all of it.
        batch: Images per batch, on all devices together.
        accumulate: Batches whose gradients are accumulated into one step.
        loss: Weighted sum of losses, for example "ce", "ohem", "ce+dice" or "0.5*focal+lovasz".
        aux_weight: Weight of the loss of each auxiliary head; that of the main head is 1.
        class_weights: Weights of the classes in the losses per pixel: "none", "inverse-log" (more
            for rare classes, as ENet) or "median-frequency" (far more, as SegNet).
        optimizer: "adamw" or "sgd".
        lr: Learning rate after the warm-up.
        schedule: Decay of the learning rate to 0: "poly" (power 0.9), "cosine" or "one-cycle".
        warmup: Share of all steps in which the learning rate rises, in [0, 1).
        weight_decay: Weight decay of convolutions; norms and biases have none.
        momentum: Momentum of "sgd".
        clip: Largest norm of the gradient; 0 for no clipping.
        ema: Decay of the exponential moving average of the weights, in [0, 1); the average is what
            is validated and saved. 0 for no average.
        scale: Smallest and largest random scale of an image before it is cropped.
        max_share: Largest share of a crop's labeled pixels that one class should have: ten crops
            are tried. 1 for any crop.
        flip: Probability of a horizontal flip, in [0, 1].
        color: Strength of the jitter of brightness, contrast, saturation and white balance, in
            [0, 1).
        hue: Largest shift of the hue, as a share of the whole circle, in [0, 0.5].
        blur: Probability of a Gaussian blur, in [0, 1].
        mean: Mean of red, green, blue in [0, 1], or of each channel in units of the intensity; of
            images of other bands or bits it is measured unless it is given.
        std: Standard deviation, likewise.
        channels: Names of the channels; () for those of the images.
        bands: Which bands of a file they are, from 1; () for all but opacity.
        dtype: Type of the images' numbers; "auto" for that of the files, where 8 bits of gray are
            read as color.
        intensity: Which numbers become 0 and 1: "unit" (the type's range), "range:LOW:HIGH",
            "window:CENTER:WIDTH", or "percentile:LOW:HIGH" of the training split.
        low: What becomes 0, measured or computed; () until then.
        high: What becomes 1, likewise.
        seed: Seed of all random numbers.
        deterministic: Same bits in every run on a CUDA device too, at a cost of speed; a CPU is
            always deterministic.
        device: "auto", "cpu", "cuda" or "cuda:n".
        amp: Mixed precision, where hardware has it; "auto" on a CPU only where it is faster.
        compile: Compile the network with PyTorch, which takes minutes and speeds up CUDA devices.
        workers: Processes per device that read images; -1 chooses by the number of cores.
        threads: Threads of one operation on a CPU; -1 for one per core.
        memory: GiB of decoded images that all processes together keep from epoch to epoch.
        tracker: Where else the metrics go: names from `TRACKERS` with commas
            between them, or none.
        tensorboard: Short for the tracker tensorboard, beside the others.
    """

    model: str = "unet"
    arguments: Mapping[str, Any] = msgspec.field(default_factory=dict)
    weights: str = ""
    weights_backbone: str = ""
    freeze: int = 0
    dataset: str = "streets"
    data: str = ""
    extra_dataset: str = ""
    extra_data: str = ""
    coarse_classes: Mapping[str, list[str]] = msgspec.field(default_factory=dict)
    teacher: str = ""
    repeat: int = 1
    overfit: int = 0
    final: bool = False
    epochs: int = 40
    minutes: float = 0.0
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
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    channels: tuple[str, ...] = ()
    bands: tuple[int, ...] = ()
    dtype: Dtype | Literal["auto"] = "auto"
    intensity: str = "unit"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    seed: int = 0
    deterministic: bool = False
    device: str = "auto"
    amp: bool | Literal["auto"] = "auto"
    compile: bool = False
    workers: int = -1
    threads: int = -1
    memory: float = 1.0
    tracker: str = "none"
    tensorboard: bool = False

    @property
    def trackers(self) -> tuple[str, ...]:
        """Names of all trackers, each once."""
        given = [] if self.tracker == "none" else [*self.tracker.split(",")]
        return tuple(dict.fromkeys(["tensorboard", *given] if self.tensorboard else given))

    @property
    def has_bands(self) -> bool:
        """Whether the images are others than red, green and blue of 8 bits."""
        return bool(self.channels)

    @property
    def train_size(self) -> tuple[int, int]:
        """Height and width of the images that the network is trained on, in pixels."""
        return self.imgsz if self.crop == (0, 0) else self.crop

    def __post_init__(self) -> None:
        """Check the ranges of all values, before anything heavy is loaded."""
        self._check_network_and_data()
        self._check_optimization()
        self._check_augmentation()
        self._check_machine()

    def _check_network_and_data(self) -> None:
        extra = bool(self.extra_dataset)
        fits = all(0 < part <= whole for part, whole in zip(self.crop, self.imgsz, strict=True))
        self._require_count("freeze", least=-1)
        self._require(
            "coarse_classes",
            all(self.coarse_classes.values()) and (extra or not self.coarse_classes),
            "a list of class names for each class of an extra_dataset",
        )
        self._require("extra_dataset", not (extra and self.overfit), "empty beside overfit")
        self._require("teacher", extra or not self.teacher, "empty without an extra_dataset")
        self._require(
            "repeat",
            self.repeat == 1 or (extra and 0 < self.repeat <= MAX_REPEAT),
            f"1, or up to {MAX_REPEAT} beside an extra_dataset",
        )
        self._require_count("overfit", least=0)
        self._require("final", not (self.final and self.overfit), "false beside overfit")
        self._require(
            "imgsz", all(0 < side <= MAX_SIDE for side in self.imgsz), f"1 to {MAX_SIDE} each"
        )
        self._require(
            "crop", self.crop == (0, 0) or fits, "more than 0 and at most imgsz each, or 0,0"
        )
        self._require_count("batch", least=1)

    def _check_optimization(self) -> None:
        self._require_count("epochs", least=1)
        self._require_factor("minutes")
        self._require_count("patience", least=0)
        self._require_count("val_every", least=1)
        self._require_count("accumulate", least=1)
        read_loss_terms(self.loss)
        self._require_factor("aux_weight")
        self._require_choice("class_weights", CLASS_WEIGHTS)
        self._require_choice("optimizer", OPTIMIZERS)
        self._require("lr", 0 < self.lr <= MAX_FACTOR, f"more than 0 and at most {MAX_FACTOR:g}")
        self._require_choice("schedule", SCHEDULES)
        self._require("warmup", 0 <= self.warmup < 1, "at least 0 and below 1")
        self._require_factor("weight_decay")
        self._require("momentum", 0 <= self.momentum < 1, "at least 0 and below 1")
        self._require_factor("clip")
        self._require("ema", 0 <= self.ema < 1, "at least 0 and below 1")

    def _check_augmentation(self) -> None:
        low, high = self.scale
        self._require(
            "scale",
            1 / MAX_SCALE <= low <= high <= MAX_SCALE,
            f"a smaller and a larger number within {1 / MAX_SCALE:g} and {MAX_SCALE:g}",
        )
        self._require("max_share", 0 < self.max_share <= 1, "more than 0 and at most 1")
        self._require("flip", 0 <= self.flip <= 1, "from 0 to 1")
        self._require("color", 0 <= self.color < 1, "at least 0 and below 1")
        self._require("hue", 0 <= self.hue <= MAX_HUE, "from 0 to 0.5")
        self._require("blur", 0 <= self.blur <= 1, "from 0 to 1")
        read_intensity(self.intensity)
        self._require("bands", all(number >= 1 for number in self.bands), "counted from 1")
        count = len(self.channels) or 3
        for name in ("mean", "std"):
            given = len(getattr(self, name))
            self._require(name, given in {3, count}, f"a number for each of {count} channels")
        for name, least in (("mean", -MAX_FACTOR), ("std", 1 / MAX_FACTOR)):
            fits = all(least <= value <= MAX_FACTOR for value in getattr(self, name))
            self._require(name, fits, f"within {least:g} and {MAX_FACTOR:g} each")

    def _check_machine(self) -> None:
        self._require("seed", 0 <= self.seed <= MAX_SEED, f"0 to {MAX_SEED}")
        self._require(
            "workers",
            -1 <= self.workers <= MAX_WORKERS,
            f"0 to {MAX_WORKERS}, or -1 to choose by the cores",
        )
        self._require(
            "threads",
            self.threads == -1 or 0 < self.threads <= MAX_THREADS,
            f"1 to {MAX_THREADS}, or -1 for one per core",
        )
        self._require_factor("memory")
        self._require(
            "tracker",
            set(self.trackers) <= set(TRACKERS),
            f"none, or any of {', '.join(TRACKERS)} with commas between them",
        )

    def _require_count(self, name: str, *, least: int) -> None:
        self._require(name, least <= getattr(self, name) <= MAX_COUNT, f"{least} to {MAX_COUNT}")

    def _require_factor(self, name: str) -> None:
        self._require(name, 0 <= getattr(self, name) <= MAX_FACTOR, f"0 to {MAX_FACTOR:g}")

    def _require_choice(self, name: str, choices: tuple[str, ...]) -> None:
        self._require(name, getattr(self, name) in choices, f"one of {', '.join(choices)}")

    def _require(
        self,
        name: str,
        condition: bool,  # noqa: FBT001 - the condition itself
        expected: str,
    ) -> None:
        if not condition:
            msg = f"{name} is {shown(getattr(self, name))}; it must be {expected}"
            raise ConfigError(msg)

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON and TOML types; those of bands only where there are any."""
        values = msgspec.structs.asdict(self)
        unused = [key for key, default in BAND_DEFAULTS.items() if values[key] == default]
        return {key: value for key, value in values.items() if key not in unused}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, source: str) -> Self:
        """Return the recipe of values from a file; a key that is left out has its default.

        Args:
            values: Keys and values of a recipe, as TOML or JSON gives them.
            source: Where they come from, for the message.

        Raises:
            ConfigError: A key is unknown, or a value has the wrong type or is out of its range.
        """
        return convert(
            with_new_keys(values), cls, refuse=lambda problem: ConfigError(f"{source}: {problem}")
        )

    def band_values(self) -> dict[str, Any]:
        """Return what is known of bands, with mean and std of them; nothing of usual images."""
        if not self.has_bands:
            return {}
        values = self.to_dict()
        return {key: values[key] for key in ("mean", "std", *BAND_DEFAULTS) if key in values}

    def to_toml(self) -> str:
        """Return the recipe as TOML that `load_recipe` reads."""
        return to_toml(self.to_dict())


BAND_DEFAULTS: Mapping[str, Any] = {
    "channels": (),
    "bands": (),
    "dtype": "auto",
    "intensity": "unit",
    "low": (),
    "high": (),
}
"""Keys that only recipes of other images than usual ones have."""


def read_intensity(text: str) -> tuple[Rule, tuple[float, float]]:
    """Return the rule of an intensity and its numbers: low and high, also of a window.

    Raises:
        ConfigError: It is no rule, or its numbers are impossible.
    """
    rule, *numbers = text.split(":")
    try:
        first, second = (float(number) for number in numbers) if numbers else (0.0, 0.0)
    except ValueError:
        rule, first, second = "", 0.0, 0.0
    low, high = (first - second / 2, first + second / 2) if rule == "window" else (first, second)
    fits = isfinite(low) and isfinite(high) and low < high
    if rule == "unit" and not numbers:
        return "unit", (0.0, 1.0)
    if rule in {"range", "window"} and fits:
        return ("range" if rule == "range" else "window"), (low, high)
    if rule == "percentile" and fits and low >= 0 and high <= 100:
        return "percentile", (low, high)
    msg = (
        f"intensity is {text!r}; it must be unit, range:LOW:HIGH, window:CENTER:WIDTH, or"
        " percentile:LOW:HIGH, for example percentile:1:99"
    )
    raise ConfigError(msg)


def with_new_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values in which keys of version 0.1.0 have their present names."""
    return {RENAMED_KEYS.get(key, key): value for key, value in values.items()}


def read_loss_terms(text: str) -> tuple[tuple[float, str], ...]:
    """Return the weight and the name of each loss in a sum such as "ce+0.5*dice".

    Raises:
        ConfigError: A name is unknown, or a weight is not a number above 0.
    """
    return tuple(_read_loss_term(term.strip(), text) for term in text.split("+"))


def _read_loss_term(term: str, text: str) -> tuple[float, str]:
    weight, times, name = term.rpartition("*")
    try:
        number = float(weight) if times else 1.0
    except ValueError:
        number = 0.0
    if not 0 < number <= MAX_FACTOR or name.strip() not in LOSSES:
        msg = (
            f"loss is {text!r}; it must be one of {', '.join(LOSSES)}, or a sum such as ce+dice or"
            " 0.5*ohem+lovasz"
        )
        raise ConfigError(msg)
    return number, name.strip()
