"""A worker's results are those of `segdeploy run`, and its rows say what happened."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fsspec", reason="needs the extra batch")
pytest.importorskip("pyarrow", reason="needs the extra batch")

from segdeploy.batch.inputs import list_inputs
from segdeploy.batch.manifest import JobIdentity, Manifest
from segdeploy.batch.storage import Storage
from segdeploy.batch.tables import read_rows
from segdeploy.batch.worker import Model, Row, Worker, WorkerOptions
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.io import read_ids, write_image
from segdeploy.imaging.render_options import RenderOptions
from tests.helpers.cli import run_cli
from tests.helpers.clips import gray_frames, write_clip


def write_images(folder: Path, count: int = 3) -> Path:
    """Write images of different sizes, and one that is damaged."""
    random = np.random.default_rng(0)
    for number in range(count):
        pixels = random.integers(0, 256, (40 + number, 60, 3), dtype=np.uint8)
        write_image(folder / f"{number}.png", pixels)
    (folder / "damaged.png").write_bytes(b"no image")
    return folder


def work(artifacts: Path, source: Path, output: str, *kinds: str) -> list[Row]:
    """Segment what is at a path in this process, and return the rows."""
    options = WorkerOptions(output=output, storage=Storage(), render=RenderOptions(kinds=kinds))
    worker = Worker(Model.read(artifacts / "best.onnx"), options)
    path = source.parent / "inputs.jsonl"
    inputs = list_inputs([str(source)], Storage(), column=None, path=path)
    return [row for chunk in inputs.chunks() for row in worker.run(chunk)]


def test_masks_and_run_lengths_are_those_of_run(artifacts: Path, tmp_path: Path) -> None:
    """Distribution must not change a pixel; a damaged image costs its own row only."""
    images = write_images(tmp_path / "in")
    once = tmp_path / "once"
    ran = run_cli(
        "run", "--model", artifacts / "best.onnx", images, "--save", "mask,rle", "--output", once
    )

    rows = work(artifacts, images, str(tmp_path / "out"), "mask", "rle")

    assert ran == 3
    known = json.loads((once / "rle.json").read_text())["annotations"]
    for number in range(3):
        row = next(row for row in rows if row["name"] == f"{number}.png")
        mask = read_ids(tmp_path / "out" / "mask" / f"{number}.png.png")
        assert np.array_equal(mask, read_ids(once / "mask" / f"{number}.png"))
        assert (row["width"], row["height"]) == (60, 40 + number)
        assert [fields["segmentation"] for fields in json.loads(row["rle"])] == [
            fields["segmentation"] for fields in known if fields["image_id"] == number
        ]
    (failed,) = (row for row in rows if row.get("error"))
    assert "damaged.png is not an image of a known format" in failed["error"]
    assert failed["outputs"] == []


def test_video_is_segmented_as_by_run(artifacts: Path, tmp_path: Path) -> None:
    """Whole videos go to one worker, and their files are named by the input."""
    (tmp_path / "in").mkdir()
    clip = write_clip(tmp_path / "in" / "drive.mp4", gray_frames(5, height=60, width=80), rate=15)
    once = tmp_path / "once"
    run_cli("run", "--model", artifacts / "best.onnx", clip, "--save", "mask", "--output", once)

    (row,) = work(artifacts, clip.parent, str(tmp_path / "out"), "mask", "overlay")

    assert (row["frames"], row["width"], row["error"]) == (5, 80, None)
    assert "drive.mp4-overlay.mp4" in row["outputs"]
    for number in range(5):
        mask = tmp_path / "out" / "drive.mp4-mask" / f"{number:06}.png"
        assert np.array_equal(read_ids(mask), read_ids(once / "drive-mask" / mask.name))


def test_results_go_to_other_storages(artifacts: Path, tmp_path: Path) -> None:
    """fsspec's memory stands for an object store: files are moved there once they are whole."""
    images = write_images(tmp_path / "in", 1)

    rows = work(artifacts, images, "memory://masks", "mask")

    assert Storage().read("memory://masks/mask/0.png.png").startswith(b"\x89PNG")
    assert [row["outputs"] for row in rows] == [["mask/0.png.png"], []]


def row_of(path: str) -> Row:
    """Return a short row."""
    return {"path": path, "number": 0, "name": path, "outputs": []}


def test_manifest_has_each_input_once_after_a_kill(tmp_path: Path) -> None:
    """A job that ended between the table and its parts has both; a resumed one adds the rest."""
    identity = JobIdentity(model="m", settings={"save": "mask"})
    first = Manifest(str(tmp_path), Storage())
    first.open(identity, resume=False)
    first.add(row_of("a"))
    first.flush(force=True)
    first.add(row_of("never written"))

    second = Manifest(str(tmp_path), Storage())
    second.open(identity, resume=True)
    for path in ("a", "b"):
        second.add(row_of(path))
    address = second.finish(tmp_path)

    with Path(address).open("rb") as file:
        assert [row["path"] for row in read_rows(file, name=address)] == ["a", "b"]
    assert not (tmp_path / "manifest-parts").exists()


def test_manifest_is_not_mixed_with_another_job(tmp_path: Path) -> None:
    """Masks of two models in one folder could not be told apart."""
    first = Manifest(str(tmp_path), Storage())
    first.open(JobIdentity(model="m", settings={}), resume=False)
    first.open(JobIdentity(model="m", settings={}), resume=False)
    first.add(row_of("a"))
    first.flush(force=True)

    other = Manifest(str(tmp_path), Storage())
    with pytest.raises(ConfigError, match="add --resume, or name another --output"):
        other.open(JobIdentity(model="m", settings={}), resume=False)
    with pytest.raises(ConfigError, match="another model or other options"):
        other.open(JobIdentity(model="n", settings={}), resume=True)
    (tmp_path / "job.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        other.open(JobIdentity(model="m", settings={}), resume=True)
