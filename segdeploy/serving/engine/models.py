"""The models of a server: loaded, verified, swapped while requests are under way, unloaded."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.assets import locate, short_name
from segdeploy.backends.base import Backend
from segdeploy.backends.loading import KINDS, ArtifactKind, kind_of, load_backend
from segdeploy.card import ModelCard
from segdeploy.errors import ConfigError, ModelError, RequestError
from segdeploy.inference.self_test import verify
from segdeploy.serving.engine.execution import (
    BatchingBackend,
    Execution,
    LimitedBackend,
    Mode,
    choose,
)
from segdeploy.serving.engine.scheduler import Work

NAME = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
"""Names of models, in addresses and labels of metrics."""

VERSION = "1"
"""The only version of each model: a swap replaces it."""

Fingerprint = tuple[tuple[int, int, int], ...]
"""Inode, size and time of change of an artifact's files."""


@dataclass(frozen=True, kw_only=True)
class LoadSettings:
    """How models are loaded.

    Attributes:
        device: See `RuntimeOptions`, like `trust`.
        trust: Whether files are loaded as they are.
        mode: How networks use the device.
        batch: Largest batch; None for the fastest.
        delay: Seconds that an image waits for others of its batch.
        on_batch: Called with a model's name and the number of images of each call of its network.
    """

    device: str = "auto"
    trust: bool = False
    mode: Mode = "auto"
    batch: int | None = None
    delay: float = 0.002
    on_batch: Callable[[str, int], None] = field(default=lambda _name, _count: None)


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedModel:
    """A loaded model; requests keep the one that they began with.

    Attributes:
        name: What clients call it.
        path: Its file.
        runtime: Name of the runtime.
        backend: Runs its network, called by as many threads as there are workers.
        execution: How the network uses the device.
        is_verified: Whether its output was compared with that of its export.
        fingerprint: State of its files when they were loaded.
    """

    name: str
    path: Path
    runtime: str
    backend: Backend
    execution: Execution
    is_verified: bool
    fingerprint: Fingerprint

    @property
    def card(self) -> ModelCard:
        """Return the model's card."""
        return self.backend.card

    def run(self, batch: Batch, work: Work) -> NetworkOutput:
        """Return the output for (N, H, W, 3) images, in calls of the best size.

        Raises:
            CancelledRequest: The client left meanwhile.
        """
        outputs: list[Any] = []
        for start in range(0, len(batch), self.execution.batch):
            with work.stage("infer"):
                outputs.append(self.backend.run(batch[start : start + self.execution.batch]))
        output: NetworkOutput = outputs[0] if len(outputs) == 1 else np.concatenate(outputs)
        return output


def load_model(name: str, path: Path, settings: LoadSettings) -> ServedModel:
    """Verify and load a file.

    A checkpoint has no expected output to be verified with; all other files must pass.

    Raises:
        GateError: The bytes or the output are not those of the export.
        SegdeployError: The file cannot be loaded; see `load_backend`.
    """
    kind = kind_of(path)
    spec = kind.read_card(path).input
    if not spec.is_plain:
        msg = (
            f"{path} takes {len(spec.channels)} bands of {spec.dtype}, and a server is sent colors"
            " of 8 bits; use 'segdeploy run' or the Python package"
        )
        raise ConfigError(msg)
    before = fingerprint(path, kind)
    is_exported = kind.name != "torch"
    if is_exported:
        verify(path, kind, device=settings.device, trust=settings.trust)

    def load(threads: int, callers: int) -> Backend:
        return load_backend(
            path,
            device=settings.device,
            threads=threads,
            callers=callers,
            spinning=False,
            trust=settings.trust,
        )

    execution, backend = choose(load, mode=settings.mode, batch=settings.batch)
    if fingerprint(path, kind) != before:
        msg = f"{path} was changed while it was being loaded; load it again once it is complete"
        raise ModelError(msg)
    on_batch = partial(settings.on_batch, name)
    return ServedModel(
        name=name,
        path=path,
        runtime=kind.name,
        backend=BatchingBackend(
            backend, size=execution.batch, delay=settings.delay, on_batch=on_batch
        )
        if execution.batch > 1
        else LimitedBackend(backend, callers=execution.callers, on_batch=on_batch),
        execution=execution,
        is_verified=is_exported,
        fingerprint=before,
    )


def fingerprint(path: Path, kind: ArtifactKind) -> Fingerprint:
    """Return the state of an artifact's files.

    Raises:
        ModelError: A file is missing.
    """
    try:
        stats = [file.stat() for file in (path, *kind.companions(path))]
    except OSError as error:
        msg = f"{error.filename} cannot be read ({error.strerror}); export it again"
        raise ModelError(msg) from error
    return tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats)


