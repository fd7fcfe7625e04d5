"""An OpenVINO file in 8 bits.

NNCF quantizes, and where that loses too much, returns the most sensitive layers to float.
"""

import contextlib
import io
import os
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

from .calibration import Calibration
from .capture import quiet
from .int8_candidates import CachedBackend, CandidateEvaluator, Int8Candidate, preferred
from .openvino_format import OpenVinoCandidate

# NNCF reports each use to its makers; this is the switch that it has for that, read when it is
# imported.
os.environ.setdefault("NNCF_CI", "1")

RETURNED = 24
"""How many layers are returned to float at most, one after the other."""

PRESETS = {"symmetric": nncf.QuantizationPreset.PERFORMANCE, "mixed": nncf.QuantizationPreset.MIXED}
"""Ranges of activations: symmetric around 0, which some processors compute faster, or as they
are."""


class Search:
    """The candidates of one network, tried one after the other."""

    def __init__(
        self, candidate: OpenVinoCandidate, card: ModelCard, judge: CandidateEvaluator
    ) -> None:
        """Prepare the search.

        Args:
            candidate: The network in float32.
            card: What the file will tell; its precision is int8.
            judge: Finds out what candidates are worth.
        """
        self.candidates = judge.candidates
        self._candidate = candidate
        self._card = card
        self._judge = judge

    def __iter__(self) -> Iterator[tuple[OpenVinoCandidate, Int8Candidate]]:
        """Return the candidates that pass on some of the images, the fastest first.

        Layers return to float only where none does.
        """
        with temporary_folder() as folder:
            path = folder / "candidate.xml"
            plain = self._open(path, self._candidate.model, precision="fp32")
            reference = CachedBackend(plain)
            images = nncf.Dataset(
                _Read(self._judge.calibration, self._judge.on_step), lambda batch: {INPUT: batch}
            )
            made = {}
            for preset, value in PRESETS.items():
                with quiet(), contextlib.redirect_stdout(io.StringIO()):
                    model = nncf.quantize(
                        self._candidate.model,
                        images,
                        preset=value,
                        subset_size=len(self._judge.calibration),
                    )
                trial = self._try(path, model, preset, plain=plain, reference=reference)
                made[trial] = model
            yield from ((self._quantized(made[trial]), trial) for trial in preferred(made))
            preset = max(made, key=lambda trial: trial.score).name
            model = self._returned(preset, images, reference)
            trial = self._try(
                path, model, f"{preset}, layers returned to float", plain=plain, reference=reference
            )
            if trial.parity.passed:
                yield self._quantized(model), trial

    def _returned(self, preset: str, images: nncf.Dataset, reference: Backend) -> openvino.Model:
        """Quantize, and return layers to float until the budget holds."""

        def score(compiled: openvino.CompiledModel, _: Iterable[Any]) -> tuple[float, None]:
            backend = OpenVinoBackend(compiled, self._card, device="CPU")
            parity = self._judge.compare(backend, reference)
            return parity.agreement if parity.miou is None else parity.miou, None

        with quiet(), contextlib.redirect_stdout(io.StringIO()):
            model: openvino.Model = nncf.quantize_with_accuracy_control(
                self._candidate.model,
                images,
                nncf.Dataset([None]),
                score,
                max_drop=self._judge.max_miou_drop,
                preset=PRESETS[preset],
                subset_size=len(self._judge.calibration),
                advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
                    max_num_iterations=RETURNED
                ),
            )
        return model

    def _try(
        self, path: Path, model: openvino.Model, name: str, *, plain: Backend, reference: Backend
    ) -> Int8Candidate:
        """Find out what a candidate is worth."""
        backend = self._open(path, model, precision="int8")
        size = sum(one.stat().st_size for one in (path, *KINDS[".xml"].companions(path)))
        conversion = {"calibration": name, "made_by": f"nncf {nncf.__version__}"}
        return self._judge.judge(
            name, backend, plain=plain, reference=reference, size=size, conversion=conversion
        )

    def _quantized(self, model: openvino.Model) -> OpenVinoCandidate:
        return replace(self._candidate, model=model, precision="int8")

    def _open(self, path: Path, model: openvino.Model, *, precision: str) -> Backend:
        card = structs.replace(self._card, precision=precision)
        replace(self._candidate, model=model, precision=precision).write(
            path, {CARD_KEY: card.to_json()}
        )
        return KINDS[".xml"].load(path, RuntimeOptions(device="cpu"))


class _Read:
    """Calibration images one after the other, as often as NNCF walks over them."""

    def __init__(self, calibration: Calibration, on_step: Callable[[str], None]) -> None:
        self._calibration = calibration
        self._on_step = on_step

    def __iter__(self) -> Iterator[Any]:
        for index in range(len(self._calibration)):
            yield self._calibration[index]
            self._on_step("")
