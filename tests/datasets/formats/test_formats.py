"""Every layout of files: small datasets are written and must be read exactly."""

import importlib
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from segdeploy import datasets
from segdeploy.arrays import Image, Mask
from segdeploy.datasets.formats import ade20k, camvid, cityscapes
from segdeploy.datasets.registry import BUILT_IN
from segdeploy.errors import ConfigError, DataError

HEIGHT, WIDTH = 24, 32
BLOCK = 8


def gradient(number: int) -> Image:
    """A smooth image, different for each number."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack(
        [rows * 4 + number * 20, columns * 4, np.full((HEIGHT, WIDTH), 100 + number)], axis=-1
    ).astype(np.uint8)


def blocks(number: int, classes: int, *, void: bool = True) -> Mask:
    """A mask of 8x8 squares, of which the last is not labeled if `void`."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] // BLOCK
    mask = ((rows * 4 + columns + number) % classes).astype(np.uint8)
    if void:
        mask[-BLOCK:, -BLOCK:] = 255
    return mask


def write(path: Path, pixels: np.ndarray) -> None:
    """Write an image (blue-green-red) or ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gif":
        image = PillowImage.fromarray(pixels, "P")
        image.putpalette([value for number in range(256) for value in (number, number, number)])
        image.save(path)
    else:
        assert cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])


def to_ids(mask: Mask, ids: dict[int, int]) -> np.ndarray:
    """Replace classes by the ids in files."""
    table = np.zeros(256, np.uint8)
    for index, number in ids.items():
        table[index] = number
    return table[mask]


def paint(mask: Mask, colors: dict[int, tuple[int, int, int]]) -> Image:
    """Replace classes by colors, given as red, green, blue."""
    painted = np.zeros((*mask.shape, 3), np.uint8)
    for index, color in colors.items():
        painted[mask == index] = color[::-1]
    return painted


def own_colors(name: str) -> dict[int, tuple[int, int, int]]:
    """Color of each class of a dataset, black for what is not labeled."""
    return {
        **{
            index: entry.color
            for index, entry in enumerate(
                importlib.import_module(f"segdeploy.datasets.formats.{name}").CLASSES
            )
        },
        255: (0, 0, 0),
    }


@dataclass(frozen=True)
class Case:
    """One layout of files.

    Attributes:
        dataset: Name of the layout.
        names: Names of the images; what `draw` is called with.
        draw: Writes one image and its mask: folder, split, name, image, mask.
        classes: Number of classes that are drawn.
        void: Whether pixels can be not labeled.
        lossless: Whether the image is stored exactly.
        one_file: Whether image and mask are halves of one JPEG.
        prepare: Writes what the whole dataset needs besides, such as a classes.toml.
    """

    dataset: str
    names: dict[str, tuple[str, ...]]
    draw: Callable[[Path, str, str, Image, Mask], None]
    classes: int = 11
    void: bool = True
    lossless: bool = True
    one_file: bool = False
    prepare: Callable[[Path], None] = lambda data: None


def draw_segnet(data: Path, split: str, name: str, image: Image, mask: Mask) -> None:
    write(data / split / f"{name}.png", image)
    write(
        data / f"{split}annot" / f"{name}.png",
        to_ids(mask, {**{index: index for index in range(11)}, 255: 11}),
    )


def draw_camvid_original(data: Path, split: str, name: str, image: Image, mask: Mask) -> None:
    write(data / "701_StillsRaw_full" / f"{name}.png", image)
    write(data / "701_StickorLabels" / f"{name}_L.png", paint(mask, own_colors("camvid")))


def draw_camvid_kaggle(data: Path, split: str, name: str, image: Image, mask: Mask) -> None:
    write(data / split / f"{name}.png", image)
    write(data / f"{split}_labels" / f"{name}_L.png", paint(mask, own_colors("camvid")))


def draw_carvana(data: Path, split: str, name: str, image: Image, mask: Mask) -> None:
    write(data / "train" / f"{name}.jpg", image)
    write(data / "train_masks" / f"{name}_mask.gif", mask)


def draw_carvana_pairs(data: Path, split: str, name: str, image: Image, mask: Mask) -> None:
    write(data / "imgs" / f"{name}.jpg", image)
    write(data / "masks" / f"{name}.png", mask * 255)


def draw_cityscapes(data: Path, split: str, name: str, image: Image, mask: Mask) -> None:
    city = name.partition("_")[0]
    ids = to_ids(mask, {**dict(enumerate(cityscapes.ORIGINAL)), 255: 4})
    write(data / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", image)
    write(data / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", ids)
    write(data / "gtFine" / split / city / f"{name}_gtFine_instanceIds.png", ids)
    write(data / "gtFine" / split / city / f"{name}_gtFine_color.png", ids)


def draw_cityscapes_train_ids(data: Path, split: str, name: str, image: Image, mask: Mask) -> None:
    city = name.partition("_")[0]
    write(data / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", image)
    write(data / "gtFine" / split / city / f"{name}_gtFine_labelTrainIds.png", mask)


def draw_cityscapes_copy(data: Path, split: str, name: str, image: Image, mask: Mask) -> None:
    write(data / split / "img" / f"{name}.png", image)
    write(data / split / "label" / f"{name}.png", paint(mask, own_colors("cityscapes")))


def draw_cityscapes_halves(data: Path, split: str, name: str, image: Image, mask: Mask) -> None:
    write(data / split / f"{name}.jpg", np.hstack([image, paint(mask, own_colors("cityscapes"))]))


def draw_carla(data: Path, split: str, name: str, image: Image, mask: Mask) -> None:
    part, frame = name.split("_")[-2:]
    numbers = np.zeros((*mask.shape, 3), np.uint8)
    numbers[:, :, 2] = mask
    write(data / part / part / "CameraRGB" / f"{frame}.png", image)
    write(data / part / part / "CameraSeg" / f"{frame}.png", numbers)


def draw_ade20k(data: Path, split: str, name: str, image: Image, mask: Mask) -> None:
    folder = {"train": "training", "val": "validation"}[split]
    write(data / "images" / folder / f"{name}.jpg", image)
    write(
        data / "annotations" / folder / f"{name}.png",
        to_ids(mask, {**{index: index + 1 for index in range(150)}, 255: 0}),
    )


def draw_idd_lite(data: Path, split: str, name: str, image: Image, mask: Mask) -> None:
    sequence, _, frame = name.partition("_")
    write(data / "leftImg8bit" / split / sequence / f"{frame}_image.jpg", image)
    write(data / "gtFine" / split / sequence / f"{frame}_label.png", mask)
    write(data / "gtFine" / split / sequence / f"{frame}_inst_label.png", mask)


def draw_folder(data: Path, split: str, name: str, image: Image, mask: Mask) -> None:
    write(data / "images" / f"{name}.jpg", image)
    write(data / "masks" / f"{name}.png", to_ids(mask, {0: 7, 1: 20, 2: 90, 255: 3}))


def write_ids_map(data: Path) -> None:
    (data / "classes.toml").write_text(
        'ignore = [3]\n[[classes]]\nname = "road"\nid = [7, 8]\n[[classes]]\nname = "car"\nid ='
        ' 20\n[[classes]]\nname = "sky"\nid = 90\n'
    )


def draw_folder_splits(data: Path, split: str, name: str, image: Image, mask: Mask) -> None:
    write(data / split / "images" / f"{name}.png", image)
    write(
        data / split / "masks" / f"{name}.png",
        paint(mask, {0: (255, 0, 0), 1: (0, 255, 0), 2: (0, 0, 255), 255: (9, 9, 9)}),
    )


def draw_folder_inner(data: Path, split: str, name: str, image: Image, mask: Mask) -> None:
    write(data / "images" / split / f"{name}.png", image)
    write(
        data / "masks" / split / f"{name}.png",
        paint(mask, {0: (255, 0, 0), 1: (0, 255, 0), 2: (0, 0, 255), 255: (9, 9, 9)}),
    )


def write_colors_map(data: Path) -> None:
    (data / "classes.toml").write_text(
        "ignore = [[9, 9, 9]]\n"
        '[[classes]]\nname = "road"\nmask_color = [255, 0, 0]\n'
        '[[classes]]\nname = "car"\nmask_color = [[0, 255, 0], [1, 255, 1]]\n'
        '[[classes]]\nname = "sky"\nmask_color = [0, 0, 255]\n'
    )


def squares(mask: Mask) -> list[tuple[int, list[tuple[int, int]]]]:
    """Class and corners of each square of `blocks`."""
    corners = [(x, y) for y in range(0, HEIGHT, BLOCK) for x in range(0, WIDTH, BLOCK)]
    return [
        (int(mask[y, x]), [(x, y), (x + BLOCK, y), (x + BLOCK, y + BLOCK), (x, y + BLOCK)])
        for x, y in corners
    ]


def draw_coco(data: Path, split: str, name: str, image: Image, mask: Mask) -> None:
    write(data / "images" / split / f"{name}.jpg", image)
    path = data / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.loads(path.read_text()) if path.exists() else {"images": [], "annotations": []}
    # Ids of categories have gaps, and background is what nothing covers.
    content["categories"] = [{"id": 9, "name": "sky"}, {"id": 3, "name": "car"}]
    number = len(content["images"]) + 100
    content["images"].append(
        {"id": number, "file_name": f"{name}.jpg", "height": HEIGHT, "width": WIDTH}
    )
    for index, ring in squares(mask):
        if index:
            flat = [value for corner in ring for value in corner]
            content["annotations"].append(
                {
                    "image_id": number,
                    "category_id": {1: 3, 2: 9}[index],
                    "segmentation": [flat],
                    "area": 64,
                }
            )
    path.write_text(json.dumps(content))


def draw_labelme(data: Path, split: str, name: str, image: Image, mask: Mask) -> None:
    write(data / split / f"{name}.jpg", image)
    labels = {0: "road", 1: "car", 2: "bus", 255: "__ignore__"}
    shapes = [
        {"label": labels[index], "points": ring, "shape_type": "polygon"}
        for index, ring in squares(mask)
    ]
    (data / split / f"{name}.json").write_text(
        json.dumps({"imageHeight": HEIGHT, "imageWidth": WIDTH, "shapes": shapes})
    )


def write_labels_map(data: Path) -> None:
    (data / "classes.toml").write_text(
        '[[classes]]\nname = "road"\n[[classes]]\nname = "car"\n[[classes]]\nname = "large"\nlabel'
        ' = ["bus", "truck"]\n'
    )


STREET = {
    "train": ("aachen_000000_000019", "bremen_000001_000019"),
    "val": ("lindau_000000_000019",),
}
PLAIN = {"train": ("b", "a10", "a2"), "val": ("c", "d")}
# Which of them become val follows from SHA-256.
CARS = {"train": ("4car_01", "4car_02", "2car_01", "3car_07"), "val": ("1car_01", "1car_02")}
CASES = {
    "camvid": Case("camvid", PLAIN, draw_segnet),
    "camvid-original": Case(
        "camvid",
        {"train": ("0001TP_006690", "0016E5_00390"), "val": ("0016E5_07959",)},
        draw_camvid_original,
    ),
    "camvid-kaggle": Case("camvid", PLAIN, draw_camvid_kaggle),
    "carvana": Case("carvana", CARS, draw_carvana, classes=2, void=False, lossless=False),
    "carvana-pairs": Case(
        "carvana", CARS, draw_carvana_pairs, classes=2, void=False, lossless=False
    ),
    "cityscapes": Case("cityscapes", STREET, draw_cityscapes, classes=19),
    "cityscapes-train-ids": Case("cityscapes", STREET, draw_cityscapes_train_ids, classes=19),
    "cityscapes-copy": Case("cityscapes", PLAIN, draw_cityscapes_copy, classes=19),
    "cityscapes-halves": Case(
        "cityscapes", PLAIN, draw_cityscapes_halves, classes=19, lossless=False, one_file=True
    ),
    "carla": Case(
        "carla",
        {
            "train": ("partA_partA_0", "partA_partA_1", "partB_partB_0"),
            "val": ("partA_partA_2", "partB_partB_1"),
        },
        draw_carla,
        classes=13,
        void=False,
    ),
    "ade20k": Case("ade20k", PLAIN, draw_ade20k, classes=150, lossless=False),
    "idd_lite": Case(
        "idd_lite",
        {"train": ("10_frame1", "9_frame1"), "val": ("2_frame1",)},
        draw_idd_lite,
        classes=7,
        lossless=False,
    ),
    "folder": Case(
        "folder",
        {"train": ("a2", "b", "d", "e"), "val": ("c",)},
        draw_folder,
        classes=3,
        lossless=False,
        prepare=write_ids_map,
    ),
    "folder-splits": Case("folder", PLAIN, draw_folder_splits, classes=3, prepare=write_colors_map),
    "folder-inner": Case("folder", PLAIN, draw_folder_inner, classes=3, prepare=write_colors_map),
    "coco": Case("coco", PLAIN, draw_coco, classes=3, void=False, lossless=False),
    "labelme": Case(
        "labelme", PLAIN, draw_labelme, classes=3, lossless=False, prepare=write_labels_map
    ),
}


def draw_all(case: Case, data: Path) -> dict[str, tuple[Image, Mask]]:
    """Draw every image of a case; return images and masks by name."""
    names = [(split, name) for split in case.names for name in case.names[split]]
    drawn = {
        name: (gradient(number), blocks(number, case.classes, void=case.void))
        for number, (_, name) in enumerate(names)
    }
    for split, name in names:
        case.draw(data, split, name, *drawn[name])
    case.prepare(data)
    return drawn


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """Each layout in turn."""
    return CASES[request.param]


@pytest.mark.parametrize("split", ["train", "val"])
def test_reads_what_was_drawn(case: Case, split: str, tmp_path: Path) -> None:
    """Each image comes with its own mask, exactly, in the split to which it belongs."""
    drawn = draw_all(case, tmp_path)

    files = datasets.load(case.dataset, tmp_path, split)

    assert sorted(files.names) == sorted(case.names[split])
    for number, name in enumerate(files.names):
        image, mask = drawn[name]
        sample = files[number]
        assert sample.name == name
        np.testing.assert_array_equal(exact_pixels(sample.mask, case), exact_pixels(mask, case))
        assert np.abs(sample.image.astype(int) - image).mean() <= (0 if case.lossless else 4)
        assert mask[mask != 255].max() < len(files.classes)


def exact_pixels(mask: Mask, case: Case) -> Mask:
    """Return the pixels that must be exact: in JPEG those at the edges of squares are blends."""
    return mask[3::BLOCK, 3::BLOCK] if case.one_file else mask


def test_a_worker_gets_the_same_dataset(case: Case, tmp_path: Path) -> None:
    """Samples are read by other processes, which get the dataset by pickle."""
    draw_all(case, tmp_path)
    files = datasets.load(case.dataset, tmp_path, "train")

    copy = pickle.loads(pickle.dumps(files))

    assert copy.names == files.names
    np.testing.assert_array_equal(copy[0].mask, files[0].mask)
    np.testing.assert_array_equal(copy[0].image, files[0].image)


def test_names_are_unique_and_sorted(case: Case, tmp_path: Path) -> None:
    """The fingerprint of a split depends on the names, the same on every machine."""
    draw_all(case, tmp_path)

    splits = [
        list(datasets.load(case.dataset, tmp_path, split).names) for split in ("train", "val")
    ]

    assert all(names == sorted(set(names)) for names in splits)
    assert not set(splits[0]) & set(splits[1])


def test_unpaired_file_is_named(case: Case, tmp_path: Path) -> None:
    """Files that do not match would be left out, or get a wrong mask."""
    if case.one_file:
        pytest.skip("image and mask are one file")
    draw_all(case, tmp_path)
    pairs = datasets.layout(case.dataset).index(tmp_path, "train").pairs
    lost = pairs[0].image
    lost.unlink()

    index = datasets.layout(case.dataset).index(tmp_path, "train")

    assert len(index.unpaired) == 1
    assert index.unpaired[0] in {pairs[0].mask, lost}
    with pytest.raises(DataError, match=r"has no counterpart.*remove"):
        datasets.load(case.dataset, tmp_path, "train")


def test_empty_folder_is_reported_with_the_layout(case: Case, tmp_path: Path) -> None:
    """The message says which files the layout expects."""
    case.prepare(tmp_path)

    with pytest.raises(DataError, match=r"(?s)no (folder|file|annotations).*the layout is.*--data"):
        datasets.load(case.dataset, tmp_path, "train")


def test_truncated_mask_is_named(case: Case, tmp_path: Path) -> None:
    """An incomplete download is found."""
    draw_all(case, tmp_path)
    pair = datasets.layout(case.dataset).index(tmp_path, "train").pairs[0]
    assert pair.mask is not None
    pair.mask.write_bytes(pair.mask.read_bytes()[: pair.mask.stat().st_size // 2])

    with pytest.raises(DataError, match=pair.mask.name):
        datasets.load(case.dataset, tmp_path, "train")[0]


def test_empty_mask_is_named(case: Case, tmp_path: Path) -> None:
    """A copy that failed is found."""
    draw_all(case, tmp_path)
    pair = datasets.layout(case.dataset).index(tmp_path, "train").pairs[0]
    assert pair.mask is not None
    pair.mask.write_bytes(b"")

    with pytest.raises(DataError, match=pair.mask.name):
        datasets.load(case.dataset, tmp_path, "train")[0]


def test_image_of_another_size_is_refused(case: Case, tmp_path: Path) -> None:
    """A mask is never resized to fit its image."""
    if case.one_file:
        pytest.skip("image and mask are one file")
    draw_all(case, tmp_path)
    pair = datasets.layout(case.dataset).index(tmp_path, "train").pairs[0]
    write(pair.image, gradient(0)[:-1])

    with pytest.raises(DataError, match="is 32x24 but its image is 32x23"):
        datasets.load(case.dataset, tmp_path, "train")[0]


@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - {"streets"}))
def test_unknown_split_and_missing_folder_are_usage_errors(name: str, tmp_path: Path) -> None:
    """The command line is wrong, not the data."""
    with pytest.raises(ConfigError, match="has no split 'trian'; choose one of train, val"):
        datasets.load(name, tmp_path, "trian")
    with pytest.raises(ConfigError, match="name it with --data"):
        datasets.load(name, None, "train")


def test_every_layout_is_drawn() -> None:
    """Every layout of the registry is in this suite, but those that have one of their own."""
    others = {"streets", "geotiff", "cvat", "label_studio", "voc", "yolo"}
    assert {case.dataset for case in CASES.values()} == set(BUILT_IN) - others


@pytest.mark.parametrize("name", ["ade20k", "camvid", "carla", "carvana", "cityscapes", "idd_lite"])
def test_classes_can_be_distinguished(name: str) -> None:
    """Names are keys in reports, colors are what an overlay shows; ADE20K has one color twice."""
    classes = importlib.import_module(f"segdeploy.datasets.formats.{name}").CLASSES

    assert len({entry.name for entry in classes}) == len(classes)
    assert len({entry.color for entry in classes}) >= len(classes) - (name == "ade20k")


def test_ade20k_has_its_150_classes() -> None:
    """In the order of the benchmark."""
    assert len(ade20k.CLASSES) == 150
    assert [ade20k.CLASSES[index].name for index in (0, 2, 12, 20, 149)] == [
        "wall",
        "sky",
        "person",
        "car",
        "flag",
    ]
    assert ade20k.CLASSES[149].color == (92, 0, 255)


@pytest.mark.parametrize(
    ("name", "split", "count"),
    [("camvid", "train", 367), ("camvid", "val", 101), ("idd_lite", "train", 1403)],
)
def test_reads_real_datasets(name: str, split: str, count: int, real: Path) -> None:
    """The datasets drawn above have the form of the real ones."""
    files = datasets.load(name, real / "data" / name, split)

    assert len(files) == count
    for index in range(0, count, count // 10):
        sample = files[index]
        assert sample.image.shape[:2] == sample.mask.shape
        assert sample.mask[sample.mask != 255].max() < len(files.classes)


def test_real_camvid_is_split_as_the_rule_for_the_original_says(real: Path) -> None:
    """The rule for the original 701 images is SegNet's, which the real copy has in folders."""
    for split in ("train", "val"):
        assert {
            camvid.split_of(name)
            for name in datasets.load("camvid", real / "data/camvid", split).names
        } == {split}


