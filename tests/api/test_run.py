"""`Network.run` writes what `segdeploy run` writes."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import segdeploy
from segdeploy.api.network import Network
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.io import read_ids, write_image
from tests.helpers.backends import ChannelBackend
from tests.helpers.cli import run_cli
from tests.helpers.clips import gray_frames, write_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a.png, b.png and clip.mp4 of 6 frames."""
    path = tmp_path_factory.mktemp("sources")
    for index, name in enumerate("ab"):
        write_image(path / f"{name}.png", np.full((8, 9, 3), (0, 0, index), np.uint8))
    write_clip(path / "clip.mp4", gray_frames(6))
    return path


@pytest.fixture
def net() -> Network:
    """Return a network whose classes are the strongest colors."""
    return Network(ChannelBackend())


def test_files_are_those_of_the_command(artifacts: Path, folder: Path, tmp_path: Path) -> None:
    """Names and content of every file."""
    source, ours, theirs = folder / "clip.mp4", tmp_path / "ours", tmp_path / "theirs"
    model = artifacts / "best.onnx"
    net = segdeploy.load(model, device="cpu")

    done = net.run(source, ours, save="overlay,mask,coco", opacity=0.3, stride=2)
    run_cli(
        *("run", "--model", model, "--device", "cpu", "--video", source, "--output", theirs),
        *("--save", "overlay,mask,coco", "--opacity", "0.3", "--stride", "2"),
    )

    names = sorted(path.relative_to(ours) for path in ours.rglob("*.*"))
    assert names == sorted(path.relative_to(theirs) for path in theirs.rglob("*.*"))
    for name in names:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    assert sorted(path.name for path in done.paths) == [
        "clip-coco.json",
        "clip-mask",
        "clip-overlay.mp4",
    ]
    assert done.times.frames == 3


def test_several_sources_have_names_of_their_own(
    net: Network, folder: Path, tmp_path: Path
) -> None:
    """Two videos of one name, and images beside them."""
    (tmp_path / "other").mkdir()
    other = write_clip(tmp_path / "other" / "clip.mp4", gray_frames(3))

    done = net.run([folder / "clip.mp4", other, folder / "b.png"], tmp_path / "out", save="overlay")

    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "clip-2-overlay.mp4",
        "clip-overlay.mp4",
        "overlay",
    ]
    assert len(done.paths) == 3


def test_one_file_is_written(net: Network, folder: Path, tmp_path: Path) -> None:
    """A video, and the mask of an image."""
    net.run(folder / "clip.mp4", tmp_path / "out.mp4")
    net.run(str(folder / "b.png"), str(tmp_path / "mask.png"), save=["mask"])

    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].frames == 6
    assert read_ids(tmp_path / "mask.png").shape == (8, 9)


@pytest.mark.parametrize(
    ("source", "output", "options", "reason"),
    [
        ("clip.mp4", "out", {"save": "film"}, "'film' cannot be saved; choose from overlay"),
        ("clip.mp4", "out", {"save": "cutout"}, "a cutout needs its classes"),
        ("clip.mp4", "out", {"classes": ["moon"]}, "'moon' is not a class of the network"),
        ("clip.mp4", "out", {"codec": "theora"}, "there is no codec 'theora'"),
        ("clip.mp4", "out", {"speed": 1}, "run has no option 'speed'; known are"),
        ("clip.mp4", "out.mp4", {"save": "mask"}, "name a folder"),
        ([np.zeros((2, 2, 3), np.uint8)], "out", {}, "use stream for images in memory"),
        (["clip.mp4", "a.png"], "out.jpg", {}, "which is one file; name a folder"),
    ],
)
def test_impossible_options_write_nothing(
    net: Network,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: Any,
    output: str,
    options: Any,
    reason: str,
) -> None:
    """And say in one sentence what is wrong."""
    monkeypatch.chdir(folder)

    with pytest.raises(ConfigError, match=reason):
        net.run(source, tmp_path / output, **options)

    assert [path for path in tmp_path.rglob("*") if path.suffix != ".jpg"] == []


def test_existing_video_is_kept_unless_told(net: Network, folder: Path, tmp_path: Path) -> None:
    net.run(folder / "clip.mp4", tmp_path, max_frames=1)

    with pytest.raises(ConfigError, match=r"clip-overlay\.mp4 exists"):
        net.run(folder / "clip.mp4", tmp_path)

    net.run(folder / "clip.mp4", tmp_path, overwrite=True)


def test_unreadable_image_is_reported_after_the_others(
    net: Network, folder: Path, tmp_path: Path
) -> None:
    """As the command does, whose exit code is 3 then."""
    (tmp_path / "bad.png").write_bytes(b"\x89PNG")

    with pytest.raises(DataError, match=r"1 of 2 images could not be read; .*bad\.png"):
        net.run([tmp_path / "bad.png", folder / "a.png"], tmp_path / "out")

    assert (tmp_path / "out" / "overlay" / "a.jpg").exists()
