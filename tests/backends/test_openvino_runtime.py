"""OpenVINO models: a pair of files, read without OpenVINO and run with it."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

pytest.importorskip("openvino")

import openvino

from segdeploy.backends.loading import KINDS, load_backend, probe, read_card
from segdeploy.backends.openvino_metadata import weights_of
from segdeploy.backends.openvino_runtime import PRECISION_HINTS
from segdeploy.card import CARD_KEY, Output
from segdeploy.errors import GateError, ModelError
from segdeploy.export.capture import with_output
from segdeploy.export.openvino_format import convert
from segdeploy.export.plan import PRECISIONS
from segdeploy.inference.self_test import verify
from segdeploy.models.checkpoint import load_checkpoint
from tests.helpers.plans import make_plan

KIND = KINDS[".xml"]


def copy_pair(artifacts: Path, folder: Path) -> Path:
    for suffix in (".xml", ".bin"):
        shutil.copy(artifacts / f"best{suffix}", folder / f"copy{suffix}")
    return folder / "copy.xml"


def edit(path: Path, old: str, new: str) -> None:
    """Change the graph of a pair, which then has no checksum any more."""
    text = path.read_text(encoding="utf-8").replace(old, new, 1)
    path.write_text(re.sub(r"<sha256 [^>]*/>", "", text), encoding="utf-8")


def test_weights_lie_beside_the_graph() -> None:
    """Also while both have their temporary names."""
    assert weights_of(Path("a/best-int8.xml")) == Path("a/best-int8.bin")
    assert weights_of(Path("a/best.xml.part")) == Path("a/best.bin.part")
    assert KIND.companions(Path("a/best.xml.part")) == [Path("a/best.bin.part")]


def test_missing_weights_are_reported(artifacts: Path, tmp_path: Path) -> None:
    """The second file is easily forgotten when the first one is copied."""
    copy_pair(artifacts, tmp_path)
    (tmp_path / "copy.bin").unlink()

    with pytest.raises(
        ModelError, match=r"there is no file .*copy\.bin; an OpenVINO file is a pair"
    ):
        load_backend(tmp_path / "copy.xml")


def test_renamed_pair_verifies(artifacts: Path, tmp_path: Path) -> None:
    difference = verify(copy_pair(artifacts, tmp_path), KIND, device="cpu").result.difference

    assert difference is not None
    assert difference < 1e-4


def test_changed_weight_is_found(artifacts: Path, tmp_path: Path) -> None:
    """The checksum covers the second file too."""
    path = copy_pair(artifacts, tmp_path)
    content = bytearray((tmp_path / "copy.bin").read_bytes())
    content[1000] ^= 1
    (tmp_path / "copy.bin").write_bytes(content)

    with pytest.raises(GateError, match="its checksum differs"):
        verify(path, KIND, device="cpu")


def test_changed_graph_is_found(artifacts: Path, tmp_path: Path) -> None:
    path = copy_pair(artifacts, tmp_path)
    path.write_text(path.read_text().replace('mode="linear_onnx"', 'mode="nearest"'))

    with pytest.raises(GateError, match="its checksum differs"):
        verify(path, KIND, device="cpu")


def test_weights_that_are_cut_short_are_refused(artifacts: Path, tmp_path: Path) -> None:
    path = copy_pair(artifacts, tmp_path)
    edit(path, "", "")
    (tmp_path / "copy.bin").write_bytes((tmp_path / "copy.bin").read_bytes()[:100])

    with pytest.raises(ModelError, match=r"OpenVINO .* cannot run"):
        load_backend(path)


@pytest.mark.parametrize(
    "content", ['<!DOCTYPE net [<!ENTITY a "aaaa">]><net>&a;</net>', "<html></html>"]
)
def test_other_xml_is_refused(tmp_path: Path, content: str) -> None:
    """Nested entities could grow beyond all memory."""
    (tmp_path / "odd.xml").write_text(content)
    (tmp_path / "odd.bin").write_bytes(b"")

    with pytest.raises(ModelError, match="odd"):
        read_card(tmp_path / "odd.xml")


def test_card_that_contradicts_its_graph_is_refused(artifacts: Path, tmp_path: Path) -> None:
    path = copy_pair(artifacts, tmp_path)
    edit(path, "&quot;height&quot;: 45", "&quot;height&quot;: 90")

    with pytest.raises(ModelError, match="which contradicts its card"):
        load_backend(path)


@pytest.mark.slow
@pytest.mark.skipif(
    "ONEDNN_MAX_CPU_ISA" in os.environ,
    reason="OpenVINO chooses a precision by the processor, which its kernels must not use then",
)
@pytest.mark.parametrize(("precision", "output"), [("fp16", "classes"), ("bf16", "probabilities")])
def test_every_precision_gives_the_same_labels(
    artifacts: Path, tmp_path: Path, precision: str, output: Output
) -> None:
    """A processor without a precision falls back to float32, so the file runs everywhere."""
    checkpoint = load_checkpoint(artifacts / "best.pt")
    card = replace(
        checkpoint.card, output=output, confidence=output == "classes", precision=precision
    )
    batch = np.random.default_rng(0).integers(0, 256, (2, 45, 60, 3), dtype=np.uint8)
    candidate = convert(make_plan(with_output(checkpoint.network(), card), card))
    candidate.write(tmp_path / "precise.xml", {CARD_KEY: card.to_json()})
    expected = load_backend(artifacts / "best.onnx", device="cpu", threads=1).run(batch)

    result = load_backend(tmp_path / "precise.xml", device="cpu", threads=1).run(batch)

    labels = result if output == "classes" else result.argmax(1)
    assert result.dtype == (np.uint8 if output == "classes" else np.float32)
    assert (labels == expected.argmax(1)).mean() > 0.98


def test_every_precision_has_a_hint_for_the_runtime() -> None:
    assert set(PRECISIONS) == PRECISION_HINTS.keys()


def test_file_on_which_openvino_crashes_is_refused(
    artifacts: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A graph of the right form that has a node without inputs; another process tries it first."""
    path = copy_pair(artifacts, tmp_path)
    edit(path, 'type="Const"', 'type="Broadcast"')

    with pytest.raises(ModelError, match="openvino crashed on it, in a process of its own"):
        load_backend(path, device="cpu")

    assert capfd.readouterr() == ("", "")


