"""A card survives a file unchanged, and an untrusted one does no harm."""

import json
import pickle
import re
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from segdeploy.card import MAX_BYTES, SCHEMA, InputSpec, LabelClass, ModelCard, Training
from segdeploy.errors import CardError
from segdeploy.metrics.scores import Parity, Scores

share = st.floats(0, 1)
count = st.integers(0, 10**9)
name = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=12)
shares = st.lists(share | st.none(), max_size=4).map(tuple)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
triple = st.tuples(share, share, share)
color = st.tuples(*[st.integers(0, 255)] * 3)

specs = st.builds(
    lambda rows, columns, stride, **rest: InputSpec(
        height=rows * stride, width=columns * stride, stride=stride, **rest
    ),
    st.integers(1, 500),
    st.integers(1, 500),
    st.sampled_from([1, 8, 32]),
    mean=triple,
    std=st.tuples(*[st.floats(0.01, 1)] * 3),
    fit=st.sampled_from(["stretch", "pad"]),
    dynamic=st.booleans(),
)
trainings = st.builds(
    Training,
    dataset=st.text(),
    data_hash=st.text(),
    recipe=st.dictionaries(st.text(), plain),
    versions=st.dictionaries(name, name),
    seed=count,
    epochs=count,
)
parities = st.builds(
    Parity,
    agreement=share,
    boundary_agreement=share,
    class_agreement=shares,
    largest_difference=share | st.none(),
    max_miou_drop=share | st.none(),
    miou=share | st.none(),
    reference_miou=share | st.none(),
    images=count,
    source=st.text(),
    reference=st.text(),
    gate=share,
)
cards = st.builds(
    ModelCard,
    architecture=name,
    arguments=st.dictionaries(name, plain, max_size=3),
    classes=st.lists(st.builds(LabelClass, name=name, color=color), min_size=1, max_size=5).map(
        tuple
    ),
    input=specs,
    output=st.sampled_from(["logits", "classes", "probabilities"]),
    precision=st.sampled_from(["fp32", "fp16", "bf16", "int8"]),
    conversion=st.dictionaries(name, plain, max_size=2),
    training=st.none() | trainings,
    scores=st.none()
    | st.builds(Scores, miou=share, pixel_accuracy=share, dice=share, iou=shares, pixels=count),
    parity=st.none() | parities,
)


def card():
    spec = InputSpec(height=64, width=96, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), stride=32)
    return ModelCard(
        architecture="unet",
        classes=(LabelClass(name="road", color=(1, 2, 3)), LabelClass(name="car", color=(4, 5, 6))),
        input=spec,
    )


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(cards)
def test_a_card_survives_json(written):
    """Every value comes back with its kind: tuples stay tuples."""
    assert ModelCard.from_json(written.to_json(), source="a.onnx") == written


@given(st.binary() | st.text() | plain.map(json.dumps))
def test_other_text_is_refused(content):
    """Whatever a file has under the card's key, the error is one sentence."""
    with pytest.raises(CardError, match=r"^a\.onnx has a"):
        ModelCard.from_json(content, source="a.onnx")


def paths(value, path=()):
    """Every path within a JSON value."""
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        yield from paths(inner, (*path, key))


