"""Outlines and run lengths in COCO's JSON (Lin et al., ECCV 2014), drawn as masks."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from segdeploy.arrays import Mask
from segdeploy.card import LabelClass
from segdeploy.datasets.annotations import (
    BACKGROUND,
    BLACK,
    FOREIGN,
    class_of,
    ground,
    in_words,
    read_json,
    ring,
    rows,
    size_of,
)
from segdeploy.datasets.class_map import LEGEND, MAX_CLASSES, ClassMap, read_class_map
from segdeploy.datasets.index import AS_IT_LIES, DatasetIndex, Pair, draw_split, find_files
from segdeploy.datasets.registry import register_layout
from segdeploy.errors import AbsentError, DataError
from segdeploy.imaging.io import ENDINGS
from segdeploy.imaging.palettes import distinct_color
from segdeploy.imaging.polygons import Ring, fill_ring
from segdeploy.imaging.rle import fill_runs, run_lengths

K = TypeVar("K")
R = TypeVar("R")

UNDIVIDED = "annotations.json"
# Annotations and folder of images of a split, the first that is there: COCO's own, usual ones,
# Roboflow's.
PLACES = (
    ("annotations/instances_{split}2017.json", "{split}2017"),
    ("annotations/instances_{split}.json", "images/{split}"),
    ("annotations/instances_{split}.json", "{split}"),
    ("annotations/{split}.json", "images/{split}"),
    ("{split}/_annotations.coco.json", "{split}"),
    ("{valid}/_annotations.coco.json", "{valid}"),
    (UNDIVIDED, "images"),
)
NEEDS = (
    "the layout is annotations/instances_SPLIT.json and images/SPLIT/,"
    " annotations/instances_SPLIT2017.json and SPLIT2017/, SPLIT/_annotations.coco.json, or"
    f" {UNDIVIDED} and images/ (of which a fifth becomes val), inside the folder named by --data"
)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One thing: its class, and either outlines or run lengths.

    Attributes:
        index: Class, or 255.
        rings: Outlines, which are united.
        runs: Pixels outside, inside, outside ... down the columns.
    """

    index: int
    rings: tuple[Ring, ...] = ()
    runs: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What one image shows.

    Attributes:
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        shapes: Things in the order in which they are drawn, larger ones first.
    """

    height: int
    width: int
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Truth that is drawn from shapes.

    Attributes:
        scenes: What each image shows, by the name of its pair.
        ground: Value of a pixel that no shape covers.
    """

    scenes: Mapping[str, Scene]
    ground: int

    def read(self, pair: Pair) -> Mask:
        """Draw the mask of one image; raises DataError where run lengths do not fit it."""
        scene = self.scenes[pair.name]
        mask = np.full((scene.height, scene.width), self.ground, np.uint8)
        for shape in scene.shapes:
            for outline in shape.rings:
                fill_ring(mask, outline, shape.index)
            if shape.runs:
                try:
                    fill_runs(mask, list(shape.runs), shape.index)
                except ValueError as error:
                    msg = f"{pair.mask} is damaged at the image {pair.image.name}: {error}"
                    raise DataError(msg) from error
        return mask


class Coco:
    """Images, and one JSON for each split or for all.

    Classes are the file's categories unless classes.toml says otherwise.
    """

    name = "coco"
    splits = ("train", "val", "test")

    def survey(self, data: Path, split: str) -> DatasetIndex:
        """Find a split, and read all of its annotations."""
        annotations, folder = find_place(data, split)
        content = read_json(annotations)
        try:
            legend = (
                read_class_map(data / LEGEND) if (data / LEGEND).exists() else class_map_of(content)
            )
            scenes = _scenes(content, legend)
        except ValueError as error:
            raise unusable(annotations, error) from error
        files = {path.name: path for path in find_files(folder, ENDINGS, needs=NEEDS).values()}
        pairs = tuple(
            Pair(name=Path(name).stem, image=files[name], mask=annotations)
            for name in sorted(scenes.keys() & files.keys())
        )
        lonely = tuple(sorted(folder / name for name in scenes.keys() ^ files.keys()))
        rule = AS_IT_LIES
        if annotations == data / UNDIVIDED:
            pairs, rule = draw_split(pairs, split, group=lambda pair: pair.name, of="pictures")
        truth = Drawn(
            scenes={pair.name: scenes[pair.image.name] for pair in pairs}, ground=ground(legend)
        )
        return DatasetIndex(
            classes=legend.classes, pairs=pairs, lonely=lonely, truth=truth, rule=rule
        )


