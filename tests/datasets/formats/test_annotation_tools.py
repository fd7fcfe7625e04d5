"""CVAT, Label Studio, VOC and YOLO: what is written for a tool is read back, and to the pixel."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from segdeploy import datasets
from segdeploy.arrays import Mask
from segdeploy.card import LabelClass
from segdeploy.datasets.formats.label_studio import image_name, pack, unpack
from segdeploy.errors import DataError, LayoutNotFoundError
from segdeploy.imaging.overlay import CVAT, LABEL_STUDIO, VOC, YOLO
from segdeploy.video.annotation_tools import open_annotations
from segdeploy.video.frames import Frame, SegmentedFrame

PATHS = {CVAT: "annotations.xml", LABEL_STUDIO: "label_studio.json", VOC: ".", YOLO: "."}
LAYOUTS = {LABEL_STUDIO: "label_studio"}
IMAGES = {VOC: "JPEGImages", YOLO: "images/train"}


def make_mask(rng: np.random.Generator, count: int) -> Mask:
    """Return a mask of blobs with holes, several parts and single pixels."""
    height, width = rng.integers(20, 60, 2).tolist()
    coarse = rng.integers(0, count, (height // 5 + 1, width // 5 + 1), np.uint8)
    mask = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)
    for _ in range(6):
        center = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(mask, center, int(rng.integers(2, 9)), int(rng.integers(count)), 2)
    mask[rng.integers(0, height, 9), rng.integers(0, width, 9)] = rng.integers(0, count, 9)
    return mask


def segmented(mask: Mask, index: int) -> SegmentedFrame:
    """Return a frame with this mask."""
    image = cv2.cvtColor(mask, cv2.COLOR_GRAY2BGR)
    frame = Frame(index=index, seconds=float(index), duration=None, image=image)
    return SegmentedFrame(frame=frame, mask=mask, confidence=None, drawn={}, stage_seconds={})


def write(kind: str, folder: Path, masks: list[Mask], classes: tuple[LabelClass, ...]) -> None:
    """Write images of the masks' sizes, and the masks in a format."""
    path = folder / PATHS[kind]
    with open_annotations(kind, path, classes, lambda i: f"{i:03d}.png", min_area=1) as add:
        for index, mask in enumerate(masks):
            image = folder / IMAGES.get(kind, "images") / f"{index:03d}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(image), mask)
            add(segmented(mask, index=index))


def read(kind: str, folder: Path, classes: tuple[LabelClass, ...]) -> list[Mask]:
    """Return the masks that a layout reads, with the indices of these classes."""
    split = "train" if kind == YOLO else datasets.dataset.ALL
    samples = datasets.load(LAYOUTS.get(kind, kind), folder, split)
    names = [entry.name for entry in classes]
    table = np.full(256, 255, np.uint8)
    for index, entry in enumerate(samples.classes):
        if entry.name in names:
            table[index] = names.index(entry.name)
    found = {samples.names[i]: table[samples[i].mask] for i in range(len(samples))}
    return [found[name] for name in sorted(found)]


def named(count: int, *, background: bool) -> tuple[LabelClass, ...]:
    """Return classes of names that XML and JSON have to escape."""
    names = [f'class <{i}> & "co"' for i in range(count)]
    if background:
        names[0] = "background"
    return tuple(
        LabelClass(name=name, color=(7 * i % 256, 31 * i % 256, i)) for i, name in enumerate(names)
    )


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("kind", [CVAT, LABEL_STUDIO, VOC])
def test_masks_come_back_to_the_pixel(tmp_path: Path, kind: str, *, background: bool) -> None:
    """What a person corrects must be what the network answered, holes and single pixels too."""
    rng = np.random.default_rng(7)
    count = 12
    classes = named(count, background=background)
    masks = [make_mask(rng, count) for _ in range(6)]

    write(kind, tmp_path, masks, classes)

    for mask, back in zip(masks, read(kind, tmp_path, classes), strict=True):
        assert np.array_equal(mask, back)


def test_polygons_come_back(tmp_path: Path) -> None:
    """YOLO has no holes: they are cut by a bridge of no width."""
    rng = np.random.default_rng(8)
    classes = named(9, background=False)
    masks = [make_mask(rng, 9) for _ in range(6)]

    write(YOLO, tmp_path, masks, classes)

    for mask, back in zip(masks, read(YOLO, tmp_path, classes), strict=True):
        assert (mask != back).mean() < 0.001


