"""Export, measure and install the bundled models.

`python -m segdeploy.benchmarks.release.bundle best.pt --data path/to/camvid`.

The checkpoint is exported in float32 and in 8 bits with the proof of `segdeploy export`; both files
are measured on the validation split as `segdeploy benchmark` does, and scored on drawn streets in
every weather. Only after all of that do the files, MODEL_CARD.md and the drawings replace the old
ones. A second run writes the same, except for the times.
"""

import csv
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import click
from msgspec import structs

from segdeploy import assets
from segdeploy.backends.loading import load_backend, read_card
from segdeploy.card import ModelCard
from segdeploy.cli.console import echo, note, progress
from segdeploy.cli.main import invoke
from segdeploy.cli.options import Command, option
from segdeploy.datasets.synthetic.dataset import drive
from segdeploy.datasets.synthetic.lighting import WEATHERS
from segdeploy.errors import ConfigError, DataError, GateError, ModelError, SegdeployError
from segdeploy.imaging.io import to_jpeg
from segdeploy.imaging.overlay import Painter
from segdeploy.inference.predictor import Predictor
from segdeploy.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from segdeploy.models.complexity import measure_complexity
from segdeploy.system.files import replacing, temporary_folder, write_bytes, write_text

from ..measure.rounds import PROCESSES, Workers
from ..measure.subcommands import Call, call
from ..plan import Plan, run_plan
from ..results.report import Report
from .model_card import REPOSITORY, Facts, Weather, is_final, score_by_weather, to_page

ROOT = Path(__file__).resolve().parents[2]
"""Folder of the checkout."""

MIB = 2**20
MAX_INT8, MAX_ALL = 5 * MIB, 16 * MIB
"""Largest size of the 8-bit file and of both files, in bytes."""

MAX_DRAWINGS = 300_000
"""Largest size of all drawings, in bytes: git keeps every version of them."""

DRAWN = ("night", "rain", "fog", "glare")
"""The weathers whose worst scene is drawn."""

SCENES = 12
QUALITY = 80
HEIGHT, WIDTH = 450, 800
"""Size of the drawing that README shows, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Inputs of the bundled models.

    Attributes:
        checkpoint: What `segdeploy train` wrote.
        results: The training's results.csv.
        commit: Commit of the training, if the checkpoint has none.
        reference: A checkpoint of the same recipe that never saw the validation split, if this one
            did.
        scenes: Number of drawn scenes of each weather that are scored.
    """

    checkpoint: Path
    results: Path
    commit: str = ""
    reference: Path | None = None
    scenes: int = SCENES


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Where the results go.

    Attributes:
        assets: Folder of the bundled models.
        images: Folder of the drawings.
    """

    assets: Path
    images: Path


def build_bundle(
    sources: Sources,
    plan: Plan,
    targets: Targets,
    *,
    workers: Workers = PROCESSES,
    run: Call = call,
) -> None:
    """Export, measure and install the bundled models.

    Args:
        sources: The checkpoint and what belongs to it.
        plan: How both files are measured; the artifacts in it are set by this function.
        targets: Where the results go.
        workers: What measures.
        run: Runs `segdeploy export`.

    Raises:
        SegdeployError: Something failed; the old files stay as they were.
    """
    history = read_history(sources.results)
    checkpoint = anonymized(load_checkpoint(sources.checkpoint), sources.commit)
    reference = reference_card(checkpoint.card, sources.reference)
    assert plan.data is not None, "the command requires it"
    with temporary_folder() as name:
        files = export_both(checkpoint, name, plan.data, run)
        artifacts = tuple(files.values())
        report = measure(replace(plan, artifacts=artifacts), workers)
        networks = [Predictor(load_backend(path, device="cpu")) for path in artifacts]
        with progress("weathers", sources.scenes * len(WEATHERS)) as step:
            weathers = score_by_weather(networks, count=sources.scenes, on_step=step)
        images = draw(networks[0], weathers)
        card = checkpoint.card
        facts = Facts(
            cards={path.name: read_card(path) for path in artifacts},
            sizes={path.name: path.stat().st_size for path in artifacts},
            complexity=measure_complexity(
                card.architecture,
                classes=len(card.classes),
                height=card.input.height,
                width=card.input.width,
                arguments=card.arguments,
            ),
            report=report,
            history=history,
            weathers=weathers,
            scenes=sources.scenes,
            drawn=DRAWN,
            reference=reference,
        )
        install(files, to_page(facts), images, targets)


def read_history(path: Path) -> list[dict[str, str]]:
    """Read the epochs of a run's results.csv that were scored.

    Raises:
        DataError: The file is missing, or is another one.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if row["miou"]]
    except (OSError, KeyError) as error:
        msg = f"{path} has no results of a training ({error}); name the run's folder with --run"
        raise DataError(msg) from error


