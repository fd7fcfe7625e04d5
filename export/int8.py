"""An ONNX file in 8 bits that decides for itself: which calibration, and which layers stay in float32."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import onnx
from onnxruntime.quantization.calibrate import TensorsData

from segdeploy.atomic import temporary_folder
from segdeploy.backends.base import Backend
from segdeploy.backends.loading import KINDS
from segdeploy.card import CARD_KEY, ModelCard
from segdeploy.errors import ExportError

from .quantizing import layers_of, quantize
from .ranges import measure_ranges
from .sensitivity import rank
from .to_onnx import OnnxCandidate
from .trial import TIMED, Judge, Remembered, Trial, preferred

GROUPS = 24
"""Into how many groups the layers are put at most: each is quantized alone to find how sensitive it is."""

SECONDS = 900.0
"""After this time no new candidate is tried."""


class Search:
    """The candidates of one network, tried one after the other."""

    def __init__(self, candidate: OnnxCandidate, card: ModelCard, judge: Judge) -> None:
        """Prepare the search.

        Args:
            candidate: The network in float32.
            card: What the file will tell; its precision is int8.
            judge: Finds out what candidates are worth.

        Raises:
            ExportError: The network has no layer that could be computed in 8 bits.
        """
        self.trials = judge.trials
        self._candidate = candidate
        self._card = card
        self._judge = judge
        self._layers = layers_of(candidate.model, most=GROUPS)
        if not self._layers.groups:
            msg = f"{card.architecture} has no layers between its first and its last that could be computed in 8 bits; choose fp32"
            raise ExportError(msg)

    def __iter__(self) -> Iterator[tuple[OnnxCandidate, Trial]]:
        """Give the candidates that pass on some of the pictures, the fastest first; more layers stay in float32 only where none does."""
        end = time.monotonic() + SECONDS
        with temporary_folder() as folder:
            plain = self._open(folder / "fp32.onnx", self._candidate.model, precision="fp32")
            reference = Remembered(plain)
            ranges = measure_ranges(folder / "fp32.onnx", self._judge.calibration, on_step=self._judge.on_step)

            def attempt(rule: str, *, reduced: bool, in_float: Sequence[tuple[str, ...]] = ()) -> tuple[Trial, onnx.ModelProto]:
                return self._attempt(
                    folder / "int8.onnx", ranges, rule, reduced=reduced, in_float=in_float, plain=plain, reference=reference
                )

            made = dict(attempt(rule, reduced=False) for rule in ranges)
            made.update([attempt(_best(made).conversion["calibration"], reduced=True)])
            yield from ((self._quantized(made[trial]), trial) for trial in preferred(made))
            rule, reduced = _best(made).conversion["calibration"], _best(made).conversion["weight_bits"] == 7
            made.clear()
            batches = self._judge.calibration.some(TIMED)
            ranked = rank(self._candidate.model, ranges[rule], self._layers, batches=batches, reduced=reduced, on_step=self._judge.on_step)
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
        bits = ", 7-bit weights" if reduced else ""
        kept = f", {len(in_float)} of {len(self._layers.groups)} groups fp32" if in_float else ""
        conversion = {"calibration": rule, "weight_bits": 7 if reduced else 8, "in_float32": names}
        size = path.stat().st_size
        trial = self._judge.judge(f"{rule}{bits}{kept}", backend, plain=plain, reference=reference, size=size, conversion=conversion)
        return trial, model

    def _quantized(self, model: onnx.ModelProto) -> OnnxCandidate:
        return replace(self._candidate, model=model, precision="int8")

    def _open(self, path: Path, model: onnx.ModelProto, *, precision: str) -> Backend:
        replace(self._candidate, model=model).write(path, {CARD_KEY: replace(self._card, precision=precision).to_json()})
        # Threads that wait in one session must not take the cores from the other one that is measured beside it.
        return KINDS[".onnx"].load(path, device="cpu", spinning=False)


def _best(trials: Iterable[Trial]) -> Trial:
    return max(trials, key=lambda trial: trial.score)
