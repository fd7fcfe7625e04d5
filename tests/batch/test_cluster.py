"""Workers on the two nodes of a Ray cluster: the same masks, nothing lost and nothing twice."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ray", reason="needs the extra batch")
pytest.importorskip("pyarrow", reason="needs the extra batch")

import psutil
import ray
from ray.cluster_utils import Cluster

from segdeploy.batch.tables import read_rows
from segdeploy.imaging.io import read_ids, write_image
from tests.helpers.cli import run_cli

pytestmark = [
    pytest.mark.slow,
    # Ray's own.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes with a core each, on this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    store = {"num_cpus": 1, "object_store_memory": 100 << 20}
    made = Cluster(initialize_head=True, head_node_args={**store, "include_dashboard": False})
    made.add_node(**store)
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 60 images, one of them damaged."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for number in range(59):
        write_image(folder / f"{number}.png", random.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    (folder / "damaged.png").write_bytes(b"no image")
    return folder


def call(artifacts: Path, images: Path, output: Path, *more: str) -> int:
    """Call `segdeploy batch` on the connected cluster."""
    model = artifacts / "best.onnx"
    known = ("--save", "mask", "--address", "auto")
    return run_cli("batch", "--model", model, "--input", images, "--output", output, *known, *more)


def names_in(output: Path) -> list[str]:
    """Return the names of the manifest's rows, sorted."""
    with (output / "manifest.parquet").open("rb") as file:
        return sorted(row["name"] for row in read_rows(file, name="manifest"))


def check(output: Path, images: Path, once: Path) -> None:
    """Check that every input has one row and the mask of `segdeploy run`, and no other file."""
    names = sorted(path.name for path in images.iterdir())
    assert names_in(output) == names
    written = sorted(path.name for path in (output / "mask").iterdir())
    assert written == [f"{name}.png" for name in names if name != "damaged.png"]
    for path in (output / "mask").iterdir():
        assert np.array_equal(read_ids(path), read_ids(once / "mask" / path.name[:-4]))
    assert not (output / ".staging").exists()


@pytest.fixture(scope="module")
def once(artifacts: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `segdeploy run` writes of the same images."""
    folder = tmp_path_factory.mktemp("once")
    model = artifacts / "best.onnx"
    run_cli("run", "--model", model, images, "--save", "mask", "--output", folder)
    return folder


def test_two_nodes_write_what_run_writes(
    cluster: Cluster, artifacts: Path, images: Path, once: Path, tmp_path: Path
) -> None:
    """A damaged image is a row with its sentence and exit code 3; the page has it too."""
    assert call(artifacts, images, tmp_path / "out") == 3

    check(tmp_path / "out", images, once)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["done"], summary["errors"], summary["replaced"]) == (60, 1, 0)
    assert sum(summary["workers"].values()) == 60
    assert "damaged.png is not an image" in (tmp_path / "out" / "report.html").read_text()


def test_resumed_job_does_what_is_left(
    cluster: Cluster, artifacts: Path, images: Path, once: Path, tmp_path: Path
) -> None:
    """A job that ends after the first error leaves a manifest that is true."""
    output = tmp_path / "out"

    assert call(artifacts, images, output, "--max-errors", "0") == 3
    assert call(artifacts, images, output) == 2
    assert call(artifacts, images, output, "--resume") in {0, 3}

    check(output, images, once)


def test_killed_workers_cost_only_time(
    cluster: Cluster, artifacts: Path, images: Path, once: Path, tmp_path: Path
) -> None:
    """What a worker has in hand is given to another one."""
    killed: list[int] = []

    def kill() -> None:
        end = time.monotonic() + 60
        while len(killed) < 2 and time.monotonic() < end:
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    if (process.cmdline() or [""])[0].startswith("ray::Actor.run"):
                        process.kill()
                        killed.append(process.pid)
                        break
            time.sleep(0.05)

    killer = threading.Thread(target=kill)
    killer.start()
    code = call(artifacts, images, tmp_path / "out")
    killer.join()

    assert code == 3
    check(tmp_path / "out", images, once)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["replaced"] == len(killed)