def anonymized(checkpoint: Checkpoint, commit: str) -> Checkpoint:
    """Return a checkpoint without the folders of the machine that trained it, and with a commit.

    Args:
        checkpoint: What was loaded.
        commit: Commit of the training, used if the card has none.

    Raises:
        ModelError: The checkpoint was never trained.
    """
    training = checkpoint.card.training
    if training is None:
        msg = "the checkpoint's card has no training; name one that 'segdeploy train' wrote"
        raise ModelError(msg)
    recipe = {
        key: "" if isinstance(value, str) and Path(value).is_absolute() else value
        for key, value in training.recipe.items()
    }
    cleaned = structs.replace(training, recipe=recipe, commit=training.commit or commit)
    card = structs.replace(checkpoint.card, training=cleaned)
    return Checkpoint(card=card, weights=checkpoint.weights, state={})


def reference_card(card: ModelCard, path: Path | None) -> ModelCard | None:
    """Return the card with the scores to expect of weights that learned from the validation split.

    None if they did not learn from it: their own scores are the ones to expect.

    Args:
        card: Card of the weights.
        path: A checkpoint of the same recipe that never saw that split.

    Raises:
        ConfigError: There is no such checkpoint, or it is not needed, or of another network.
    """
    assert card.training is not None, "it was checked before"
    if not is_final(card.training):
        if path is not None:
            msg = (
                "these weights never saw the validation split, so their own scores count; leave out"
                f" --reference {path}"
            )
            raise ConfigError(msg)
        return None
    other = None if path is None else read_card(path)
    if (
        other is None
        or other.training is None
        or is_final(other.training)
        or other.scores is None
        or (other.architecture, other.arguments) != (card.architecture, card.arguments)
    ):
        msg = (
            "these weights learned from the validation split; name the same network's checkpoint"
            " that did not, with --reference BEST.pt"
        )
        raise ConfigError(msg)
    return other


def export_both(
    checkpoint: Checkpoint, folder: Path, data: Path, run: Call = call
) -> dict[str, Path]:
    """Export the checkpoint to both files, with their proof.

    Returns:
        The files by the names of the bundled models.

    Raises:
        SegdeployError: An export failed; the message is the command's own.
        GateError: The files are too large.
    """
    assert checkpoint.card.training is not None
    source = folder / "best.pt"
    save_checkpoint(source, checkpoint)
    dataset = ["--dataset", checkpoint.card.training.dataset, "--data", str(data)]
    files = {}
    for name, precision in ((assets.STREET, "fp32"), (assets.STREET_INT8, "int8")):
        note(f"exporting {precision}")
        files[name] = folder / assets.FILES[name]
        options = ["--precision", precision, "--output-file", str(files[name]), *dataset]
        # All images of the split.
        run(["segdeploy", "export", str(source), *options, "--proof-images", "1000000"])
    check_sizes({name: path.stat().st_size for name, path in files.items()})
    return files


def check_sizes(sizes: Mapping[str, int]) -> None:
    """Refuse files that would make every installation too large.

    Raises:
        GateError: They are too large.
    """
    for name, size, largest in (
        (assets.STREET_INT8, sizes[assets.STREET_INT8], MAX_INT8),
        ("the bundle", sum(sizes.values()), MAX_ALL),
    ):
        if size > largest:
            msg = (
                f"{name} has {size / MIB:.1f} MiB and may have {largest / MIB:.0f}; train a smaller"
                " network"
            )
            raise GateError(msg)


