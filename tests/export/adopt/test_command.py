"""Options of `segdeploy adopt`."""

import pytest

from segdeploy.errors import ConfigError
from segdeploy.export.adopt.command import parse_argument


def test_arguments_are_read_as_toml_or_words() -> None:
    assert [parse_argument(text) for text in ("width=16", "deep=true", "backbone=resnet18")] == [
        ("width", 16),
        ("deep", True),
        ("backbone", "resnet18"),
    ]
    with pytest.raises(ConfigError, match="not KEY=VALUE"):
        parse_argument("width")
