"""Faults planted into a clean dataset are found, each by its own kind, and nothing else is."""

import json
import shutil
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from segdeploy import datasets
from segdeploy.cli.main import main
from segdeploy.datasets.checks.check import check, quick_check
from segdeploy.datasets.checks.detect import detect_layout, open_splits
from segdeploy.datasets.checks.split import compute_statistics, index_splits
from segdeploy.datasets.formats.camvid import CLASSES, VOID
from segdeploy.datasets.synthetic.dataset import Streets, save
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.io import read_ids, read_image

HEIGHT, WIDTH = 66, 88
COUNTS = {"train": 8, "val": 4}


def scene(seed):
    """An image of all of CamVid's classes.

    Upright stripes in any order, cut by a wave, each in a color of its own.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(CLASSES)).astype(np.uint8)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    shift = 12 * np.sin(rows / random.uniform(5, 15) + random.uniform(0, 6))
    mask = order[((columns + shift) % WIDTH * len(CLASSES) / WIDTH).astype(int) % len(CLASSES)]
    colors = random.integers(0, 256, (len(CLASSES), 3), dtype=np.uint8)
    return colors[mask], mask


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def data(tmp_path):
    """A clean dataset in CamVid's layout."""
    for split, (first, count) in {
        "train": (0, COUNTS["train"]),
        "val": (100, COUNTS["val"]),
    }.items():
        for number in range(count):
            image, mask = scene(first + number)
            write(tmp_path / split / f"{number:03d}.png", image[:, :, ::-1])
            write(tmp_path / f"{split}annot" / f"{number:03d}.png", mask)
    return tmp_path


def without_mask(data):
    (data / "trainannot/003.png").unlink()


def mask_of_another_size(data):
    write(data / "trainannot/003.png", scene(3)[1][:-1])