def measure(plan: Plan, workers: Workers) -> Report:
    """Measure both files as `segdeploy benchmark` does.

    Raises:
        SegdeployError: One of them cannot be measured.
    """
    with (
        temporary_folder() as folder,
        progress("measuring", len(plan.artifacts) * plan.rounds) as step,
    ):
        report, _ = run_plan(plan, folder, workers=workers, on_step=step)
    for row in report.failed:
        msg = f"{row.name} cannot be measured: {row.error}"
        raise SegdeployError(msg)
    return report


def draw(network: Predictor, weathers: Sequence[Weather]) -> dict[str, bytes]:
    """Draw the start of a drive with its overlay, and the worst scenes of some weathers.

    Returns:
        JPEGs by their names.

    Raises:
        GateError: They are too large.
    """
    scene = next(drive(0, height=HEIGHT, width=WIDTH, rate=Fraction(25)))
    images = {"street": Painter(network.card.classes).paint(scene.image, network.mask(scene.image))}
    images |= {weather.name: weather.draw() for weather in weathers if weather.name in DRAWN}
    drawings = {name: to_jpeg(image, quality=QUALITY) for name, image in images.items()}
    if (size := sum(map(len, drawings.values()))) > MAX_DRAWINGS:
        msg = (
            f"the drawings have {size / 1000:.0f} kB and may have {MAX_DRAWINGS / 1000:.0f}; draw"
            " fewer or smaller ones"
        )
        raise GateError(msg)
    return drawings


def install(
    files: Mapping[str, Path], page: str, drawings: Mapping[str, bytes], targets: Targets
) -> None:
    """Write the files, MODEL_CARD.md and the drawings, each whole or not at all."""
    for name, path in files.items():
        with replacing(targets.assets / assets.FILES[name]) as part:
            shutil.copyfile(path, part)
    write_text(targets.assets / "MODEL_CARD.md", page)
    for name, content in drawings.items():
        write_bytes(targets.images / f"{name}.jpg", content)


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("checkpoint", type=click.Path(dir_okay=False, path_type=Path))
@option(
    "--data",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the dataset of the training.",
)
@option(
    "--run",
    type=click.Path(file_okay=False, path_type=Path),
    show_default="that of --reference, or of the checkpoint",
    help="Folder with results.csv.",
)
@option(
    "--reference",
    older=("--judged",),
    type=click.Path(dir_okay=False, path_type=Path),
    help="After 'train --final', the checkpoint that was trained without it.",
)
@option("--commit", default="", help="Commit of the training, if the checkpoint has none.")
@option("--rounds", default=3, type=click.IntRange(min=1), help="Processes that measure each file.")
@option("--runs", default=20, type=click.IntRange(min=1), help="Timed runs in each.")
@option(
    "--scenes", default=SCENES, type=click.IntRange(min=1), help="Drawn scenes of each weather."
)
def main(
    *,
    checkpoint: Path,
    data: Path,
    run: Path | None,
    reference: Path | None,
    commit: str,
    rounds: int,
    runs: int,
    scenes: int,
) -> None:
    """Export CHECKPOINT in fp32 and int8, measure both, and install them into segdeploy/assets."""
    training = load_checkpoint(checkpoint).card.training
    plan = Plan(
        artifacts=(),
        device="cpu",
        dataset=training.dataset if training is not None else "",
        data=data,
        split="val",
        images=None,
        runs=runs,
        warm_up=3,
        rounds=rounds,
    )
    sources = Sources(
        checkpoint=checkpoint,
        results=(run or (reference or checkpoint).parent) / "results.csv",
        commit=commit,
        reference=reference,
        scenes=scenes,
    )
    targets = Targets(assets=assets.folder(), images=ROOT / REPOSITORY)
    build_bundle(sources, plan, targets)
    echo(f"{targets.assets}\n{targets.images}")


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.release.bundle")
