"""Images are resized as the authors of a network do."""

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from segdeploy.card import InputSpec, Resample
from segdeploy.imaging.preprocess import resample, to_batch

IMAGE = np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("rule", "mode"),
    [
        ("pillow-bilinear", InterpolationMode.BILINEAR),
        ("pillow-bicubic", InterpolationMode.BICUBIC),
    ],
)
@pytest.mark.parametrize("size", [(16, 24), (64, 96)])
def test_filters_are_those_of_torchvision(
    rule: Resample, mode: InterpolationMode, size: tuple[int, int]
) -> None:
    """transformers resizes with torchvision, or with Pillow; a step of one is rounding."""
    theirs = functional.resize(
        torch.from_numpy(IMAGE).permute(2, 0, 1), list(size), interpolation=mode, antialias=True
    )

    ours = resample(IMAGE, size[0], width=size[1], rule=rule)

    assert np.abs(ours.astype(int) - theirs.permute(1, 2, 0).numpy()).max() <= 1


def test_card_decides_the_filter() -> None:
    spec = InputSpec(height=8, width=8, mean=(0, 0, 0), std=(1, 1, 1), resample="pillow-lanczos")

    batch = to_batch([IMAGE], spec)

    expected = resample(IMAGE, 8, width=8, rule="pillow-lanczos")[..., ::-1]
    np.testing.assert_array_equal(batch[0], expected)
    assert not np.array_equal(batch[0], resample(IMAGE, 8, width=8, rule="linear")[..., ::-1])
