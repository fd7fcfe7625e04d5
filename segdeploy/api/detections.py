"""The regions of a result as `Detections` of the library supervision."""

import cv2
import numpy as np
import supervision

from segdeploy.api.exchange import region_masks
from segdeploy.arrays import Mask
from segdeploy.imaging.postprocess import Confidence


def to_detections(
    mask: Mask, names: list[str], *, confidence: Confidence | None, min_area: int
) -> "supervision.Detections":
    """Return a detection for each region of a mask.

    Args:
        mask: Classes, (H, W) uint8.
        names: Names of the classes.
        confidence: (H, W) uint8, 255 for 1; the detections have the mean. None for none.
        min_area: Regions of fewer pixels are left out.
    """
    regions = region_masks(mask, len(names), min_area=min_area)
    if not regions:
        return supervision.Detections.empty()
    masks = np.stack([region for _, region in regions]).astype(bool)
    class_ids = np.array([index for index, _ in regions])
    scores = None
    if confidence is not None:
        scores = np.array([confidence[region].mean() / 255 for region in masks])
    return supervision.Detections(
        xyxy=np.array([_corners(region) for _, region in regions], float),
        mask=masks,
        class_id=class_ids,
        confidence=scores,
        data={"class_name": np.array([names[index] for index in class_ids])},
    )


def _corners(region: Mask) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a region; the last pixel lies inside of them."""
    x, y, width, height = cv2.boundingRect(region)
    return x, y, x + width, y + height