def find_place(data: Path, split: str) -> tuple[Path, Path]:
    """Return the annotations and the folder of images of a split.

    Raises AbsentError where there are none.
    """
    valid = "valid" if split == "val" else split
    for annotations, folder in PLACES:
        if annotations == UNDIVIDED and split == "test":
            continue
        place = (
            data / annotations.format(split=split, valid=valid),
            data / folder.format(split=split, valid=valid),
        )
        if place[0].is_file() and place[1].is_dir():
            return place
    msg = f"there are no annotations of {split} in {data}; {NEEDS}"
    raise AbsentError(msg)


def unusable(annotations: Path, error: ValueError) -> DataError:
    """Return what is wrong with a COCO file."""
    return DataError(
        f"{annotations} is no COCO file that can be used: {error}; mend it or export it again"
    )


def class_map_of(content: Mapping[str, Any]) -> ClassMap:
    """Make classes of COCO's categories, in the order of their ids, after the background.

    Raises ValueError where they are none.
    """
    found = _each(
        content, "categories", lambda category: (int(category["id"]), str(category["name"]))
    )
    names = [
        name for name in dict.fromkeys(name for _, name in sorted(found)) if name != BACKGROUND
    ]
    if len(names) >= MAX_CLASSES:
        msg = (
            f"there are {len(names)} categories, more than {MAX_CLASSES - 1}; group them in"
            f" {LEGEND}"
        )
        raise ValueError(msg)
    classes = (
        BLACK,
        *(LabelClass(name=name, color=distinct_color(index)) for index, name in enumerate(names)),
    )
    labels = {entry.name: index for index, entry in enumerate(classes)}
    return ClassMap(classes=classes, ids={}, colors=(), labels=labels, reach=0)


def _scenes(content: Mapping[str, Any], legend: ClassMap) -> dict[str, Scene]:
    """Return what each image shows, by the name of its file.

    Raises ValueError where the JSON is foreign.
    """
    found = _each(
        content,
        "categories",
        lambda category: (_id(category["id"]), class_of(str(category["name"]), legend.labels)),
    )
    categories = _once(found, "categories have the id")
    things: dict[int | str, list[tuple[float, Shape]]] = defaultdict(list)
    for picture, area, shape in _each(
        content, "annotations", lambda annotation: _thing(annotation, categories)
    ):
        things[picture].append((area, shape))

    def scene(image: dict[str, Any]) -> tuple[str, Scene]:
        height, width = size_of(image["height"], image["width"])
        larger_first = sorted(things[_id(image["id"])], key=lambda thing: -thing[0])
        return Path(str(image["file_name"])).name, Scene(
            height=height, width=width, shapes=tuple(shape for _, shape in larger_first)
        )

    return _once(_each(content, "images", scene), "images are named")


def _each(content: Any, key: str, act: Callable[[dict[str, Any]], R]) -> list[R]:  # noqa: ANN401 - foreign JSON
    """Do something with each object of a list.

    Raises ValueError that tells which of them is foreign.
    """
    made = []
    for number, row in enumerate(rows(content, key)):
        try:
            made.append(act(row))
        except FOREIGN as error:
            msg = f"{key!r}, number {number} (id {str(row.get('id'))[:20]}): {in_words(error)}"
            raise ValueError(msg) from error
    return made


def _once(pairs: Iterable[tuple[K, R]], what: str) -> dict[K, R]:
    """Make a mapping; raises ValueError where a key is there twice."""
    found: dict[K, R] = {}
    for key, value in pairs:
        if key in found:
            msg = f"two {what} {key}"
            raise ValueError(msg)
        found[key] = value
    return found


def _thing(
    annotation: Mapping[str, Any], categories: Mapping[int | str, int]
) -> tuple[int | str, float, Shape]:
    """Return the id of a thing's image, its area and its shape."""
    category = _id(annotation["category_id"])
    if category not in categories:
        msg = f"category_id is {str(category)[:20]}, which is no category's id"
        raise ValueError(msg)
    return (
        _id(annotation["image_id"]),
        float(annotation.get("area", 0)),
        _shape(annotation["segmentation"], categories[category]),
    )


def _id(value: object) -> int | str:
    if not isinstance(value, int | str):
        msg = f"an id is {str(value)[:20]}"
        raise TypeError(msg)
    return value


def _shape(segmentation: Any, index: int) -> Shape:  # noqa: ANN401 - foreign JSON
    if isinstance(segmentation, list):
        return Shape(index=index, rings=tuple(ring(numbers) for numbers in segmentation))
    if not isinstance(segmentation, dict):
        msg = f"segmentation is {str(segmentation)[:20]!r}, and must be outlines or run lengths"
        raise TypeError(msg)
    counts = segmentation["counts"]
    runs = run_lengths(counts) if isinstance(counts, str) else [int(count) for count in counts]
    return Shape(index=index, runs=tuple(runs))


register_layout(Coco())
