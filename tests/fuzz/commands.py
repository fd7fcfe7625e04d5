"""Commands that are given mutated files: in the process that calls them, or in one of their own."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from segdeploy.errors import SegdeployError

LARGEST_EXIT_CODE = 6
INTERRUPTED = 130

MODEL = "../seeds/models/best.onnx"
"""A network that is not mutated, as seen from the folder of a case."""

PROCESS_LIMIT = 16_000_000_000
"""Bytes of addresses of a process of its own, most of which PyTorch only reserves."""

FRAMES = 40
"""Frames that are read of a film: its length is one of the numbers that are mutated."""


def command(*arguments: str | Path) -> None:
    """Call `segdeploy` in this process.

    Raises:
        SegdeployError: It ended with one of the documented exit codes, other than 0.
        RuntimeError: It ended with another one.
    """
    from segdeploy.cli.main import main

    try:
        main([*map(str, arguments)])
    except SystemExit as error:
        code = error.code or 0
        if isinstance(code, int) and (0 < code <= LARGEST_EXIT_CODE or code == INTERRUPTED):
            raise SegdeployError from error
        if code != 0:
            msg = f"exit code {code!r}"
            raise RuntimeError(msg) from error


def process(*arguments: str | Path) -> None:
    """Call `segdeploy` in a process of its own, as users do.

    Raises:
        SegdeployError: It ended with one of the documented exit codes, other than 0.
        RuntimeError: It ended with another one, or printed a traceback.
    """
    done = subprocess.run(
        [sys.executable, "-m", "segdeploy", *map(str, arguments)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        preexec_fn=_limit_memory,
    )
    print(done.stdout + done.stderr)
    code = done.returncode
    if "Traceback (most" in done.stderr or not (0 <= code <= LARGEST_EXIT_CODE):
        msg = f"exit code {code}: {done.stderr[-3000:]}"
        raise RuntimeError(msg)
    if code:
        raise SegdeployError


def _limit_memory() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (PROCESS_LIMIT, hard))


def each(steps: Iterator[Callable[[], object]]) -> None:
    """Take every step, also after one that was refused.

    Raises:
        SegdeployError: One was refused.
    """
    refused: SegdeployError | None = None
    for step in steps:
        try:
            step()
        except SegdeployError as error:
            refused = error
    if refused is not None:
        raise refused


def run_image(path: Path) -> None:
    """Segment an image."""
    kinds = "overlay,mask,geojson,rle,jsonl,coco"
    command("run", "--model", MODEL, "--image", path, "--save", kinds, "--output", "out")


def run_tiles(path: Path) -> None:
    """Segment an image in tiles."""
    command(
        *("run", "--model", MODEL, "--image", path, "--save", "overlay,mask", "--output", "out"),
        *("--tile", "32,48", "--overlap", "8"),
    )


def draw_history(path: Path) -> None:
    """Draw a folder of reports."""
    command("benchmark", "--history", path.parent, "--output", "out")


def describe_dataset(path: Path) -> None:
    """Count, draw and propose classes of a dataset."""
    each(
        iter(
            (
                partial(command, "data", "stats", ".", "--json"),
                partial(command, "data", "init", ".", "--force"),
                partial(command, "data", "preview", ".", "--width", "32", "--count", "2"),
            )
        )
    )


def inspect(path: Path) -> None:
    """Show the card of an artifact."""
    each(iter((partial(command, "inspect", path), partial(command, "inspect", path, "--json"))))


def verify(path: Path) -> None:
    """Verify an artifact."""
    command("verify", path)


def adopt(path: Path) -> None:
    """Adopt weights or a network of another program."""
    command(
        *("adopt", path, "--classes", "../seeds/texts/eleven.toml", "--model", "unet"),
        *("--argument", "width=2", "--argument", "depth=2", "--imgsz", "32,48"),
        *("-o", "out/adopted.pt"),
    )


def evaluate(path: Path) -> None:
    """Score a network on a dataset."""
    command("eval", MODEL, "--dataset", "camvid", "--data", ".")


def compare(path: Path) -> None:
    """Compare two networks on an image."""
    other = MODEL.replace("best", "best-int8")
    command("compare", MODEL, other, "--image", path, "--output", "out")


def export(path: Path) -> None:
    """Export a checkpoint."""
    proof = ("--verify", "../seeds/images/plain.jpg")
    command("export", path, "--format", "onnx", *proof, "-o", "out/best.onnx")


def resume_training(path: Path) -> None:
    """Resume a training."""
    command("train", "--resume", path)


def run_film(path: Path) -> None:
    """Segment the beginning of a film."""
    command(
        *("run", "--model", MODEL, "--video", path, "--save", "overlay,mask,jsonl,coco"),
        *("--max-frames", str(FRAMES), "--output", "out"),
    )


def run_named(path: Path) -> None:
    """Segment an image and a film whose names are the content of a file."""
    # The system allows all but these two characters, and 255 bytes.
    name = os.fsdecode(path.read_bytes().translate(None, b"/\0")[:200] or b"x")
    folder = Path("named")
    folder.mkdir()
    for seed in ("images/plain.jpg", "films/film.mp4"):
        shutil.copy(Path("../seeds", seed), folder / (name + Path(seed).suffix))
    kinds = "overlay,mask,geojson,rle,jsonl,coco"
    options = ("--model", MODEL, "--save", kinds, "--max-frames", "2")
    each(
        iter(
            (
                partial(command, "run", "--image", folder, *options, "--output", "out/images"),
                partial(
                    command,
                    *("run", "--video", folder / f"{name}.mp4", *options, "--output", "out/film"),
                ),
            )
        )
    )


def run_with_options(path: Path) -> None:
    """Segment an image with the options in a file, of which every line is one run."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape").replace("\0", "")
    image = ("--image", "../seeds/images/plain.jpg")
    each(
        partial(command, "run", "--model", MODEL, *image, *line.split(), "--output", "out")
        for line in text.splitlines()[:10]
    )


def resume_run(path: Path) -> None:
    """Resume a run, whose results so far are mutated."""
    command(
        *("run", "--model", MODEL, "--video", "../seeds/films/film.mp4", "--resume"),
        *("--save", "overlay,mask", "--output", "out"),
    )


def process_images(path: Path) -> None:
    """Segment an image among others, in a process of its own."""
    images = (path, "../seeds/images/plain.jpg", "../seeds/images/gray.png")
    process("run", "--model", MODEL, "--image", *images, "--save", "mask,coco", "--output", "out")


def process_film(path: Path) -> None:
    """Segment the beginning of a film, in a process of its own."""
    frames = ("--max-frames", str(FRAMES))
    process("run", "--model", MODEL, "--video", path, *frames, "--output", "out")


def process_model(path: Path) -> None:
    """Run an artifact on an image, in a process of its own."""
    image = "../seeds/images/plain.jpg"
    process("run", "--model", path, "--image", image, "--save", "mask", "--output", "out")


def process_training(path: Path) -> None:
    """Train for one epoch by a recipe, or on a dataset, in a process of its own."""
    recipe, data = ((path,), "../seeds/folder") if path.name == "recipe.toml" else ((), ".")
    process(
        *("train", *recipe, "--dataset", "folder", "--data", data, "--epochs", "1"),
        *("--imgsz", "32,48", "--batch", "2", "--workers", "0", "--threads", "1"),
        *("--set", "repeat=1", "--set", "accumulate=1", "--set", "arguments.depth=2"),
        *("--set", "arguments.width=2"),
    )