def truncated(data):
    content = (data / "train/003.png").read_bytes()
    (data / "train/003.png").write_bytes(content[: len(content) // 2])


def truncated_mask(data):
    content = (data / "trainannot/003.png").read_bytes()
    (data / "trainannot/003.png").write_bytes(content[: len(content) // 2])


def id_out_of_range(data):
    mask = scene(3)[1]
    mask[5, 5] = VOID + 1
    write(data / "trainannot/003.png", mask)


def saved_as_jpeg(data):
    (data / "trainannot/003.png").unlink()
    Image.fromarray(scene(3)[1]).save(data / "trainannot/003.jpg")


def colored(data):
    colors = np.array([entry.color for entry in CLASSES], np.uint8)
    write(data / "trainannot/003.png", colors[scene(3)[1]])


def palette_in_another_order(data):
    mask = scene(3)[1]
    stored = Image.fromarray(len(CLASSES) - 1 - mask, "P")
    stored.putpalette([value for entry in reversed(CLASSES) for value in entry.color])
    stored.save(data / "trainannot/003.png")


def shown_rotated(data, turn, orientation):
    """Store image and mask turned, with EXIF that turns the image back, and not the mask."""
    image, mask = scene(3)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.ascontiguousarray(turn(image[:, :, ::-1]))).save(
        data / "train/003.png", exif=exif
    )
    write(data / "trainannot/003.png", np.ascontiguousarray(turn(mask)))


def rotated_by_90_degrees(data):
    # Orientation 6: the stored pixels must be turned clockwise to be seen upright.
    shown_rotated(data, lambda array: np.rot90(array, 1), 6)


def upside_down(data):
    shown_rotated(data, lambda array: np.rot90(array, 2), 3)


def without_a_class(data):
    for path in (data / "trainannot").iterdir():
        mask = read_ids(path)
        mask[mask == 10] = 9
        write(path, mask)


def nothing_labeled(data):
    write(data / "trainannot/003.png", np.full((HEIGHT, WIDTH), VOID, np.uint8))


def copied_into_val(data):
    for folder in ("", "annot"):
        shutil.copy(data / f"train{folder}/003.png", data / f"val{folder}/copy.png")


def nearly_copied_into_val(data):
    image, mask = scene(3)
    small = cv2.convertScaleAbs(
        cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), alpha=1.1, beta=5
    )
    Image.fromarray(np.ascontiguousarray(small[:, :, ::-1])).save(data / "val/copy.jpg", quality=70)
    write(data / "valannot/copy.png", mask[::2, ::2])


PLANTS = [
    (without_mask, "unpaired", "error", "train/003.png"),
    (mask_of_another_size, "size", "error", "trainannot/003.png"),
    (truncated, "unreadable", "error", "train/003.png"),
    (truncated_mask, "unreadable", "error", "trainannot/003.png"),
    (id_out_of_range, "out of range", "error", "trainannot/003.png"),
    (saved_as_jpeg, "jpeg mask", "error", "trainannot/003.jpg"),
    (colored, "colored mask", "error", "trainannot/003.png"),
    (palette_in_another_order, "palette", "error", "trainannot/003.png"),
    (rotated_by_90_degrees, "turned", "error", "trainannot/003.png"),
    (upside_down, "turned", "error", "trainannot/003.png"),
    (without_a_class, "absent class", "warning", None),
    (nothing_labeled, "nothing labeled", "warning", "trainannot/003.png"),
    (copied_into_val, "copy", "error", "val/copy.png"),
    (nearly_copied_into_val, "near-duplicate", "warning", "val/copy.jpg"),
]


def checked(data, name="camvid"):
    indexes, missing = index_splits(datasets.layout(name), data)
    return [*missing, *check(indexes, on_step=lambda _: None).findings]


@pytest.mark.parametrize(
    ("plant", "kind", "severity", "file"), PLANTS, ids=[plant.__name__ for plant, *_ in PLANTS]
)
def test_a_planted_fault_is_found_and_nothing_else(data, plant, kind, severity, file):
    """One wrong file can cost days; a false alarm discredits every other finding."""
    plant(data)

    (finding,) = checked(data)

    assert (finding.kind, finding.severity) == (kind, severity)
    assert finding.files[:1] == ((data / file,) if file else ())
    assert str(data) in finding.sentence or not file


def test_a_clean_dataset_has_no_findings(data):
    """No false alarms."""
    assert checked(data) == []


def test_frames_of_one_drive_in_both_splits_are_reported(tmp_path):
    """They make every score too high, even where no two frames are near-duplicates."""
    for number in range(48):
        image, mask = scene(number % 2)
        image = image.copy()
        spot = np.random.default_rng(number).integers(0, 40, 2)
        image[spot[0] : spot[0] + 26, spot[1] : spot[1] + 40] = (
            255 - image[spot[0] : spot[0] + 26, spot[1] : spot[1] + 40]
        )
        split = "val" if number >= 24 else "train"
        write(tmp_path / split / f"drive{number % 2}_{number:04d}.png", image[:, :, ::-1])
        write(tmp_path / f"{split}annot" / f"drive{number % 2}_{number:04d}.png", mask)

    found = {finding.kind: finding for finding in checked(tmp_path)}

    assert found["shared drive"].severity == "warning"
    assert "drive0_*, drive1_*" in found["shared drive"].sentence


def test_colors_are_explained_by_classes(data):
    """The message says which color belongs to which class."""
    colored(data)

    (finding,) = checked(data)

    assert "(128, 64, 128) = Road" in finding.sentence
    assert "classes.toml" in finding.sentence


def test_ids_in_three_channels_are_explained(data):
    """Some tools save gray as color; the ids are there."""
    mask = scene(3)[1]
    write(data / "trainannot/003.png", np.dstack([mask, mask, mask]))

    (finding,) = checked(data)

    assert "three channels are alike" in finding.sentence


def test_a_missing_validation_split_is_an_error(data, capsys):
    """Training requires one; the message says what to do, and the rest is still shown."""
    shutil.rmtree(data / "val")

    (finding,) = checked(data)
    with pytest.raises(SystemExit) as exit_:
        main(["data", "check", str(data)])

    assert (finding.kind, finding.severity, finding.split) == ("no split", "error", "val")
    assert "move a fifth of the images" in finding.sentence
    assert exit_.value.code == 3
    assert "Bicyclist" in capsys.readouterr().out


def test_a_broken_test_split_is_reported(tmp_path):
    """Unreadable annotations are not a missing split."""
    for split in ("train", "val", "test"):
        write(tmp_path / f"images/{split}/1.png", scene(1)[0])
        content = {
            "images": [{"id": 1, "file_name": "1.png", "height": HEIGHT, "width": WIDTH}],
            "annotations": [],
            "categories": [],
        }
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / f"annotations/{split}.json").write_text(
            json.dumps(content)[: 9 if split == "test" else None]
        )

    found = [finding for finding in checked(tmp_path, "coco") if finding.split == "test"]

    assert [(finding.kind, finding.severity) for finding in found] == [("unreadable", "error")]
    assert "test.json is not JSON" in found[0].sentence


def test_masks_without_any_label_are_an_error(data):
    """There is nothing to learn from."""
    for split in COUNTS:
        for path in (data / f"{split}annot").iterdir():
            write(path, np.full((HEIGHT, WIDTH), VOID, np.uint8))

    severities = {
        finding.severity for finding in checked(data) if finding.kind == "nothing labeled"
    }

    assert severities == {"error", "warning"}


def test_a_single_class_is_an_error(data):
    """Masks of background alone train to a perfect score, and to a network that finds nothing."""
    for path in (data / "trainannot").iterdir():
        write(
            path,
            np.where(np.arange(WIDTH) < 9, VOID, 3)
            .astype(np.uint8)
            .repeat(HEIGHT)
            .reshape(WIDTH, HEIGHT)
            .T.copy(),
        )

    (finding,) = checked(data)

    assert (finding.kind, finding.severity, finding.split) == ("one class", "error", "train")
    assert "every labeled pixel is 'Road'" in finding.sentence
    assert "10% of the pixels are 255" in finding.sentence


def test_masks_of_one_class_each_are_an_error(data):
    """Labels of whole images, saved as masks, have no boundaries; 4 such masks may be a
    coincidence."""
    for split in COUNTS:
        for number, path in enumerate((data / f"{split}annot").iterdir()):
            write(path, np.full((HEIGHT, WIDTH), number % 3, np.uint8))

    found = [(finding.kind, finding.severity, finding.split) for finding in checked(data)]

    assert found == [
        ("no edges", "error", "train"),
        ("absent class", "warning", "train"),
        ("absent class", "warning", "val"),
    ]


@pytest.mark.parametrize(
    ("plant", "kind", "severity", "file"),
    PLANTS[:10],
    ids=[plant.__name__ for plant, *_ in PLANTS[:10]],
)
def test_the_quick_check_finds_what_would_stop_a_training(data, plant, kind, severity, file):
    """Training reads every file sooner or later; its first second is the best time to stop."""
    plant(data)
    indexes, _ = index_splits(datasets.layout("camvid"), data)

    (finding,) = quick_check(indexes)

    assert (finding.kind, finding.severity, finding.files) == (kind, severity, (data / file,))


def test_the_quick_check_of_few_images_is_the_full_one(data):
    """Masks without a label, of one class or of each its own once trained to an mIoU of 1.0000."""
    for number, path in enumerate((data / "trainannot").iterdir()):
        write(path, np.full((HEIGHT, WIDTH), number % 3, np.uint8))
    for path in (data / "valannot").iterdir():
        write(path, np.full((HEIGHT, WIDTH), VOID, np.uint8))
    indexes, _ = index_splits(datasets.layout("camvid"), data)

    findings = quick_check(indexes)

    assert {"no edges", "nothing labeled"} <= {finding.kind for finding in findings}
    assert findings == checked(data)


def test_the_quick_check_reads_a_few_images_only(data):
    """100,000 images must not delay a training by minutes; sizes come from headers."""
    image, mask = scene(0)
    for number in range(8, 40):
        write(data / f"train/{number:03d}.png", image)
        write(data / f"trainannot/{number:03d}.png", mask)
    write(data / "trainannot/038.png", mask[1:])
    write(data / "trainannot/002.png", np.full((HEIGHT, WIDTH), VOID + 1, np.uint8))
    indexes, _ = index_splits(datasets.layout("camvid"), data)

    kinds = [finding.kind for finding in quick_check(indexes)]

    # Of 40 images 16 are read, 1, 3, 6, 8, 11 ..., so 002 and 038 are not.
    assert kinds == ["size"]


@pytest.mark.parametrize("folder", ["train", "trainannot"])
def test_a_decompression_bomb_is_refused(data, folder):
    """A few bytes that claim 400 million pixels."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    )
    parts = [
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    ]
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(parts)
    (data / folder / "003.png").write_bytes(bomb)
    indexes, _ = index_splits(datasets.layout("camvid"), data)

    (finding,) = quick_check(indexes)

    assert (finding.kind, finding.files) == ("unreadable", (data / folder / "003.png",))
    assert "20000 x 20000 pixels" in finding.sentence
    assert [one.kind for one in checked(data)] == ["unreadable"]


def test_a_layout_is_detected(data):
    """`segdeploy data check DIR` needs no --dataset where only one layout fits."""
    assert detect_layout(data).name == "camvid"


def test_a_folder_without_a_dataset_is_reported(tmp_path):
    """The message says what would help."""
    with pytest.raises(ConfigError, match="data init"):
        detect_layout(tmp_path)
    with pytest.raises(ConfigError, match="name a folder"):
        open_splits(None, None)


def test_a_missing_folder_is_reported_as_such(tmp_path):
    """A typo must not lead to the advice to describe the data."""
    with pytest.raises(DataError, match=r"there is no folder .*camvdi; check the name"):
        detect_layout(tmp_path / "camvdi")


def write_class_map(data, text="[[classes]]\nname = 'thing'\n"):
    data.mkdir(exist_ok=True)
    (data / "classes.toml").write_text(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("[[classes", "is not TOML"), ("[[classes]]\nname = 'thing'\nids = 3", "unknown key 'ids'")],
)
def test_a_broken_class_map_is_reported(tmp_path, text, sentence):
    """Where there is a classes.toml, the message says what is wrong in it."""
    write_class_map(tmp_path, text)
    write(tmp_path / "images/1.png", scene(1)[0])
    write(tmp_path / "masks/1.png", scene(1)[1])

    with pytest.raises(DataError, match=sentence):
        detect_layout(tmp_path)


def test_broken_annotations_are_reported(tmp_path):
    """A truncated export is not an unknown dataset."""
    write(tmp_path / "images/1.png", scene(1)[0])
    (tmp_path / "annotations.json").write_text('{"images": [')

    with pytest.raises(DataError, match=r"annotations\.json is not JSON"):
        detect_layout(tmp_path)


@pytest.mark.parametrize(
    ("place", "name", "lacks"),
    [
        ("images/1.png", "folder", "masks"),
        ("train/1.json", "labelme", "no file in .*train is named"),
        ("annotations/1.txt", "coco", "annotations of train"),
    ],
)
def test_what_a_described_dataset_lacks_is_reported(tmp_path, place, name, lacks):
    """With a classes.toml, half of a dataset is not an unknown dataset."""
    write_class_map(tmp_path)
    (tmp_path / place).parent.mkdir()
    (tmp_path / place).write_bytes(b"")

    chosen = detect_layout(tmp_path)

    assert chosen.name == name
    with pytest.raises(DataError, match=lacks):
        index_splits(chosen, tmp_path)


def test_a_layout_is_detected_from_unpaired_files(data):
    """Masks named unlike their images are a common mistake; each file is reported."""
    for path in (data / "trainannot").iterdir():
        path.rename(path.with_name(f"mask_{path.name}"))

    assert detect_layout(data).name == "camvid"
    assert checked(data)[0].kind == "unpaired"


def test_an_undivided_layout_is_detected_from_unpaired_files(tmp_path):
    """There is nothing to draw a split from."""
    write_class_map(tmp_path)
    write(tmp_path / "images/1.png", scene(1)[0])
    write(tmp_path / "masks/mask_1.png", scene(1)[1])

    assert {finding.kind for finding in checked(tmp_path, detect_layout(tmp_path).name)} == {
        "unpaired"
    }


def test_a_synthetic_dataset_has_splits_too():
    """It lies in no folder."""
    name, splits = open_splits("streets", None)

    assert (name, list(splits)) == ("streets", ["train", "val"])


def test_statistics_need_usable_files(data):
    """Statistics of part of a dataset would look like those of the whole."""
    id_out_of_range(data)

    with pytest.raises(DataError, match=r"003\.png"):
        compute_statistics(datasets.load("camvid", data, "train"), on_step=lambda _: None)


def test_the_command_counts_errors_in_its_exit_code(data, capsys):
    """A script reads the code, a user the table."""
    id_out_of_range(data)

    with pytest.raises(SystemExit) as exit_:
        main(["data", "check", str(data)])

    shown = capsys.readouterr()
    assert exit_.value.code == 3
    assert "out of range" in shown.out
    assert "check again" in shown.err


def test_the_command_names_the_first_files_without_counterpart(data, capsys):
    """A count alone would leave seven files to be found among thousands."""
    for number in range(7):
        (data / f"trainannot/{number:03d}.png").unlink()

    with pytest.raises(SystemExit):
        main(["data", "check", str(data)])
    shown = "".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        main(["data", "check", str(data), "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    with pytest.raises(DataError) as caught:
        datasets.load("camvid", data, "train")

    assert [f"{number:03d}.png" in shown for number in range(7)] == [True] * 6 + [False]
    assert "and1more" in shown
    assert [finding["files"] for finding in found if finding["kind"] == "unpaired"] == [
        [str(data / f"train/{n:03d}.png") for n in range(7)]
    ]
    assert f"{data / 'train/005.png'} and 1 more" in str(caught.value)


def test_the_command_prints_json(data, capsys):
    """Everything that the table shows, for programs; warnings alone do not fail."""
    without_a_class(data)

    main(["data", "check", str(data), "--json"])

    found = json.loads(capsys.readouterr().out)
    assert (found["dataset"], found["errors"], found["warnings"]) == ("camvid", 0, 1)
    assert found["findings"][0]["kind"] == "absent class"
    assert found["figures"]["train"]["images"] == COUNTS["train"]


def test_the_quick_command_reports_no_problems(data, capsys):
    """Silence could also mean that nothing was checked."""
    main(["data", "check", str(data), "--dataset", "camvid", "--quick"])

    assert "no problems found" in capsys.readouterr().out


def test_the_stats_command_prints_statistics(data, capsys):
    """As a table and as JSON."""
    main(["data", "stats", str(data)])
    assert "Bicyclist" in capsys.readouterr().out

    main(["data", "stats", str(data), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["figures"]["val"]["sizes"] == {f"{WIDTH}x{HEIGHT}": COUNTS["val"]}


@pytest.mark.slow
def test_the_stats_command_draws_a_chart(data):
    """In a process of its own, as matplotlib's import is heavy."""
    chart = data / "chart.png"

    subprocess.run(
        [sys.executable, "-m", "segdeploy", "data", "stats", str(data), "--chart", str(chart)],
        check=True,
    )

    assert read_image(chart).shape[1] > 1000


@pytest.mark.slow
def test_synthetic_streets_are_clean(tmp_path):
    """Its scenes resemble each other more than those of most datasets, and give no finding."""
    for split, count in {"train": 40, "val": 12}.items():
        save(
            Streets(split=split, count=count, height=60, width=80), tmp_path, on_step=lambda _: None
        )

    assert {finding.kind for finding in checked(tmp_path)} <= {"absent class"}


@pytest.mark.slow
def test_an_image_of_40_megapixels_is_accepted(data):
    """Cameras take such images."""
    write(data / "train/large.jpg", np.full((5000, 8000, 3), 90, np.uint8))
    write(data / "trainannot/large.png", np.zeros((5000, 8000), np.uint8))

    assert checked(data) == []


@pytest.mark.slow
def test_camvid_shares_a_drive(real):
    """CamVid's val is a part of the drive 0016E5, whose other frames are in train.

    Its scores are too high.
    """
    (finding,) = checked(real / "data/camvid")

    assert (finding.kind, finding.severity, finding.split) == (
        "shared drive",
        "warning",
        "train, val",
    )
    assert "0016E5_*" in finding.sentence


@pytest.mark.slow
@pytest.mark.parametrize(("name", "known"), [("carvana", []), ("idd_lite", ["no split"])])
def test_real_datasets_raise_no_false_alarms(real, name, known):
    """16 views of each car in one studio, and 1403 Indian streets, here without their val split."""
    assert [finding.kind for finding in checked(real / "data" / name, name)] == known