def test_real_carvana_is_split_by_car(real: Path) -> None:
    """Views of one car in both splits would make the score too high."""
    splits = {
        split: datasets.load("carvana", real / "data/carvana", split) for split in ("train", "val")
    }

    cars = {
        split: {name.partition("_")[0] for name in files.names} for split, files in splits.items()
    }

    assert (len(splits["train"]), len(splits["val"])) == (48, 16)
    assert len(cars["train"]) == 3
    assert not cars["train"] & cars["val"]
    assert np.unique(splits["val"][0].mask).tolist() == [0, 1]


def test_random_split_is_described(tmp_path: Path) -> None:
    """The card says how the validation images were chosen, so the split can be repeated."""
    draw_all(CASES["carvana"], tmp_path)

    assert (
        datasets.load("carvana", tmp_path, "val").rule
        == "20% of the cars are val, drawn by SHA-256 with seed 0"
    )


def test_every_dataset_is_documented() -> None:
    """The table in docs names the folders of each layout."""
    page = (Path(__file__).parents[3] / "docs/datasets.md").read_text()

    assert [name for name in BUILT_IN if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize(
    ("place", "sides"),
    [
        ("val", ("{}/images", "{}/masks")),
        ("valid", ("{}/images", "{}/masks")),
        ("valid", ("images/{}", "masks/{}")),
    ],
)
def test_a_folder_named_valid_is_val(tmp_path: Path, place: str, sides: tuple[str, str]) -> None:
    """Roboflow's exports name it so."""
    (tmp_path / "classes.toml").write_text("[[classes]]\nname = 'a'\n[[classes]]\nname = 'b'\n")
    for split, number in (("train", 0), (place, 1)):
        write(tmp_path / sides[0].format(split) / f"{number}.png", gradient(number))
        write(tmp_path / sides[1].format(split) / f"{number}.png", blocks(number, 2))

    assert [list(datasets.load("folder", tmp_path, split).names) for split in ("train", "val")] == [
        ["0"],
        ["1"],
    ]


def test_a_divided_folder_without_val_says_so(tmp_path: Path) -> None:
    """A divided folder without val is not an undivided one."""
    (tmp_path / "classes.toml").write_text("[[classes]]\nname = 'a'\n")
    for side in ("images", "masks"):
        write(tmp_path / side / "train/0.png", blocks(0, 1))

    with pytest.raises(DataError, match=r"there is no folder .*images.val"):
        datasets.load("folder", tmp_path, "val")


def test_labelme_knows_valid_too(tmp_path: Path) -> None:
    """A folder for train alone leaves no files to draw a val split from."""
    (tmp_path / "classes.toml").write_text("[[classes]]\nname = 'a'\n")
    for split in ("train", "valid"):
        write(tmp_path / split / f"{split}.png", gradient(0))
        (tmp_path / split / f"{split}.json").write_text("{}")

    names = [list(datasets.load("labelme", tmp_path, split).names) for split in ("train", "val")]
    (tmp_path / "valid").rename(tmp_path / "other")

    assert names == [["train"], ["valid"]]
    with pytest.raises(DataError, match=r"there is no folder .*val"):
        datasets.load("labelme", tmp_path, "val")
