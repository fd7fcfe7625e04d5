"""The split of undivided files keeps the views of a scene on one side, where names tell it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from segdeploy.datasets.index import Pair
from segdeploy.datasets.split import draw_by_scene, held_out, scenes_of


def names_of(groups: Sequence[str], views: int) -> list[str]:
    return [group.format(view) for group in groups for view in range(1, views + 1)]


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (["0cdf5b5d0ce1_{:02}", "0ce66b539f52_{:02}", "2a4a8964ebf3_{:02}"], 3),
        (["0016E5_{:05}", "0001TP_{:05}", "Seq05VD_f{:05}"], 3),
        (["carA{:02}", "carB{:02}", "carC{:02}"], 3),
        (["red-car-{}", "blue-car-{}", "old-van-{}"], 3),
        (["a1 ({})", "a2 ({})", "a3 ({})", "a4 ({})"], 4),
        ([f"photo_{number}_{{}}" for number in range(6)], 6),
    ],
)
def test_scenes_are_found_in_names(groups: Sequence[str], expected: int) -> None:
    """A hash or a drive before the frame, numbers behind letters, words, copies, scene and view."""
    names = names_of(groups, views=4)

    scenes = scenes_of(names)

    assert len(set(scenes)) == expected
    assert all(len(set(scenes[place : place + 4])) == 1 for place in range(0, len(names), 4))


@pytest.mark.parametrize(
    "names",
    [
        names_of(["img_{:03}"], 40),
        names_of(["{:03}"], 40),
        names_of(["left_{}", "right_{}"], 20),
        names_of(["cat_{}", "dog_{}", "horse_{}"], 100),
        [*names_of(["drive1_{}"], 38), "drive2_1", "drive3_1"],
        ["b3a1", "0fe2", "99c0", "77aa"],
        ["alone"],
        [],
    ],
)
def test_names_that_tell_no_scenes_leave_images_alone(names: list[str]) -> None:
    """One series, two sides, a few large classes, almost all in one, random names."""
    assert scenes_of(names) == names


def test_views_of_an_object_fall_into_one_split() -> None:
    """Of five cars one is held out, with all of its views."""
    names = names_of(["car1_{}", "car2_{}", "car3_{}", "car4_{}", "car5_{}"], 8)
    pairs = [Pair(name=name, image=Path(name), mask=None) for name in names]

    (train, rule), (val, _) = (draw_by_scene(pairs, split) for split in ("train", "val"))

    assert (len(train), len(val)) == (32, 8)
    assert len({pair.name.partition("_")[0] for pair in val}) == 1
    assert rule.startswith("20% of the scenes are val")
    assert draw_by_scene(pairs[:8], "val")[1].startswith("20% of the images are val")


def test_most_of_the_images_are_never_held_out() -> None:
    """Whatever the hash says, a drive of more than half of the images is trained on."""
    for seed in range(9):
        assert held_out([f"a{seed}"] * 6 + [f"b{seed}"] * 2 + [f"c{seed}"] * 2) <= {
            f"b{seed}",
            f"c{seed}",
        }
