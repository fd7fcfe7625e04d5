"""ONNX files run within a limit of memory, and what fails in the runtime is one sentence."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from msgspec.structs import replace

from segdeploy.backends.loading import load_backend, read_card
from segdeploy.backends.onnx_runtime import OnnxBackend
from segdeploy.card import CARD_KEY
from segdeploy.errors import ModelError
from tests.helpers.backends import random_batches


def test_card_that_contradicts_its_graph_is_refused(artifacts: Path, tmp_path: Path) -> None:
    """The contradiction is found when the file is opened, not in the middle of a video."""
    card = read_card(artifacts / "best.onnx")
    model = onnx.load(artifacts / "best.onnx")
    onnx.helper.set_model_props(
        model, {CARD_KEY: replace(card, input=replace(card.input, height=90)).to_json()}
    )
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(ModelError, match="which contradicts its card"):
        load_backend(tmp_path / "other.onnx")


def test_bound_tensors_give_the_output_of_the_session(artifacts: Path) -> None:
    """For batches of any size, from several threads, and no output is overwritten by the next."""
    plain = load_backend(artifacts / "best.onnx", device="cpu", threads=1)
    session = onnxruntime.InferenceSession(
        str(artifacts / "best.onnx"), providers=["CPUExecutionProvider"]
    )
    bound = OnnxBackend(session, plain.card, memory=("cpu", 0))
    inputs = random_batches(12)

    with ThreadPoolExecutor(3) as threads:
        outputs = list(threads.map(bound.run, inputs))

    for batch, output in zip(inputs, outputs, strict=True):
        np.testing.assert_allclose(output, plain.run(batch), atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_cuda_returns_the_labels_of_the_cpu(artifacts: Path, device: str) -> None:
    """But for ties."""
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA")
    batch = np.random.default_rng(0).integers(0, 256, (2, 45, 60, 3), np.uint8)

    backend = load_backend(artifacts / "best.onnx", device=device)

    assert backend.device == "onnxruntime CUDAExecutionProvider"
    expected = load_backend(artifacts / "best.onnx", device="cpu").run(batch)
    assert np.mean(backend.run(batch).argmax(1) == expected.argmax(1)) > 0.999
