"""What an export shall be."""

from dataclasses import dataclass
from pathlib import Path

from segdeploy.card import Output

LEAST = 64
"""Pictures that a calibration needs: with fewer, the range of an activation is an accident."""


OPSET = 21
"""Newest version of ONNX's operators that every ONNX Runtime from 1.20 on runs."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What an export shall be.

    Attributes:
        precision: Kind of numbers that the files compute with.
        answer: What the files answer.
        confidence: Whether classes have their probability beside them.
        imgsz: Height and width of the network's input, in pixels; the checkpoint's where None.
        dynamic: Whether the files answer any height and width.
        opset: Version of ONNX's operators.
        dataset: Name of the data set of the proof and the calibration; the one of the training where None.
        data: Its folder; the one of the training where None.
        files: Pictures, or folders of them, to prove on instead.
        proof_pictures: On how many pictures at most; all where None.
        max_miou_drop: How much mIoU int8 may lose, in [0, 1].
        calibration_pictures: How many pictures of the training split int8 is calibrated on.
        serve_on: Where a Triton server will run, "cpu" or "cuda"; "auto" for what this machine has.
    """

    precision: str = "fp32"
    answer: Output = "logits"
    confidence: bool = False
    imgsz: tuple[int, int] | None = None
    dynamic: bool = False
    opset: int = OPSET
    dataset: str | None = None
    data: Path | None = None
    files: tuple[Path, ...] = ()
    proof_pictures: int | None = 20
    max_miou_drop: float = 0.005
    calibration_pictures: int = LEAST
    serve_on: str = "auto"
