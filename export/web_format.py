"""Pages that run a network in the browser: a folder that any static server serves.

The ONNX file in it is proven as every other; then the page's own code runs it in Node, where there
is one, on some of the same images.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from segdeploy.backends.loading import load_backend
from segdeploy.card import ModelCard
from segdeploy.cli.console import note
from segdeploy.errors import ProofError
from segdeploy.inference.predictor import Predictor
from segdeploy.system.files import temporary_folder, write_text
from segdeploy.web import site

from .folder import Signature, replacing_folder
from .plan import ExportConfig, ExportPlan
from .proof import GATES

PROOF = Path(site.__file__).with_name("page_proof.js")
SIGNATURE = Signature(file=site.LIST_FILE, text=site.SIGNATURE)

OLDEST_NODE = (20, 19)
"""Oldest version of Node that reads the page's modules."""

IMAGES = 2
"""Images on which the page's own code is run: one thread of WASM is slow."""

SECONDS = 300.0


def check(card: ModelCard, config: ExportConfig) -> None:
    """Refuse a network that a browser cannot run, or an installation without the runtime.

    Raises:
        ConfigError: It is one.
    """
    site.check_card(card)
    site.page_files(webgpu=config.webgpu)


@contextmanager
def replacing_page(path: Path, plan: ExportPlan) -> Iterator[Path]:
    """Yield a temporary folder with the page's files, which becomes `path` when the block ends.

    Raises:
        OutputError: It cannot be written, or is a folder that no export wrote.
    """
    with replacing_folder(path, SIGNATURE) as part:
        site.copy_page(part, webgpu=plan.config.webgpu)
        yield part


def finish(folder: Path, path: Path, plan: ExportPlan) -> None:
    """Write what the page needs to know of its proven model, and run the page's own code.

    Args:
        folder: The temporary folder.
        path: The folder's final name, for messages.
        plan: The images.

    Raises:
        ProofError: The page's code fails, or its masks are not Python's.
    """
    site.complete_page(folder, webgpu=plan.config.webgpu)
    node = find_node()
    if node is None:
        oldest = ".".join(map(str, OLDEST_NODE))
        note(
            f"the model of {path} is proven, and its page was not run: there is no Node {oldest} or"
            " newer here; open the page once, it tests itself"
        )
        return
    with temporary_folder() as scratch:
        found = _run(node, folder, scratch, path=path, plan=plan)
        if found is not None:
            agreement = _compare(folder / site.MODEL_FILE, scratch, plan)
            _judge(found, agreement, path=path, precision=plan.card.precision)


def find_node() -> str | None:
    """Return the path of a Node that is new enough; None without one."""
    node = shutil.which("node")
    if node is None:
        return None
    done = subprocess.run(  # noqa: S603 - the node of the user's PATH
        [node, "--version"], capture_output=True, text=True, check=False
    )
    version = re.match(r"v(\d+)\.(\d+)\.", done.stdout)
    return node if version and (int(version[1]), int(version[2])) >= OLDEST_NODE else None


def _count(plan: ExportPlan) -> int:
    return min(IMAGES, len(plan.proof_images))


def _run(
    node: str, folder: Path, scratch: Path, *, path: Path, plan: ExportPlan
) -> dict[str, Any] | None:
    """Run the page's code in Node, and return what it prints; None where that takes too long."""
    sizes = []
    for index in range(_count(plan)):
        image, _ = plan.proof_images[index]
        (scratch / f"{index}.rgb").write_bytes(np.ascontiguousarray(image[..., ::-1]).tobytes())
        sizes.append({"height": image.shape[0], "width": image.shape[1]})
    write_text(scratch / "images.json", json.dumps(sizes))
    command = [node, str(PROOF), str(folder.resolve()), str(scratch.resolve())]
    try:
        done = subprocess.run(  # noqa: S603 - the node of the user's PATH
            command, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        note(
            f"the model of {path} is proven, and its page was not: {IMAGES} images took more than"
            f" {SECONDS:g} seconds in Node"
        )
        return None
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "Error" in line]
        reason = " ".join((lines or done.stderr.splitlines()[-1:] or ["no message"])[0].split())
        msg = f"{path} was not written: its page fails in Node ({reason[:300]})"
        raise ProofError(msg)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _compare(model: Path, scratch: Path, plan: ExportPlan) -> float:
    """Return the share of labels that are equal in the page's masks and in Python's."""
    predictor = Predictor(load_backend(model, device="cpu"))
    equal = total = 0
    for index in range(_count(plan)):
        mask = predictor.mask(plan.proof_images[index][0])
        own = np.fromfile(scratch / f"{index}.mask", np.uint8).reshape(mask.shape)
        equal += int((own == mask).sum())
        total += mask.size
    return equal / total


def _judge(found: dict[str, Any], agreement: float, *, path: Path, precision: str) -> None:
    """Say how far the page agrees with Python, or raise a ProofError where that is not enough."""
    gate = GATES[precision]
    runtime = f"onnxruntime-web {found['runtime']} (WASM) in Node {found['node']}"
    test = found["selfTest"]
    if agreement < gate or not test["passed"]:
        msg = (
            f"{path} was not written: {agreement:.3%} of the labels of its page, and"
            f" {test['agreement']:.3%} in its self-test, are Python's on {runtime}; {gate:.1%} are"
            " required"
        )
        raise ProofError(msg)
    note(f"labels of {path}'s page equal to Python's: {agreement:.4%}, on {runtime}")
