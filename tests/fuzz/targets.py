"""What is given mutated files: the readers, and the commands, in the process that calls them."""

import io
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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

Use = Callable[[Path], None]
"""Reads a mutated file, or folder, in the current folder; an error of ours says that it cannot."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A reader or a command.

    Attributes:
        use: Gives it a mutated file.
        seeds: Patterns of the files that are mutated, below the folder of seeds.
        share: How many of 1000 cases it gets.
        whole: Folder of the seeds that is copied as a whole, "" for the file alone.
    """

    use: Use
    seeds: Sequence[str]
    share: float
    whole: str = ""

    def find(self, folder: Path) -> list[Path]:
        """Return the seeds, sorted, so that a number chooses the same one everywhere."""
        found = {path for pattern in self.seeds for path in folder.glob(pattern)}
        return sorted(path for path in found if path.is_file())


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


def read_image(path: Path) -> None:
    """Read an image, and its header as the check of a dataset does."""
    from segdeploy.datasets.checks.mask import read_header
    from segdeploy.imaging.io import read_image as read

    read_header(path)
    read(path)


def read_mask(path: Path) -> None:
    """Read a mask of one number a pixel."""
    from segdeploy.imaging.io import read_ids

    read_ids(path)


def read_large(path: Path) -> None:
    """Read an image by rows."""
    from segdeploy.imaging.large import LargeImage

    image = LargeImage(path)
    for start in range(0, min(image.height, 4000), 50):
        image.read(min(50, image.height - start))


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


def read_card(path: Path) -> None:
    """Read a model card."""
    from segdeploy.card import ModelCard

    ModelCard.from_json(path.read_text(encoding="utf-8", errors="replace"), source=str(path))


def read_class_map(path: Path) -> None:
    """Read a classes.toml."""
    from segdeploy.datasets.class_map import read_class_map as read

    read(path)


def read_recipe(path: Path) -> None:
    """Read the recipe of a training."""
    from segdeploy.train.recipe import load_recipe

    load_recipe(path).to_toml()


def read_palette(path: Path) -> None:
    """Read a palette, for classes of its names."""
    from segdeploy.imaging.palettes import recolor
    from tests.helpers.cards import make_classes

    recolor(make_classes("void", "road", "car"), str(path))


def read_report(path: Path) -> None:
    """Read a report, and write it as a page and as a table."""
    from segdeploy.benchmarks.report.page import to_html
    from segdeploy.benchmarks.report.tables import to_markdown
    from segdeploy.benchmarks.results.report import read_report as read

    report = read(path)
    to_markdown(report)
    to_html(report)


def draw_history(path: Path) -> None:
    """Draw a folder of reports."""
    command("benchmark", "--history", path.parent, "--output", "out")


def gate(path: Path) -> None:
    """Compare a network with a report, which is read before anything is measured."""
    from segdeploy.benchmarks.gate import check_limits, parse_limits
    from segdeploy.benchmarks.results.report import read_report as read
    from segdeploy.system.machine import describe_machine

    check_limits(read(path), describe_machine(), parse_limits("miou=-0.3,p95=+900%"))


def check_dataset(path: Path) -> None:
    """Check a dataset, and read all of its samples."""
    from segdeploy import datasets
    from segdeploy.datasets.checks.detect import detect_layout

    def read(split: str) -> None:
        samples = datasets.load(detect_layout(Path()).name, Path(), split)
        for index in range(len(samples)):
            samples[index]

    steps = (partial(command, "data", "check", "."), partial(read, "train"), partial(read, "val"))
    each(iter(steps))


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


def load_network(path: Path) -> None:
    """Load an artifact, and run it on a black image of its size."""
    import numpy as np

    from segdeploy.backends.loading import load_backend, read_card

    read_card(path)
    backend = load_backend(path, device="cpu", threads=1)
    spec = backend.card.input
    if spec.height * spec.width <= 10**6:
        backend.run(np.zeros((1, spec.height, spec.width, 3), np.uint8))


def inspect(path: Path) -> None:
    """Show the card of an artifact."""
    each(iter((partial(command, "inspect", path), partial(command, "inspect", path, "--json"))))


def verify(path: Path) -> None:
    """Verify an artifact."""
    command("verify", path)


def read_weights(path: Path) -> None:
    """Read weights of another program."""
    from segdeploy.models.checkpoint import read_tensors

    read_tensors(path, hint="use another file")


def adopt(path: Path) -> None:
    """Adopt weights or a network of another program."""
    command(
        *("adopt", path, "--classes", "../seeds/texts/eleven.toml", "--model", "unet"),
        *("--argument", "width=2", "--argument", "depth=2", "--imgsz", "32,48"),
        *("-o", "out/adopted.pt"),
    )


def resume_training(path: Path) -> None:
    """Resume a training."""
    command("train", "--resume", path)


def read_film(path: Path) -> None:
    """Decode the beginning of a film."""
    from segdeploy.video.frames import Selection
    from segdeploy.video.sources import open_video

    with open_video(path, selection=Selection(max_frames=FRAMES)) as opened:
        for _ in opened.source:
            pass


