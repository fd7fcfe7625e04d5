"""Streets: exact masks, the same scene for the same seed everywhere, and a drive that does not
flicker.
"""

import hashlib
import pickle
import subprocess
import sys
import wave
from fractions import Fraction
from itertools import islice, pairwise

import cv2
import numpy as np
import pytest

from segdeploy.datasets.formats.camvid import CLASSES
from segdeploy.datasets.registry import load
from segdeploy.datasets.synthetic import drawing as labels
from segdeploy.datasets.synthetic import world
from segdeploy.datasets.synthetic.audio import LONGEST, RATE, drive_audio, write_drive_audio
from segdeploy.datasets.synthetic.camera import NEAR, Bend, Camera
from segdeploy.datasets.synthetic.canvas import Canvas
from segdeploy.datasets.synthetic.dataset import Streets, drive, drive_world
from segdeploy.datasets.synthetic.lighting import LIGHTS, WEATHERS
from segdeploy.datasets.synthetic.renderer import Stage, paint_object
from segdeploy.errors import ConfigError

SUNNY = LIGHTS[0][1]
GROUND = (255, 0, 255)
CAMERA = Camera(height=240, width=320, x=1.2, z=0.0)
OBJECTS = [
    (
        world.House(x=8.0, z=24.0, style=2, near=12.0, tint=(1.0, 1.0, 1.0), exposed=True),
        {labels.BUILDING},
    ),
    (world.Fence(x=-5.0, z=18.0, style=0, near=15.0), {labels.FENCE}),
    (world.Hedge(x=-5.0, z=18.0, style=0, near=14.0), {labels.TREE}),
    (world.Tree(x=5.5, z=15.0, style=1), {labels.TREE}),
    (world.Lamp(x=-4.0, z=12.0, style=0), {labels.POLE}),
    (world.Bollard(x=3.0, z=8.0, style=0), {labels.POLE}),
    (world.Sign(x=3.0, z=10.0, style=0), {labels.POLE, labels.SIGN}),
    (world.TrafficLight(x=3.0, z=10.0, style=0, state=1), {labels.POLE, labels.SIGN}),
    (world.Walker(x=3.0, z=8.0, style=3, phase=2, facing=True), {labels.PEDESTRIAN}),
    (world.Rider(x=-2.0, z=8.0, style=3, phase=2, facing=False), {labels.BICYCLIST}),
    (world.Vehicle(x=-1.5, z=12.0, style=5, heading=-1, moving=True), {labels.CAR}),
    (world.Vehicle(x=3.5, z=12.0, style=6, heading=1, moving=False), {labels.CAR}),
]


def around(region, pixels):
    """Dilate a region, (H, W) bool, by so many pixels."""
    size = 2 * pixels + 1
    return cv2.dilate(region.astype(np.uint8), np.ones((size, size), np.uint8)) == 1


def digest(scenes: Streets) -> str:
    """Hash all images and masks."""
    total = hashlib.sha256()
    for index in range(len(scenes)):
        sample = scenes[index]
        total.update(sample.image.tobytes() + sample.mask.tobytes())
    return total.hexdigest()


@pytest.mark.parametrize(("item", "expected"), OBJECTS, ids=lambda value: type(value).__name__)
def test_object_changes_the_image_where_it_changes_the_mask(item, expected):
    """Masks are exact: the image differs wherever the mask does, and elsewhere only at the
    object's antialiased edge.
    """
    # No object has the ground's color, so that whatever is painted can be seen.
    canvas = Canvas(240, 320)
    canvas.image[:] = GROUND

    paint_object(item, Stage(canvas, CAMERA, SUNNY))

    labeled = canvas.mask != 255
    changed = (canvas.image != GROUND).any(2)
    assert set(np.unique(canvas.mask[labeled])) == expected
    assert labeled.sum() > 50
    assert changed[labeled].all()
    assert not (changed & ~around(labeled, 3)).any()
    assert not (
        (np.abs(canvas.image.astype(int) - GROUND).max(2) > 128) & ~around(labeled, 1)
    ).any()


