"""Readers that are given mutated files."""

import io
import sys
from functools import partial
from pathlib import Path

from tests.fuzz.commands import FRAMES, command, each


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
    from segdeploy.train.recipe_file import load_recipe

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


def load_network(path: Path) -> None:
    """Load an artifact, and run it on a black image of its size."""
    import numpy as np

    from segdeploy.backends.loading import load_backend, read_card

    read_card(path)
    backend = load_backend(path, device="cpu", threads=1)
    spec = backend.card.input
    if spec.height * spec.width <= 10**6:
        backend.run(np.zeros((1, spec.height, spec.width, 3), np.uint8))


def read_weights(path: Path) -> None:
    """Read weights of another program."""
    from segdeploy.models.checkpoint import read_tensors

    read_tensors(path, hint="use another file")


def read_film(path: Path) -> None:
    """Decode the beginning of a film."""
    from segdeploy.video.run_options import Selection
    from segdeploy.video.sources import open_video

    with open_video(path, selection=Selection(max_frames=FRAMES)) as opened:
        for _ in opened.source:
            pass


def read_pipe(path: Path) -> None:
    """Decode a film that comes through a pipe."""
    from segdeploy.video.run_options import Selection
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


def read_zones(path: Path) -> None:
    """Read zones, and measure the classes inside them."""
    import numpy as np

    from segdeploy.video.zones import ZoneMeter
    from segdeploy.video.zones import read_zones as read
    from tests.helpers.cards import make_classes

    meter = ZoneMeter(read(path), make_classes("void", "road"))
    for height, width in ((48, 64), (1, 1), (480, 640)):
        meter.measure(np.ones((height, width), np.uint8))


def read_list(path: Path) -> None:
    """Read the images of a list."""
    from segdeploy.video.run_options import Selection
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
