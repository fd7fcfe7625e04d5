"""OpenVINO files (IR): a graph in XML, and its weights beside it."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import openvino

from segdeploy.arrays import Batch
from segdeploy.backends.base import INPUT
from segdeploy.backends.openvino_metadata import weights_of
from segdeploy.system.files import PART, cannot_write, temporary_folder

from .divergence import CapturedProgram, FileTensors, first_diverging
from .onnx_format import UNKNOWN_LAYER, OnnxCandidate, to_onnx
from .plan import ExportPlan


@dataclass(frozen=True, kw_only=True)
class OpenVinoCandidate:
    """A network as an OpenVINO graph that is not yet proven.

    Attributes:
        model: The graph and its weights.
        source: The ONNX graph that it was read from; tensors keep their names.
        precision: Precision that the file computes in.
    """

    model: openvino.Model
    source: OnnxCandidate
    precision: str

    def write(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the file and its weights, with the metadata in it.

        Raises:
            OutputError: OpenVINO cannot write them.
        """
        for key, text in metadata.items():
            self.model.set_rt_info(text, key.split("."))
        # OpenVINO requires the ending .xml, which the file gets only once it is proven.
        with temporary_folder(path.parent) as folder:
            written = folder / "model.xml"
            try:
                openvino.save_model(self.model, written, compress_to_fp16=self.precision == "fp16")
            # OpenVINO raises it for a full disk, as for anything else.
            except RuntimeError as error:
                reason = " ".join(str(error).split())[:200]
                target = path.with_name(path.name.removesuffix(PART))
                raise cannot_write(target, f"OpenVINO says only {reason!r}") from error
            shutil.move(written.with_suffix(".bin"), weights_of(path))
            shutil.move(written, path)

    def first_diverging(self, path: Path, batch: Batch) -> str:
        """Return a description of the first layer whose output is not PyTorch's."""
        program, network = self.source.program, self.source.network
        if program is None or network is None:
            return UNKNOWN_LAYER
        return first_diverging(
            compute_tensors(path, CapturedProgram(program), batch),
            program,
            network=network,
            batch=batch,
            precision=self.precision,
        )


def convert(plan: ExportPlan) -> OpenVinoCandidate:
    """Convert the network of a plan to OpenVINO, by way of ONNX.

    Raises:
        ExportError: PyTorch cannot capture it, or ONNX has no operators for it.
    """
    source = to_onnx(plan.network, plan.card, opset=plan.config.opset)
    return from_onnx(source, precision=plan.card.precision)


def from_onnx(source: OnnxCandidate, *, precision: str) -> OpenVinoCandidate:
    """Read a network that was converted to ONNX.

    Args:
        source: The network in float32.
        precision: "fp32"; "bf16", which is the same graph with a hint to the runtime; or "fp16",
            whose weights take half the bytes.
    """
    model = openvino.Core().read_model(source.model.SerializeToString())
    return OpenVinoCandidate(model=model, source=source, precision=precision)


def compute_tensors(path: Path, captured: CapturedProgram, batch: Batch) -> FileTensors:
    """Return every tensor of a file that the captured program has too.

    Args:
        path: The file.
        captured: The program that PyTorch captured of the network.
        batch: (N, H, W, 3) uint8.
    """
    core = openvino.Core()
    model = core.read_model(model=path.read_bytes(), weights=weights_of(path).read_bytes())
    ports = {
        name: port
        for node in model.get_ordered_ops()
        for port in node.outputs()
        for name in port.get_names()
    }
    # The outputs have names of their own in the file.
    own = dict(zip(captured.outputs, (port.get_any_name() for port in model.outputs), strict=True))
    names = {node.name: own.get(node.name, node.name) for node in captured.nodes}
    common = {name: ports[value] for name, value in names.items() if value in ports}
    for port in common.values():
        model.add_outputs(port)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs = compiled({INPUT: batch})
    return FileTensors(
        values={name: outputs[names[name]] for name in common},
        operators={
            name: f"the {port.get_node().get_type_name()} that computes {names[name]!r}"
            for name, port in common.items()
        },
    )