def test_half_a_pixel_decides_the_class():
    """The mask has a class where at least half of a pixel is covered: both edges agree."""
    canvas = Canvas(8, 8)

    canvas.fill(
        np.array([[2.0, 0.0], [5.75, 0.0], [5.75, 8.0], [2.0, 8.0]]),
        (200.0, 200.0, 200.0),
        label=labels.CAR,
    )

    assert (canvas.mask[4, 2:6] == labels.CAR).all()
    assert (canvas.mask[4, [0, 7]] == 255).all()


def test_everything_is_labeled():
    """Each pixel has a class, so 255 does not occur."""
    for index in range(3):
        assert load("streets", None, "val")[index].mask.max() < len(CLASSES)


@pytest.mark.slow
def test_scenes_hold_all_classes():
    """A network learns a class only where it occurs: each of the 11 in at least 9 of 10 scenes."""
    scenes = Streets(split="val", count=20, height=240, width=320)

    scenes_with_class = np.zeros(len(CLASSES))
    for index in range(len(scenes)):
        scenes_with_class[np.unique(scenes[index].mask)] += 1

    assert scenes_with_class.min() >= 18


def test_scenes_are_reproducible():
    """They depend neither on earlier scenes nor on the global random state."""
    scenes = Streets(split="train", count=2, height=96, width=128)
    first = digest(scenes)

    np.random.seed(1)  # noqa: NPY002 - it is the global state that must not matter
    scenes[1]

    assert digest(scenes) == first


@pytest.mark.slow
def test_scenes_are_the_same_in_another_process():
    """Workers that load images, and machines that report scores, must see the same data."""
    script = (
        "import hashlib; from segdeploy.datasets.synthetic.dataset import Streets; s ="
        " Streets(split='val', count=3, height=96,"
        " width=128)[2];print(hashlib.sha256(s.image.tobytes() + s.mask.tobytes()).hexdigest())"
    )

    there = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.strip()

    here = Streets(split="val", count=3, height=96, width=128)[2]
    assert there == hashlib.sha256(here.image.tobytes() + here.mask.tobytes()).hexdigest()


def test_splits_and_drives_share_no_street():
    """A score on training streets would be meaningless."""
    train = Streets(split="train", count=4, height=48, width=64)
    val = Streets(split="val", count=4, height=48, width=64)
    drives = [next(drive(seed, height=48, width=64, rate=Fraction(25))) for seed in range(4)]

    images = [
        sample.image.tobytes()
        for scenes in (train, val, drives)
        for sample in (scenes[index] for index in range(4))
    ]

    assert len(set(images)) == 12


def test_dataset_can_be_pickled():
    """Loaders send the dataset to their workers."""
    scenes = pickle.loads(pickle.dumps(Streets(split="val", count=3, height=48, width=64)))

    assert scenes.names == ["000000", "000001", "000002"]
    assert scenes[2].name == "000002"
    with pytest.raises(IndexError):
        scenes[3]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (37, 53), (9, 200), (200, 9), (120, 161)])
def test_any_size_can_be_drawn(height, width):
    """Odd, tiny and slim images too."""
    sample = Streets(split="train", count=1, height=height, width=width)[0]

    assert sample.image.shape == (height, width, 3)
    assert sample.mask.shape == (height, width)
    assert sample.mask.max() < len(CLASSES)


def test_larger_image_shows_the_same_scene():
    """The size changes the resolution of a scene, not its objects."""
    small = Streets(split="val", count=1, height=120, width=160)[0].mask
    large = Streets(split="val", count=1, height=240, width=320)[0].mask

    assert (cv2.resize(large, (160, 120), interpolation=cv2.INTER_NEAREST) == small).mean() > 0.93


def test_drive_does_not_flicker():
    """The next frame shows the same objects, a little closer: most pixels hardly change."""
    frames = list(islice(drive(1, height=120, width=160, rate=Fraction(25)), 6))

    for before, after in pairwise(frames):
        change = np.abs(before.image.astype(int) - after.image).mean()
        assert 0 < change < 16
        assert (before.mask == after.mask).mean() > 0.88
    assert [frame.name for frame in frames[:2]] == ["000000", "000001"]


