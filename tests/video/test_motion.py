"""Outputs that are carried from keyframes to the frames between them."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import cv2
import numpy as np
import pytest

from segdeploy.arrays import Image, Mask, NetworkOutput
from segdeploy.card import ModelCard
from segdeploy.errors import ModelError
from segdeploy.imaging.overlay import MASK, Renderer
from segdeploy.video.frames import Frame, Outputs, SegmentedFrame
from segdeploy.video.motion import (
    LONGER_SIDE,
    SHORTEST_SIDE,
    Motion,
    MotionCarrier,
    MotionCounts,
    blend,
    is_unchanged,
    to_gray,
)
from segdeploy.video.pipeline import VideoJob, segment_all
from segdeploy.video.run_options import Schedule
from tests.helpers.backends import ChannelBackend
from tests.helpers.cards import make_card

HEIGHT, WIDTH = 96, 128
RANDOM = np.random.default_rng(4)
GROUND, OBJECT = (
    cv2.GaussianBlur(RANDOM.integers(0, 256, (HEIGHT, 2 * WIDTH), np.uint8), (0, 0), 2)
    for _ in range(2)
)


def scene(offset: int) -> Image:
    """Return a textured blue ground that moved left, and a red object that moved right."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0] = 200
    image[..., 1] = cv2.normalize(GROUND, None, 0, 180, cv2.NORM_MINMAX)[:, offset : offset + WIDTH]
    left = 20 + 2 * offset
    image[30:70, left : left + 40] = (0, 0, 220)
    texture = cv2.normalize(OBJECT, None, 0, 200, cv2.NORM_MINMAX)
    image[30:70, left : left + 40, 1] = texture[30:70, :40]
    return image


class ScriptedSource:
    """A source of given images."""

    losses: Sequence[str] = ()
    notes: Sequence[str] = ()

    def __init__(self, images: Sequence[Image]) -> None:
        self.frames = len(images)
        self._images = images

    def __iter__(self):  # type: ignore[no-untyped-def]
        for index, image in enumerate(self._images):
            yield Frame(image=image, index=index, seconds=index / 25)


def segment(
    images: Sequence[Image],
    *,
    every: int = 3,
    live: bool = False,
    schedule: Schedule = Schedule(serial=True),  # noqa: B008 - a frozen value
    backend: ChannelBackend | None = None,
) -> tuple[list[Mask], ChannelBackend, MotionCounts]:
    """Return the masks of a video, the network with its calls, and the counts."""
    backend = backend or ChannelBackend(card())
    masks: dict[int, Mask] = {}

    def write(result: SegmentedFrame) -> None:
        assert result.frame.index == len(masks), "frames keep their order"
        masks[result.frame.index] = result.mask

    carrier = MotionCarrier(every, backend.card.input, live=live)
    job = VideoJob(
        source=ScriptedSource(images),
        backend=backend,
        outputs=nullcontext(Outputs(writers=(write,), paths=())),
        renderer=Renderer(backend.card.classes, (MASK,)),
        schedule=schedule,
        motion=carrier,
        live=live,
    )
    segment_all(job)
    return list(masks.values()), backend, carrier.counts


def card() -> ModelCard:
    return make_card(HEIGHT, WIDTH, classes=("red", "green", "blue"))


def own_masks(images: Sequence[Image]) -> list[Mask]:
    return [np.argmax(image[..., ::-1], axis=2).astype(np.uint8) for image in images]


@pytest.mark.parametrize(
    ("size", "gray"),
    [
        ((1080, 1920), (144, 256)),
        ((5, 5000), (32, 256)),
        ((16, 16), (32, 32)),
        ((99, 33), (99, 33)),
    ],
)
def test_gray_images_have_sides_that_the_flow_takes(
    size: tuple[int, int], gray: tuple[int, int]
) -> None:
    """OpenCV's flow crashes the process on images with a side of a few pixels."""
    image = RANDOM.integers(0, 256, (*size, 3), np.uint8)

    small = to_gray(image)

    assert small.shape == gray
    assert SHORTEST_SIDE <= min(small.shape) <= max(small.shape) <= LONGER_SIDE
    assert np.isfinite(Motion.between(small, small[::-1].copy()).flow).all()


