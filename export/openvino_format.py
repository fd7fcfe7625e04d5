"""A network as an OpenVINO file (IR): a graph in XML, and its weights beside it."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import openvino

from segdeploy.arrays import Batch
from segdeploy.backends.openvino_metadata import weights_of
from segdeploy.backends.openvino_runtime import INPUT
from segdeploy.errors import OutputError
from segdeploy.system.files import PART

from .divergence import Captured, Found, first_diverging
from .onnx_format import OnnxCandidate


@dataclass(frozen=True, kw_only=True)
class OpenVinoCandidate:
    """A converted network that is not yet proven.

    Attributes:
        model: The graph and its weights.
        source: The ONNX graph that it was read from; values keep their names.
        precision: Kind of numbers that the file computes with.
    """

    model: openvino.Model
    source: OnnxCandidate
    precision: str

    def write(self, path: Path, texts: Mapping[str, str]) -> None:
        """Write the file and its weights, and the texts that it shall carry, by their keys.

        Raises:
            OutputError: OpenVINO cannot write them.
        """
        for key, text in texts.items():
            self.model.set_rt_info(text, key.split("."))
        # OpenVINO insists on the ending .xml, which the file gets only once it is proven.
        with TemporaryDirectory(prefix="segdeploy-", dir=path.parent) as folder:
            written = Path(folder) / "model.xml"
            try:
                openvino.save_model(self.model, written, compress_to_fp16=self.precision == "fp16")
            # Its own word for a full disk, as for all else.
            except RuntimeError as error:
                reason = " ".join(str(error).split())[:200]
                target = path.with_name(path.name.removesuffix(PART))
                msg = (
                    f"cannot write {target}: OpenVINO says {reason!r} only; free some space or"
                    " choose another folder"
                )
                raise OutputError(msg) from error
            shutil.move(written.with_suffix(".bin"), weights_of(path))
            shutil.move(written, path)

    def first_diverging(self, path: Path, batch: Batch) -> str:
        """Name the first layer of a written file that answers a batch otherwise than PyTorch."""
        found = find_values(path, Captured(self.source.program), batch)
        return first_diverging(
            found,
            self.source.program,
            network=self.source.network,
            batch=batch,
            precision=self.precision,
        )


def from_onnx(source: OnnxCandidate, *, precision: str) -> OpenVinoCandidate:
    """Read a network that was converted to ONNX.

    Args:
        source: The network in float32.
        precision: Kind of numbers that the file shall compute with: "fp32", "bf16" (the same file,
            with another wish to the runtime), or "fp16" (weights take half the bytes).
    """
    model = openvino.Core().read_model(source.model.SerializeToString())
    return OpenVinoCandidate(model=model, source=source, precision=precision)


def find_values(path: Path, captured: Captured, batch: Batch) -> Found:
    """Answer a batch with every value of a file that PyTorch's capture has too."""
    core = openvino.Core()
    model = core.read_model(model=path.read_bytes(), weights=weights_of(path).read_bytes())
    known = {
        name: port
        for node in model.get_ordered_ops()
        for port in node.outputs()
        for name in port.get_names()
    }
    own = dict(zip(captured.answers, (port.get_any_name() for port in model.outputs), strict=True))
    names = {node.name: own.get(node.name, node.name) for node in captured.nodes}
    there = {name: known[value] for name, value in names.items() if value in known}
    for port in there.values():
        model.add_outputs(port)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answers = compiled({INPUT: batch})
    return Found(
        values={name: answers[names[name]] for name in there},
        makers={
            name: f"the {port.get_node().get_type_name()} that makes {names[name]!r}"
            for name, port in there.items()
        },
        layers={},
    )
