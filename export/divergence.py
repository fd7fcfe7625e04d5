"""Where a file first leaves the network that it was made from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from segdeploy.arrays import Batch

TOLERANCES = {"fp32": 1e-3, "fp16": 0.02, "bf16": 0.1, "int8": 0.3}
"""Largest difference within a value, as a share of its largest number, by the file's precision;
float32 stays under a hundredth of it."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a file computed on its way to an answer.

    Attributes:
        values: Values by the names that PyTorch gave them when it captured the network; those that
            are not in the file are missing.
        makers: What makes each of them in the file, in words, by the same names.
        layers: Layer of each of them where the file itself knows it better than PyTorch's capture,
            by the same names.
    """

    values: Mapping[str, npt.NDArray[Any]]
    makers: Mapping[str, str]
    layers: Mapping[str, str]


def first_diverging(
    found: Found, program: ExportedProgram, *, network: nn.Module, batch: Batch, precision: str
) -> str:
    """Name the first layer whose values differ, in the order of execution.

    Args:
        found: What the file computed from the batch.
        program: What PyTorch captured of the network.
        network: The network itself.
        batch: Images on which the file and the network differ, (N, H, W, 3) uint8.
        precision: Kind of numbers that the file computes with.

    Returns:
        The torch module and the operation, in words; or that it is none alone.
    """
    captured = Captured(program)
    image = torch.from_numpy(batch)
    modules, answer = _outputs(network, image)
    tolerance = TOLERANCES[precision]
    agrees = True
    for node, value in captured.values(image):
        if node.name == captured.answers[0]:
            agrees = _answers_agree(value, answer, tolerance=tolerance)
        module = module_of(node)
        if node.name in found.values and differs(
            found.values[node.name], value.numpy(), tolerance=tolerance
        ):
            layer = found.layers.get(node.name) or module or "the preparation of the image"
            return f"{layer} ({found.makers[node.name]})"
        if (
            node is captured.last_of(module)
            and module in modules
            and differs(value.numpy(), modules[module].numpy(), tolerance=tolerance)
        ):
            return f"{module} (torch.export itself captured it otherwise than it runs)"
    if agrees:
        return "none, every layer alone agrees"
    return (
        "none, the layers agree and the difference arises in a forward around them (torch.export"
        " captured it otherwise than it runs)"
    )


class Captured(fx.Interpreter):
    """A captured program, run value by value."""

    def __init__(self, program: ExportedProgram) -> None:
        """Prepare a program.

        Args:
            program: What PyTorch captured of a network that takes images alone.
        """
        super().__init__(program.graph_module)
        held = {**program.state_dict, **program.constants}
        self._held = [
            held[spec.target]
            for spec in program.graph_signature.input_specs
            if spec.target is not None
        ]
        self._graph = program.graph_module.graph
        self.answers = program.graph_signature.user_outputs
        self.nodes = [node for node in self._graph.nodes if node.op == "call_function"]
        self._last = {module_of(node): node for node in self.nodes}

    def last_of(self, module: str) -> fx.Node | None:
        """Return the last node of a module, whose value is the module's answer."""
        return self._last.get(module)

    def values(self, image: Tensor) -> Iterator[tuple[fx.Node, Tensor]]:
        """Run the program on images and give each of its tensors as soon as it is known."""
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
    """Return the dotted name of the torch module that a node comes from; "" for the outermost."""
    stack: Mapping[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
    return next((path for path, _ in reversed(list(stack.values()))), "")


def differs(
    found: npt.NDArray[Any], expected: npt.NDArray[Any], *, tolerance: float = TOLERANCES["fp32"]
) -> bool:
    """Return whether two values differ by more than rounding explains, a share of the largest number."""
    if found.shape != expected.shape:
        return True
    scale = np.abs(expected, dtype=np.float64).max(initial=0.0)
    # Not "greater": a value that is no number must count as different.
    return (
        not np.abs(found.astype(np.float64) - expected).max(initial=0.0)
        <= tolerance * scale + 1e-12
    )


def _answers_agree(captured: Tensor, answer: Tensor, *, tolerance: float) -> bool:
    """Return whether a captured program answers as the network does.

    Classes may differ where two are as good as equal.
    """
    if answer.is_floating_point():
        return not differs(captured.numpy(), answer.numpy(), tolerance=tolerance)
    return (
        captured.shape == answer.shape and float((captured != answer).float().mean()) <= tolerance
    )


def _outputs(network: nn.Module, image: Tensor) -> tuple[Mapping[str, Tensor], Tensor]:
    """Return the answer of every innermost module that is called once, and the first answer of the network."""
    seen: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Any:  # noqa: ANN401 - a hook's arguments are torch's
        return lambda _module, _inputs, answer: seen.setdefault(name, []).append(answer.clone())

    leaves = [
        (name, module) for name, module in network.named_modules() if not any(module.children())
    ]
    handles = [module.register_forward_hook(keep(name)) for name, module in leaves]
    try:
        with torch.no_grad():
            whole = network(image)
    finally:
        for handle in handles:
            handle.remove()
    return {name: answers[0] for name, answers in seen.items() if len(answers) == 1}, (
        whole if isinstance(whole, Tensor) else whole[0]
    )
