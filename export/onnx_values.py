"""What an ONNX file computes on its way to an answer, value by value."""

from collections.abc import Mapping, Sequence

import onnx
import onnxruntime
from torch.export import ExportedProgram

from segdeploy.backends.onnx_runtime import INPUT
from segdeploy.pixels import Batch

from .diverging import Captured, Found


def find_values(model: onnx.ModelProto, program: ExportedProgram, batch: Batch) -> Found:
    """Answer a batch with every value of a file that PyTorch's capture has too.

    Args:
        model: The file.
        program: What PyTorch captured of the network; its values have the file's names.
        batch: (N, H, W, 3) uint8.
    """
    makers = _makers(model, Captured(program))
    names = {name: output for name, (_, output) in makers.items()}
    open_model = onnx.ModelProto()
    open_model.CopyFrom(model)
    del open_model.graph.output[:]
    for value in names.values():
        open_model.graph.output.add(name=value)
    session = onnxruntime.InferenceSession(open_model.SerializeToString(), providers=["CPUExecutionProvider"])
    return Found(
        values=dict(zip(names, session.run(None, {INPUT: batch}), strict=True)),
        makers={name: f"the {maker.op_type} that makes {output!r}" for name, (maker, output) in makers.items()},
        layers={name: _layer(maker.input) for name, (maker, _) in makers.items()},
    )


def _layer(inputs: Sequence[str]) -> str:
    """Name a layer by its weight where it has one: batch norms are folded into convolutions, and the name of the weight is left."""
    # A quantized weight stands behind the node that makes numbers of it again.
    plain = [name.removesuffix("_DequantizeLinear_Output").removesuffix("_quantized") for name in inputs]
    return next((name.rpartition(".")[0] for name in plain if name.endswith((".weight", ".bias"))), "")


def _makers(model: onnx.ModelProto, captured: Captured) -> Mapping[str, tuple[onnx.NodeProto, str]]:
    """Give the node of the file that makes a value of the program, and the file's name of it, by the program's name."""
    made = {name: node for node in model.graph.node for name in node.output}
    # The file gives its answers names of its own.
    own = dict(zip(captured.answers, (value.name for value in model.graph.output), strict=True))
    names = {node.name: own.get(node.name, node.name) for node in captured.nodes}
    return {name: (made[output], output) for name, output in names.items() if output in made}
