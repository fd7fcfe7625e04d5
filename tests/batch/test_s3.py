"""Inputs and results in an object store, which moto's server imitates on the loopback."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("s3fs", reason="needs the extra s3")
pytest.importorskip("moto.server", reason="needs moto[server]")
pytest.importorskip("pyarrow", reason="needs the extra batch")

from moto.server import ThreadedMotoServer

from segdeploy.batch.inputs import list_inputs
from segdeploy.batch.manifest import JobIdentity, Manifest
from segdeploy.batch.storage import Storage, read_options
from segdeploy.batch.worker import Model, Worker, WorkerOptions
from segdeploy.errors import DataError
from segdeploy.imaging.io import read_ids, write_image
from segdeploy.imaging.render_options import RenderOptions
from tests.helpers.cli import run_cli
from tests.helpers.clips import gray_frames, write_clip

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """An object store with an empty bucket; its credentials are in the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    store = Storage(read_options((f"endpoint_url=http://{host}:{port}",)))
    store._files("s3://bucket").makedirs("bucket", exist_ok=True)
    yield store
    server.stop()


def test_job_from_bucket_to_bucket(storage: Storage, artifacts: Path, tmp_path: Path) -> None:
    """Patterns, masks, videos and the manifest are as on a disk."""
    images = tmp_path / "in"
    random = np.random.default_rng(0)
    for number in range(3):
        pixels = random.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        write_image(images / f"{number}.png", pixels)
    write_clip(images / "drive.mp4", gray_frames(3, height=60, width=80), rate=15)
    for path in images.iterdir():
        storage.write(f"s3://bucket/day/{path.name}", path.read_bytes())
    once = tmp_path / "once"
    run_cli("run", "--model", artifacts / "best.onnx", images, "--save", "mask", "--output", once)
    output = "s3://bucket/masks"

    inputs = list_inputs(["s3://bucket/day/*"], storage, column=None, path=tmp_path / "inputs")
    manifest = Manifest(output, storage)
    manifest.open(JobIdentity(model="m", settings={}), resume=False)
    options = WorkerOptions(output=output, storage=storage, render=RenderOptions(kinds=("mask",)))
    worker = Worker(Model.read(artifacts / "best.onnx"), options)
    for chunk in inputs.chunks():
        for row in worker.run(chunk):
            manifest.add(row)
    manifest.finish(tmp_path)

    rows = {row["name"]: row for row in manifest.rows()}
    assert sorted(rows) == ["0.png", "1.png", "2.png", "drive.mp4"]
    assert all(row["error"] is None for row in rows.values())
    for number in range(3):
        mask = tmp_path / "mask.png"
        mask.write_bytes(storage.read(f"{output}/mask/{number}.png.png"))
        assert np.array_equal(read_ids(mask), read_ids(once / "mask" / f"{number}.png"))
    assert storage.exists(f"{output}/drive.mp4-mask/000002.png")
    assert not storage.exists(f"{output}/manifest-parts")


def test_missing_bucket_is_one_sentence(storage: Storage, tmp_path: Path) -> None:
    """What a store says is not a traceback."""
    with pytest.raises(DataError, match="s3://gone"):
        list_inputs(["s3://gone/*.jpg"], storage, column=None, path=tmp_path / "inputs")
