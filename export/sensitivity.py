"""Which layers lose most in 8 bits: each group is quantized alone, and the labels that change are counted."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization.calibrate import TensorsData

from segdeploy.backends.onnx_runtime import INPUT
from segdeploy.machine import cores
from segdeploy.pixels import Batch

from .quantizing import Layers, quantize


def rank(
    model: onnx.ModelProto, ranges: TensorsData, layers: Layers, *, batches: Sequence[Batch], reduced: bool, on_step: Callable[[str], None]
) -> list[tuple[str, ...]]:
    """Give the groups of layers, the most sensitive first.

    Args:
        model: The graph in float32, whose first output has logits or probabilities, (N, K, h, w), or classes.
        ranges: Between which numbers each value lies.
        layers: Its layers.
        batches: A few pictures, each (1, H, W, 3) uint8.
        reduced: Whether weights have 7 bits.
        on_step: Called after each group, with the share of labels that it alone changes.
    """
    expected = labels(model, batches)
    losses = []
    for group in layers.groups:
        others = [name for other in layers.groups if other is not group for name in other]
        found = labels(quantize(model, ranges, reduced=reduced, in_float=[*layers.always_float, *others]), batches)
        losses.append(float(np.mean(found != expected)))
        on_step(f"{losses[-1]:.3%}")
    # The sort is stable: of equals the earlier layer, on whose values more is built, comes first.
    return [group for _, group in sorted(zip(losses, layers.groups, strict=True), key=lambda pair: -pair[0])]


def labels(model: onnx.ModelProto, batches: Sequence[Batch]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Answer pictures with labels at the answer's own size, (pictures, h, w)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    answers = [session.run(None, {INPUT: batch})[0] for batch in batches]
    return np.concatenate([answer.argmax(1) if answer.ndim == 4 else answer for answer in answers]).astype(np.int64)
