"""An ONNX file in 8 bits that decides for itself: which calibration, and which layers stay in float32."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from onnxruntime.quantization.calibrate import TensorsData

from segdeploy.backends.base import Backend
from segdeploy.backends.loading import KINDS
from segdeploy.card import CARD_KEY, ModelCard
from segdeploy.datasets.sample import spread
from segdeploy.errors import ExportError

from .calibration import Calibration
from .evidence import Evidence, Some
from .proof import prove
from .quantizing import layers_of, quantize
from .ranges import measure_ranges
from .sensitivity import rank
from .to_onnx import OnnxCandidate
from .trial import PICTURES, TIMED, Remembered, Trial, by_turns, preferred

GROUPS = 24
"""Into how many groups the layers are put at most: each is quantized alone to find how sensitive it is."""

SECONDS = 900.0
"""After this time no new candidate is tried."""


class Search:
    """The candidates of one network, tried one after the other."""

    def __init__(
        self,
        candidate: OnnxCandidate,
        card: ModelCard,
        *,
        calibration: Calibration,
        evidence: Evidence,
        max_miou_drop: float,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare the search.

        Args:
            candidate: The network in float32.
            card: What the file will tell; its precision is int8.
            calibration: Pictures of the training split.
            evidence: Pictures of the proof.
            max_miou_drop: How much mIoU may be lost, in [0, 1].
            on_step: Called after each step, with a few words.

        Raises:
            ExportError: The network has no layer that could be computed in 8 bits.
        """
        self.trials: list[Trial] = []
        self._candidate = candidate
        self._card = card
        self._calibration = calibration
        self._evidence = Some(evidence=evidence, indices=spread(len(evidence), PICTURES))
        self._max_miou_drop = max_miou_drop
        self._on_step = on_step
        self._layers = layers_of(candidate.model, most=GROUPS)
        if not self._layers.groups:
            msg = f"{card.architecture} has no layers between its first and its last that could be computed in 8 bits; choose fp32"
            raise ExportError(msg)

    def __iter__(self) -> Iterator[tuple[OnnxCandidate, Trial]]:
        """Give the candidates that pass on some of the pictures, the fastest first; more layers stay in float32 only where none does."""
        end = time.monotonic() + SECONDS
        with TemporaryDirectory(prefix="segdeploy-") as name:
            folder = Path(name)
            plain = self._open(folder / "fp32.onnx", self._candidate.model, precision="fp32")
            reference = Remembered(plain)
            ranges = measure_ranges(folder / "fp32.onnx", self._calibration, on_step=self._on_step)

            def attempt(rule: str, *, reduced: bool, in_float: Sequence[tuple[str, ...]] = ()) -> tuple[Trial, onnx.ModelProto]:
                return self._attempt(
                    folder / "int8.onnx", ranges, rule, reduced=reduced, in_float=in_float, plain=plain, reference=reference
                )

            made = dict(attempt(rule, reduced=False) for rule in ranges)
            made.update([attempt(_best(made).conversion["calibration"], reduced=True)])
            yield from ((self._quantized(made[trial]), trial) for trial in preferred(made))
            rule, reduced = _best(made).conversion["calibration"], _best(made).conversion["weight_bits"] == 7
            made.clear()
            batches = self._calibration.some(TIMED)
            ranked = rank(self._candidate.model, ranges[rule], self._layers, batches=batches, reduced=reduced, on_step=self._on_step)
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
    ) -> tuple[Trial, onnx.ModelProto]:
        """Try one candidate, and give what was found of it, and its graph."""
        names = [name for group in in_float for name in group]
        model = quantize(self._candidate.model, ranges[rule], reduced=reduced, in_float=[*self._layers.always_float, *names])
        backend = self._open(path, model, precision="int8")
        found = prove(backend, reference, evidence=self._evidence, max_miou_drop=self._max_miou_drop, on_step=self._on_step)
        latency, float_latency = by_turns(backend, plain, self._calibration.some(TIMED))
        bits = ", 7-bit weights" if reduced else ""
        kept = f", {len(in_float)} of {len(self._layers.groups)} groups fp32" if in_float else ""
        trial = Trial(
            name=f"{rule}{bits}{kept}",
            parity=found.parity,
            latency=latency,
            float_latency=float_latency,
            size=path.stat().st_size,
            conversion=self._conversion(rule, names, weight_bits=7 if reduced else 8),
        )
        self.trials.append(trial)
        return trial, model

    def _conversion(self, rule: str, in_float: Sequence[str], *, weight_bits: int) -> dict[str, Any]:
        source = {"calibration_pictures": len(self._calibration), "calibration_source": self._calibration.source}
        return {"calibration": rule, **source, "weight_bits": weight_bits, "in_float32": list(in_float)}

    def _quantized(self, model: onnx.ModelProto) -> OnnxCandidate:
        return replace(self._candidate, model=model, precision="int8")

    def _open(self, path: Path, model: onnx.ModelProto, *, precision: str) -> Backend:
        replace(self._candidate, model=model).write(path, {CARD_KEY: replace(self._card, precision=precision).to_json()})
        # Threads that wait in one session must not take the cores from the other one that is measured beside it.
        return KINDS[".onnx"].load(path, device="cpu", spinning=False)


def _best(trials: Iterable[Trial]) -> Trial:
    return max(trials, key=lambda trial: trial.score)
