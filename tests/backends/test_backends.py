"""Every runtime returns what the network returns, and refuses unusable files and batches."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from segdeploy.backends.base import Backend
from segdeploy.backends.loading import KINDS, load_backend, read_card
from segdeploy.backends.names import BACKENDS
from segdeploy.errors import ConfigError, DeviceError, ModelError
from segdeploy.installation import find_installation
from segdeploy.models.checkpoint import load_checkpoint
from tests.helpers.backends import artifact_of

SUFFIXES = sorted(suffix for suffix, kind in KINDS.items() if find_spec(kind.library))
"""Suffixes of the files whose runtime is installed."""


@pytest.fixture(params=SUFFIXES, scope="module")
def backend(request: pytest.FixtureRequest, artifacts: Path) -> Backend:
    return load_backend(artifact_of(artifacts, request.param), device="cpu", threads=1)


@pytest.mark.parametrize("images", [1, 3])
def test_logits_are_those_of_the_network(backend: Backend, artifacts: Path, images: int) -> None:
    """The same weights give the same logits in every runtime, on images normalized by the card."""
    batch = np.random.default_rng(0).integers(0, 256, (images, 45, 60, 3), dtype=np.uint8)
    normalized = (batch / 255 - np.array([0.4, 0.5, 0.6])) / np.array([0.2, 0.25, 0.3])
    network = load_checkpoint(artifacts / "best.pt").network().network
    with torch.no_grad():
        expected = network(
            torch.from_numpy(normalized.transpose(0, 3, 1, 2).astype(np.float32))
        ).numpy()

    logits = backend.run(batch)

    assert logits.dtype == np.float32
    assert logits.flags.c_contiguous
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_takes_a_read_only_and_strided_batch(backend: Backend) -> None:
    """A view of a frame is as good as a copy."""
    wide = np.random.default_rng(0).integers(0, 256, (1, 45, 120, 3), dtype=np.uint8)
    view = wide[:, :, ::2]
    view.flags.writeable = False

    np.testing.assert_array_equal(backend.run(view), backend.run(view.copy()))


@pytest.mark.parametrize(
    "shape", [(45, 60, 3), (1, 60, 45, 3), (1, 3, 45, 60), (1, 45, 60, 4), (0, 45, 60, 3)]
)
def test_refuses_another_shape(backend: Backend, shape: tuple[int, ...]) -> None:
    """A wrong layout would give meaningless masks."""
    with pytest.raises(ConfigError, match="the network takes"):
        backend.run(np.zeros(shape, np.uint8))


def test_refuses_another_dtype(backend: Backend) -> None:
    """Images in [0, 1] would all look black."""
    with pytest.raises(ConfigError, match="float32"):
        backend.run(np.zeros((1, 45, 60, 3), np.float32))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_card_is_the_same_with_and_without_a_runtime(artifacts: Path, suffix: str) -> None:
    """`read_card` returns what the runtime uses."""
    path = artifact_of(artifacts, suffix)

    assert read_card(path) == load_backend(path, device="cpu").card


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_threads_may_call_at_the_same_time(artifacts: Path, suffix: str) -> None:
    """Frames in parallel threads give the same output as one after the other."""
    from concurrent.futures import ThreadPoolExecutor

    backend = load_backend(
        artifact_of(artifacts, suffix), device="cpu", threads=1, spinning=False, callers=4
    )
    batches = [
        np.random.default_rng(seed).integers(0, 256, (1, 45, 60, 3), np.uint8) for seed in range(12)
    ]
    alone = [backend.run(batch) for batch in batches]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(backend.run, batches))

    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_device_names_runtime_and_device(artifacts: Path) -> None:
    """A user can see what runs the network."""
    devices = {
        suffix: load_backend(artifact_of(artifacts, suffix), device="cpu").device
        for suffix in SUFFIXES
    }

    named = {
        ".onnx": "onnxruntime CPUExecutionProvider",
        ".pt": "torch cpu",
        ".pt2": "pt2 cpu",
        ".torchscript": "torchscript cpu",
        ".mnn": "mnn CPU f32",
        ".param": "ncnn CPU f32",
    }
    assert devices == {
        suffix: name
        for suffix, name in {**named, ".xml": "openvino CPU f32"}.items()
        if suffix in SUFFIXES
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("device", ["cuda:99", "tpu", "cuda:x", "cuda:"])
def test_unavailable_device_is_an_error(artifacts: Path, suffix: str, device: str) -> None:
    """A silent fallback to the CPU would be noticed only by its low speed."""
    with pytest.raises(DeviceError, match=device):
        load_backend(artifact_of(artifacts, suffix), device=device)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_refuses_a_missing_file(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ModelError, match="there is no file"):
        load_backend(tmp_path / f"none{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "content", [b"", b"hello, I am no model at all", b"\x00" * 500, b"PK\x03\x04 no archive"]
)
def test_refuses_a_file_that_is_not_a_model(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(content)

    with pytest.raises(ModelError, match="odd"):
        load_backend(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_refuses_a_truncated_file(
    artifacts: Path, tmp_path: Path, suffix: str, share: float
) -> None:
    """An interrupted download is reported, wherever it was interrupted."""
    artifact = artifact_of(artifacts, suffix)
    content = artifact.read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content[: int(len(content) * share)])
    names = (KINDS[suffix].companions(folder) for folder in (artifact, path))
    for companion, copy in zip(*names, strict=True):
        shutil.copy(companion, copy)

    with pytest.raises(ModelError, match="cut"):
        load_backend(path)


@pytest.mark.parametrize(
    "suffix", [".onnx", ".torchscript", pytest.param(".pt2", marks=pytest.mark.slow)]
)
def test_changed_bytes_raise_only_our_errors(artifacts: Path, tmp_path: Path, suffix: str) -> None:
    """Changed bytes are refused or harmless, and never give a traceback."""
    content = bytearray((artifacts / f"best{suffix}").read_bytes())
    path = tmp_path / f"changed{suffix}"
    random = np.random.default_rng(0)

    for place, value in zip(
        random.integers(0, len(content), 40), random.integers(0, 256, 40), strict=True
    ):
        before, content[place] = content[place], value
        path.write_bytes(content)
        content[place] = before
        try:
            load_backend(path, device="cpu")
        except ModelError as error:
            assert "changed" in str(error)  # noqa: PT017 - either way is right


def test_refuses_an_unknown_suffix(tmp_path: Path) -> None:
    (tmp_path / "best.pth").write_bytes(b"x")

    with pytest.raises(ModelError, match=r"ends with '\.pth'"):
        load_backend(tmp_path / "best.pth")


def test_refuses_a_runtime_that_does_not_run_the_file(artifacts: Path) -> None:
    with pytest.raises(ConfigError, match="run by onnxruntime"):
        load_backend(artifacts / "best.onnx", backend="torch")


def test_runtime_may_be_selected_by_name(artifacts: Path) -> None:
    assert BACKENDS == (
        "auto",
        "torch",
        "onnxruntime",
        "torchscript",
        "pt2",
        "openvino",
        "mnn",
        "ncnn",
    )
    assert load_backend(artifacts / "best.onnx", backend="onnxruntime").device.startswith(
        "onnxruntime"
    )


def run_without(blocked: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process in which some libraries cannot be imported."""
    block = f"import sys\nsys.modules.update(dict.fromkeys({blocked.split()!r}))\n"
    return subprocess.run(
        [sys.executable, "-c", block + code], capture_output=True, text=True, check=False
    )


