"""Bands and bits of a card: what they mean, and that older files stay as they were."""

import json

import pytest
from msgspec.structs import replace

from segdeploy.card import InputSpec, Intensity, LabelClass, ModelCard
from segdeploy.errors import CardError

SPEC = InputSpec(
    height=8,
    width=8,
    mean=(0.5, 0.25),
    std=(0.1, 0.2),
    channels=("red", "near infrared"),
    dtype="uint16",
)
RGB = InputSpec(height=8, width=8, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))


def card(spec: InputSpec) -> ModelCard:
    classes = (LabelClass(name="field", color=(1, 2, 3)),)
    return ModelCard(architecture="unet", classes=classes, input=spec)


def test_card_of_color_images_is_written_as_before() -> None:
    """Versions that know schema 1 alone read every file that they could have run."""
    values = json.loads(card(RGB).to_json())

    assert values["schema"] == 1
    assert set(values["input"]) == {"dynamic", "fit", "height", "mean", "std", "stride", "width"}


def test_card_of_bands_survives_a_file_in_schema_2() -> None:
    spec = replace(SPEC, bands=(3, 1), intensity=Intensity(rule="range", low=(0, 1), high=(9, 8)))

    text = card(spec).to_json()

    assert json.loads(text)["schema"] == 2
    assert ModelCard.from_json(text, source="a.onnx").input == spec


def test_limits_and_padding_follow_the_rule() -> None:
    """0.25 of the way from 100 to 300 is 150, and of 65535 it is 16384, a whole number."""
    ranged = replace(SPEC, intensity=Intensity(rule="range", low=(0, 100), high=(4, 300)))
    floats = replace(ranged, dtype="float32")

    assert SPEC.limits == ((0, 0), (65535, 65535))
    assert SPEC.neutral == (32768, 16384)
    assert ranged.neutral == (2, 150)
    assert floats.neutral == (2, 150)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"channels": ()}, "1 to 64"),
        ({"channels": ("a", "a")}, "different"),
        ({"channels": ("a", "b\n")}, "printable"),
        ({"mean": (0.5,)}, "2 numbers"),
        ({"std": (0.1, 0.0)}, "more than 0"),
        ({"bands": (1,)}, "one for each"),
        ({"bands": (0, 1)}, "counted from 1"),
        ({"bgr": True}, "no colors"),
        ({"resample": "pillow-bicubic"}, "halving or linear"),
        ({"intensity": Intensity(rule="range")}, "2 smaller"),
        ({"intensity": Intensity(rule="window", low=(1, 1), high=(2, 1))}, "2 smaller"),
        ({"intensity": Intensity(low=(0, 0), high=(1, 1))}, "0 smaller"),
    ],
)
def test_impossible_values_are_refused(changes: dict[str, object], problem: str) -> None:
    """A card from outside must not lead to a wrong mask or a traceback."""
    with pytest.raises(CardError, match=problem):
        card(replace(SPEC, **changes))
