"""`segdeploy serve` under load: beside `segdeploy run`, beside what people write, and overloaded.

`python -m segdeploy.benchmarks.studies.serving --peers PYTHON`.

The load is made by `hey` on the loopback, so client and server share the cores: servers are
compared by the images per second of their own processor time, and the wall time stands beside it.
Every value is the median of rounds that take turns, each server in a fresh process.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click
import numpy as np

from segdeploy.assets import locate
from segdeploy.backends.loading import read_card
from segdeploy.cli.console import echo
from segdeploy.cli.main import invoke
from segdeploy.cli.options import Artifact
from segdeploy.datasets.synthetic.dataset import Streets
from segdeploy.errors import SegdeployError
from segdeploy.imaging.io import write_image
from segdeploy.imaging.preprocess import resize
from segdeploy.system.concurrency import PYTHON
from segdeploy.system.files import temporary_folder
from segdeploy.system.machine import BLAS_THREADS, describe_machine

from ..measure.rounds import in_turns
from ..measure.server_load import (
    PEERS,
    Load,
    Request,
    Server,
    free_port,
    peer,
    quantile,
    started,
)

CLIENTS = 16
HEIGHT, WIDTH = 720, 1280
IMAGES = 64
"""Images of a run of `segdeploy run`, all alike to the load of the servers."""

BOUNDARY = "segdeploy-study"


@contextmanager
def ours(model: Path, *options: str) -> Iterator[Server]:
    """Yield `segdeploy serve` with a model."""
    port = free_port()
    command = [*PYTHON, "-m", "segdeploy", "serve", str(model), "--port", str(port)]
    with started([*command, "--no-access-log", *options], port) as server:
        yield server


def run_rate(model: Path, images: Sequence[Path], folder: Path) -> tuple[float, float]:
    """Return the images per second of `segdeploy run`, by its processor time and by wall time.

    The start is not counted: it is that of a run of one image.
    """
    times = []
    for some in (images[:1], images):
        command = [*PYTHON, "-m", "segdeploy", "run", "--model", str(model), "--save", "mask"]
        where = ["--output", str(folder / "run"), "--image", *map(str, some)]
        before, start = os.times(), time.perf_counter()
        subprocess.run(  # noqa: S603 - this Python, and arguments of ours
            [*command, *where], check=True, capture_output=True, env={**BLAS_THREADS, **os.environ}
        )
        after, wall = os.times(), time.perf_counter() - start
        busy = after.children_user + after.children_system
        times.append((busy - before.children_user - before.children_system, wall))
    more = len(images) - 1
    return more / (times[1][0] - times[0][0]), more / (times[1][1] - times[0][1])


@dataclass(frozen=True, kw_only=True)
class Bodies:
    """The requests of the study, and the images of `segdeploy run`."""

    tensor: Request
    jpeg: Request
    form: Request
    litserve: Request
    small: list[Path]
    large: list[Path]


def make_bodies(model: Path, folder: Path) -> Bodies:
    """Write a drawn street as tensors, JPEG and a form, and copies of it for `segdeploy run`."""
    card = read_card(model)
    image = Streets(split="val", count=1, height=HEIGHT, width=WIDTH)[0].image
    network = resize(image, card.input.height, width=card.input.width)
    write_image(folder / "large.jpg", image)
    write_image(folder / "small.png", network)
    copies: dict[str, list[Path]] = {"large.jpg": [], "small.png": []}
    for name, paths in copies.items():
        for number in range(IMAGES):
            paths.append(folder / f"{number:03}-{name}")
            shutil.copy(folder / name, paths[-1])
    pixels = np.ascontiguousarray(network[None, ..., ::-1])
    shape = ",".join(map(str, pixels.shape))
    head = (
        f'{{"inputs":[{{"name":"image","shape":[{shape}],"datatype":"UINT8","parameters":'
        f'{{"binary_data_size":{pixels.nbytes}}}}}],"outputs":[{{"name":"mask","parameters":'
        '{"binary_data":true}}]}'
    ).encode()
    (folder / "tensor").write_bytes(head + pixels.tobytes())
    jpeg = (folder / "large.jpg").read_bytes()
    # litserve has its own name for the field.
    for form, field in (("form", "file"), ("litserve", "request")):
        start = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="a.jpg"'
            "\r\nContent-Type: image/jpeg\r\n\r\n"
        )
        (folder / form).write_bytes(start.encode() + jpeg + f"\r\n--{BOUNDARY}--\r\n".encode())
    media = f"multipart/form-data; boundary={BOUNDARY}"
    return Bodies(
        tensor=Request(
            path=f"/v2/models/{Path(model).stem}/infer",
            body=folder / "tensor",
            media="application/octet-stream",
            headers={"Inference-Header-Content-Length": str(len(head))},
        ),
        jpeg=Request(path="/segment", body=folder / "large.jpg", headers={}),
        form=Request(path="/segment", body=folder / "form", media=media, headers={}),
        litserve=Request(path="/segment", body=folder / "litserve", media=media, headers={}),
        small=copies["small.png"],
        large=copies["large.jpg"],
    )


def compare(
    model: Path, bodies: Bodies, folder: Path, *, python: Path | None, seconds: float, rounds: int
) -> None:
    """Print the server beside `run` and beside peers."""
    names = ["tensors", "JPEG", "form", "run small", "run large", *(PEERS if python else ())]
    loads: dict[str, list[Load]] = {name: [] for name in names}
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    requests = {
        "tensors": bodies.tensor,
        "JPEG": bodies.jpeg,
        "form": bodies.form,
        "FastAPI": bodies.form,
        "litserve": bodies.litserve,
    }
    for name in in_turns(names, rounds):
        if name.startswith("run"):
            images = bodies.small if name.endswith("small") else bodies.large
            runs[name].append(run_rate(model, images, folder))
            continue
        place = ours(model) if name not in PEERS else peer(python or Path(), name, model, folder)
        with place as server:
            server.load(requests[name], clients=CLIENTS, number=2 * CLIENTS)
            loads[name].append(server.load(requests[name], clients=CLIENTS, seconds=seconds))
    for name in ("run small", "run large"):
        busy, wall = (median(pair[index] for pair in runs[name]) for index in (0, 1))
        echo(f"{name:10} {busy:8.1f} images/s of processor time, {wall:8.1f} of wall time")
    for name, found in loads.items():
        if found:
            echo(f"{name:10} {describe(found)}")
    for name, base in (("tensors", "run small"), ("JPEG", "run large")):
        ratio = median(
            load.per_busy / run[0] for load, run in zip(loads[name], runs[base], strict=True)
        )
        echo(f"{name} reach {ratio:.2f} of {base}, by processor time")
    for name in PEERS if python else ():
        pairs = list(zip(loads["form"], loads[name], strict=True))
        busy = median(own.per_busy / other.per_busy for own, other in pairs)
        wall = median(own.per_wall / other.per_wall for own, other in pairs)
        tail = median(own.quantile(0.99) / other.quantile(0.99) for own, other in pairs)
        echo(
            f"{busy:.2f} times the images/s of {name} by processor time, {wall:.2f} by wall time;"
            f" p99 {tail:.2f} times its own"
        )


def describe(loads: Sequence[Load]) -> str:
    """Return the medians of loads in one line."""
    busy, wall = (
        median(getattr(load, name) for load in loads) for name in ("per_busy", "per_wall")
    )
    p50, p99 = (median(load.quantile(share) for load in loads) for share in (0.5, 0.99))
    failed = sum(load.failed for load in loads)
    return (
        f"{busy:8.1f} images/s of processor time, {wall:8.1f} of wall time, p50 {p50:.0f} ms, p99"
        f" {p99:.0f} ms{f', {failed} failed' if failed else ''}"
    )


def overload(model: Path, bodies: Bodies, *, seconds: float) -> None:
    """Print latencies at capacity, and at four times as many requests."""
    with ours(model, "--queue", str(CLIENTS)) as server:
        server.load(bodies.jpeg, clients=CLIENTS, number=2 * CLIENTS)
        full = server.load(bodies.jpeg, clients=CLIENTS, seconds=seconds)
        more = server.load(
            bodies.jpeg, clients=8 * CLIENTS, seconds=seconds, rate=4 * full.per_wall
        )
    echo(
        f"at capacity, {full.per_wall:.1f} images/s: p99 {full.quantile(0.99):.0f} ms; at four"
        f" times that, {more.per_wall:.1f} images/s: p99 of the accepted {more.quantile(0.99):.0f}"
        f" ms, {more.quantile(0.99) / full.quantile(0.99):.2f} times; {len(more.refused)} refused,"
        f" p50 {1000 * quantile(more.refused, 0.5):.0f} ms, {more.failed} failed"
    )


def growth(model: Path, bodies: Bodies, *, number: int) -> None:
    """Print how the server's memory grows over many requests."""
    with ours(model) as server:
        server.load(bodies.jpeg, clients=CLIENTS, number=max(CLIENTS, number // 50))
        before = server.memory()
        server.load(bodies.jpeg, clients=CLIENTS, number=max(CLIENTS, number))
        after = server.memory()
    echo(f"memory: {before:.0f} MB, {after - before:+.1f} MB after {number} requests")


@click.command()
@click.argument("model", type=Artifact(), required=False)
@click.option(
    "--peers",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Python that has fastapi, litserve, onnxruntime, opencv and pillow.  [default: no peers]",
)
@click.option("--seconds", default=10.0, show_default=True, help="Length of each load.")
@click.option(
    "--rounds", default=3, show_default=True, type=click.IntRange(min=1), help="Rounds of each."
)
@click.option(
    "--requests",
    default=20_000,
    show_default=True,
    type=click.IntRange(min=0),
    help="Requests over which memory is watched; 0 for none.",
)
def main(
    model: Path | None, *, peers: Path | None, seconds: float, rounds: int, requests: int
) -> None:
    """Measure `segdeploy serve` with MODEL, an ONNX file; by default the bundled int8 one."""
    if shutil.which("hey") is None:
        msg = "the load is made by hey, which is not installed; on Debian: apt-get install hey"
        raise SegdeployError(msg)
    path = model or locate("street-int8")
    echo(f"{describe_machine().kind}, {CLIENTS} clients, {WIDTH}x{HEIGHT}")
    with temporary_folder() as folder:
        bodies = make_bodies(path, folder)
        compare(path, bodies, folder, python=peers, seconds=seconds, rounds=rounds)
        overload(path, bodies, seconds=seconds)
        if requests:
            growth(path, bodies, number=requests)


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.serving")