def test_drive_is_endless():
    """Objects that fall behind reappear ahead: after a minute the street is as full as at first."""
    objects = world.World((2, 0)).objects(60.0)

    position = drive_world(0).camera(120, 160, time=60.0).z
    assert {type(item).__name__ for item in objects} >= {
        "House",
        "Tree",
        "Lamp",
        "Sign",
        "Walker",
        "Rider",
        "Vehicle",
        "Fence",
    }
    assert all(position - world.BEHIND < item.z < position + world.SIGHT for item in objects)
    assert [item.z for item in objects[:1]] >= [item.z for item in objects[-1:]]


def test_the_camera_is_a_pinhole():
    """A point at eye height lies on the horizon.

    Two meters right and ten ahead are 2 / 10 of the focal length, 145, beside it.
    """
    camera = Camera(height=100, width=200, x=0.0, z=5.0, eye=1.5)

    column, row = camera.spot(2.0, 1.5, 15.0)

    assert (column, row) == pytest.approx((100 + 0.2 * 145, 55))
    assert camera.project([(2.0, 1.5, 15.0)])[0] == pytest.approx((column, row))
    assert camera.spot(0.0, 1.5, 5.0 + NEAR / 2) == camera.spot(0.0, 1.5, 5.0 + NEAR)


def test_ground_inverts_the_projection():
    """`ground` inverts the projection, in a bend too."""
    camera = Camera(height=64, width=96, x=1.0, z=7.0, bend=Bend(reach=8.0, phase=1.0))
    first, ahead, left, step = camera.ground()

    column, row = camera.spot(left[10] + 20 * step[10], 0.0, camera.z + ahead[10])

    assert (column, row) == pytest.approx((20, first + 10.5))


def test_drive_has_stereo_audio(tmp_path):
    """Both channels have audio, no sample is clipped, and cars that pass left are louder there."""
    samples = drive_audio(drive_world(0), 8.0)
    write_drive_audio(tmp_path / "drive.wav", drive_world(0), 8.0)

    assert samples.shape == (8 * RATE, 2)
    assert 0.5 < np.abs(samples).max() <= 0.7
    loudness = np.sqrt((samples**2).mean(0))
    assert loudness[0] > loudness[1] > 0
    assert (tmp_path / "drive.wav").stat().st_size == 44 + samples.size * 2


def test_audio_of_a_long_drive_repeats(tmp_path):
    """An hour at once would take several gigabytes."""
    write_drive_audio(tmp_path / "drive.wav", drive_world(0), LONGEST + 2.5)

    with wave.open(str(tmp_path / "drive.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    assert len(samples) == (LONGEST + 2.5) * RATE
    end = round(LONGEST * RATE)
    np.testing.assert_array_equal(samples[end:], samples[: len(samples) - end])


def test_the_shortest_audio_is_one_sample():
    """A drive of one frame has audio too."""
    assert drive_audio(drive_world(0), 1e-9).shape == (1, 2)


def test_weather_changes_the_light_and_not_the_street():
    """So scores in rain and in sunshine differ by the weather only."""
    day, night = (
        Streets(split="val", count=1, height=96, width=128, weather=weather)[0]
        for weather in ("sunny", "night")
    )

    np.testing.assert_array_equal(day.mask, night.mask)
    assert day.image.mean() > 1.5 * night.image.mean()


def test_drawn_weather_can_be_named():
    """The weather that a seed draws gives the same scene when it is named."""
    drawn = world.World((1, 5))

    assert drawn.light.name in WEATHERS
    assert world.World((1, 5), drawn.light.name).light == drawn.light


def test_drive_has_the_named_weather():
    """For any seed."""
    assert [drive_world(seed, "rain").light.rain for seed in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"split": "test", "count": 1}, "no split 'test'"),
        ({"split": "val", "count": 0}, "count of scenes is 0"),
        ({"split": "val", "count": 1, "height": 7}, "height is 7"),
        ({"split": "val", "count": 1, "width": 100000}, "width is 100000"),
        ({"split": "val", "count": 1, "weather": "snow"}, "no weather 'snow'; choose one of sunny"),
    ],
)
def test_invalid_arguments_are_refused(arguments, part):
    """The message has the value."""
    with pytest.raises(ConfigError, match=part):
        Streets(**arguments)


def test_folder_is_refused(tmp_path):
    """A given folder would not be read."""
    with pytest.raises(ConfigError, match="reads no folder"):
        load("streets", tmp_path, "val")
