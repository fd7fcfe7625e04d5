"""Errors that are errors of Python too."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from segdeploy import errors
from segdeploy.backends.loading import load_backend
from segdeploy.errors import ConfigError, DataError, MissingExtraError, ModelError, SegdeployError
from segdeploy.imaging.io import check_image, read_image
from segdeploy.system.budget import VARIABLE
from segdeploy.video.decoder import open_video_file


@pytest.mark.parametrize(
    ("python", "ours", "call"),
    [
        (FileNotFoundError, ModelError, lambda: load_backend(Path("none.onnx"))),
        (FileNotFoundError, DataError, lambda: read_image(Path("none.png"))),
        (FileNotFoundError, DataError, lambda: open_video_file(Path("none.mp4"), "cpu")),
        (ValueError, DataError, lambda: check_image(np.zeros((4, 4), np.uint8))),
    ],
)
def test_errors_are_those_of_python_too(python, ours, call) -> None:  # type: ignore[no-untyped-def]
    """A program that expects FileNotFoundError or ValueError need not know ours."""
    with pytest.raises(python) as caught:
        call()

    assert isinstance(caught.value, ours)


def test_message_and_exit_code_are_kept() -> None:
    """An OSError and an ImportError of Python write their arguments in ways of their own."""
    for name in ("MissingFileError", "MissingModelError", "ImageError", "ConfigError"):
        error = getattr(errors, name)("a sentence")
        assert str(error) == "a sentence"
        assert error.exit_code in {2, 3, 4}
    assert "[train]'" in str(MissingExtraError("torch", "train"))
    assert issubclass(MissingExtraError, ImportError)


def test_option_in_a_block_that_catches_python_errors_keeps_its_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A wrong variable is not a damaged image."""
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    monkeypatch.setenv(VARIABLE, "much")

    with pytest.raises(ConfigError, match="SEGDEPLOY_FILE_BUDGET is 'much'"):
        read_image(tmp_path / "a.png")


def test_missing_recipe_is_said_once() -> None:
    recipe = importlib.import_module("segdeploy.train.recipe_file")

    with pytest.raises(SegdeployError, match=r"^there is no recipe none; name a TOML file"):
        recipe.read_recipe("none")
