"""Names of datasets: built-in ones are imported when they are used, and no name is taken twice."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from segdeploy import datasets
from segdeploy.card import LabelClass, ModelCard, Training
from segdeploy.datasets import registry
from segdeploy.datasets.dataset import Sample, fingerprint
from segdeploy.datasets.index import DatasetIndex
from segdeploy.errors import ConfigError, DataError, LayoutNotFoundError
from segdeploy.imaging.io import write_image
from tests.helpers.cards import make_card

CARD = make_card()
TRAINED = make_card(
    training=Training(
        dataset="camvid", data_hash="", recipe={"data": "there"}, versions={}, seed=0, epochs=1
    ),
)


@dataclass(frozen=True)
class Fields:
    """A layout of a plugin."""

    name: str
    splits: tuple[str, ...] = ("train", "val")

    def index(self, data: Path, split: str) -> DatasetIndex:
        """Find nothing, so that other tests detect no layout by it."""
        msg = f"{data} has no {split} of {self.name}"
        raise LayoutNotFoundError(msg)


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_built_in_dataset_registers_itself(name: str) -> None:
    """The table of modules is maintained manually."""
    layout_is_known = any(layout.name == name for layout in datasets.layouts())

    assert layout_is_known != registry.has_no_layout(name)


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_name_of_a_built_in_dataset_is_taken(name: str) -> None:
    """Whether it was imported or not; the plugin would replace it for all commands."""
    with pytest.raises(ConfigError, match=f"{name!r} is registered twice; choose another name"):
        datasets.register_layout(Fields(name))
    with pytest.raises(ConfigError, match=f"{name!r} is registered twice; choose another name"):
        datasets.register(name)(lambda data, split: datasets.load(name, data, split))


def test_built_in_names_are_taken_before_they_are_imported() -> None:
    """A plugin is loaded first, in a fresh process."""
    code = (
        "import sys\n"
        "from segdeploy import datasets\n"
        "assert 'segdeploy.datasets.formats.camvid' not in sys.modules\n"
        "datasets.register('camvid')(lambda data, split: None)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "'camvid' is registered twice" in done.stderr
    assert done.returncode == 1


def test_name_of_a_plugin_is_taken_once() -> None:
    """Also by a layout and a function."""
    datasets.register_layout(Fields("fields of a test"))

    assert "fields of a test" in datasets.names()
    assert datasets.layout("fields of a test") == Fields("fields of a test")
    with pytest.raises(ConfigError, match="'fields of a test' is registered twice"):
        datasets.register("fields of a test")(
            lambda data, split: datasets.load("streets", data, split)
        )


def test_registered_function_opens_its_dataset() -> None:
    """It has no layout, so its files cannot be checked."""
    streets = datasets.load("streets", None, "val")
    datasets.register("function of a test")(lambda data, split: streets)

    assert datasets.load("function of a test", Path("anywhere"), "val") is streets
    assert registry.has_no_layout("function of a test")
    with pytest.raises(
        ConfigError,
        match="no dataset 'function of a test' whose images and masks lie in pairs of files",
    ):
        datasets.layout("function of a test")


def test_unknown_name_is_refused_with_those_that_are_known() -> None:
    """For a dataset and for a layout."""
    with pytest.raises(ConfigError, match=r"no dataset 'camvdi'; choose one of ade20k, camvid"):
        datasets.load("camvdi", None, "val")
    with pytest.raises(ConfigError, match=r"no dataset 'camvdi' whose images and masks lie"):
        datasets.layout("camvdi")
    assert not registry.has_no_layout("camvdi")


@pytest.mark.parametrize(
    ("card", "name", "data", "expected"),
    [
        (TRAINED, None, None, ("camvid", Path("there"))),
        (TRAINED, None, Path("here"), ("camvid", Path("here"))),
        (TRAINED, "camvid", None, ("camvid", Path("there"))),
        (TRAINED, "streets", None, ("streets", None)),
        (CARD, "camvid", Path("here"), ("camvid", Path("here"))),
    ],
)
def test_dataset_of_a_card(
    card: ModelCard, name: str | None, data: Path | None, expected: tuple[str, Path | None]
) -> None:
    """The folder of the training is taken for its own dataset only."""
    assert registry.resolve_for_card(card, name, data=data) == expected


@pytest.mark.parametrize(
    ("folder", "data", "found"), [("a", "b", "a"), ("c", "b", "b"), ("c", "d", "c")]
)
def test_folder_of_a_training_is_found_from_anywhere(
    tmp_path: Path, folder: str, data: str, found: str
) -> None:
    """By its absolute path, or by the recipe's where the data moved; a and b exist."""
    for name in "ab":
        (tmp_path / name).mkdir()
    assert TRAINED.training is not None
    training = replace(
        TRAINED.training, folder=str(tmp_path / folder), recipe={"data": str(tmp_path / data)}
    )

    assert registry.resolve_for_card(replace(TRAINED, training=training), None, data=None) == (
        "camvid",
        tmp_path / found,
    )