def test_loading_imports_no_runtime(artifacts: Path) -> None:
    """Reading the card of an exported file takes neither PyTorch nor ONNX Runtime."""
    code = f"""
from pathlib import Path
from segdeploy.backends.loading import read_card
for suffix in ("onnx", "torchscript", "pt2"):
    print(read_card(Path({str(artifacts)!r}) / f"best.{{suffix}}").architecture)
"""
    done = run_without("torch onnxruntime onnx", code)

    assert done.stdout.split() == ["unet", "unet", "unet"], done.stderr


def test_onnx_runs_without_torch(artifacts: Path) -> None:
    """The package installs without PyTorch."""
    code = f"""
from pathlib import Path
import numpy as np
from segdeploy.backends.loading import load_backend
path = Path({str(artifacts)!r}) / "best.onnx"
backend = load_backend(path, device="cpu", threads=1, spinning=False)
print(backend.run(np.zeros((1, 45, 60, 3), np.uint8)).shape)
"""
    done = run_without("torch onnx", code)

    assert done.stdout.strip() == "(1, 11, 45, 60)", done.stderr


def test_missing_library_names_the_extra(artifacts: Path) -> None:
    """The message says what to install."""
    code = f"""
from pathlib import Path
from segdeploy.backends.loading import load_backend
from segdeploy.installation import find_installation
from segdeploy.errors import MissingExtraError
try:
    load_backend(Path({str(artifacts)!r}) / "best.pt")
except MissingExtraError as error:
    print(error)
"""
    done = run_without("torch", code)

    command = find_installation().command("train")
    assert done.stdout.strip() == f"torch is not installed; run: {command}", done.stderr
