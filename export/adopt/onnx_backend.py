"""An ONNX file of another project as its authors run it: images are normalized outside of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import structs
from onnx import numpy_helper

from segdeploy.arrays import Batch, Image, Mask, NetworkOutput
from segdeploy.backends.onnx_session import FAILURES
from segdeploy.card import InputSpec, ModelCard
from segdeploy.errors import ModelError

from .answers import Answers, Raw
from .convention import Moments
from .onnx_file import INPUT_TYPES, ExternalModel, open_session
from .onnx_wrapper import nearest


class ExternalNetwork:
    """A loaded ONNX file that takes one image at a time."""

    def __init__(self, external: ExternalModel) -> None:
        """Load the file.

        Raises:
            ModelError: ONNX Runtime does not run it.
        """
        self.external = external
        self._session = open_session(external.model, external.path)

    def run(self, image: Image, spec: InputSpec) -> Raw:
        """Return the output for one image, as it is.

        Args:
            image: (H, W, 3) uint8 RGB.
            spec: The convention.

        Raises:
            ModelError: The file fails on it.
        """
        external, (height, width) = self.external, image.shape[:2]
        outputs = [external.output_name]
        try:
            raw = self._session.run(outputs, {external.input_name: self._input(image, spec)})[0]
        except FAILURES as error:
            reason = " ".join(str(error).split())[:200]
            remedy = (
                "choose another --stride, or leave out --dynamic"
                if spec.dynamic
                else "choose another --imgsz"
            )
            msg = f"{external.path} fails on an image of {height}x{width} ({reason}); {remedy}"
            raise ModelError(msg) from error
        return np.asarray(raw)

    def _input(self, image: Image, spec: InputSpec) -> npt.NDArray[np.generic]:
        dtype = INPUT_TYPES[self.external.element]
        values: npt.NDArray[np.generic] = image
        if dtype is not np.uint8:
            values = (image / 255 - np.array(spec.mean)) / np.array(spec.std)
        ordered = values[..., ::-1] if spec.bgr else values
        axes = (2, 0, 1) if self.external.layout == "NCHW" else (0, 1, 2)
        return np.ascontiguousarray(ordered.transpose(axes)[None].astype(dtype))

    def norm_moments(
        self, batches: Sequence[Batch], specs: Sequence[InputSpec]
    ) -> list[list[tuple[Moments, Moments]]]:
        """Return for each convention what the batch norms of the graph see, and have stored.

        Args:
            batches: A few images, each (1, H, W, 3) uint8 RGB.
            specs: The conventions.

        Returns:
            Nothing for a graph whose norms were merged into its convolutions.
        """
        stored = _stored_norms(self.external)
        if not stored:
            return []
        session = open_session(self.external.model, self.external.path, outputs=list(stored))
        result = []
        for spec in specs:
            seen: dict[str, list[Raw]] = {name: [] for name in stored}
            for batch in batches:
                feed = {self.external.input_name: self._input(batch[0], spec)}
                for name, value in zip(stored, session.run(list(stored), feed), strict=True):
                    seen[name].append(np.asarray(value, np.float32))
            result.append([(_moments(seen[name]), moments) for name, moments in stored.items()])
        return result


def _stored_norms(external: ExternalModel) -> dict[str, Moments]:
    """Return mean and variance of each batch norm by the name of its input."""
    graph = external.model.graph
    weights = {
        tensor.name: tensor for tensor in graph.initializer if tensor.data_type in INPUT_TYPES
    }
    produced = {name for node in graph.node for name in node.output}
    stored = {}
    for node in graph.node:
        if node.op_type == "BatchNormalization" and node.input[0] in produced:
            mean, variance = node.input[3:5]
            if mean in weights and variance in weights:
                stored[node.input[0]] = (
                    numpy_helper.to_array(weights[mean]),
                    numpy_helper.to_array(weights[variance]),
                )
    return stored


def _moments(values: Sequence[Raw]) -> Moments:
    """Return mean and variance of each channel over some (1, C, h, w) activations."""
    flat = np.concatenate([value[0].reshape(value.shape[1], -1) for value in values], axis=1)
    return flat.mean(1), flat.var(1)


class OriginalBackend:
    """An external file with our interface, for the card of the new file.

    Attributes:
        card: The card.
        device: Runtime and device, for reports.
    """

    device = "onnxruntime, normalized by numpy"

    def __init__(self, network: ExternalNetwork, card: ModelCard, answers: Answers) -> None:
        """Wrap a loaded file.

        Args:
            network: The file.
            card: Its card.
            answers: What it returns.
        """
        self.card = card
        self._network = network
        self._answers = answers

    def run(self, batch: Batch) -> NetworkOutput:
        """Return for (N, H, W, 3) uint8 RGB images what the adopted file must return.

        Raises:
            ModelError: The file fails on them, or returns classes that have no name.
        """
        height, width = batch.shape[1:3]
        spec = structs.replace(self.card.input, height=height, width=width)
        outputs: list[npt.NDArray[Any]] = [self._run(image, spec) for image in batch]
        return np.stack(outputs)

    def _run(self, image: Image, spec: InputSpec) -> NetworkOutput:
        planes = self._answers.layout.planes(self._network.run(image, spec))
        if self._answers.kind != "classes":
            return self._answers.scores(planes)
        lowest, highest = planes.min(), planes.max()
        if lowest < 0 or highest >= len(self.card.classes):
            msg = (
                f"{self._network.external.path} returns {lowest:g} to {highest:g}, and --classes"
                f" names 0 to {len(self.card.classes) - 1}; name all"
            )
            raise ModelError(msg)
        rows, columns = (
            nearest(side, target)
            for side, target in zip(planes.shape[1:], (spec.height, spec.width), strict=True)
        )
        classes: Mask = planes[0][rows][:, columns].astype(np.uint8)
        return classes
