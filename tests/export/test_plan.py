"""Which formats can have which precision, and former names of options."""

import sys

import pytest

import segdeploy.export
from segdeploy.errors import ConfigError, MissingExtraError
from segdeploy.export.plan import ExportConfig, choose_formats, import_optional


def test_several_formats_are_named_with_commas() -> None:
    assert choose_formats("onnx, torchscript,onnx", "fp32") == ["onnx", "torchscript"]
    with pytest.raises(
        ConfigError, match="onnx cannot be bf16; choose --precision fp32 or fp16 or int8"
    ):
        choose_formats("openvino,onnx", "bf16")


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenVINO the message says what to install."""
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "segdeploy.export.openvino_format", raising=False)
    monkeypatch.delitem(sys.modules, "segdeploy.backends.openvino_runtime", raising=False)

    with pytest.raises(MissingExtraError, match=r"pip install .*\[openvino\]'"):
        import_optional("openvino_format")


def test_former_names_of_options_are_accepted() -> None:
    """Scripts that were written for `Order` still work."""
    order = segdeploy.export.Order(proof_pictures=5, calibration_pictures=80, answer="classes")

    assert order == ExportConfig(proof_images=5, calibration_images=80, output="classes")
