"""Search for the first layer at which a file differs from the network behind it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from segdeploy.arrays import Batch

TOLERANCES = {"fp32": 1e-3, "fp16": 0.02, "bf16": 0.1, "int8": 0.3}
"""Largest difference in a tensor, as a share of its largest number, by the file's precision;
rounding in float32 stays below a hundredth of it."""


@dataclass(frozen=True, kw_only=True)
class FileTensors:
    """Tensors that a file computes for a batch, by the names of the captured program.

    Attributes:
        values: The tensors; those that the file does not have are missing.
        operators: Description of the file's operator that computes each.
        layers: The layer of each, where the file knows it better than the captured program.
    """

    values: Mapping[str, npt.NDArray[Any]]
    operators: Mapping[str, str]
    layers: Mapping[str, str] = field(default_factory=dict)


def first_diverging(
    tensors: FileTensors,
    program: ExportedProgram,
    *,
    network: nn.Module,
    batch: Batch,
    precision: str,
) -> str:
    """Return a description of the first layer whose output differs, in the order of execution.

    Args:
        tensors: What the file computes for the batch.
        program: The program that PyTorch captured of the network.
        network: The network itself.
        batch: Images on which the file and the network differ, (N, H, W, 3) uint8.
        precision: Precision that the file computes in.

    Returns:
        The PyTorch module and the operator; or that no layer differs.
    """
    captured = CapturedProgram(program)
    image = torch.from_numpy(batch)
    modules, output = _run_modules(network, image)
    tolerance = TOLERANCES[precision]
    agrees = True
    for node, value in captured.values(image):
        if node.name == captured.outputs[0]:
            agrees = _outputs_agree(value, output, tolerance=tolerance)
        module = module_of(node)
        if node.name in tensors.values and differs(
            tensors.values[node.name], value.numpy(), tolerance=tolerance
        ):
            layer = tensors.layers.get(node.name) or module or "the preprocessing of the image"
            return f"{layer} ({tensors.operators[node.name]})"
        if (
            node is captured.last_of(module)
            and module in modules
            and differs(value.numpy(), modules[module].numpy(), tolerance=tolerance)
        ):
            return f"{module} (torch.export captured it differently)"
    if agrees:
        return "none, the output of every layer agrees"
    return (
        "none, the layers agree and the difference arises in a forward around them (torch.export"
        " captured it differently)"
    )


class CapturedProgram(fx.Interpreter):
    """A captured program that is run node by node.

    Attributes:
        outputs: Names of the program's outputs.
        nodes: Its nodes that call an operator, in the order of execution.
    """

    def __init__(self, program: ExportedProgram) -> None:
        """Prepare a program.

        Args:
            program: What PyTorch captured of a network whose only input is a batch of images.
        """
        super().__init__(program.graph_module)
        stored = {**program.state_dict, **program.constants}
        self._stored = [
            stored[spec.target]
            for spec in program.graph_signature.input_specs
            if spec.target is not None
        ]
        self._graph = program.graph_module.graph
        self.outputs = program.graph_signature.user_outputs
        self.nodes = [node for node in self._graph.nodes if node.op == "call_function"]
        self._last = {module_of(node): node for node in self.nodes}

    def last_of(self, module: str) -> fx.Node | None:
        """Return the last node of a module, which computes the module's output."""
        return self._last.get(module)

    def values(self, image: Tensor) -> Iterator[tuple[fx.Node, Tensor]]:
        """Run the program on images, and yield each tensor with its node as it is computed."""
        inputs = iter((*self._stored, image))
        with torch.no_grad():
            for node in self._graph.nodes:
                if node.op == "output":
                    return
                self.env[node] = next(inputs) if node.op == "placeholder" else self.run_node(node)
                for unused in self.user_to_last_uses.get(node, []):
                    del self.env[unused]
                if node.op == "call_function" and isinstance(self.env.get(node), Tensor):
                    yield node, self.env[node]


def module_of(node: fx.Node) -> str:
    """Return the dotted name of the PyTorch module that a node comes from; "" for the outermost."""
    stack: Mapping[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
    return next((path for path, _ in reversed(list(stack.values()))), "")


def differs(
    values: npt.NDArray[Any], expected: npt.NDArray[Any], *, tolerance: float = TOLERANCES["fp32"]
) -> bool:
    """Return whether two tensors differ by more than a share of the largest expected number."""
    if values.shape != expected.shape:
        return True
    scale = np.abs(expected, dtype=np.float64).max(initial=0.0)
    difference = np.abs(values.astype(np.float64) - expected).max(initial=0.0)
    # With ">" a NaN would count as equal.
    return not difference <= tolerance * scale + 1e-12


def _outputs_agree(captured: Tensor, output: Tensor, *, tolerance: float) -> bool:
    """Return whether a captured program returns what the network returns.

    Classes may differ where two logits are nearly equal.
    """
    if output.is_floating_point():
        return not differs(captured.numpy(), output.numpy(), tolerance=tolerance)
    return (
        captured.shape == output.shape and float((captured != output).float().mean()) <= tolerance
    )


def _run_modules(network: nn.Module, image: Tensor) -> tuple[Mapping[str, Tensor], Tensor]:
    """Return the output of every innermost module that runs once, and of the network."""
    outputs: dict[str, list[Tensor]] = {}

    def record(name: str) -> Any:  # noqa: ANN401 - a hook's arguments are PyTorch's
        return lambda _module, _inputs, output: outputs.setdefault(name, []).append(output.clone())

    innermost = [
        (name, module) for name, module in network.named_modules() if not any(module.children())
    ]
    handles = [module.register_forward_hook(record(name)) for name, module in innermost]
    try:
        with torch.no_grad():
            whole = network(image)
    finally:
        for handle in handles:
            handle.remove()
    once = {name: values[0] for name, values in outputs.items() if len(values) == 1}
    return once, whole if isinstance(whole, Tensor) else whole[0]
