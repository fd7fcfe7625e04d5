"""ONNX int8: quantize, layer sensitivity, search."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
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

from .calibration import OPERATIONS, measure_ranges
from .capture import quiet
from .int8_candidates import TIMED, CachedBackend, CandidateEvaluator, Int8Candidate, preferred
from .onnx_format import OnnxCandidate

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operations that nearly all of a network's time goes into."""


@dataclass(frozen=True, kw_only=True)
class Layers:
    """A graph's nodes by what becomes of them.

    Attributes:
        always_float: Before the first weight, where the image is prepared, and from the last one
            on, where logits would become equal and labels be decided by their order.
        groups: All others, in the order of execution, each group from a weight up to the next one.
    """

    always_float: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]


def layers_of(model: onnx.ModelProto, *, most: int) -> Layers:
    """Divide a graph into layers.

    Neighbors are put together until there are no more than `most` groups.
    """
    nodes = list(model.graph.node)
    weighted = [place for place, node in enumerate(nodes) if node.op_type in WEIGHTED]
    if not weighted:
        return Layers(always_float=tuple(node.name for node in nodes), groups=())
    names = [node.name for node in nodes]
    starts, last = weighted[:-1], weighted[-1]
    size = -(-len(starts) // most) if starts else 1
    bounds = [*starts[::size], last]
    groups = tuple(tuple(names[start:end]) for start, end in pairwise(bounds))
    return Layers(always_float=(*names[: weighted[0]], *names[last:]), groups=groups)


def quantize(
    model: onnx.ModelProto, ranges: TensorsData, *, reduced: bool, in_float: Sequence[str]
) -> onnx.ModelProto:
    """Return a graph in 8 bits.

    Args:
        model: A graph in float32, which stays as it is.
        ranges: Between which numbers each value lies.
        reduced: Whether weights have 7 bits: processors without VNNI add two products in 16 bits,
            which 8 bits overflow.
        in_float: Names of nodes that stay in float32.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with quiet():
        quantizer = QDQQuantizer(
            copy,
            True,
            reduced,
            QuantType.QInt8,
            QuantType.QUInt8,
            ranges,
            [],
            list(in_float),
            OPERATIONS,
            {},
        )  # noqa: FBT003 - ONNX Runtime's signature: per channel, reduced range
        quantizer.quantize_model()
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized


def rank(
    model: onnx.ModelProto,
    ranges: TensorsData,
    layers: Layers,
    *,
    batches: Sequence[Batch],
    reduced: bool,
    on_step: Callable[[str], None],
) -> list[tuple[str, ...]]:
    """Return the groups of layers, the most sensitive first.

    Args:
        model: The graph in float32, whose first output has logits or probabilities, (N, K, h, w),
            or classes.
        ranges: Between which numbers each value lies.
        layers: Its layers.
        batches: A few images, each (1, H, W, 3) uint8.
        reduced: Whether weights have 7 bits.
        on_step: Called after each group, with the share of labels that it alone changes.
    """
    expected = labels(model, batches)
    losses = []
    for group in layers.groups:
        others = [name for other in layers.groups if other is not group for name in other]
        found = labels(
            quantize(model, ranges, reduced=reduced, in_float=[*layers.always_float, *others]),
            batches,
        )
        losses.append(float(np.mean(found != expected)))
        on_step(f"{losses[-1]:.3%}")
    # The sort is stable: of equals the earlier layer, on whose values more is built, comes first.
    return [
        group
        for _, group in sorted(zip(losses, layers.groups, strict=True), key=lambda pair: -pair[0])
    ]


def labels(
    model: onnx.ModelProto, batches: Sequence[Batch]
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Answer images with labels at the answer's own size, (images, h, w)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    answers = [session.run(None, {INPUT: batch})[0] for batch in batches]
    return np.concatenate(
        [answer.argmax(1) if answer.ndim == 4 else answer for answer in answers]
    ).astype(np.int64)


GROUPS = 24
"""Into how many groups the layers are put at most: each is quantized alone to find how sensitive it
is."""

SECONDS = 900.0
"""After this time no new candidate is tried."""


class Search:
    """The candidates of one network, tried one after the other."""

    def __init__(
        self, candidate: OnnxCandidate, card: ModelCard, judge: CandidateEvaluator
    ) -> None:
        """Prepare the search.

        Args:
            candidate: The network in float32.
            card: What the file will tell; its precision is int8.
            judge: Finds out what candidates are worth.

        Raises:
            ExportError: The network has no layer that could be computed in 8 bits.
        """
        self.candidates = judge.candidates
        self._candidate = candidate
        self._card = card
        self._judge = judge
        self._layers = layers_of(candidate.model, most=GROUPS)
        if not self._layers.groups:
            msg = (
                f"{card.architecture} has no layers between its first and its last that could be"
                " computed in 8 bits; choose fp32"
            )
            raise ExportError(msg)

    def __iter__(self) -> Iterator[tuple[OnnxCandidate, Int8Candidate]]:
        """Return the candidates that pass on some of the images, the fastest first.

        More layers stay in float32 only where none does.
        """
        end = time.monotonic() + SECONDS
        with temporary_folder() as folder:
            plain = self._open(folder / "fp32.onnx", self._candidate.model, precision="fp32")
            reference = CachedBackend(plain)
            ranges = measure_ranges(
                folder / "fp32.onnx", self._judge.calibration, on_step=self._judge.on_step
            )

            def attempt(
                rule: str, *, reduced: bool, in_float: Sequence[tuple[str, ...]] = ()
            ) -> tuple[Int8Candidate, onnx.ModelProto]:
                return self._attempt(
                    folder / "int8.onnx",
                    ranges,
                    rule,
                    reduced=reduced,
                    in_float=in_float,
                    plain=plain,
                    reference=reference,
                )

            made = dict(attempt(rule, reduced=False) for rule in ranges)
            made.update([attempt(_best(made).conversion["calibration"], reduced=True)])
            yield from ((self._quantized(made[trial]), trial) for trial in preferred(made))
            rule, reduced = (
                _best(made).conversion["calibration"],
                _best(made).conversion["weight_bits"] == 7,
            )
            made.clear()
            batches = self._judge.calibration.some(TIMED)
            ranked = rank(
                self._candidate.model,
                ranges[rule],
                self._layers,
                batches=batches,
                reduced=reduced,
                on_step=self._judge.on_step,
            )
            count = 1
            # With more than half of it in float32 it would be int8 by name only.
            while count <= len(ranked) // 2 and time.monotonic() < end:
                trial, model = attempt(rule, reduced=reduced, in_float=ranked[:count])
                if trial.parity.passed:
                    yield self._quantized(model), trial
                count *= 2

    def _attempt(
        self,
        path: Path,
        ranges: Mapping[str, TensorsData],
        rule: str,
        *,
        reduced: bool,
        in_float: Sequence[tuple[str, ...]],
        plain: Backend,
        reference: Backend,
    ) -> tuple[Int8Candidate, onnx.ModelProto]:
        """Try one candidate, and give what was found of it, and its graph."""
        names = [name for group in in_float for name in group]
        model = quantize(
            self._candidate.model,
            ranges[rule],
            reduced=reduced,
            in_float=[*self._layers.always_float, *names],
        )
        backend = self._open(path, model, precision="int8")
        bits = ", 7-bit weights" if reduced else ""
        kept = f", {len(in_float)} of {len(self._layers.groups)} groups fp32" if in_float else ""
        conversion = {"calibration": rule, "weight_bits": 7 if reduced else 8, "in_float32": names}
        size = path.stat().st_size
        trial = self._judge.judge(
            f"{rule}{bits}{kept}",
            backend,
            plain=plain,
            reference=reference,
            size=size,
            conversion=conversion,
        )
        return trial, model

    def _quantized(self, model: onnx.ModelProto) -> OnnxCandidate:
        return replace(self._candidate, model=model, precision="int8")

    def _open(self, path: Path, model: onnx.ModelProto, *, precision: str) -> Backend:
        replace(self._candidate, model=model).write(
            path, {CARD_KEY: structs.replace(self._card, precision=precision).to_json()}
        )
        # Threads that wait in one session must not take the cores from the other one that is
        # measured beside it.
        return KINDS[".onnx"].load(path, RuntimeOptions(device="cpu", spinning=False))


def _best(candidates: Iterable[Int8Candidate]) -> Int8Candidate:
    return max(candidates, key=lambda trial: trial.score)
