"""The file that `segdeploy tune` writes, and what other commands make of it."""

from pathlib import Path

import pytest

from segdeploy import assets
from segdeploy.errors import ConfigError
from segdeploy.inference.tuned import (
    SCHEMA,
    Settings,
    Tuned,
    checksum,
    here,
    read_tuned,
    write_tuned,
)

MODEL = Path(assets.__file__).parent / "street-int8.onnx"


def write(path: Path, *, cores: int | None = None, sha256: str = "", **settings: object) -> Path:
    """Write settings for the bundled model as measured on this machine."""
    processor, count = here()
    tuned = Tuned(
        schema=SCHEMA,
        model=str(MODEL),
        sha256=sha256 or checksum(MODEL),
        processor=processor,
        cores=cores or count,
        created="2026-01-02T03:04:05+00:00",
        settings=Settings(**{"threads": 1, **settings}),  # type: ignore[arg-type]
        measured={"fps": 24.5, "lost_unit": "points of mIoU"},
    )
    write_tuned(path, tuned)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """With every setting; a path from the file's own folder may move with it."""
    path = write(tmp_path / "tuned.toml", mode="latency", every=3, preset="ultrafast")

    tuned, model = read_tuned(path)

    assert model == MODEL
    assert tuned.settings == Settings(mode="latency", threads=1, every=3, preset="ultrafast")
    assert tuned.measured["fps"] == 24.5
    assert tuned.difference(*here()) == ""


def test_another_machine_is_told_apart(tmp_path: Path) -> None:
    """The best file of one kind of processor is not that of another."""
    tuned, _ = read_tuned(write(tmp_path / "tuned.toml"))
    processor, cores = here()

    assert "measured on" in tuned.difference("Ampere (neon)", cores)
    assert "measured on" in tuned.difference(processor, cores + 1)


def test_a_model_that_changed_is_refused(tmp_path: Path) -> None:
    """Its speed and its masks are not those that were measured."""
    path = write(tmp_path / "tuned.toml", sha256="0" * 64)

    with pytest.raises(ConfigError, match="has changed since it was measured"):
        read_tuned(path)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("schema = 1", "schema = 9", "newer than 1; update segdeploy"),
        ("threads = 1", "threads = 'all'", "settings.threads is 'all' and must be a whole number"),
        ('mode = "throughput"', 'mode = "warp"', "settings.mode is 'warp' and must be one of"),
        ("street-int8", "nowhere", "which is not there"),
        ("schema = 1", "schema 1", "cannot be read as what 'segdeploy tune' writes"),
    ],
)
def test_a_file_that_people_changed_is_checked(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    """It is TOML, so they do."""
    path = write(tmp_path / "tuned.toml")
    path.write_text(path.read_text().replace(old, new))

    with pytest.raises(ConfigError, match=sentence):
        read_tuned(path)


def test_settings_out_of_range_are_refused(tmp_path: Path) -> None:
    """No command could run them."""
    for name in ("threads", "batch", "every"):
        with pytest.raises(ConfigError, match=f"{name} is 0"):
            read_tuned(write(tmp_path / f"{name}.toml", **{name: 0}))
