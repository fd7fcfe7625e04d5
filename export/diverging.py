"""Where an ONNX file first leaves the network that it was made from."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from segdeploy.backends.onnx_runtime import INPUT, OUTPUT
from segdeploy.pixels import Batch

TOLERANCE = 1e-3
"""Largest difference within a value, as a share of its largest number; float32 alone stays under a hundredth of it."""


def first_diverging(model: onnx.ModelProto, program: ExportedProgram, *, network: nn.Module, batch: Batch) -> str:
    """Name the first layer whose values differ, in the order of execution.

    Args:
        model: The file.
        program: What PyTorch captured of the network; its values have the file's names.
        network: The network itself.
        batch: Pictures on which the file and the network differ, (N, H, W, 3) uint8.

    Returns:
        The torch module and the operation, in words.
    """
    captured = _Captured(program)
    image = torch.from_numpy(batch)
    makers = _makers(model, captured.nodes)
    found = _values(model, makers, batch)
    modules = _outputs(network, image)
    for node, value in captured.values(image):
        module = module_of(node)
        if node.name in found and differs(found[node.name], value.numpy()):
            return _in_words(makers[node.name], module)
        if node is captured.last_of(module) and module in modules and differs(value.numpy(), modules[module].numpy()):
            return f"{module} (torch.export itself captured it otherwise than it runs)"
    return "none: every layer alone agrees"


def _in_words(maker: onnx.NodeProto, module: str) -> str:
    """Name a layer by its weight where it has one: batch norms are folded into convolutions, and the name of the weight is left."""
    weighted = [name.rpartition(".")[0] for name in maker.input if name.endswith((".weight", ".bias"))]
    layer = next(iter(weighted), module) or "the preparation of the picture"
    return f"{layer} (the {maker.op_type} that makes {maker.output[0]!r})"


class _Captured(fx.Interpreter):
    """A captured program, run value by value."""

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__(program.graph_module)
        held = {**program.state_dict, **program.constants}
        self._held = [held[spec.target] for spec in program.graph_signature.input_specs if spec.target is not None]
        self._graph = program.graph_module.graph
        self.nodes = [node for node in self._graph.nodes if node.op == "call_function"]
        self._last = {module_of(node): node for node in self.nodes}

    def last_of(self, module: str) -> fx.Node | None:
        """Give the last node of a module, whose value is the module's answer."""
        return self._last.get(module)

    def values(self, image: Tensor) -> Iterator[tuple[fx.Node, Tensor]]:
        """Run the program on pictures and give each of its tensors as soon as it is known."""
        inputs = iter((*self._held, image))
        with torch.no_grad():
            for node in self._graph.nodes:
                if node.op == "output":
                    return
                self.env[node] = next(inputs) if node.op == "placeholder" else self.run_node(node)
                for spent in self.user_to_last_uses.get(node, []):
                    del self.env[spent]
                if node.op == "call_function" and isinstance(self.env.get(node), Tensor):
                    yield node, self.env[node]


def module_of(node: fx.Node) -> str:
    """Give the dotted name of the torch module that a node comes from; "" for the outermost."""
    stack: Mapping[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
    return next((path for path, _ in reversed(list(stack.values()))), "")


def differs(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> bool:
    """Tell whether two values differ by more than rounding explains."""
    if found.shape != expected.shape:
        return True
    scale = np.abs(expected, dtype=np.float64).max(initial=0.0)
    # Not "greater": a value that is no number must count as different.
    return not np.abs(found.astype(np.float64) - expected).max(initial=0.0) <= TOLERANCE * scale + 1e-12


def _makers(model: onnx.ModelProto, nodes: Sequence[fx.Node]) -> Mapping[str, onnx.NodeProto]:
    """Give the node of the file that makes the value of a node of the program, by the latter's name."""
    made = {name: node for node in model.graph.node for name in node.output}
    # The file gives its answer a name of its own.
    made[nodes[-1].name] = made[OUTPUT]
    return {node.name: made[node.name] for node in nodes if node.name in made}


def _values(model: onnx.ModelProto, makers: Mapping[str, onnx.NodeProto], batch: Batch) -> Mapping[str, npt.NDArray[Any]]:
    """Answer a batch with all these values of a file."""
    names = {name: OUTPUT if OUTPUT in maker.output else name for name, maker in makers.items()}
    open_model = onnx.ModelProto()
    open_model.CopyFrom(model)
    del open_model.graph.output[:]
    for value in names.values():
        open_model.graph.output.add(name=value)
    session = onnxruntime.InferenceSession(open_model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(None, {INPUT: batch}), strict=True))


def _outputs(network: nn.Module, image: Tensor) -> Mapping[str, Tensor]:
    """Give the answer of every innermost module that is called once."""
    seen: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Any:  # noqa: ANN401 - a hook's arguments are torch's
        return lambda _module, _inputs, answer: seen.setdefault(name, []).append(answer.clone())

    leaves = [(name, module) for name, module in network.named_modules() if not any(module.children())]
    handles = [module.register_forward_hook(keep(name)) for name, module in leaves]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    return {name: answers[0] for name, answers in seen.items() if len(answers) == 1}
