"""Export, measure and install the bundled models.

The checkpoint is exported in float32 and in 8 bits with the proof of `segdeploy export`; both files
are measured on the validation split as `segdeploy benchmark` does, and scored on drawn streets in
every weather. Only when all of that is done do the files, MODEL_CARD.md and the drawings take the
places of the old ones. A second run gives the same but for the times.
"""

import csv
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import cv2
from msgspec import structs

from segdeploy import assets as box
from segdeploy.arrays import Image
from segdeploy.backends.loading import load_backend, read_card
from segdeploy.card import ModelCard
from segdeploy.cli.console import note, progress
from segdeploy.cli.main import invoke
from segdeploy.datasets.synthetic.dataset import drive
from segdeploy.datasets.synthetic.lighting import WEATHERS
from segdeploy.errors import ConfigError, DataError, GateError, ModelError, SegdeployError
from segdeploy.imaging.overlay import Painter
from segdeploy.inference.predictor import Predictor
from segdeploy.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from segdeploy.models.complexity import measure_complexity
from segdeploy.system.files import replacing, write_bytes, write_text

from ..measure.rounds import PROCESSES, Workers
from ..measure.subcommands import Call, call
from ..plan import Plan, compare
from ..results.report import Report
from .model_card import REPOSITORY, Facts, Weather, is_final, score_by_weather, to_page

MIB = 2**20
MOST_INT8, MOST = 5 * MIB, 16 * MIB
"""Bytes of the file in 8 bits, and of both files."""


def anonymized_card(loaded: Checkpoint, commit: str) -> Checkpoint:
    """Take from a checkpoint's card where files lay on the machine that trained it, and add the commit where it tells none.

    Raises:
        ModelError: It was never trained.
    """
    training = loaded.card.training
    if training is None:
        msg = "the checkpoint's card tells of no training; name one that 'segdeploy train' wrote"
        raise ModelError(msg)
    recipe = {
        key: "" if isinstance(value, str) and Path(value).is_absolute() else value
        for key, value in training.recipe.items()
    }
    told = structs.replace(training, recipe=recipe, commit=training.commit or commit)
    return Checkpoint(
        card=structs.replace(loaded.card, training=told), weights=loaded.weights, state={}
    )


def reference_card(card: ModelCard, path: Path | None) -> ModelCard | None:
    """Return the card whose scores tell what to expect of weights that learned from the validation split too; None where they did not.

    Args:
        card: Of the weights.
        path: A checkpoint of the same recipe that never saw that split.

    Raises:
        ConfigError: There is no such checkpoint, or one that is not needed, or of another network.
    """
    assert card.training is not None, "it was checked before"
    if not is_final(card.training):
        if path is not None:
            msg = (
                "these weights never saw the validation split, so their own scores tell; leave out"
                f" --judged {path}"
            )
            raise ConfigError(msg)
        return None
    other = None if path is None else read_card(path)
    fits = (
        other is not None
        and other.training is not None
        and not is_final(other.training)
        and other.scores is not None
    )
    if (
        other is None
        or not fits
        or (other.architecture, other.arguments) != (card.architecture, card.arguments)
    ):
        msg = (
            "these weights learned from the validation split; name the same network's checkpoint"
            " that did not, with --judged BEST.pt"
        )
        raise ConfigError(msg)
    return other


def export_both(
    checkpoint: Checkpoint, folder: Path, data: Path, run: Call = call
) -> dict[str, Path]:
    """Let `segdeploy export` write and prove both files.

    Raises:
        SegdeployError: One of them cannot be made; the message is the command's own.
        GateError: They are too large.
    """
    assert checkpoint.card.training is not None
    source = folder / "best.pt"
    save_checkpoint(source, checkpoint)
    made = {}
    for name, precision in ((box.FLOAT, "fp32"), (box.EIGHT_BITS, "int8")):
        note(f"exporting {precision}")
        made[name] = folder / box.FILES[name]
        asked = [
            "--precision",
            precision,
            "--output-file",
            str(made[name]),
            "--dataset",
            checkpoint.card.training.dataset,
            "--data",
            str(data),
        ]
        run(["segdeploy", "export", str(source), *asked, "--proof-images", "1000000"])
    check_sizes({name: path.stat().st_size for name, path in made.items()})
    return made


