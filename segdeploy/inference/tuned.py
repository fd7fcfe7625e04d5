"""What `segdeploy tune` chose: a file and its settings, which other commands read."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, to_builtins

from segdeploy.backends.loading import kind_of
from segdeploy.errors import ConfigError
from segdeploy.system.files import write_text
from segdeploy.system.machine import describe_machine
from segdeploy.system.schema import convert
from segdeploy.system.toml import read_toml, to_toml

SCHEMA = 1
"""Version of the file; a newer one is refused."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the file is run.

    Attributes:
        mode: One frame per core in parallel, or all cores on one frame.
        threads: Cores that the network uses.
        batch: Images per call of the network.
        every: Distance of two frames of a video that the network runs on.
        preset: Preset of the video encoder; "" for its default.
    """

    mode: Literal["throughput", "latency"] = "throughput"
    threads: int
    batch: int = 1
    every: int = 1
    preset: str = ""


class Tuned(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `tuned.toml`.

    Attributes:
        schema: Version of the form.
        model: The file, absolute or from the folder of `tuned.toml`.
        sha256: Checksum of the file and of what belongs to it.
        processor: Kind of the processor that it was measured on.
        cores: Cores that were used.
        created: When it was written, ISO 8601.
        settings: How the file is run.
        measured: What was measured of them, by name and unit.
    """

    schema: int
    model: str
    sha256: str
    processor: str
    cores: int
    created: str
    settings: Settings
    measured: Mapping[str, float | str]

    def path(self, folder: Path) -> Path:
        """Return the path of the model, for a `tuned.toml` in a folder."""
        return folder / self.model

    def difference(self, processor: str, cores: int) -> str:
        """Return in a sentence how another machine differs; "" where it does not."""
        if (processor, cores) == (self.processor, self.cores):
            return ""
        return (
            f"these settings were measured on {self.processor} with {self.cores} cores, and this is"
            f" {processor} with {cores}: another choice may be better here; run 'segdeploy tune'"
            " again"
        )


def write_tuned(path: Path, tuned: Tuned) -> None:
    """Write what was chosen as `tuned.toml`, whole or not at all."""
    values: dict[str, Any] = to_builtins(tuned)
    write_text(path, to_toml(values))


def read_tuned(path: Path) -> tuple[Tuned, Path]:
    """Return what was chosen, and the path of the model.

    Raises:
        ConfigError: The file cannot be read, its model is missing or has changed since.
    """
    try:
        values = read_toml(path)
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as what 'segdeploy tune' writes ({error}); name a tuned.toml"
        raise ConfigError(msg) from error
    if isinstance(values.get("schema"), int) and values["schema"] > SCHEMA:
        msg = f"{path} has schema {values['schema']}, newer than {SCHEMA}; update segdeploy"
        raise ConfigError(msg)
    tuned = convert(values, Tuned, refuse=lambda problem: ConfigError(f"{path}: {problem}"))
    for name in ("threads", "batch", "every"):
        if (value := getattr(tuned.settings, name)) < 1:
            msg = f"{path}: {name} is {value}; it must be at least 1"
            raise ConfigError(msg)
    model = tuned.path(path.parent)
    if not model.exists():
        msg = f"{path} names {model}, which is not there; keep the two together"
        raise ConfigError(msg)
    if checksum(model) != tuned.sha256:
        msg = f"{model} has changed since it was measured for {path}; run 'segdeploy tune' again"
        raise ConfigError(msg)
    return tuned, model


def checksum(model: Path) -> str:
    """Return the SHA-256 of an artifact with the files that belong to it.

    Raises:
        ModelError: It is missing, or of an unknown kind.
    """
    total = hashlib.sha256()
    for part in (model, *kind_of(model).companions(model)):
        with part.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def here() -> tuple[str, int]:
    """Return the kind of this machine's processor, and its cores."""
    machine = describe_machine()
    return machine.kind, machine.cores
