"""What is counted, drawn and written of a result."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from segdeploy.api.result import Result
from segdeploy.arrays import Mask
from segdeploy.card import LabelClass
from segdeploy.datasets.class_map import CLASS_MAP_FILE
from segdeploy.datasets.registry import load
from segdeploy.errors import ConfigError, MissingExtraError, ModelError, OutputError
from segdeploy.imaging.io import read_ids, read_image
from tests.helpers.cards import make_card

CLASSES = (LabelClass(name="dark", color=(0, 0, 0)), LabelClass(name="red", color=(255, 0, 0)))


def make_result(mask: Mask) -> Result:
    """Return a result of a gray image."""
    image = np.full((*mask.shape, 3), 100, np.uint8)
    return Result(image=image, mask=mask, classes=CLASSES, name="street.png")


@pytest.fixture
def result() -> Result:
    """Return a result of 4x6 pixels with a square of 2x2 that is red, and an unlabeled corner."""
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:4] = 1
    mask[0, 0] = 255
    return make_result(mask)


@pytest.fixture
def likely() -> Result:
    """Return a result whose logits are 0 and ln 3, so that the probabilities are 1/4 and 3/4."""
    card = make_card(2, 2, classes=CLASSES)
    output = np.zeros((1, 2, 2, 2), np.float32)
    output[:, 1] = np.log(3)
    mask = np.ones((2, 2), np.uint8)
    return replace(make_result(mask), card=card, output=output)


def test_pixels_of_classes_are_counted(result: Result) -> None:
    """Unlabeled pixels are the rest."""
    assert result.areas() == {"dark": 19, "red": 4}
    assert result.shares() == {"dark": round(19 / 24, 6), "red": round(4 / 24, 6)}


def test_text_is_one_line(result: Result) -> None:
    """A notebook and a debugger would otherwise print every pixel."""
    frame = replace(result, name="", index=7, seconds=0.28)

    assert repr(result) == "Result('street.png', 6x4, dark 79%, red 17%)"
    assert repr(frame) == "Result(7 at 0.280 s, 6x4, dark 79%, red 17%)"
    assert repr(make_result(np.full((2, 2), 255, np.uint8))).endswith("nothing labeled)")


def test_probabilities_are_the_softmax(likely: Result) -> None:
    """1/4 and 3/4, and the confidence is 255 times the larger one."""
    np.testing.assert_allclose(likely.probabilities[0], 0.25, rtol=1e-6)
    np.testing.assert_allclose(likely.probabilities[1], 0.75, rtol=1e-6)
    assert likely.confidence.tolist() == [[191, 191], [191, 191]]
    assert likely.confidence is likely.confidence


def test_confidence_needs_the_output(result: Result) -> None:
    """Of a smoothed video the output is not that of the mask."""
    with pytest.raises(ModelError, match="output was not kept with this result"):
        _ = result.confidence


def test_polygons_have_the_names_of_classes(result: Result) -> None:
    """The corners of the square, and the dark region with the square as its hole."""
    dark, red = result.polygons()

    assert (dark.name, dark.index, dark.area, len(dark.holes)) == ("dark", 0, 19, 1)
    assert (red.name, red.area) == ("red", 4)
    assert sorted(map(tuple, red.outline.tolist())) == [(2, 1), (2, 3), (4, 1), (4, 3)]


def test_values_are_those_of_json(result: Result) -> None:
    """Every value is one that JSON has, and nothing is lost on the way."""
    values = json.loads(result.to_json())

    assert values == result.to_dict()
    assert (values["width"], values["height"], values["name"]) == (6, 4, "street.png")
    assert [region["class"] for region in values["regions"]] == ["dark", "red"]
    assert values["areas"] == result.areas()


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.parametrize("as_rle", [False, True])
def test_coco_stands_for_the_mask(result: Result, *, as_rle: bool) -> None:
    """pycocotools draws the same pixels."""
    coco = pytest.importorskip("pycocotools.mask")

    values = json.loads(json.dumps(result.to_coco(as_rle=as_rle)))

    [image] = values["images"]
    assert (image["file_name"], image["height"], image["width"]) == ("street.png", 4, 6)
    assert [entry["name"] for entry in values["categories"]] == ["dark", "red"]
    for annotation in values["annotations"]:
        shape = annotation["segmentation"]
        runs = shape if as_rle else coco.merge(coco.frPyObjects(shape, 4, 6))
        expected = result.mask == annotation["category_id"] - 1
        np.testing.assert_array_equal(coco.decode(runs), expected)


def test_geojson_has_a_feature_for_each_region(result: Result) -> None:
    features = result.to_geojson()["features"]

    assert [feature["properties"]["class"] for feature in features] == ["dark", "red"]
    assert features[1]["geometry"]["coordinates"][0][0] == [2, 1]


def test_labelme_file_gives_the_mask_back(tmp_path: Path) -> None:
    """Holes, unlabeled pixels and single pixels of any mask are kept."""
    mask = np.random.default_rng(0).integers(0, 3, (9, 11), dtype=np.uint8)
    mask[mask == 2] = 255
    result = make_result(mask)
    (tmp_path / "train").mkdir()
    result.save_labelme(tmp_path / "train" / "street.json")
    cv2.imwrite(str(tmp_path / "train" / "street.png"), result.image)
    names = [f'[[classes]]\nname = "{entry.name}"\ncolor = [0, 0, 0]\n' for entry in CLASSES]
    (tmp_path / CLASS_MAP_FILE).write_text("\n".join(names))

    sample = load("labelme", tmp_path, "train")[0]

    np.testing.assert_array_equal(sample.mask, mask)


def test_regions_become_detections(likely: Result) -> None:
    """A detection has box, mask, class and confidence of its region."""
    supervision = pytest.importorskip("supervision")

    detections = likely.to_supervision()

    assert isinstance(detections, supervision.Detections)
    assert detections.xyxy.tolist() == [[0, 0, 2, 2]]
    assert detections.class_id.tolist() == [1]
    assert detections.data["class_name"].tolist() == ["red"]
    np.testing.assert_allclose(detections.confidence, 191 / 255)
    assert len(likely.to_supervision(min_area=5)) == 0


def test_missing_supervision_is_named(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    monkeypatch.delitem(sys.modules, "segdeploy.api.detections", raising=False)

    with pytest.raises(MissingExtraError, match=r"pip install .*\[supervision\]'"):
        result.to_supervision()


def test_overlay_mixes_image_and_class_colors(result: Result) -> None:
    """Half of 100 and half of red, which is 0, 0, 255 in BGR."""
    assert result.overlay(legend=False)[1, 2].tolist() == [50, 50, 178]
    assert result.overlay(opacity=0, legend=False)[1, 2].tolist() == [100, 100, 100]
    assert result.color_mask()[1, 2].tolist() == [0, 0, 255]
    with pytest.raises(ValueError, match="the opacity is 3"):
        result.overlay(opacity=3)


def test_cutout_is_transparent_or_before_a_background(result: Result) -> None:
    """The red square alone."""
    cut = result.cutout("red")
    green = result.cutout("Red", background="00ff00")

    assert cut[1, 2].tolist() == [100, 100, 100, 255]
    assert cut[0, 1, 3] == 0
    assert green[1, 2].tolist() == [100, 100, 100]
    assert green[0, 1].tolist() == [0, 255, 0]


def test_cutout_needs_known_classes(result: Result) -> None:
    """All of the image would be cut out without one."""
    with pytest.raises(ConfigError, match="needs its classes"):
        result.cutout()
    with pytest.raises(ConfigError, match=r"'moon' is not a class of the network; .* dark, red"):
        result.cutout("moon")


def test_images_are_saved(likely: Result, tmp_path: Path) -> None:
    """Each file holds what its method returns."""
    likely.save(tmp_path / "overlay.png")
    likely.save_mask(str(tmp_path / "mask.png"))
    likely.save_color(tmp_path / "color.png")
    likely.save_confidence(tmp_path / "confidence.png")
    likely.save_side_by_side(tmp_path / "side.png")
    likely.save_cutout(tmp_path / "cut.png", "red")

    np.testing.assert_array_equal(read_image(tmp_path / "overlay.png"), likely.overlay())
    np.testing.assert_array_equal(read_ids(tmp_path / "mask.png"), likely.mask)
    np.testing.assert_array_equal(read_ids(tmp_path / "color.png"), likely.mask)
    np.testing.assert_array_equal(read_image(tmp_path / "color.png"), likely.color_mask())
    np.testing.assert_array_equal(read_ids(tmp_path / "confidence.png"), likely.confidence)
    np.testing.assert_array_equal(read_image(tmp_path / "side.png"), likely.side_by_side())
    cut = cv2.imread(str(tmp_path / "cut.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(cut, likely.cutout("red"))
    with pytest.raises(ConfigError, match=r"must end in \.png"):
        likely.save_color(tmp_path / "color.jpg")


def test_texts_are_saved(result: Result, tmp_path: Path) -> None:
    """Each file holds what its method returns."""
    result.save_json(tmp_path / "a.json")
    result.save_coco(tmp_path / "b.json", as_rle=True)
    result.save_geojson(tmp_path / "c.geojson")

    assert json.loads((tmp_path / "a.json").read_text()) == result.to_dict()
    assert json.loads((tmp_path / "b.json").read_text()) == result.to_coco(as_rle=True)
    assert json.loads((tmp_path / "c.geojson").read_text()) == result.to_geojson()


def test_notebook_gets_a_small_overlay(result: Result) -> None:
    """A photograph would be a PNG of many megabytes in the notebook's file."""
    large = make_result(np.zeros((600, 2048), np.uint8))

    assert cv2.imdecode(np.frombuffer(result._repr_png_(), np.uint8), 1).shape == (4, 6, 3)
    assert cv2.imdecode(np.frombuffer(large._repr_png_(), np.uint8), 1).shape == (300, 1024, 3)


def test_window_without_a_screen_is_a_sentence(
    result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Qt would end the process."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform != "linux":
        pytest.skip("other systems have a screen without these variables")

    with pytest.raises(OutputError, match="no window can be opened"):
        result.show()


def test_older_name_of_the_image_still_works(result: Result) -> None:
    assert result.picture is result.image