def check_sizes(sizes: Mapping[str, int]) -> None:
    """Refuse what would make every installation too large.

    Raises:
        GateError: The files are too large.
    """
    for what, size, most in (
        (box.EIGHT_BITS, sizes[box.EIGHT_BITS], MOST_INT8),
        ("the box", sum(sizes.values()), MOST),
    ):
        if size > most:
            msg = (
                f"{what} has {size / MIB:.1f} MiB and may have {most / MIB:.0f}; train a smaller"
                " network"
            )
            raise GateError(msg)


MOST_DRAWN = 300_000
"""Bytes of all drawings: git keeps every version of them for ever."""

DRAWN = ("night", "rain", "fog", "glare")
SCENES = 12
QUALITY = 80
HEIGHT, WIDTH = 450, 800
"""Of the drawing that README shows, in pixels."""

ROOT = Path(__file__).resolve().parents[1]


def measured(files: Sequence[Path], plan: Plan, workers: Workers) -> Report:
    """Measure both files as `segdeploy benchmark` does.

    Raises:
        SegdeployError: One of them cannot be measured.
    """
    with (
        TemporaryDirectory(prefix="segdeploy-") as folder,
        progress("measuring", len(files) * plan.rounds) as step,
    ):
        report, _ = compare(plan, Path(folder), workers=workers, on_step=step)
    for row in report.failed:
        msg = f"{row.name} cannot be measured: {row.error}"
        raise SegdeployError(msg)
    return report