def test_card_without_a_training_names_no_dataset() -> None:
    """Only the user knows which dataset to use."""
    with pytest.raises(ConfigError, match="name one with --dataset"):
        registry.resolve_for_card(CARD, None, data=None)


@dataclass(frozen=True)
class Named:
    """An empty split of a plugin, with classes of some names."""

    class_names: tuple[str, ...]
    names: tuple[str, ...] = ()
    rule: str = ""

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """Black classes."""
        return tuple(LabelClass(name=name, color=(0, 0, 0)) for name in self.class_names)

    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int) -> Sample:
        """There is none."""
        raise IndexError(index)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ((), "has 0 classes; it must have 1 to 255"),
        (("road", "a\tb"), r"class 1 of the dataset .* is called 'a\\tb'; give it a name"),
        (("",), "class 0 of the dataset .* is called ''; give it a name"),
        (("road", "road"), "two classes of the dataset .* are called 'road'; rename one of them"),
    ],
)
def test_classes_that_no_card_could_hold_are_refused(names: tuple[str, ...], sentence: str) -> None:
    """Before a training, not when its checkpoint is read."""
    dataset = f"named {names}"
    datasets.register(dataset)(lambda _data, _split: Named(names))

    with pytest.raises(DataError, match=sentence):
        datasets.load(dataset, None, "train")


def write_undivided(folder: Path, count: int) -> Path:
    """Write images, masks and a classes.toml that nobody divided into splits."""
    for number in range(count):
        for side in ("images", "masks"):
            write_image(folder / side / f"i{number}.png", np.zeros((4, 4, 3), np.uint8))
    (folder / "classes.toml").write_text('[[classes]]\nname = "a"\n[[classes]]\nname = "b"\n')
    return folder


@pytest.mark.parametrize("count", [1, 6])
def test_all_of_an_undivided_folder(tmp_path: Path, count: int) -> None:
    """A network of somebody else is scored on everything, also on a single image."""
    folder = write_undivided(tmp_path, count)

    assert len(registry.load("folder", folder, "all")) == count
    assert registry.split_for_card(make_card(), "folder", folder) == "all"


def test_all_splits_are_joined(tmp_path: Path) -> None:
    """An image that two splits call alike keeps a name of its own; absent splits are left out."""
    for split, names in (("train", "ab"), ("val", "bc")):
        for name in names:
            for side in (split, f"{split}annot"):
                write_image(tmp_path / side / f"{name}.png", np.zeros((4, 4), np.uint8))

    joined = registry.load("camvid", tmp_path, "all")

    assert list(joined.names) == ["a", "train-b", "val-b", "c"]
    assert [joined[index].name for index in range(len(joined))] == list(joined.names)
    assert joined.rule == "train and val together"
    assert registry.split_for_card(make_card(), "camvid", tmp_path) == "val"
    with pytest.raises(IndexError):
        joined[4]


def test_a_network_is_not_scored_on_what_it_was_trained_on(tmp_path: Path) -> None:
    """Its own folder, also where it lies elsewhere by now, has a validation split."""
    folder = write_undivided(tmp_path, 6)
    train, val = (registry.load("folder", folder, split) for split in ("train", "val"))
    assert TRAINED.training is not None
    known = replace(
        TRAINED, training=replace(TRAINED.training, data_hash=fingerprint(train=train, val=val))
    )

    assert registry.split_for_card(known, "folder", folder) == "val"
    assert registry.split_for_card(TRAINED, "folder", folder) == "all"
