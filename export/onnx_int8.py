"""ONNX files in int8: quantization, sensitivity of layers, search for the best candidate."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from msgspec import structs
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from segdeploy.arrays import Batch
from segdeploy.backends.base import INPUT, Backend, RuntimeOptions
from segdeploy.backends.loading import KINDS
from segdeploy.card import CARD_KEY, ModelCard
from segdeploy.errors import ExportError
from segdeploy.system.files import temporary_folder
from segdeploy.system.machine import cores

from .calibration import OPERATORS, measure_ranges
from .capture import quiet
from .int8_candidates import (
    TIMED_IMAGES,
    CachedBackend,
    CandidateEvaluator,
    Int8Candidate,
    best_of,
    rank_passed,
)
from .onnx_format import OnnxCandidate, to_onnx
from .plan import ExportPlan

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that take nearly all of a network's time."""


@dataclass(frozen=True, kw_only=True)
class Layers:
    """The nodes of a graph, by whether they can be quantized.

    Attributes:
        always_float: Before the first weight, where the image is preprocessed, and from the last
            one on, where logits would become equal and labels be decided by their order.
        groups: All others, in the order of execution, each group from a weight up to the next one.
    """

    always_float: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]


def group_layers(model: onnx.ModelProto, *, most: int) -> Layers:
    """Divide the nodes of a graph into layers, and merge neighbors into at most `most` groups."""
    nodes = list(model.graph.node)
    names = [node.name for node in nodes]
    weighted = [index for index, node in enumerate(nodes) if node.op_type in WEIGHTED]
    if not weighted:
        return Layers(always_float=tuple(names), groups=())
    starts, last = weighted[:-1], weighted[-1]
    size = -(-len(starts) // most) if starts else 1
    bounds = [*starts[::size], last]
    groups = tuple(tuple(names[start:end]) for start, end in pairwise(bounds))
    return Layers(always_float=(*names[: weighted[0]], *names[last:]), groups=groups)


LAYERS: Mapping[str, Sequence[str]] = {
    "": OPERATORS,
    "convolutions and linear layers": ("Conv", "ConvTranspose", "Gemm", "MatMul"),
    "convolutions only": ("Conv", "ConvTranspose"),
}
"""Operators that are quantized, by the name of a candidate. A concatenation of features and the
image, for example, has one scale for both in 8 bits, which loses most of the labels."""


def quantize(
    model: onnx.ModelProto,
    ranges: TensorsData,
    *,
    reduced: bool,
    in_float: Sequence[str],
    operators: Sequence[str] = OPERATORS,
) -> onnx.ModelProto:
    """Return a graph in int8, its nodes in the order of execution.

    Args:
        model: A graph in float32, which stays as it is.
        ranges: Range of each activation.
        reduced: Whether weights have 7 bits: processors without VNNI add two products in 16 bits,
            which weights of 8 bits overflow.
        in_float: Names of nodes that stay in float32.
        operators: Operators that are quantized.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with quiet():
        quantizer = QDQQuantizer(
            copy,
            per_channel=True,
            reduce_range=reduced,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=list(in_float),
            op_types_to_quantize=list(operators),
            extra_options={},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized


def rank_by_sensitivity(
    model: onnx.ModelProto,
    ranges: TensorsData,
    layers: Layers,
    *,
    batches: Sequence[Batch],
    reduced: bool,
    on_step: Callable[[str], None],
) -> list[tuple[str, ...]]:
    """Return the groups of layers, the most sensitive first.

    Each group is quantized alone, and its sensitivity is the share of labels that it changes.

    Args:
        model: The graph in float32, whose first output is logits or probabilities, (N, K, h, w),
            or classes.
        ranges: Range of each activation.
        layers: Its layers.
        batches: A few images, each (1, H, W, 3) uint8.
        reduced: Whether weights have 7 bits.
        on_step: Called after each group, with the share.
    """
    expected = compute_labels(model, batches)
    losses = []
    for group in layers.groups:
        others = [name for other in layers.groups if other is not group for name in other]
        quantized = quantize(
            model, ranges, reduced=reduced, in_float=[*layers.always_float, *others]
        )
        losses.append(float(np.mean(compute_labels(quantized, batches) != expected)))
        on_step(f"{losses[-1]:.3%}")
    # The sort is stable: of equals the earlier layer, which more layers depend on, comes first.
    pairs = sorted(zip(losses, layers.groups, strict=True), key=lambda pair: -pair[0])
    return [group for _, group in pairs]


def compute_labels(model: onnx.ModelProto, batches: Sequence[Batch]) -> npt.NDArray[np.int64]:
    """Return the labels of images at the size of the graph's output, (images, h, w)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs = [session.run(None, {INPUT: batch})[0] for batch in batches]
    labels = [output.argmax(1) if output.ndim == 4 else output for output in outputs]
    return np.concatenate(labels).astype(np.int64)


MAX_GROUPS = 24
"""Largest number of groups of layers: each is quantized alone to measure its sensitivity."""

MAX_SECONDS = 900.0
"""After this time no new candidate is tried."""


def search(plan: ExportPlan, on_step: Callable[[str], None]) -> "OnnxSearch":
    """Return the search for the best int8 file of a plan.

    Raises:
        ExportError: The network cannot be converted, or has no layer that could be quantized.
    """
    card = structs.replace(plan.card, precision="fp32")
    candidate = to_onnx(plan.network, card, opset=plan.config.opset)
    return OnnxSearch(candidate, plan.card, CandidateEvaluator(plan, on_step))


class OnnxSearch:
    """Candidates of one network, tried one after the other while it is iterated over.

    Attributes:
        tried: What was measured of the candidates so far.
    """

    def __init__(
        self, candidate: OnnxCandidate, card: ModelCard, evaluator: CandidateEvaluator
    ) -> None:
        """Prepare the search.

        Args:
            candidate: The network in float32.
            card: Card of the file; its precision is int8.
            evaluator: Measures the candidates.

        Raises:
            ExportError: The network has no layer that could be quantized.
        """
        self.tried = evaluator.tried
        self._candidate = candidate
        self._card = card
        self._evaluator = evaluator
        self._layers = group_layers(candidate.model, most=MAX_GROUPS)
        if not self._layers.groups:
            msg = (
                f"{card.architecture} has no layers between its first and its last that could be"
                " quantized; choose fp32"
            )
            raise ExportError(msg)

    def __iter__(self) -> Iterator[tuple[OnnxCandidate, Int8Candidate]]:
        """Return the candidates that pass on some of the images, the fastest first.

        Layers stay in float32 only where none does, more and more of them.
        """
        end = time.monotonic() + MAX_SECONDS
        with temporary_folder() as folder:
            path = folder / "fp32.onnx"
            float_backend = self._open(path, self._candidate.model, precision="fp32")
            context = _SearchContext(
                path=folder / "int8.onnx",
                ranges=measure_ranges(
                    path, self._evaluator.calibration, on_step=self._evaluator.on_step
                ),
                float_backend=float_backend,
                reference=CachedBackend(float_backend),
            )
            models = dict(self._try(context, rule, reduced=False) for rule in context.ranges)
            best_rule = best_of(models).conversion["calibration"]
            models.update([self._try(context, best_rule, reduced=True)])
            models.update(
                self._try(context, best_rule, reduced=False, layers=layers)
                for layers in LAYERS
                if layers
            )
            for candidate in rank_passed(models):
                yield self._quantized(models[candidate]), candidate
            best = best_of(models).conversion
            models.clear()
            yield from self._try_in_float(
                context,
                best["calibration"],
                reduced=best["weight_bits"] == 7,
                layers=best.get("quantized", ""),
                end=end,
            )

    def _try_in_float(
        self, context: "_SearchContext", rule: str, *, reduced: bool, layers: str, end: float
    ) -> Iterator[tuple[OnnxCandidate, Int8Candidate]]:
        """Return the candidates that pass with their 1, 2, 4 ... most sensitive groups in float32.

        Args:
            context: What all candidates share.
            rule: Calibration rule.
            reduced: Whether weights have 7 bits.
            layers: A key of LAYERS.
            end: Time of `time.monotonic` after which nothing new is tried.
        """
        ranked = rank_by_sensitivity(
            self._candidate.model,
            context.ranges[rule],
            self._layers,
            batches=self._evaluator.calibration.sample(TIMED_IMAGES),
            reduced=reduced,
            on_step=self._evaluator.on_step,
        )
        count = 1
        # With more than half of it in float32 the file would be int8 in name only.
        while count <= len(ranked) // 2 and time.monotonic() < end:
            candidate, model = self._try(
                context, rule, reduced=reduced, in_float=ranked[:count], layers=layers
            )
            if candidate.parity.passed:
                yield self._quantized(model), candidate
            count *= 2

    def _try(
        self,
        context: "_SearchContext",
        rule: str,
        *,
        reduced: bool,
        in_float: Sequence[tuple[str, ...]] = (),
        layers: str = "",
    ) -> tuple[Int8Candidate, onnx.ModelProto]:
        """Quantize a candidate and measure it; return the result and the graph."""
        names = [name for group in in_float for name in group]
        model = quantize(
            self._candidate.model,
            context.ranges[rule],
            reduced=reduced,
            in_float=[*self._layers.always_float, *names],
            operators=LAYERS[layers],
        )
        backend = self._open(context.path, model, precision="int8")
        bits = ", 7-bit weights" if reduced else ""
        groups = f", {len(in_float)} of {len(self._layers.groups)} groups fp32" if in_float else ""
        candidate = self._evaluator.evaluate(
            f"{rule}{bits}{groups}{f', {layers}' if layers else ''}",
            backend,
            float_backend=context.float_backend,
            reference=context.reference,
            size=context.path.stat().st_size,
            conversion={
                "calibration": rule,
                "weight_bits": 7 if reduced else 8,
                "in_float32": names,
                **({"quantized": layers} if layers else {}),
            },
        )
        return candidate, model

    def _quantized(self, model: onnx.ModelProto) -> OnnxCandidate:
        return replace(self._candidate, model=model, precision="int8")

    def _open(self, path: Path, model: onnx.ModelProto, *, precision: str) -> Backend:
        """Write a graph, and load it."""
        card = structs.replace(self._card, precision=precision)
        replace(self._candidate, model=model).write(path, {CARD_KEY: card.to_json()})
        # Spinning threads of one session would take the cores from the other that is timed in
        # alternation with it.
        return KINDS[".onnx"].load(path, RuntimeOptions(device="cpu", spinning=False))


@dataclass(frozen=True, kw_only=True)
class _SearchContext:
    """What the candidates of a search share.

    Attributes:
        path: Temporary file of the candidate that is measured.
        ranges: Range of each activation, by the name of the calibration rule.
        float_backend: The file in float32.
        reference: The same, with its outputs kept.
    """

    path: Path
    ranges: Mapping[str, TensorsData]
    float_backend: Backend
    reference: Backend
