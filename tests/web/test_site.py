"""The page's files and the runtime that is fetched for it."""

import json
from pathlib import Path

import onnx
import pytest

from segdeploy import assets
from segdeploy.errors import ConfigError, SegdeployError
from segdeploy.web import runtime, site


def test_an_archive_with_another_checksum_is_not_used(tmp_path: Path) -> None:
    """What npm serves is pinned; nothing of another archive is unpacked."""
    (tmp_path / "other.tgz").write_bytes(b"something else")

    with pytest.raises(SegdeployError, match="it was changed, so it is not used"):
        runtime.fetch((tmp_path / "other.tgz").as_uri(), target=tmp_path / "runtime")

    assert not (tmp_path / "runtime").exists()


def test_an_unreachable_registry_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SegdeployError, match="cannot be fetched"):
        runtime.fetch((tmp_path / "missing.tgz").as_uri(), target=tmp_path / "runtime")


def test_without_the_runtime_the_command_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A checkout has no runtime until it is fetched."""
    monkeypatch.setattr(runtime, "folder", lambda: tmp_path)

    with pytest.raises(ConfigError, match=r"run 'python -m segdeploy\.web\.runtime'"):
        site.page_files()


def test_the_description_is_json_of_every_browser() -> None:
    """A card's scores may be NaN, which Python writes and browsers do not read."""
    described = site.describe(assets.locate("street"), offline=True)

    text = json.dumps(described, allow_nan=False)
    assert json.loads(text)["card"]["input"]["resample"] == "halving"
    assert described["expected"]["shape"] == [11, 90, 120]


def test_a_file_that_no_export_wrote_is_refused(tmp_path: Path) -> None:
    """Without an expected output the page could not test itself."""
    model = onnx.load(assets.locate("street-int8"))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")

    with pytest.raises(ConfigError, match="take a file that 'segdeploy export' wrote"):
        site.describe(tmp_path / "foreign.onnx", offline=True)


def test_a_changed_file_changes_the_version(tmp_path: Path) -> None:
    """The version is how a browser that kept the page learns of a new one."""
    for name in ("index.html", "service.js", "model.onnx"):
        (tmp_path / name).write_text(name)
    before = site.list_files(tmp_path)
    (tmp_path / "service.js").write_text("other")

    assert site.list_files(tmp_path) != before
    assert '"service.js"' not in before
    assert '"model.onnx"' in before