def test_weights_of_another_export_are_refused(artifacts: Path, tmp_path: Path) -> None:
    """An export that is killed between the two files leaves the new one beside the old one."""
    path = copy_pair(artifacts, tmp_path)
    content = bytearray((tmp_path / "copy.bin").read_bytes())
    content[1000] ^= 1
    (tmp_path / "copy.bin").write_bytes(content)

    with pytest.raises(ModelError, match=r"copy\.xml and copy\.bin in .* do not belong together"):
        load_backend(path, device="cpu", probe=False)

    assert load_backend(path, device="cpu", trust=True)


def test_graph_that_takes_gigabytes_is_refused(artifacts: Path, tmp_path: Path) -> None:
    """OpenVINO computes constants when it loads a file; another process tries that first."""
    ops = openvino.opset13
    model = openvino.Core().read_model(artifacts / "best.xml")
    shape = ops.constant(np.array([3 << 28], np.int64))
    big = ops.broadcast(ops.constant(np.float32(1)), shape)
    peak = ops.reduce_max(big, ops.constant(np.array([0])), keep_dims=False)
    logits = ops.add(model.outputs[0].get_node().input_value(0), peak)
    logits.output(0).set_names({"logits"})
    grown = openvino.Model([logits], model.get_parameters())
    card = read_card(artifacts / "best.xml")
    grown.set_rt_info(card.to_json(), CARD_KEY.split("."))
    openvino.save_model(grown, tmp_path / "big.xml", compress_to_fp16=False)

    with pytest.raises(ModelError, match=r"big\.xml takes more memory than it may"):
        load_backend(tmp_path / "big.xml", device="cpu")


def test_graph_that_takes_too_long_is_refused(artifacts: Path, tmp_path: Path) -> None:
    """Whatever the reason; the process that tries it is ended."""
    path = copy_pair(artifacts, tmp_path)
    edit(path, "", "")

    with pytest.raises(ModelError, match=r"openvino did not run it once within 0\.\d+ s.*--trust"):
        probe(path, KIND, device="cpu", seconds=0.01)