def test_motion_points_to_where_a_pixel_was() -> None:
    """A ground that moved 6 to the left came from 6 to the right, where the residual is small."""
    motion = Motion.between(
        np.ascontiguousarray(GROUND[:, 6 : WIDTH + 6]), np.ascontiguousarray(GROUND[:, :WIDTH])
    )

    inner = motion.flow[16:-16, 16:-16]

    assert np.median(inner[..., 0]) == pytest.approx(6, abs=0.5)
    assert np.median(inner[..., 1]) == pytest.approx(0, abs=0.5)
    assert np.median(motion.residual) < 3
    assert motion.residual[50, -1] >= 64, "it came from beyond the edge"


def test_motion_is_scaled_to_the_part_of_an_output_that_the_image_covers() -> None:
    """A padded output holds the image in its upper left part, at the network's stride."""
    motion = Motion(
        flow=np.full((40, 80, 2), (8, 4), np.float32), residual=np.zeros((40, 80), np.float32)
    )
    output = np.zeros((1, 1, 20, 20), np.float32)
    output[0, 0, 5:8, 10:14] = 1

    sized = motion.at(20, 20, covered=(10, 20))
    moved = sized.move(output)

    np.testing.assert_allclose(sized.flow[0, 0], (2, 1))
    assert np.argwhere(moved[0, 0] == 1).min(0).tolist() == [4, 8]
    assert moved[0, 0].sum() == 12


def test_class_indices_are_moved_whole_and_never_mixed() -> None:
    """The mean of two classes is a third one."""
    labels = np.zeros((1, 40, 80), np.uint8)
    labels[0, :, 40:] = 9
    motion = Motion(
        flow=np.full((40, 80, 2), (0.4, 0), np.float32), residual=np.ones((40, 80), np.float32)
    )
    worse = Motion(flow=motion.flow, residual=2 * motion.residual)

    blended = blend([(worse, 5 + motion.move(labels)), (motion, motion.move(labels))])

    assert set(np.unique(blended)) == {0, 9}