def named_paths(texts: Sequence[str | Path]) -> Mapping[str, Path]:
    """Return the files of models by their names: NAME=PATH, a path, or a bundled model's name.

    Raises:
        ConfigError: Two have one name, or a name has other characters than letters, digits, -._.
    """
    found: dict[str, Path] = {}
    for text in texts:
        first, equals, rest = str(text).partition("=")
        is_named = bool(equals) and NAME.fullmatch(first) and not Path(str(text)).exists()
        path = locate(rest if is_named else str(text))
        name = first if is_named else Path(short_name(path)).stem
        if not NAME.fullmatch(name):
            msg = (
                f"{name!r} cannot be the name of a model in an address; name it with letters,"
                f" digits, '-', '.' or '_': NAME={path}"
            )
            raise ConfigError(msg)
        if name in found:
            msg = f"{found[name]} and {path} are both called {name}; name one: NAME={path}"
            raise ConfigError(msg)
        found[name] = path
    return found


@dataclass(frozen=True, kw_only=True)
class ModelState:
    """One line of the repository's index."""

    name: str
    state: str
    reason: str = ""


class ModelStore:
    """The models by their names; the first one is the default."""

    def __init__(
        self, sources: Mapping[str, Path], *, settings: LoadSettings, folder: Path | None = None
    ) -> None:
        """Start with nothing loaded.

        Args:
            sources: Files by the names of their models, the default first.
            settings: How they are loaded.
            folder: Folder of which clients may load further models; None for none.
        """
        self._sources = dict(sources)
        self._settings = settings
        self._folder = folder
        self._models: dict[str, ServedModel] = {}
        self._loading = Lock()

    @property
    def loaded(self) -> Mapping[str, ServedModel]:
        """Return the loaded models, as they are now."""
        return self._models

    def get(self, name: str | None = None) -> ServedModel:
        """Return a loaded model.

        Args:
            name: Its name; None for the default.

        Raises:
            RequestError: There is no such model.
        """
        models = self._models
        model = next(iter(models.values()), None) if name is None else models.get(name)
        if model is None:
            names = ", ".join(models) or "no model"
            asked = "model" if name is None else f"model {name[:128]!r}"
            msg = f"there is no {asked} here; loaded are: {names}"
            raise RequestError(msg, status=404)
        return model

    def load(self, name: str) -> ServedModel:
        """Load a model, or replace it by what its file is now; requests under way keep the old one.

        Raises:
            RequestError: There is no file of that name where clients may load from.
            SegdeployError: It was not loaded; an older one stays.
        """
        with self._loading:
            path = self._find(name)
            old = self._models.get(name)
            if old is not None and fingerprint(path, kind_of(path)) == old.fingerprint:
                return old
            model = load_model(name, path, self._settings)
            self._models = {**self._models, name: model}
            return model

    def unload(self, name: str) -> None:
        """Unload a model; requests under way finish on it.

        Raises:
            RequestError: It is not loaded.
        """
        with self._loading:
            self.get(name)
            self._models = {key: model for key, model in self._models.items() if key != name}

    def index(self) -> list[ModelState]:
        """Return the state of each model that is loaded or that clients may load."""
        states = [ModelState(name=name, state="READY") for name in self._models]
        others = [name for name in {**self._sources, **self._files()} if name not in self._models]
        return states + [
            ModelState(name=name, state="UNAVAILABLE", reason="not loaded") for name in others
        ]

    def check_clients_may_load(self) -> None:
        """Refuse to load and unload models for clients, unless the server was started for it.

        Raises:
            RequestError: It was not.
        """
        if self._folder is None:
            msg = "this server's models are fixed; start it with --models-dir to load and unload"
            raise RequestError(msg, status=403)

    def _find(self, name: str) -> Path:
        files = {**self._files(), **self._sources}
        if name not in files:
            known = ", ".join(files) or "none"
            msg = f"there is no file of a model {name[:128]!r}; those that can be loaded: {known}"
            raise RequestError(msg, status=404)
        return files[name]

    def _files(self) -> Mapping[str, Path]:
        """Return the artifacts in the folder by their stems; never a path that a client named."""
        if self._folder is None or not self._folder.is_dir():
            return {}
        return {
            path.stem: path
            for path in sorted(self._folder.iterdir())
            if path.suffix in KINDS and NAME.fullmatch(path.stem) and path.is_file()
        }