def changed(value, path, new):
    """The value with another one at a path."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


wrong = plain | st.sampled_from(
    [float("nan"), float("inf"), -1, 0, 10**400, True, "\x1b[2J", "\ud800", [[]] * 300]
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(cards, wrong, st.data())
def test_a_card_with_one_wrong_value_is_refused_or_taken_whole(written, new, data):
    """Nothing but CardError leaves the reader, and what it takes can be written again."""
    values = json.loads(written.to_json())
    path = data.draw(st.sampled_from(list(paths(values))))

    with suppress(CardError):
        read = ModelCard.from_json(json.dumps(changed(values, path, new)), source="a.onnx")
        assert ModelCard.from_json(read.to_json(), source="a.onnx").to_json() == read.to_json()


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(cards, st.data())
def test_a_truncated_card_is_refused(written, data):
    """A partly copied file."""
    text = written.to_json()

    with pytest.raises(CardError):
        ModelCard.from_json(text[: data.draw(st.integers(0, len(text) - 1))], source="a.onnx")


def test_a_newer_card_is_refused_by_its_number():
    """The message says what to do, whatever else a newer schema has."""
    content = json.dumps({"schema": SCHEMA + 1, "unknown": {}})

    with pytest.raises(
        CardError,
        match=(
            rf"a\.onnx has a card of schema {SCHEMA + 1} and this version reads up to {SCHEMA};"
            r" upgrade segdeploy"
        ),
    ):
        ModelCard.from_json(content, source="a.onnx")


def test_a_card_nested_without_end_is_refused():
    """A reader that follows every bracket would run out of stack."""
    for depth in (900, 100_000):
        with pytest.raises(CardError):
            ModelCard.from_json(
                '{"schema": 1, "architecture": ' + "[" * depth + "]" * depth + "}", source="a.onnx"
            )


def test_a_huge_card_is_refused():
    """A card is a page of text."""
    with pytest.raises(CardError, match="bytes, more than"):
        ModelCard.from_json(" " * (MAX_BYTES + 1), source="a.onnx")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 65}, "each side must be a multiple of 32"),
        ({"width": 0}, "each side must be a multiple"),
        ({"height": 32768}, "up to 16384"),
        ({"stride": 0}, "each side must be a multiple"),
        ({"std": (0.2, 0, 0.2)}, "each value must be more than 0"),
        ({"std": (0.2, 0.2)}, "it must be three numbers, for red, green and blue"),
        ({"mean": (0.5, float("nan"), 0.5)}, "it must be three numbers, for red, green and blue"),
    ],
)
def test_an_impossible_input_is_refused(change, message):
    """A card that exists can be trusted."""
    good = card()

    with pytest.raises(CardError, match=message):
        replace(good, input=replace(good.input, **change))


@pytest.mark.parametrize("classes", [0, 256])
def test_a_count_of_classes_that_a_mask_cannot_hold_is_refused(classes):
    """A mask has 8 bits, and one value stands for not labeled."""
    with pytest.raises(CardError, match=f"the card has {classes} classes; it must have 1 to 255"):
        replace(card(), classes=(LabelClass(name="a", color=(0, 0, 0)),) * classes)


@pytest.mark.parametrize(
    ("place", "new", "problem"),
    [
        (("classes", 0, "name"), 3, "classes[0].name is 3 and must be a string"),
        (
            ("classes", 1, "color", 2),
            256,
            "classes[1].color[2] is 256 and must be a whole number <= 255",
        ),
        (
            ("classes", 1, "name"),
            "\x1b[2J",
            "the card holds the name '\\x1b[2J'; it must be printable text",
        ),
        (("architecture",), "", "the card holds the name ''; it must be printable text"),
        (("input", "height"), "64", "input.height is '64' and must be a whole number"),
        (("input", "fit"), "crop", "input.fit is 'crop' and must be one of pad, stretch"),
        (
            ("input", "mean"),
            [0.5],
            "the card's mean is (0.5,); it must be three numbers, for red, green and blue",
        ),
        (("input", "dynamic"), 1, "input.dynamic is 1 and must be true or false"),
        (
            ("output",),
            "boxes",
            "output is 'boxes' and must be one of classes, logits, probabilities",
        ),
        (("scores",), {"miou": 1}, "the key 'scores.pixel_accuracy' is missing"),
        (("schema",), 0, "schema is 0 and must be a whole number >= 1"),
    ],
)
def test_a_damaged_card_is_named_with_its_place_and_value(place, new, problem):
    """The author of the file can correct it."""
    values = changed(json.loads(card().to_json()), place, new)

    with pytest.raises(CardError) as caught:
        ModelCard.from_json(json.dumps(values), source="a.onnx")

    assert str(caught.value) == (f"a.onnx has a damaged card ({problem}); export the file again")


def test_an_unknown_key_is_refused():
    """A reader cannot follow a key that it does not know."""
    values = json.loads(card().to_json())
    values["input"]["crop"] = True

    with pytest.raises(
        CardError, match=r"the key 'input\.crop' is unknown; known are height, width,"
    ):
        ModelCard.from_json(json.dumps(values), source="a.onnx")


@pytest.mark.parametrize("key", ["arguments", "output", "precision", "input.fit", "input.stride"])
def test_a_card_without_a_key_that_every_version_wrote_is_refused(key):
    """The default would change the masks silently."""
    values = json.loads(card().to_json())
    *table, name = key.split(".")
    del (values[table[0]] if table else values)[name]

    with pytest.raises(CardError, match=f"the key '{key}' is missing"):
        ModelCard.from_json(json.dumps(values), source="a.onnx")


def test_a_card_is_pickled_and_a_class_hashed():
    """Processes that read images get the card, and classes are keys."""
    assert pickle.loads(pickle.dumps(card())) == card()
    assert len({*card().classes, *card().classes}) == 2


def test_json_keeps_its_keys():
    """Existing files are read by older and newer versions."""
    parity = Parity(
        agreement=1.0,
        boundary_agreement=1.0,
        class_agreement=(1.0,),
        largest_difference=None,
        miou=None,
        reference_miou=None,
        images=7,
        source="camvid val",
        reference="torch",
        gate=0.999,
    )

    text = replace(card(), parity=parity).to_json()

    assert text == (
        '{"architecture": "unet", "arguments": {}, "classes": [{"color": [1, 2, 3], "name": "road"'
        '}, {"color": [4, 5, 6], "name": "car"}], "confidence": false, "conversion": {}, "input": '
        '{"dynamic": false, "fit": "stretch", "height": 64, "mean": [0.5, 0.5, 0.5], "std": [0.2, '
        '0.2, 0.2], "stride": 32, "width": 96}, "output": "logits", "parity": {"agreement": 1.0, '
        '"boundary_agreement": 1.0, "class_agreement": [1.0], "device": "", "gate": 0.999, '
        '"largest_difference": null, "max_miou_drop": null, "miou": null, "pictures": 7, '
        '"reference": "torch", "reference_miou": null, "source": "camvid val"}, "precision": '
        '"fp32", "schema": 1, "scores": null, "training": null}'
    )


def test_newer_fields_are_written_only_where_they_matter():
    """A version that does not know them must refuse such a card, and read all others."""
    spec = replace(card().input, bgr=True, resample="pillow-bilinear")
    newer = replace(card(), input=spec, threshold=0.25)

    assert not {"bgr", "resample", "threshold"} & set(re.findall(r"\w+", card().to_json()))
    assert ModelCard.from_json(newer.to_json(), source="file") == newer


@pytest.mark.parametrize(("threshold", "classes"), [(0.0, 2), (1.0, 2), (0.5, 1)])
def test_threshold_belongs_to_classes_beside_a_background(threshold: float, classes: int):
    with pytest.raises(CardError, match=f"has the threshold {threshold} and {classes} classes"):
        replace(card(), classes=card().classes[:classes], threshold=threshold)


def test_a_card_of_the_first_version_is_read():
    """Files that were exported before confidence, conversion and the mIoU budget existed must
    still run.
    """
    parity = Parity(
        agreement=1,
        boundary_agreement=1,
        class_agreement=(1, None),
        largest_difference=0,
        miou=None,
        reference_miou=None,
        images=1,
        source="camvid val",
        reference="torch",
        gate=0.999,
    )
    written = replace(card(), parity=parity)
    values = json.loads(written.to_json())
    del values["confidence"], values["conversion"], values["parity"]["max_miou_drop"]

    assert ModelCard.from_json(json.dumps(values), source="a.onnx") == written


@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_confidence_is_for_classes_only(output):
    """Logits and probabilities hold it already."""
    with pytest.raises(CardError, match="hold it already"):
        replace(card(), output=output, confidence=True)
