"""A model repository of NVIDIA's Triton Inference Server.

A folder with the ONNX file, how to serve it, and the classes' names.

Forms:
    https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_repository.md,
    and model_config.proto.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from segdeploy.backends.onnx_runtime import CONFIDENCE, INPUT
from segdeploy.card import ModelCard
from segdeploy.errors import OutputError
from segdeploy.system.files import PART

SIGNATURE = "# Written by segdeploy."
CONFIGURED = "config.pbtxt"

CONFIG = """\
{signature} Serve it with: tritonserver --model-repository={repository}
name: "{name}"
backend: "onnxruntime"
max_batch_size: {most}
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
    """How a kind of device is kept busy.

    Attributes:
        kind: Triton's name of it.
        instances: How many copies of the network run beside each other.
        most: Images at once at most.
        preferred: Images at once that Triton gathers while it waits.
        delay: How long it waits for them, in microseconds.
    """

    kind: str
    instances: int
    most: int
    preferred: tuple[int, ...]
    delay: int


SERVING = {
    # One image keeps all cores busy, so waiting for a second one brings nothing.
    "cpu": Serving(kind="KIND_CPU", instances=1, most=4, preferred=(2, 4), delay=0),
    # Two copies: one computes while the other's images are copied.
    "cuda": Serving(kind="KIND_GPU", instances=2, most=16, preferred=(4, 8, 16), delay=2000),
}


def configuration(card: ModelCard, *, name: str, repository: Path, device: str) -> str:
    """Write config.pbtxt: tensors, dynamic batching and instances.

    Args:
        card: What the ONNX file is.
        name: Name of the model, as clients call it.
        repository: The folder that Triton is given.
        device: "cpu" or "cuda".
    """
    spec, serving = card.input, SERVING[device]
    sides = "-1, -1" if spec.dynamic else f"{spec.height}, {spec.width}"
    outputs = [
        f'{{ name: "{card.output}" data_type: TYPE_UINT8 dims: [ {sides} ] label_filename:'
        ' "labels.txt" }'
    ]
    if card.output != "classes":
        outputs = [
            f'{{ name: "{card.output}" data_type: TYPE_FP32 dims: [ {len(card.classes)}, {sides} ]'
            ' label_filename: "labels.txt" }'
        ]
    if card.confidence:
        outputs.append(f'{{ name: "{CONFIDENCE}" data_type: TYPE_UINT8 dims: [ {sides} ] }}')
    return CONFIG.format(
        signature=SIGNATURE,
        repository=repository.name,
        name=name,
        image=INPUT,
        sides=sides,
        outputs=",\n  ".join(outputs),
        most=serving.most,
        preferred=", ".join(map(str, serving.preferred)),
        delay=serving.delay,
        kind=serving.kind,
        instances=serving.instances,
    )


def write_repository(
    repository: Path, card: ModelCard, *, device: str, write_model: Callable[[Path], None]
) -> int:
    """Write a model into a model repository, whole, or leave all as it was, and give its size in bytes.

    Args:
        repository: The folder; its name becomes the model's, and other models in it stay.
        card: What the ONNX file will be.
        device: Where the server will run it, "cpu" or "cuda".
        write_model: Writes the proven ONNX file to a path.

    Raises:
        OutputError: It cannot be written, or holds a model of that name that no export wrote.
    """
    # Clients put the name into addresses.
    name = re.sub(r"[^\w.-]", "-", repository.stem)
    with replacing_model(repository / name) as part:
        write_model(part / "1" / "model.onnx")
        (part / CONFIGURED).write_text(
            configuration(card, name=name, repository=repository, device=device)
        )
        (part / "labels.txt").write_text("".join(f"{label.name}\n" for label in card.classes))
    return sum(path.stat().st_size for path in (repository / name).rglob("*") if path.is_file())


@contextmanager
def replacing_model(path: Path) -> Iterator[Path]:
    """Return a temporary folder beside a model's, and rename it to the model's if the block ends well; else it is removed.

    Other models of the repository stay as they are: it may be the one that a server of the user's
    runs on.

    Args:
        path: Folder of the model, within its repository, which is made if it is missing.

    Raises:
        OutputError: The folder cannot be written, or is not one that an export wrote.
    """
    repository, part, old = (
        path.parent,
        path.with_name(f".{path.name}{PART}"),
        path.with_name(f".{path.name}.old"),
    )
    if repository.is_file() or (path.exists() and not _is_ours(path)):
        found = (
            f"{repository} is a file"
            if repository.is_file()
            else f"{path} is there, and not from segdeploy"
        )
        msg = f"{found}; choose another name for the folder"
        raise OutputError(msg)
    made = not repository.exists()
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        yield part
        if path.exists():
            path.rename(old)
        part.rename(path)
    except OSError as error:
        msg = (
            f"cannot write {path}: {error.strerror or error}; free some space or choose another"
            " folder"
        )
        raise OutputError(msg) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        if made and not path.exists():
            with suppress(OSError):
                repository.rmdir()


def _is_ours(model: Path) -> bool:
    """Return whether an export wrote the folder of a model, which another export may replace."""
    try:
        return (model / CONFIGURED).read_text(errors="replace").startswith(SIGNATURE)
    except OSError:
        return False
