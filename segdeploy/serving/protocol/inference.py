"""Inference as the protocol means it: a batch in, named outputs out; the same for REST and gRPC."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec import structs

from segdeploy.arrays import Batch, Mask, NetworkOutput
from segdeploy.card import ModelCard
from segdeploy.errors import RequestError
from segdeploy.imaging.postprocess import output_to_mask
from segdeploy.serving.engine.models import VERSION, ModelStore, ServedModel
from segdeploy.serving.engine.scheduler import Work
from segdeploy.serving.protocol.tensors import MASK, Array, outputs_of

EXTENSIONS = ("binary_tensor_data", "model_repository")
"""Extensions of the protocol that the server has, by Triton's names."""


def find_model(models: ModelStore, name: str, version: str = "") -> ServedModel:
    """Return the model of a request.

    Raises:
        RequestError: There is no such model, or no such version of it.
    """
    model = models.get(name)
    if version not in ("", VERSION):
        msg = f"the model {name} has no version {version[:64]!r}; its only one is {VERSION}"
        raise RequestError(msg, status=404)
    return model


def infer(
    model: ServedModel, batch: Batch, outputs: Sequence[str]
) -> Callable[[Work], Mapping[str, Array]]:
    """Return the job that runs a model on a batch.

    Args:
        model: The model.
        batch: (N, H, W, 3) uint8, RGB.
        outputs: Names of the wanted outputs; all where there are none.

    Raises:
        RequestError: The model has no such output.
    """
    known = [info.name for info in outputs_of(model.card)]
    if unknown := [name for name in outputs if name not in known]:
        msg = f"the model {model.name} has no output {unknown[0][:64]!r}, only {', '.join(known)}"
        raise RequestError(msg, status=400)
    wanted = list(dict.fromkeys(outputs)) or known

    def do(work: Work) -> Mapping[str, Array]:
        output = model.run(batch, work)
        found: dict[str, Array] = {model.card.output: output}
        if MASK in wanted:
            with work.stage("mask"):
                found[MASK] = masks(output, model.card, size=(batch.shape[1], batch.shape[2]))
        return {name: found[name] for name in wanted}

    return do


def masks(output: NetworkOutput, card: ModelCard, *, size: tuple[int, int]) -> Mask:
    """Return the masks of a batch, (N, H, W), each of the size of the network's input."""
    height, width = size
    spec = structs.replace(card.input, height=height, width=width)
    return np.stack(
        [
            output_to_mask(output[index : index + 1], spec, height=height, width=width)
            for index in range(len(output))
        ]
    )