@pytest.mark.slow
@pytest.mark.parametrize("kind", [CVAT, LABEL_STUDIO, VOC, YOLO])
def test_fifty_random_masks(tmp_path: Path, kind: str) -> None:
    """3 to 60 classes; mask kinds are exact, polygons have an IoU of at least 0.99."""
    rng = np.random.default_rng(50)
    for number in range(50):
        count = int(rng.integers(3, 61))
        classes, folder = named(count, background=number % 2 == 0), tmp_path / str(number)
        masks = [make_mask(rng, count) for _ in range(2)]
        write(kind, folder, masks, classes)
        for mask, back in zip(masks, read(kind, folder, classes), strict=True):
            present = np.unique(mask)
            both = [((mask == i) & (back == i)).sum() for i in present]
            either = [((mask == i) | (back == i)).sum() for i in present]
            least = 0.99 if kind == YOLO else 1.0
            assert np.mean(np.divide(both, either)) >= least


def test_brush_is_label_studios() -> None:
    """A stream of bits as label-studio-converter writes it, of 2x2 pixels with one inside."""
    # 16 words of 8 bits; lengths of 3, 4, 8 and 16 bits; a run of 4 of 0, 4 of 255, and 8 of 0.
    bits = f"{16:032b}" + f"{7:05b}" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16))
    bits += "1" + "00" + f"{3:03b}" + f"{0:08b}" + "1" + "00" + f"{3:03b}" + f"{255:08b}"
    bits += "1" + "00" + f"{7:03b}" + f"{0:08b}"
    packed = np.packbits([int(bit) for bit in bits]).tobytes()

    alpha = unpack(packed, 16)[3::4].reshape(2, 2)

    assert alpha.tolist() == [[0, 255], [0, 0]]
    inside = np.array([[False, True], [False, False]])
    assert unpack(bytes(pack(inside)), 16)[3::4].tolist() == [0, 255, 0, 0]


def test_cvat_draws_what_people_drew(tmp_path: Path) -> None:
    """Polygons and boxes in the order of z, with the colors of the task's labels."""
    (tmp_path / "annotations.xml").write_text(
        "<annotations><meta><task><labels>"
        "<label><name>road</name><color>#804080</color></label>"
        "<label><name>car</name><color>#00008e</color></label></labels></task></meta>"
        '<image id="0" name="a/0.png" width="8" height="6">'
        '<box label="car" xtl="2" ytl="2" xbr="4" ybr="4" z_order="1"></box>'
        '<polygon label="road" points="0,0;8,0;8,6;0,6" z_order="0"></polygon>'
        "</image>"
        '<image id="1" name="a/1.png" width="8" height="6"></image></annotations>',
        encoding="utf-8",
    )
    for number in range(2):
        path = tmp_path / "images" / "a" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((6, 8, 3), np.uint8))

    samples = datasets.load("cvat", tmp_path, datasets.dataset.ALL)

    assert [(entry.name, entry.color) for entry in samples.classes] == [
        ("background", (0, 0, 0)),
        ("road", (128, 64, 128)),
        ("car", (0, 0, 142)),
    ]
    expected = np.full((6, 8), 1)
    expected[2:4, 2:4] = 2
    assert np.array_equal(samples[0].mask, expected)
    assert not samples[1].mask.any()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/upload/1/a%20b.jpg", "data/upload/1/a b.jpg"),
        ("/data/local-files/?d=film%2Fc.jpg", "film/c.jpg"),
        ("s3://bucket/../c.jpg", "c.jpg"),
        ("https://example.org/d.jpg?token=1", "d.jpg"),
    ],
)
def test_address_becomes_a_name(address: str, name: str) -> None:
    """Label Studio stores where an image was loaded from."""
    assert image_name(address) == name


def corrupt_xml(text: str) -> str:
    """Return an XML whose entities would fill the memory."""
    return '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]>' + text


