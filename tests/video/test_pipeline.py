"""What `run` does to frames is what `Predictor` does to images, in threads or one after the
other.
"""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from segdeploy.card import InputSpec, LabelClass, ModelCard
from segdeploy.errors import ConfigError, DataError, InterruptedRun, ModelError
from segdeploy.imaging.io import read_ids, read_image
from segdeploy.imaging.overlay import MASK, OVERLAY, Renderer
from segdeploy.inference.predictor import Predictor
from segdeploy.system.machine import cores
from segdeploy.video.codecs import Encoding
from segdeploy.video.outputs import image_outputs, unique_names, video_outputs
from segdeploy.video.pipeline import (
    JobResult,
    SilentObserver,
    VideoJob,
    batch_size,
    best_batch,
    segment_all,
)
from segdeploy.video.reader import VideoSource
from segdeploy.video.run_options import Schedule
from segdeploy.video.sources import ImageSource
from segdeploy.video.writer import VideoSink

CLASSES = (
    LabelClass(name="red", color=(255, 0, 0)),
    LabelClass(name="green", color=(0, 255, 0)),
    LabelClass(name="blue", color=(0, 0, 255)),
)


class StrongestColor:
    """A network whose output can be read off the image.

    A pixel's class is its strongest color.
    """

    device = "test"

    def __init__(self, *, breaks_after: int = 10**9) -> None:
        self.card = ModelCard(
            architecture="strongest",
            classes=CLASSES,
            input=InputSpec(height=24, width=32, mean=(0, 0, 0), std=(1, 1, 1), fit="pad"),
        )
        self._left = breaks_after

    def run(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if not self._left:
            msg = "the network broke"
            raise ModelError(msg)
        self._left -= 1
        return batch.transpose(0, 3, 1, 2).astype(np.float32)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twenty frames of 66x50: a red square moves over blue."""
    path = tmp_path / "clip.mp4"
    with VideoSink(path, width=66, height=50, rate=Fraction(25), encoding=Encoding(crf=5)) as sink:
        for index in range(20):
            image = np.full((50, 66, 3), (220, 30, 30), np.uint8)
            image[10:30, 2 * index : 2 * index + 20] = (30, 30, 220)
            sink.write(image, seconds=index / 25)
    return path


class StopsAfter(SilentObserver):
    """Ends the run before the batch of this number."""

    def __init__(self, batches: int) -> None:
        self._left = batches

    def should_stop(self) -> bool:
        self._left -= 1
        return self._left < 0


def segment_clip(
    clip: Path,
    folder: Path,
    *,
    serial: bool = False,
    workers: int = 1,
    batch: int = 1,
    backend: StrongestColor | None = None,
    limit: int = 10**9,
) -> JobResult:
    renderer = Renderer(CLASSES, (OVERLAY, MASK), legend=False)
    with VideoSource(clip) as source:
        job = VideoJob(
            source=source,
            backend=backend or StrongestColor(),
            outputs=video_outputs(source, folder, renderer=renderer, encoding=Encoding()),
            renderer=renderer,
            schedule=Schedule(serial=serial, threads=workers, batch=batch),
        )
        return segment_all(job, StopsAfter(limit))


def segment_images(
    paths: list[Path], folder: Path, *, kinds: tuple[str, ...] = (MASK, OVERLAY)
) -> tuple[JobResult, ImageSource]:
    with ImageSource(paths) as source:
        renderer = Renderer(CLASSES, kinds)
        job = VideoJob(
            source=source,
            backend=StrongestColor(),
            outputs=image_outputs(source.paths, folder, renderer=renderer),
            renderer=renderer,
            schedule=Schedule(throughput=False),
        )
        return segment_all(job), source


def test_masks_are_those_of_the_predictor(clip: Path, tmp_path: Path) -> None:
    """Both must return the same mask."""
    predictor = Predictor(StrongestColor())

    done = segment_clip(clip, tmp_path / "out")

    assert done.paths == (tmp_path / "out" / "clip-overlay.mp4", tmp_path / "out" / "clip-mask")
    assert sorted(path.name for path in done.paths[1].iterdir()) == [
        f"{index:06d}.png" for index in range(20)
    ]
    with VideoSource(clip) as source:
        for frame in source:
            mask = read_ids(done.paths[1] / f"{frame.index:06d}.png")
            np.testing.assert_array_equal(mask, predictor.mask(frame.image))
            assert set(np.unique(mask)) == {0, 2}


@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (3, 1), (1, 3), (2, 7)])
def test_threads_and_serial_write_the_same_bytes(
    clip: Path, tmp_path: Path, workers: int, batch: int
) -> None:
    """Threads must not change the result."""
    threaded = segment_clip(clip, tmp_path / "a", workers=workers, batch=batch)
    serial = segment_clip(clip, tmp_path / "b", serial=True)

    for one, other in zip(threaded.paths, serial.paths, strict=True):
        for path in [one] if one.is_file() else sorted(one.iterdir()):
            assert path.read_bytes() == (other if path == one else other / path.name).read_bytes()


def test_overlay_shows_the_colors(clip: Path, tmp_path: Path) -> None:
    """Half of the frame and half of the class's color.

    (30, 30, 220) and (0, 0, 255) make (15, 15, 238) where red is.
    """
    done = segment_clip(clip, tmp_path / "out")

    with VideoSource(done.paths[0]) as source:
        frames = list(source)
    assert [frame.seconds for frame in frames] == pytest.approx([index / 25 for index in range(20)])
    np.testing.assert_allclose(frames[15].image[20, 40], (15, 15, 238), atol=12)


def test_every_stage_is_measured(clip: Path, tmp_path: Path) -> None:
    """The times are of these frames, and in a serial run they add up to nearly the wall time."""
    times = segment_clip(clip, tmp_path / "out", serial=True).times

    assert times.frames == 20
    assert all(0 < stage.p50 <= stage.p95 <= stage.total for stage in times.stages.values())
    assert 0.5 * times.wall < sum(stage.total for stage in times.stages.values()) <= times.wall


@pytest.mark.parametrize(("serial", "workers"), [(True, 1), (False, 1), (False, 3)])
def test_interrupted_run_keeps_what_was_done(
    clip: Path, tmp_path: Path, *, serial: bool, workers: int
) -> None:
    """The video has the seven finished frames, and the message says where it is."""
    with pytest.raises(
        InterruptedRun,
        match=r"after 7 of 20 frames; the results so far are in .*clip-overlay\.mp4, .*clip-mask",
    ):
        segment_clip(clip, tmp_path / "out", serial=serial, workers=workers, limit=7)

    with VideoSource(tmp_path / "out" / "clip-overlay.mp4") as source:
        assert len(list(source)) == 7
    assert len(list((tmp_path / "out" / "clip-mask").iterdir())) == 7


def test_interrupted_before_the_first_frame_leaves_nothing(clip: Path, tmp_path: Path) -> None:
    """An empty video would seem to be a result."""
    with pytest.raises(
        InterruptedRun, match="interrupted after 0 of 20 frames; nothing was written"
    ):
        segment_clip(clip, tmp_path / "out", limit=0)

    assert list((tmp_path / "out").iterdir()) == []


def test_failing_network_keeps_the_frames_before(clip: Path, tmp_path: Path) -> None:
    """An hour of work is not lost by an error in the last minute."""
    with pytest.raises(ModelError, match="the network broke"):
        segment_clip(clip, tmp_path / "out", backend=StrongestColor(breaks_after=5))

    with VideoSource(tmp_path / "out" / "clip-overlay.mp4") as source:
        assert len(list(source)) == 5


def test_images_keep_their_names_and_sizes(tmp_path: Path) -> None:
    """Each image has a size of its own, and its results are found by its name."""
    for name, color, size in (("a.png", (0, 0, 200), (20, 30)), ("b.bmp", (200, 0, 0), (51, 7))):
        cv2.imwrite(str(tmp_path / name), np.full((*size, 3), color, np.uint8))

    done, source = segment_images([tmp_path], tmp_path / "out")

    assert done.paths == (tmp_path / "out" / "mask", tmp_path / "out" / "overlay")
    assert (source.frames, source.losses, done.times.frames) == (2, [], 2)
    np.testing.assert_array_equal(
        read_ids(tmp_path / "out" / "mask" / "a.png"), np.zeros((20, 30), np.uint8)
    )
    np.testing.assert_array_equal(
        read_ids(tmp_path / "out" / "mask" / "b.png"), np.full((51, 7), 2, np.uint8)
    )
    assert read_image(tmp_path / "out" / "overlay" / "b.jpg").shape == (51, 7, 3)


def test_only_requested_kinds_are_written(tmp_path: Path) -> None:
    """Masks need no drawing."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))

    done, _ = segment_images([tmp_path / "a.png"], tmp_path / "out", kinds=(MASK,))

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mask"]
    assert done.times.draw.total == 0


def test_bad_image_is_skipped_and_reported(tmp_path: Path) -> None:
    """One bad file among a thousand must not cost the others."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"no image")
    cv2.imwrite(str(tmp_path / "c.png"), np.zeros((8, 8, 3), np.uint8))

    done, source = segment_images([tmp_path], tmp_path / "out", kinds=(MASK,))

    assert sorted(path.name for path in (tmp_path / "out" / "mask").iterdir()) == ["a.png", "c.png"]
    assert done.times.frames == 2
    assert len(source.losses) == 1
    assert "b.png is not an image" in source.losses[0]


def test_only_bad_images_are_an_error(tmp_path: Path) -> None:
    """There is no result, so the run fails."""
    (tmp_path / "b.png").write_bytes(b"no image")

    with pytest.raises(DataError, match=r"no image could be read: .*b\.png is not an image"):
        segment_images([tmp_path], tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_missing_image_is_reported_at_once(tmp_path: Path) -> None:
    """A wrong name is an error: the run does not start."""
    with pytest.raises(DataError, match=r"there is no .*nowhere\.png"):
        ImageSource([tmp_path / "nowhere.png"])


def test_equal_names_get_numbers() -> None:
    """The number avoids a name that another image has.

    Some file systems ignore case.
    """
    paths = [
        Path(name) for name in ("x/a.jpg", "y/a.png", "a-2.jpg", "z/A.png", "b.png", "z/a-2.jpg")
    ]

    assert unique_names(paths) == ["a", "a-3", "a-2", "A-4", "b", "a-2-2"]


def test_result_never_overwrites_an_image(tmp_path: Path) -> None:
    """A run in the folder of the images must not destroy them."""
    (tmp_path / "mask").mkdir()
    image = tmp_path / "mask" / "a.png"
    cv2.imwrite(str(image), np.full((8, 8, 3), 77, np.uint8))

    with pytest.raises(ConfigError, match="would overwrite an image"):
        segment_images([image], tmp_path)

    assert read_image(image)[0, 0, 0] == 77


class Timed:
    """A network that takes so many seconds for a call and for each image of it, by a clock of its
    own.
    """

    device = "test cuda:0"

    def __init__(self, *, call: float, image: float) -> None:
        spec = InputSpec(height=2, width=2, mean=(0, 0, 0), std=(1, 1, 1))
        self.card = ModelCard(
            architecture="timed", classes=(LabelClass(name="all", color=(0, 0, 0)),), input=spec
        )
        self.now = 0.0
        self._cost = (call, image)

    def run(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        call, image = self._cost
        self.now += call + image * len(batch)
        return np.zeros((len(batch), 1, 2, 2), np.float32)


@pytest.mark.parametrize(
    ("call", "image", "batch"),
    [
        (0.0, 1.0, 1),
        # 2, 1.5, 1.25, 1.125, 1.0625 seconds an image: from 8 to 16 the gain is 1.059.
        (1.0, 1.0, 16),
        # 1.2, 1.1, 1.05: from 2 to 4 the gain is 1.048.
        (0.2, 1.0, 2),
    ],
)
def test_batch_grows_while_it_is_faster(call: float, image: float, batch: int) -> None:
    """Without overhead per call, a batch gains nothing."""
    network = Timed(call=call, image=image)

    assert best_batch(network, clock=lambda: network.now) == batch


@pytest.mark.parametrize(
    ("frames", "workers", "threads"), [(1, 1, 4), (3, 1, 4), (4, 4, 1), (1000, 4, 1), (None, 4, 1)]
)
def test_few_frames_use_all_cores(frames: int | None, workers: int, threads: int) -> None:
    """With one image only the network itself is parallel: other cores would be idle."""
    schedule = Schedule(threads=4).for_frames(frames)

    assert (schedule.workers, schedule.network_threads) == (workers, threads)


def test_cpu_uses_no_batch() -> None:
    """A given size is taken, and `auto` makes no call on a CPU."""
    network = Timed(call=1.0, image=1.0)
    network.device = "test CPUExecutionProvider"

    assert batch_size(Schedule(batch=None), network) == 1
    assert batch_size(Schedule(batch=3), network) == 3
    assert network.now == 0


@pytest.mark.parametrize(
    ("schedule", "workers", "threads"),
    [
        (Schedule(threads=3), 3, 1),
        (Schedule(threads=3, throughput=False), 1, 3),
        (Schedule(threads=3, serial=True), 1, 3),
        (Schedule(), cores(), 1),
        (Schedule(throughput=False), 1, cores()),
    ],
)
def test_cores_are_shared(schedule: Schedule, workers: int, threads: int) -> None:
    """Never more threads than cores: they would cost a factor of two."""
    assert (schedule.workers, schedule.network_threads) == (workers, threads)
