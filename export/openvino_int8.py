"""OpenVINO files in int8.

NNCF quantizes, and where that loses too much, reverts the most sensitive layers to float.
"""

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nncf
import openvino
from msgspec import structs

from segdeploy.backends.base import INPUT, Backend, RuntimeOptions
from segdeploy.backends.loading import KINDS
from segdeploy.backends.openvino_runtime import OpenVinoBackend
from segdeploy.card import CARD_KEY, ModelCard
from segdeploy.system.files import temporary_folder

from .calibration import CalibrationImages
from .capture import quiet
from .int8_candidates import (
    CachedBackend,
    CandidateEvaluator,
    Int8Candidate,
    best_of,
    rank_passed,
)
from .openvino_format import OpenVinoCandidate, convert
from .plan import ExportPlan

MAX_REVERTED = 24
"""Largest number of layers that revert to float, one after the other."""

PRESETS = {"symmetric": nncf.QuantizationPreset.PERFORMANCE, "mixed": nncf.QuantizationPreset.MIXED}
"""Ranges of activations: symmetric around 0, which some processors compute faster, or as
measured."""


def search(plan: ExportPlan, on_step: Callable[[str], None]) -> "OpenVinoSearch":
    """Return the search for the best int8 file of a plan.

    Raises:
        ExportError: The network cannot be converted.
    """
    card = structs.replace(plan.card, precision="fp32")
    candidate = convert(replace(plan, card=card))
    return OpenVinoSearch(candidate, plan.card, CandidateEvaluator(plan, on_step))


class OpenVinoSearch:
    """Candidates of one network, tried one after the other while it is iterated over.

    Attributes:
        tried: What was measured of the candidates so far.
    """

    def __init__(
        self, candidate: OpenVinoCandidate, card: ModelCard, evaluator: CandidateEvaluator
    ) -> None:
        """Prepare the search.

        Args:
            candidate: The network in float32.
            card: Card of the file; its precision is int8.
            evaluator: Measures the candidates.
        """
        self.tried = evaluator.tried
        self._candidate = candidate
        self._card = card
        self._evaluator = evaluator

    def __iter__(self) -> Iterator[tuple[OpenVinoCandidate, Int8Candidate]]:
        """Return the candidates that pass on some of the images, the fastest first.

        Layers revert to float only where none does.
        """
        calibration = self._evaluator.calibration
        with temporary_folder() as folder:
            path = folder / "candidate.xml"
            float_backend = self._open(path, self._candidate.model, precision="fp32")
            reference = CachedBackend(float_backend)
            images = nncf.Dataset(
                _CalibrationReader(calibration, self._evaluator.on_step),
                lambda batch: {INPUT: batch},
            )
            models = {}
            for preset, value in PRESETS.items():
                with quiet(), contextlib.redirect_stdout(io.StringIO()):
                    model = nncf.quantize(
                        self._candidate.model, images, preset=value, subset_size=len(calibration)
                    )
                candidate = self._evaluate(
                    path, model, preset, float_backend=float_backend, reference=reference
                )
                models[candidate] = model
            for candidate in rank_passed(models):
                yield self._quantized(models[candidate]), candidate
            preset = best_of(models).name
            model = self._revert_layers(preset, images, reference)
            candidate = self._evaluate(
                path,
                model,
                f"{preset}, some layers in float",
                float_backend=float_backend,
                reference=reference,
            )
            if candidate.parity.passed:
                yield self._quantized(model), candidate

    def _revert_layers(
        self, preset: str, images: nncf.Dataset, reference: Backend
    ) -> openvino.Model:
        """Quantize, and revert layers to float until the mIoU budget is kept."""

        def score(compiled: openvino.CompiledModel, _: Iterable[Any]) -> tuple[float, None]:
            backend = OpenVinoBackend(compiled, self._card, device="CPU")
            parity = self._evaluator.compare(backend, reference)
            return parity.agreement if parity.miou is None else parity.miou, None

        with quiet(), contextlib.redirect_stdout(io.StringIO()):
            model: openvino.Model = nncf.quantize_with_accuracy_control(
                self._candidate.model,
                images,
                nncf.Dataset([None]),
                score,
                max_drop=self._evaluator.max_miou_drop,
                preset=PRESETS[preset],
                subset_size=len(self._evaluator.calibration),
                advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
                    max_num_iterations=MAX_REVERTED
                ),
            )
        return model

    def _evaluate(
        self,
        path: Path,
        model: openvino.Model,
        name: str,
        *,
        float_backend: Backend,
        reference: Backend,
    ) -> Int8Candidate:
        """Write a candidate, and measure it."""
        backend = self._open(path, model, precision="int8")
        files = (path, *KINDS[".xml"].companions(path))
        return self._evaluator.evaluate(
            name,
            backend,
            float_backend=float_backend,
            reference=reference,
            size=sum(file.stat().st_size for file in files),
            conversion={"calibration": name, "made_by": f"nncf {nncf.__version__}"},
        )

    def _quantized(self, model: openvino.Model) -> OpenVinoCandidate:
        return replace(self._candidate, model=model, precision="int8")

    def _open(self, path: Path, model: openvino.Model, *, precision: str) -> Backend:
        """Write a graph, and load it."""
        card = structs.replace(self._card, precision=precision)
        candidate = replace(self._candidate, model=model, precision=precision)
        candidate.write(path, {CARD_KEY: card.to_json()})
        return KINDS[".xml"].load(path, RuntimeOptions(device="cpu", probe=False))


class _CalibrationReader:
    """Calibration images one after the other, as often as NNCF iterates over them."""

    def __init__(self, calibration: CalibrationImages, on_step: Callable[[str], None]) -> None:
        self._calibration = calibration
        self._on_step = on_step

    def __iter__(self) -> Iterator[Any]:
        for index in range(len(self._calibration)):
            yield self._calibration[index]
            self._on_step("")
