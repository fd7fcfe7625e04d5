"""Model repositories of NVIDIA's Triton Inference Server.

A folder with the ONNX file, its configuration, and the classes' names. The formats are those of
https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_repository.md and
of model_config.proto.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from segdeploy.backends.base import CONFIDENCE, INPUT
from segdeploy.card import ModelCard

from .folder import Signature, replacing_folder
from .plan import ExportPlan

CONFIG_FILE = "config.pbtxt"
SIGNATURE = Signature(file=CONFIG_FILE, text="# Written by segdeploy.")

CONFIG = """\
{signature} Serve it with: tritonserver --model-repository={repository}
name: "{name}"
backend: "onnxruntime"
max_batch_size: {max_batch_size}
input [
  {{ name: "{image}" data_type: TYPE_UINT8 dims: [ {sides}, 3 ] }}
]
output [
  {outputs}
]
dynamic_batching {{ preferred_batch_size: [ {preferred} ] max_queue_delay_microseconds: {delay} }}
instance_group [ {{ kind: {kind} count: {instances} }} ]
"""


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How Triton uses a kind of device.

    Attributes:
        kind: Triton's name of it.
        instances: Copies of the network that run at the same time.
        max_batch_size: Largest number of images in a batch.
        preferred: Batch sizes that Triton waits for.
        delay: How long it waits for them, in microseconds.
    """

    kind: str
    instances: int
    max_batch_size: int
    preferred: tuple[int, ...]
    delay: int


SERVING = {
    # One image keeps all cores busy, so that waiting for a second one gains nothing.
    "cpu": Serving(kind="KIND_CPU", instances=1, max_batch_size=4, preferred=(2, 4), delay=0),
    # Two copies: one computes while the other's images are copied.
    "cuda": Serving(
        kind="KIND_GPU", instances=2, max_batch_size=16, preferred=(4, 8, 16), delay=2000
    ),
}


def configuration(card: ModelCard, *, name: str, repository: Path, device: str) -> str:
    """Return config.pbtxt: tensors, dynamic batching and instances.

    Args:
        card: Card of the ONNX file.
        name: Name of the model, as clients call it.
        repository: The folder that Triton is started with.
        device: "cpu" or "cuda".
    """
    spec, serving = card.input, SERVING[device]
    sides = "-1, -1" if spec.dynamic else f"{spec.height}, {spec.width}"
    kind, dims = "TYPE_UINT8", sides
    if card.output != "classes":
        kind, dims = "TYPE_FP32", f"{len(card.classes)}, {sides}"
    labels = 'label_filename: "labels.txt"'
    outputs = [f'{{ name: "{card.output}" data_type: {kind} dims: [ {dims} ] {labels} }}']
    if card.confidence:
        outputs.append(f'{{ name: "{CONFIDENCE}" data_type: TYPE_UINT8 dims: [ {sides} ] }}')
    return CONFIG.format(
        signature=SIGNATURE.text,
        repository=repository.name,
        name=name,
        image=INPUT,
        sides=sides,
        outputs=",\n  ".join(outputs),
        max_batch_size=serving.max_batch_size,
        preferred=", ".join(map(str, serving.preferred)),
        delay=serving.delay,
        kind=serving.kind,
        instances=serving.instances,
    )


@contextmanager
def replacing_model(repository: Path, plan: ExportPlan) -> Iterator[Path]:
    """Yield a temporary folder that becomes a model of the repository when the block ends.

    The folder holds all but `1/model.onnx`. When the block fails, it is removed, and all is as it
    was. Other models of the repository stay: it may be the one that a running server uses.

    Args:
        repository: The folder that Triton is started with; its name becomes the model's.
        plan: The card of the ONNX file, and the device of the server.

    Raises:
        OutputError: It cannot be written, or holds a model of that name that no export wrote.
    """
    # The name becomes a part of URLs.
    name = re.sub(r"[^\w.-]", "-", repository.stem)
    device = plan.config.serve_on
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    with replacing_folder(repository / name, SIGNATURE) as part:
        (part / "1").mkdir()
        config = configuration(plan.card, name=name, repository=repository, device=device)
        (part / CONFIG_FILE).write_text(config, encoding="utf-8")
        (part / "labels.txt").write_text(
            "".join(f"{label.name}\n" for label in plan.card.classes), encoding="utf-8"
        )
        yield part