def test_carried_labels_follow_what_moves() -> None:
    """Two things that move against each other take their labels along; held labels would not."""
    images = [scene(offset) for offset in range(0, 14, 2)]

    masks, backend, counts = segment(images)

    assert backend.calls == 3
    assert counts == MotionCounts(network=3, carried=4)
    for number, (mask, own) in enumerate(zip(masks, own_masks(images), strict=True)):
        if number % 3 == 0:
            np.testing.assert_array_equal(mask, own)
    inner = np.s_[20:80, 10:-10]
    carried = np.mean([(masks[n] == own_masks(images)[n])[inner].mean() for n in (1, 2, 4, 5)])
    held = np.mean(
        [(masks[n // 3 * 3] == own_masks(images)[n])[inner].mean() for n in (1, 2, 4, 5)]
    )
    assert carried > 1 - (1 - held) / 2


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_masks_do_not_depend_on_the_schedule(workers: int, batch: int) -> None:
    """Groups wait for the keyframe before them in threads too, and every frame comes once."""
    images = [scene(offset) for offset in range(11)]
    expected, _, _ = segment(images, every=2)

    masks, backend, _ = segment(
        images, every=2, schedule=Schedule(threads=workers, batch=batch, throughput=workers > 1)
    )

    assert backend.calls == 6 if batch == 1 else 3
    np.testing.assert_array_equal(masks, expected)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_the_last_frame_is_a_keyframe(count: int) -> None:
    """So that every frame between has one on both sides, whatever the length."""
    images = [scene(offset) for offset in range(count)]

    masks, _, counts = segment(images)

    assert counts.network + counts.carried == count
    np.testing.assert_array_equal(masks[-1], own_masks(images)[-1])


def test_frames_behind_a_cut_take_the_next_keyframe() -> None:
    """The frame before a cut must not lend them its labels."""
    other = np.full((HEIGHT, WIDTH, 3), (10, 240, 10), np.uint8)
    images = [scene(0), other, other, other]

    masks, _, counts = segment(images)

    np.testing.assert_array_equal(masks, own_masks(images))
    assert counts == MotionCounts(network=2, carried=2, unchanged=2)


def test_the_network_runs_on_frames_that_no_keyframe_explains() -> None:
    """A flash or a short shot between two keyframes has labels of its own."""
    flash = cv2.rotate(scene(0)[:, :HEIGHT], cv2.ROTATE_180)
    flash = cv2.resize(255 - flash, (WIDTH, HEIGHT))
    images = [scene(0), scene(1), flash, scene(3)]

    masks, backend, counts = segment(images)

    np.testing.assert_array_equal(masks[2], own_masks(images)[2])
    assert backend.calls == 3
    assert counts == MotionCounts(network=3, carried=1, changed=1)
    assert counts.summary == (
        "the network ran on 3 of 4 frames, 1 of them because too much had changed"
    )


def test_unchanged_frames_reuse_the_output_as_it_is() -> None:
    """A camera that stands still costs no flow; noise of two levels is no motion."""
    noise = RANDOM.integers(0, 3, (7, HEIGHT, WIDTH, 3), np.uint8)
    images = [
        np.clip(scene(0) + one.astype(np.int16) - 1, 0, 255).astype(np.uint8) for one in noise
    ]

    masks, backend, counts = segment(images, live=True)

    assert backend.calls == 3
    assert counts == MotionCounts(network=3, carried=4, unchanged=4)
    np.testing.assert_array_equal(masks[1], masks[0])
    np.testing.assert_array_equal(masks[5], masks[3])
    assert counts.summary == (
        "the network ran on 3 of 7 frames, in 4 of the others nothing had moved"
    )


def test_a_small_thing_that_moves_is_a_change() -> None:
    """A person far away covers few pixels of the gray image."""
    image = np.full((1080, 1920, 3), 90, np.uint8)
    later = image.copy()
    image[500:560, 900:930] = later[500:560, 960:990] = 180

    assert not is_unchanged(to_gray(later), to_gray(image))


def test_a_camera_never_waits_for_the_next_keyframe() -> None:
    """A frame is carried from the keyframe before it as soon as it is there."""
    carrier = MotionCarrier(3, card().input, live=True)
    frames = ScriptedSource([scene(offset) for offset in range(5)])

    groups = list(carrier.groups(frames))

    assert [len(group) for group in groups] == [1] * 5
    assert [group.after is not None for group in groups] == [True, False, False, True, False]
    assert groups[4].before is groups[3].after


class BreakingBackend(ChannelBackend):
    """A network that fails in its second call."""

    def run(self, batch):  # type: ignore[no-untyped-def]
        if self.calls == 1:
            msg = "the network broke"
            raise ModelError(msg)
        return super().run(batch)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_failure_reaches_the_groups_that_wait_for_it(workers: int) -> None:
    """Otherwise their threads would wait forever."""
    images = [scene(offset) for offset in range(13)]

    with pytest.raises(ModelError, match="the network broke"):
        segment(
            images,
            schedule=Schedule(threads=workers, throughput=workers > 1),
            backend=BreakingBackend(card()),
        )


def test_seconds_of_a_keyframe_stay_its_own() -> None:
    """The times of a frame's stages are reported with it."""
    carrier = MotionCarrier(3, card().input, live=False)
    seconds: Mapping[str, float] = {"infer": 4.0}

    def infer(frames: Sequence[Frame]) -> tuple[NetworkOutput, Mapping[str, float]]:
        return ChannelBackend(card()).run(np.stack([frame.image for frame in frames])), seconds

    results = [
        result
        for group in carrier.groups(ScriptedSource([scene(offset) for offset in range(4)]))
        for result in carrier.outputs([group], infer=infer, carry=carrier.carry)
    ]

    assert [frame.index for frame, _, _ in results] == [0, 1, 2, 3]
    assert [spent for _, _, spent in results] == [seconds, {}, {}, seconds]
