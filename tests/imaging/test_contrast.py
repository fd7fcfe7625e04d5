"""Images of any type can be looked at."""

import numpy as np

from segdeploy.card import InputSpec
from segdeploy.imaging.contrast import as_color, stretched, view

NUMBERS = np.random.default_rng(0).integers(0, 65536, (37, 51, 5), dtype=np.uint16)
SPEC = InputSpec(
    height=16, width=24, mean=(0.5,) * 5, std=(0.2,) * 5, channels=tuple("abcde"), dtype="uint16"
)


def test_view_of_any_image_can_be_drawn_upon() -> None:
    """A usual image is drawn upon as it is; of others contrast and type are the screen's."""
    usual = (NUMBERS[..., :3] >> 8).astype(np.uint8)
    rgb = InputSpec(height=8, width=8, mean=(0.5,) * 3, std=(0.2,) * 3)
    dark = (NUMBERS // 1000).astype(np.float32)
    dark[0, 0] = np.nan

    shown = stretched(dark, (4, 0, 1))

    assert view(usual, rgb) is usual
    assert as_color(usual) is usual
    assert (view(NUMBERS, SPEC).dtype, view(NUMBERS, SPEC).shape) == (np.uint8, (37, 51, 3))
    assert (shown.min(), shown.max()) == (0, 255)