def read_pipe(path: Path) -> None:
    """Decode a film that comes through a pipe."""
    from segdeploy.video.frames import Selection
    from segdeploy.video.sources import open_source

    with open_source(
        "-",
        selection=Selection(max_frames=FRAMES),
        raw=None,
        pipe=io.BytesIO(path.read_bytes()),
        should_stop=lambda: False,
    ) as opened:
        for _ in opened.source:
            pass


def read_list(path: Path) -> None:
    """Read the images of a list."""
    from segdeploy.video.frames import Selection
    from segdeploy.video.sources import open_source

    with open_source(
        str(path),
        selection=Selection(),
        raw=None,
        pipe=sys.stdin.buffer,
        should_stop=lambda: False,
    ) as opened:
        for _ in opened.source:
            pass


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


TARGETS = {
    "image": Target(use=read_image, seeds=("images/*", "hostile/*", "tiles/*"), share=120),
    "mask": Target(
        use=read_mask,
        seeds=tuple(f"images/{name}.*" for name in ("bits", "fax", "gray", "palette")),
        share=60,
    ),
    "large image": Target(use=read_large, seeds=("tiles/*", "images/*", "hostile/*"), share=40),
    "run": Target(use=run_image, seeds=("images/*", "hostile/*"), share=20),
    "run in tiles": Target(use=run_tiles, seeds=("tiles/*", "images/*"), share=10),
    "card": Target(use=read_card, seeds=("texts/card.json", "texts/trained.json"), share=90),
    "class map": Target(use=read_class_map, seeds=("texts/c*s.toml",), share=90),
    "recipe": Target(use=read_recipe, seeds=("texts/recipe.toml",), share=90),
    "palette": Target(use=read_palette, seeds=("texts/palette.toml",), share=30),
    "report": Target(use=read_report, seeds=("texts/report.json",), share=6),
    "history": Target(use=draw_history, seeds=("texts/report.json",), share=3),
    "baseline": Target(use=gate, seeds=("texts/report.json",), share=60),
    "coco": Target(
        use=check_dataset, seeds=("coco/annotations/*", "coco/*/a.png"), share=25, whole="coco"
    ),
    "labelme": Target(
        use=check_dataset, seeds=("labelme/**/*.json", "labelme/*.toml"), share=25, whole="labelme"
    ),
    "folder": Target(
        use=check_dataset, seeds=("folder/*/*/*", "folder/*.toml"), share=15, whole="folder"
    ),
    "camvid": Target(use=check_dataset, seeds=("camvid/*/*",), share=10, whole="camvid"),
    "data": Target(
        use=describe_dataset, seeds=("folder/masks/*/*", "folder/*.toml"), share=2, whole="folder"
    ),
    "checkpoint": Target(use=load_network, seeds=("models/best.pt",), share=50),
    "onnx": Target(use=load_network, seeds=("models/*.onnx",), share=50),
    "torchscript": Target(use=load_network, seeds=("models/best.torchscript",), share=16),
    "pt2": Target(use=load_network, seeds=("models/best.pt2",), share=16),
    "openvino": Target(
        use=load_network,
        seeds=("openvino/best.xml", "openvino/best.bin"),
        share=1.5,
        whole="openvino",
    ),
    "inspect openvino": Target(
        use=inspect, seeds=("openvino/best.xml",), share=15, whole="openvino"
    ),
    "inspect": Target(use=inspect, seeds=("models/best.*",), share=30),
    "verify": Target(use=verify, seeds=("models/*.onnx", "models/best.torchscript"), share=5),
    "weights": Target(use=read_weights, seeds=("models/weights.*", "models/*.pt"), share=40),
    "adopt": Target(use=adopt, seeds=("models/weights.*",), share=3),
    "resumed training": Target(
        use=resume_training, seeds=("training/last.pt",), share=4, whole="training"
    ),
    "film": Target(use=read_film, seeds=("films/*",), share=70),
    "pipe": Target(use=read_pipe, seeds=("films/*",), share=20),
    "list": Target(use=read_list, seeds=("texts/list.txt",), share=10),
    "run of a film": Target(use=run_film, seeds=("films/*",), share=5),
    "resumed run": Target(use=resume_run, seeds=("stopped/out/*.mp4",), share=6, whole="stopped"),
    "killed run": Target(use=resume_run, seeds=("killed/out/*.part",), share=6, whole="killed"),
    "names": Target(use=run_named, seeds=("texts/name.txt",), share=4),
    "options": Target(use=run_with_options, seeds=("texts/options.txt",), share=4),
    "process of images": Target(use=process_images, seeds=("images/plain.*",), share=0.4),
    "process of a film": Target(use=process_film, seeds=("films/*",), share=0.4),
    "process of a model": Target(use=process_model, seeds=("models/best.*",), share=0.4),
    "training by a recipe": Target(use=process_training, seeds=("texts/recipe.toml",), share=0.2),
    "training on a dataset": Target(
        use=process_training,
        seeds=("folder/*/train/0.png", "folder/*.toml"),
        share=0.2,
        whole="folder",
    ),
}
"""Readers and commands by the names that `--only` takes."""
