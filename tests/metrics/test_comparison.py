"""Where two networks differ is counted by hand, and drawn on a page that needs no network."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec.structs import replace

from segdeploy.arrays import Image, Mask
from segdeploy.backends.loading import read_card
from segdeploy.card import LabelClass
from segdeploy.cli.compare import check_classes
from segdeploy.cli.main import main
from segdeploy.errors import ConfigError
from segdeploy.imaging.io import write_image
from segdeploy.metrics.comparison import MAP, ComparisonImage, Comparison, compare, difference_density, paint_density
from segdeploy.reports.comparison import to_html

CLASSES = (
    LabelClass(name="dark", color=(0, 0, 0)),
    LabelClass(name="<bright>", color=(255, 200, 0)),
)


class Threshold:
    """Says "bright" where blue is above a value."""

    def __init__(self, value: int) -> None:
        self.value = value

    def mask(self, image: Image) -> Mask:
        return (image[..., 0] > self.value).astype(np.uint8)


def ramp(count: int) -> ComparisonImage:
    """Ten columns of which the first `count` lie between both thresholds; the truth is all dark."""
    row = np.where(np.arange(10) < count, 50, 90).astype(np.uint8)
    image = np.broadcast_to(row[None, :, None], (4, 10, 3)).copy()
    return ComparisonImage(name=f"ramp {count}", image=image, truth=np.zeros((4, 10), np.uint8))


@pytest.fixture
def found() -> Comparison:
    return compare(
        Threshold(45),
        Threshold(55),
        (ramp(count) for count in (1, 0, 3)),
        classes=2,
        on_step=lambda _: None,
    )


def test_disagreement_is_counted_by_hand(found: Comparison) -> None:
    """The first one sees all bright; the second one sees 1 + 0 + 3 of 30 columns dark."""
    assert found.differing == pytest.approx(4 / 30)
    assert found.by_class == (None, pytest.approx(4 / 30))
    assert [name for name, _ in found.by_image] == ["ramp 1", "ramp 0", "ramp 3"]
    assert [share for _, share in found.by_image] == pytest.approx([0.1, 0, 0.3])
    assert found.exchanged.tolist() == [[0, 0], [16, 104]]
    assert found.scores is not None
    assert found.scores[0].pixel_accuracy == 0
    assert found.scores[1].pixel_accuracy == pytest.approx(4 / 30)


def test_pictures_that_differ_most_are_shown_first(found: Comparison) -> None:
    """What is alike need not be looked at."""
    assert [one.asked.name for one in found.shown] == ["ramp 3", "ramp 1"]


def test_map_tells_the_place(found: Comparison) -> None:
    """The first of ten columns differs in two of three images, the last one never."""
    assert found.places.shape == MAP
    assert found.places[:, 0] == pytest.approx(2 / 3)
    assert not found.places[:, -1].any()


def test_heat_spreads_around_what_differs() -> None:
    first, second = np.zeros((90, 90), np.uint8), np.zeros((90, 90), np.uint8)
    second[45, 45] = 1

    heat = difference_density(first, second)

    assert heat[45, 45] == heat[44, 46] == pytest.approx(1 / 9)
    assert heat[45, 48] == 0
    assert (
        paint_density(heat, hottest=1 / 9)[0, 0].sum() < paint_density(heat, hottest=1 / 9)[45, 45].sum()
    )


def test_page_needs_no_network_and_keeps_names_apart_from_markup(found: Comparison) -> None:
    """A class may be called like a tag."""
    page = to_html(found, first="a<1>.onnx", second="b.onnx", source="ramps", classes=CLASSES)

    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "&lt;bright&gt;" in page
    assert "<1>" not in page
    assert page.count("<img") == 1 + 4 * 2
    assert "13.333%" in page


def test_alike_networks_have_a_page_too() -> None:
    alike = compare(Threshold(45), Threshold(45), [ramp(3)], classes=2, on_step=lambda _: None)

    page = to_html(alike, first="a", second="b", source="ramps", classes=CLASSES)

    assert alike.shown == ()
    assert "<img" not in page
    assert "on 0.000% of the pixels" in page


def test_two_formats_of_one_network_agree(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--dataset",
        "streets",
        "--pictures",
        "2",
        "--output",
        str(tmp_path / "out"),
        "--max-disagreement",
        "0.1",
        "--json",
    ]

    main(["compare", str(artifacts / "best.onnx"), str(artifacts / "best.torchscript"), *arguments])

    assert json.loads(capsys.readouterr().out)["differing"] < 0.001
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "report.html",
        "report.json",
    ]


def test_gate_closes_at_the_share_that_was_named(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page is written all the same: it tells why."""
    model = onnx.load(artifacts / "best.onnx")
    weight = next(
        tensor for tensor in model.graph.initializer if tensor.name == "network.head.weight"
    )
    values = onnx.numpy_helper.to_array(weight).copy()
    values[3] += 9
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    write_image(
        tmp_path / "street.png",
        np.random.default_rng(0).integers(0, 256, (45, 60, 3), dtype=np.uint8),
    )
    files = [
        str(artifacts / "best.onnx"),
        str(tmp_path / "other.onnx"),
        "--image",
        str(tmp_path / "street.png"),
    ]

    with pytest.raises(SystemExit) as stop:
        main(["compare", *files, "--output", str(tmp_path / "out"), "--max-disagreement", "1"])

    out, err = capsys.readouterr()
    assert stop.value.code == 6
    assert "at most 1% may" in err
    assert "most of an image" in out
    assert (tmp_path / "out" / "report.html").is_file()


def test_networks_of_other_classes_are_not_compared(artifacts: Path) -> None:
    """Label 3 would be road to one and sky to the other."""
    card = read_card(artifacts / "best.onnx")
    other = replace(
        card,
        classes=(*card.classes[:2], LabelClass(name="Cellar", color=(0, 0, 0)), *card.classes[3:]),
    )

    with pytest.raises(ConfigError, match="'Pole' and 'Cellar' in the same place"):
        check_classes(card, other)
    with pytest.raises(ConfigError, match="'Bicyclist' and 'none'"):
        check_classes(card, replace(card, classes=card.classes[:-1]))
