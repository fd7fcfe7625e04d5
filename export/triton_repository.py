"""Model repositories of NVIDIA's Triton Inference Server.

A folder with the ONNX file, its configuration, and the classes' names. The formats are those of
https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_repository.md and
of model_config.proto.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from segdeploy.backends.base import CONFIDENCE, INPUT
from segdeploy.card import ModelCard
from segdeploy.errors import OutputError
from segdeploy.system.files import PART, cannot_write

from .plan import ExportPlan

SIGNATURE = "# Written by segdeploy."
CONFIG_FILE = "config.pbtxt"

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
        signature=SIGNATURE,
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
    with _replacing_folder(repository / name) as part:
        (part / "1").mkdir()
        config = configuration(plan.card, name=name, repository=repository, device=device)
        (part / CONFIG_FILE).write_text(config)
        (part / "labels.txt").write_text("".join(f"{label.name}\n" for label in plan.card.classes))
        yield part


@contextmanager
def _replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder beside a model's, and rename it to that when the block ends.

    Args:
        path: Folder of the model, within its repository, which is created if it is missing.

    Raises:
        OutputError: The folder cannot be written, or is not one that an export wrote.
    """
    repository = path.parent
    part, old = path.with_name(f".{path.name}{PART}"), path.with_name(f".{path.name}.old")
    if repository.is_file():
        msg = f"{repository} is a file; choose another name for the folder"
        raise OutputError(msg)
    if path.exists() and not _is_ours(path):
        msg = f"{path} exists, and segdeploy did not write it; choose another name for the folder"
        raise OutputError(msg)
    is_new = not repository.exists()
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        yield part
        if path.exists():
            path.rename(old)
        part.rename(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        if is_new and not path.exists():
            with suppress(OSError):
                repository.rmdir()


def _is_ours(model: Path) -> bool:
    """Return whether an export wrote the folder of a model, so that another may replace it."""
    try:
        return (model / CONFIG_FILE).read_text(errors="replace").startswith(SIGNATURE)
    except OSError:
        return False