def read_history(path: Path) -> list[dict[str, str]]:
    """Read the epochs of a run's results.csv that were scored.

    Raises:
        DataError: There is no such file, or it is another one.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if row["miou"]]
    except (OSError, KeyError) as error:
        msg = f"{path} holds no figures of a training ({error}); name the run's folder with --run"
        raise DataError(msg) from error


def drawings(network: Predictor, weathers: Sequence[Weather]) -> dict[str, bytes]:
    """Draw the start of a drive as the network sees it, and the worst scenes of some weathers, as JPEG by their names.

    Raises:
        GateError: They are too large.
    """
    scene = next(drive(0, height=HEIGHT, width=WIDTH, rate=Fraction(25)))
    images = {"street": Painter(network.card.classes).paint(scene.image, network.mask(scene.image))}
    images |= {found.name: found.draw() for found in weathers if found.name in DRAWN}
    drawn = {name: to_jpeg(picture) for name, picture in images.items()}
    if (size := sum(map(len, drawn.values()))) > MOST_DRAWN:
        msg = (
            f"the drawings have {size / 1000:.0f} kB and may have {MOST_DRAWN / 1000:.0f}; draw"
            " fewer or smaller ones"
        )
        raise GateError(msg)
    return drawn


def to_jpeg(picture: Image) -> bytes:
    """Compress an image, (H, W, 3) uint8 blue-green-red."""
    done, written = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done, "OpenCV writes any image as JPEG"
    return written.tobytes()


def install(
    files: Mapping[str, Path],
    page: str,
    drawn: Mapping[str, bytes],
    *,
    assets: Path,
    images: Path,
) -> None:
    """Put everything into its place, each file whole."""
    for name, path in files.items():
        with replacing(assets / box.FILES[name]) as part:
            shutil.copyfile(path, part)
    write_text(assets / "MODEL_CARD.md", page)
    for name, content in drawn.items():
        write_bytes(images / f"{name}.jpg", content)


def fill(
    checkpoint: Path,
    results: Path,
    plan: Plan,
    *,
    commit: str,
    with_accuracy: Path | None = None,
    scenes: int,
    assets: Path,
    images: Path,
    workers: Workers = PROCESSES,
    run: Call = call,
) -> None:
    """Fill the box.

    Args:
        checkpoint: What `segdeploy train` wrote.
        results: The training's results.csv.
        plan: How both files are measured; the artifacts in it are left to this function.
        commit: Commit of the training, for a checkpoint that does not tell.
        with_accuracy: A checkpoint of the same recipe that never saw the validation split, where this one
            did.
        scenes: How many drawn scenes of each weather are scored.
        assets: Folder of the box.
        images: Folder of the drawings.
        workers: What measures.
        run: Runs `segdeploy export`.

    Raises:
        SegdeployError: Something cannot be done; the old box stays as it was.
    """
    history = read_history(results)
    loaded = anonymized_card(load_checkpoint(checkpoint), commit)
    honest = reference_card(loaded.card, with_accuracy)
    assert plan.data is not None, "the command asks for it"
    with TemporaryDirectory(prefix="segdeploy-") as name:
        files = export_both(loaded, Path(name), plan.data, run)
        report = measured(
            list(files.values()), replace(plan, artifacts=tuple(files.values())), workers
        )
        networks = [Predictor(load_backend(path, device="cpu")) for path in files.values()]
        with progress("weathers", scenes * len(WEATHERS)) as step:
            weathers = score_by_weather(networks, count=scenes, on_step=step)
        drawn = drawings(networks[0], weathers)
        card = loaded.card
        size = card.input
        facts = Facts(
            cards={path.name: read_card(path) for path in files.values()},
            sizes={path.name: path.stat().st_size for path in files.values()},
            cost=measure_complexity(
                card.architecture,
                classes=len(card.classes),
                height=size.height,
                width=size.width,
                arguments=card.arguments,
            ),
            report=report,
            history=history,
            weathers=weathers,
            scenes=scenes,
            drawn=DRAWN,
            with_accuracy=honest,
        )
        install(files, to_page(facts), drawn, assets=assets, images=images)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("checkpoint", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the dataset of the training.",
)
@click.option(
    "--run",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder with results.csv.  [default: that of --judged, or the checkpoint's]",
)
@click.option(
    "--judged",
    type=click.Path(dir_okay=False, path_type=Path),
    help="After 'train --final', the checkpoint without it.",
)
@click.option(
    "--commit", default="", help="Commit of the training, for a checkpoint that does not tell."
)
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="Processes that measure each file.",
)
@click.option(
    "--runs", default=20, show_default=True, type=click.IntRange(min=1), help="Timed runs in each."
)
@click.option(
    "--scenes",
    default=SCENES,
    show_default=True,
    type=click.IntRange(min=1),
    help="Drawn scenes of each weather.",
)
def main(
    *,
    checkpoint: Path,
    data: Path,
    run: Path | None,
    with_accuracy: Path | None,
    commit: str,
    rounds: int,
    runs: int,
    scenes: int,
) -> None:
    """Export CHECKPOINT in float32 and 8 bits, measure both, and put them with their card into segdeploy/assets."""
    training = load_checkpoint(checkpoint).card.training
    dataset = training.dataset if training is not None else ""
    plan = Plan(
        artifacts=(),
        device="cpu",
        dataset=dataset,
        data=data,
        split="val",
        images=None,
        runs=runs,
        warm_up=3,
        rounds=rounds,
    )
    images = ROOT / REPOSITORY
    results = (run or (with_accuracy or checkpoint).parent) / "results.csv"
    assets = box.folder()
    fill(
        checkpoint,
        results,
        plan,
        commit=commit,
        with_accuracy=with_accuracy,
        scenes=scenes,
        assets=assets,
        images=images,
    )
    click.echo(f"{assets}\n{images}")


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.release.bundle")