@pytest.mark.parametrize(
    ("kind", "file", "change", "message"),
    [
        (CVAT, "annotations.xml", corrupt_xml, "not an XML of CVAT"),
        (CVAT, "annotations.xml", lambda text: text[:-30], "not an XML of CVAT"),
        (CVAT, "annotations.xml", lambda text: text.replace('rle="', 'rle="9, '), "run lengths"),
        (CVAT, "annotations.xml", lambda text: text.replace('left="', 'left="99'), "leaves it"),
        (CVAT, "annotations.xml", lambda text: text.replace('width="', 'width="-'), "size is"),
        (LABEL_STUDIO, "label_studio.json", lambda _: '{"a": 1}', "not a list of tasks"),
        (
            LABEL_STUDIO,
            "label_studio.json",
            lambda t: t.replace('"rle": [0', '"rle": [1'),
            "pixels",
        ),
        (LABEL_STUDIO, "label_studio.json", lambda t: t.replace('"rle": [', '"rle": [999'), "used"),
        (VOC, "labelmap.txt", lambda text: text.replace(":0,", ":zero,"), "is not LABEL"),
        (VOC, "labelmap.txt", lambda text: text.replace("31", "30"), "belongs to no class"),
        (YOLO, "data.yaml", lambda text: text.replace("names", "name"), "names no classes"),
        (YOLO, "labels/train/000.txt", lambda text: f"99{text}", "line 1: the class is"),
        (YOLO, "labels/train/000.txt", lambda _: "0 0.5 0.5 0.1 0.1", "it is a box"),
        (YOLO, "labels/train/000.txt", lambda _: "0 nan nan nan nan nan nan", "leaves"),
    ],
)
def test_malformed_annotations_are_reported(
    tmp_path: Path, kind: str, file: str, change: Callable[[str], str], message: str
) -> None:
    """Files of others are hostile until read: a sentence, and no traceback."""
    rng = np.random.default_rng(7)
    classes = named(3, background=True)
    write(kind, tmp_path, [make_mask(rng, 3) for _ in range(2)], classes)
    path = tmp_path / file
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    with pytest.raises(DataError, match=message):
        read(kind, tmp_path, classes)


@pytest.mark.parametrize("name", ["cvat", "label_studio", "voc", "yolo"])
def test_other_folders_are_not_taken(tmp_path: Path, name: str) -> None:
    """`data check` tries every layout on a folder."""
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((4, 4, 3), np.uint8))

    with pytest.raises(LayoutNotFoundError):
        datasets.load(name, tmp_path, "train")


def test_names_lead_out_of_no_folder(tmp_path: Path) -> None:
    """A list of images may name ones above the folder."""
    classes = named(2, background=True)
    with open_annotations(
        YOLO, tmp_path / "o", classes, lambda _: "../../a.png", min_area=1
    ) as add:
        add(segmented(np.ones((4, 4), np.uint8), index=0))

    assert (
        json.dumps([p.name for p in (tmp_path / "o" / "labels" / "train").iterdir()]) == '["a.txt"]'
    )


TOOLS = os.environ.get("SEGDEPLOY_ANNOTATION_PYTHON", "")
"""Python that has datumaro and label-studio-sdk, which want other versions than we do."""

READ_BY_TOOLS = """
import json, sys
from pathlib import Path
import datumaro
import numpy as np
from label_studio_sdk.converter.brush import decode_rle

folder, names = Path(sys.argv[1]), json.loads(sys.argv[2])
for kind, form in (("cvat", "cvat"), ("voc", "voc_segmentation")):
    dataset = datumaro.Dataset.import_from(str(folder / kind), form)
    labels = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
    for item in dataset:
        expected = np.load(folder / f"{item.id[-3:]}.npy")
        found = np.zeros_like(expected)
        for one in item.annotations:
            found[np.asarray(one.image) > 0] = names.index(labels[one.label])
        assert np.array_equal(found, expected), (kind, item.id)
for task in json.loads((folder / "labelstudio" / "label_studio.json").read_text()):
    expected = np.load(folder / f"{task['data']['image'][:3]}.npy")
    for one in task["predictions"][0]["result"]:
        alpha = decode_rle(one["value"]["rle"]).reshape(*expected.shape, 4)[:, :, 3]
        index = names.index(one["value"]["brushlabels"][0])
        assert np.array_equal(alpha > 0, expected == index), task["data"]
print("read")
"""


@pytest.mark.slow
@pytest.mark.skipif(not TOOLS, reason="SEGDEPLOY_ANNOTATION_PYTHON names no Python with the tools")
def test_tools_read_what_is_written(tmp_path: Path) -> None:
    """datumaro, CVAT's reader, and Label Studio's own find the same pixels."""
    rng = np.random.default_rng(3)
    classes = named(5, background=True)
    masks = [make_mask(rng, 5) for _ in range(4)]
    for index, mask in enumerate(masks):
        np.save(tmp_path / f"{index:03d}.npy", mask)
    for kind in (CVAT, LABEL_STUDIO, VOC):
        write(kind, tmp_path / kind, masks, classes)
    names = json.dumps([entry.name for entry in classes])

    done = subprocess.run(
        [TOOLS, "-c", READ_BY_TOOLS, str(tmp_path), names],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.endswith("read\n"), done.stderr
