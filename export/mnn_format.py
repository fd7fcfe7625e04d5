"""MNN files: converted from ONNX in a process of its own, and int8 for their weights."""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from msgspec import structs

from segdeploy.arrays import Batch
from segdeploy.backends.base import Backend, RuntimeOptions
from segdeploy.backends.loading import KINDS
from segdeploy.backends.mnn_runtime import MnnBackend
from segdeploy.backends.sidecar import write_metadata
from segdeploy.card import CARD_KEY, ModelCard
from segdeploy.errors import ExportError
from segdeploy.system.concurrency import PYTHON
from segdeploy.system.files import temporary_folder

from .divergence import CapturedProgram, FileTensors, first_diverging
from .int8_candidates import CachedBackend, CandidateEvaluator, Int8Candidate, rank_passed
from .onnx_format import UNKNOWN_LAYER, OnnxCandidate, to_onnx
from .plan import ExportPlan

# Never MNN.tools: importing it installs a package, and it reports each conversion to a server.
CONVERT = "import sys, _tools; sys.exit(not _tools.mnnconvert(['mnnconvert', *sys.argv[1:]]))"
"""What the process does that converts: the converter may end it on a graph that it cannot read."""

INT8_WEIGHTS: Mapping[str, tuple[str, ...]] = {
    "weights per channel": ("--weightQuantBits", "8"),
    "weights in blocks of 32": ("--weightQuantBits", "8", "--weightQuantBlock", "32"),
}
"""Options of the converter by the name of a candidate in int8."""

OPTIONS: Mapping[str, tuple[str, ...]] = {"fp32": (), "fp16": ("--fp16",)}


@dataclass(frozen=True, kw_only=True)
class MnnCandidate:
    """A network as an MNN file that is not yet proven.

    Attributes:
        content: The file.
        source: The ONNX graph that it was made of; tensors keep their names.
        card: Card of the plan.
    """

    content: bytes
    source: OnnxCandidate
    card: ModelCard

    def write(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the file, and its metadata beside it."""
        path.write_bytes(self.content)
        write_metadata(path, metadata)

    def first_diverging(self, path: Path, batch: Batch) -> str:
        """Return a description of the first layer whose output is not PyTorch's."""
        program, network = self.source.program, self.source.network
        if program is None or network is None:
            return UNKNOWN_LAYER
        return first_diverging(
            compute_tensors(path, self.card, CapturedProgram(program), batch),
            program,
            network=network,
            batch=batch,
            precision=self.card.precision,
        )


def convert(plan: ExportPlan) -> MnnCandidate:
    """Convert the network of a plan to MNN, by way of ONNX.

    Raises:
        ExportError: PyTorch cannot capture it, or ONNX or MNN has no operators for it.
    """
    return from_onnx(_source(plan), plan.card, options=OPTIONS[plan.card.precision])


def _source(plan: ExportPlan) -> OnnxCandidate:
    card = structs.replace(plan.card, precision="fp32")
    return to_onnx(plan.network, card, opset=plan.config.opset)


def from_onnx(source: OnnxCandidate, card: ModelCard, *, options: Sequence[str]) -> MnnCandidate:
    """Convert a network that was converted to ONNX.

    Args:
        source: The network in float32.
        card: Card of the file.
        options: Options of the converter.

    Raises:
        ExportError: MNN has no operators for it.
    """
    with temporary_folder() as folder:
        graph, target = folder / "network.onnx", folder / "network.mnn"
        graph.write_bytes(source.model.SerializeToString())
        files = ["--modelFile", str(graph), "--MNNModel", str(target)]
        printed = _run(["-f", "ONNX", *files, "--bizCode", "segdeploy", *options])
        if not target.is_file():
            # The line names the operators, or what the converter failed at.
            lines = [
                line for line in printed.splitlines() if "Not Support" in line or "rror" in line
            ]
            reason = " ".join(" ".join(lines).split())[:300] or "its converter wrote no file"
            msg = f"{card.architecture} cannot be converted to MNN: {reason}; choose --format onnx"
            raise ExportError(msg)
        return MnnCandidate(content=target.read_bytes(), source=source, card=card)


def _run(arguments: Sequence[str]) -> str:
    """Run MNN's converter in a process of its own, and return what it printed."""
    done = subprocess.run(  # noqa: S603 - this Python and arguments of ours
        [*PYTHON, "-c", CONVERT, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        errors="replace",
    )
    return done.stdout


def compute_tensors(
    path: Path, card: ModelCard, captured: CapturedProgram, batch: Batch
) -> FileTensors:
    """Return every tensor of a file that the captured program has too.

    Args:
        path: The file.
        card: Its card.
        captured: The program that PyTorch captured of the network.
        batch: (1, H, W, C), as the card says.
    """
    with temporary_folder() as folder:
        listing = folder / "network.json"
        _run(["-f", "MNN", "--modelFile", str(path), "--JsonFile", str(listing)])
        present = json.loads(listing.read_text(encoding="utf-8", errors="replace"))["tensorName"]
    names = {node.name: node.name for node in captured.nodes if node.name in present}
    # The output has a name of its own in the file.
    names[captured.outputs[0]] = card.output
    tensors = MnnBackend(path, card, threads=1).compute(list(names.values()), batch)
    return FileTensors(
        values=dict(zip(names, tensors, strict=True)),
        operators={name: f"MNN's operator that computes {own!r}" for name, own in names.items()},
    )


def search(plan: ExportPlan, on_step: Callable[[str], None]) -> "MnnSearch":
    """Return the search for the best int8 file of a plan.

    Raises:
        ExportError: The network cannot be converted.
    """
    return MnnSearch(_source(plan), plan.card, CandidateEvaluator(plan, on_step))


class MnnSearch:
    """Files with weights in int8, tried one after the other while it is iterated over.

    Attributes:
        tried: What was measured of the candidates so far.
    """

    def __init__(
        self, source: OnnxCandidate, card: ModelCard, evaluator: CandidateEvaluator
    ) -> None:
        """Prepare the search.

        Args:
            source: The network in float32.
            card: Card of the file; its precision is int8.
            evaluator: Measures the candidates.
        """
        self.tried = evaluator.tried
        self._source = source
        self._card = card
        self._evaluator = evaluator

    def __iter__(self) -> Iterator[tuple[MnnCandidate, Int8Candidate]]:
        """Return the candidates that pass on some of the images, the fastest first."""
        with temporary_folder() as folder:
            float_file = from_onnx(
                self._source, structs.replace(self._card, precision="fp32"), options=()
            )
            float_backend = _open(folder / "float.mnn", float_file)
            reference = CachedBackend(float_backend)
            made: dict[Int8Candidate, MnnCandidate] = {}
            for name, options in INT8_WEIGHTS.items():
                candidate = from_onnx(self._source, self._card, options=options)
                path = folder / f"{len(made)}.mnn"
                measured = self._evaluator.evaluate(
                    name,
                    _open(path, candidate),
                    float_backend=float_backend,
                    reference=reference,
                    size=len(candidate.content),
                    conversion={"quantized": name, "made_by": f"MNN {version('MNN')}"},
                )
                made[measured] = candidate
            for measured in rank_passed(made):
                yield made[measured], measured


def _open(path: Path, candidate: MnnCandidate) -> Backend:
    """Write a file, and load it."""
    candidate.write(path, {CARD_KEY: candidate.card.to_json()})
    return KINDS[".mnn"].load(path, RuntimeOptions(device="cpu", probe=False))
