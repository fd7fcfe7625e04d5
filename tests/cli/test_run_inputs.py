"""What `segdeploy run` refuses before it reads a frame."""

from pathlib import Path

import pytest

from segdeploy.backends.loading import load_backend
from segdeploy.cli.run_inputs import TorchOptions
from segdeploy.errors import ConfigError


@pytest.mark.parametrize("options", [TorchOptions(compiled=True), TorchOptions(autocast=True)])
def test_exported_file_is_not_accelerated(artifacts: Path, options: TorchOptions) -> None:
    """An option that does nothing is worse than none: an exported file is what it is."""
    model = artifacts / "best.onnx"

    with pytest.raises(ConfigError, match=r"best\.onnx is not a checkpoint.*leave --autocast"):
        options.apply(load_backend(model, device="cpu", threads=1), model)
