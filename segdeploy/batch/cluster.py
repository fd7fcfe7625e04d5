"""Workers on the machines of a Ray cluster: started, given inputs, and replaced when they end."""

import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from segdeploy import __version__
from segdeploy.batch.inputs import BatchInput
from segdeploy.batch.worker import Model, Row, Worker, WorkerOptions, empty_row
from segdeploy.errors import ConfigError, SegdeployError, WorkerError

LOCAL = "local"

OBJECT_STORE = 256 << 20
"""Bytes of Ray's object store on this machine, which holds the model and rows on their way."""

DEPTH = 2
"""Chunks that a worker has in hand: one in work, and the next one."""

MOST_ENDS = 3
"""How many workers may end with the same input in work, until it counts as the reason."""

MOST_FAILED_STARTS = 5
"""How many workers may end before they are ready, one after the other."""

SECONDS_TO_CONNECT = 5.0

PAUSE = 0.5
"""Seconds between two looks at a request to stop."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An error that ends a job; those of an input are rows.

    Attributes:
        message: Its sentence.
        exit_code: Exit code of its kind.
    """

    message: str
    exit_code: int

    def error(self) -> SegdeployError:
        """Return it as an error."""
        error = WorkerError(self.message)
        error.exit_code = self.exit_code
        return error


class Actor:
    """A worker in a process of its own."""

    def __init__(self, model: Model, options: WorkerOptions, name: str) -> None:
        """Load the network; an error is told by `ready`."""
        self._failure: Failure | None = None
        try:
            self._worker = Worker(model, options, name=name)
        except SegdeployError as error:
            self._failure = Failure(message=str(error), exit_code=error.exit_code)
        except Exception as error:  # noqa: BLE001 - another worker would end like it
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self._failure = Failure(message=f"a worker cannot start: {reason}", exit_code=1)

    def ready(self) -> str | Failure:
        """Return the version of the package there, or why the worker cannot work."""
        return self._failure or __version__

    def run(self, chunk: Sequence[BatchInput]) -> list[Row] | Failure:
        """Return the rows of inputs, or why the job cannot go on."""
        try:
            return self._worker.run(chunk)
        except SegdeployError as error:
            return Failure(message=str(error), exit_code=error.exit_code)


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Which machines work.

    Attributes:
        address: "local" for this machine, "auto" or the address of a Ray cluster.
        workers: Number of workers; as many as the resources allow where None.
        resources: What one worker takes, by Ray's name; one core where it names neither.
    """

    address: str = LOCAL
    workers: int | None = None
    resources: Mapping[str, float] = field(default_factory=dict)

    @property
    def needed(self) -> Mapping[str, float]:
        """What one worker takes."""
        return {"CPU": 1.0, **self.resources}


@contextmanager
def connected(options: ClusterOptions, *, cores: int) -> Iterator[int]:
    """Connect to a cluster, or start one on this machine; yield how many workers it can have.

    Args:
        options: Which machines work.
        cores: Cores of this machine that a cluster of its own may use.

    Raises:
        ConfigError: There is no cluster at the address, or it lacks the resources.
    """
    # Nothing is sent to Ray's makers, and a worker without a GPU may still look for one.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    is_ours = not ray.is_initialized()
    if is_ours:
        _connect(options, cores)
    try:
        yield _count_workers(options)
    finally:
        if is_ours:
            ray.shutdown()


def _connect(options: ClusterOptions, cores: int) -> None:
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if options.address == LOCAL:
        used = max(1, min(cores, options.workers or cores))
        settings |= {
            "address": LOCAL,
            "num_cpus": used * max(1, int(options.needed["CPU"])),
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE,
        }
    else:
        settings["address"] = options.address
    try:
        check_reachable(options.address)
        ray.init(**settings)
    except (ConnectionError, OverflowError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        msg = (
            f"there is no Ray cluster at {options.address}: {reason}; start one with 'ray start"
            " --head', or use --address local"
        )
        raise ConfigError(msg) from error


def check_reachable(address: str) -> None:
    """Check that something listens at HOST:PORT: Ray itself would wait a minute.

    Raises:
        ConnectionError: Nothing does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_CONNECT).close()
    except OSError as error:
        raise ConnectionError(error.strerror or str(error)) from error


def _count_workers(options: ClusterOptions) -> int:
    there: Mapping[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    able = min(int(there.get(name, 0) // amount) for name, amount in options.needed.items())
    if able < 1:
        what = ", ".join(f"{name}={amount:g}" for name, amount in options.needed.items())
        msg = f"no machine of the cluster has {what}, which one worker needs; change --resources"
        raise ConfigError(msg)
    return min(able, options.workers or able)


@dataclass(kw_only=True)
class _Chunk:
    """Inputs that a worker takes at once, and how many workers ended with them in work."""

    inputs: list[BatchInput]
    ends: int = 0


@dataclass(kw_only=True, eq=False)
class _Handle:
    """A worker as the driver sees it."""

    name: str
    actor: Any
    is_ready: bool = False
    in_hand: deque[_Chunk] = field(default_factory=deque)


class WorkerPool:
    """Hands out chunks of inputs to workers, and returns the rows as they come.

    Only what the workers have in hand is in memory. A worker that ends is replaced, wherever there
    is room, and what it had in hand is given to others.

    Attributes:
        replaced: How many workers ended before the job did.
    """

    def __init__(
        self, model: Model, options: WorkerOptions, *, workers: int, resources: Mapping[str, float]
    ) -> None:
        """Start the workers; they become ready while `run` waits.

        Args:
            model: The artifact, which is sent to each machine once.
            options: What is done with each input.
            workers: How many there are.
            resources: What each of them takes.
        """
        self.replaced = 0
        self._options = options
        self._model = ray.put(model)
        rest = {key: value for key, value in resources.items() if key not in {"CPU", "GPU"}}
        self._remote = ray.remote(Actor).options(
            num_cpus=resources["CPU"], num_gpus=resources.get("GPU", 0), resources=rest
        )
        self._names = 0
        self._failed_starts = 0
        self._pending: dict[Any, _Handle] = {}
        self._again: deque[_Chunk] = deque()
        self._handles = [self._start() for _ in range(workers)]

    def _start(self) -> _Handle:
        self._names += 1
        name = f"worker-{self._names}"
        actor: Any = self._remote.remote(self._model, self._options, name)
        handle = _Handle(name=name, actor=actor)
        self._pending[actor.ready.remote()] = handle
        return handle

    def run(
        self, chunks: Iterator[list[BatchInput]], *, should_stop: Callable[[], bool]
    ) -> Iterator[list[Row]]:
        """Yield the rows of all inputs as they come, with an empty list now and then.

        Args:
            chunks: What workers take at once; read as they have room.
            should_stop: Returns whether no more inputs are given out; those in hand are finished.

        Raises:
            SegdeployError: The job cannot go on.
        """
        is_over = False
        while True:
            if not is_over and not should_stop():
                is_over = not self._hand_out(chunks)
            is_idle = not any(handle.in_hand for handle in self._handles)
            if is_idle and (should_stop() or (is_over and not self._again)):
                return
            done, _ = ray.wait(list(self._pending), num_returns=1, timeout=PAUSE)
            for ref in done:
                yield self._receive(ref)
            if not done:
                yield []
            is_over = is_over and not self._again

    def close(self) -> None:
        """End the workers."""
        for handle in self._handles:
            with suppress(RayError):
                ray.kill(handle.actor)

    def _hand_out(self, chunks: Iterator[list[BatchInput]]) -> bool:
        """Hand chunks to workers that have room; return whether there may be more."""
        for depth in range(DEPTH):
            for handle in self._handles:
                if not handle.is_ready or len(handle.in_hand) > depth:
                    continue
                if self._again:
                    chunk = self._again.popleft()
                elif (inputs := next(chunks, None)) is not None:
                    chunk = _Chunk(inputs=inputs)
                else:
                    return False
                handle.in_hand.append(chunk)
                self._pending[handle.actor.run.remote(chunk.inputs)] = handle
        return True

    def _receive(self, ref: Any) -> list[Row]:  # noqa: ANN401 - Ray's reference
        """Return the rows of a finished call."""
        if (handle := self._pending.pop(ref, None)) is None:
            # It was that of a worker that ended.
            return []
        try:
            value = ray.get(ref)
        except RayTaskError as error:
            # Something unforeseen, which must not end a job of a million inputs.
            reason = " ".join(str(error.cause).split())[:200]
            what = f"{type(error.cause).__name__}: {reason}"
            return self._take_back(handle.in_hand.popleft(), handle, reason=what)
        except RayError as error:
            return self._replace(handle, error)
        if isinstance(value, Failure):
            raise value.error()
        if isinstance(value, str):
            self._accept(handle, value)
            return []
        handle.in_hand.popleft()
        rows: list[Row] = value
        return rows

    def _accept(self, handle: _Handle, version: str) -> None:
        if version != __version__:
            msg = f"a machine has segdeploy {version}, and this one {__version__}; install the same"
            raise ConfigError(msg)
        handle.is_ready = True
        self._failed_starts = 0

    def _replace(self, handle: _Handle, error: RayError) -> list[Row]:
        """Start another worker for one that ended; return rows of inputs that ended it."""
        self.replaced += 1
        self._handles.remove(handle)
        self._pending = {ref: other for ref, other in self._pending.items() if other is not handle}
        if not handle.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= MOST_FAILED_STARTS:
                reason = " ".join(str(error).split())[:300]
                msg = f"{self._failed_starts} workers ended before they were ready: {reason}"
                raise WorkerError(msg) from error
        rows: list[Row] = []
        if handle.in_hand:
            rows = self._take_back(
                handle.in_hand.popleft(), handle, reason="it may need more memory than they have"
            )
        self._again.extend(handle.in_hand)
        with suppress(RayError):
            ray.kill(handle.actor)
        self._handles.append(self._start())
        return rows

    def _take_back(self, chunk: _Chunk, handle: _Handle, *, reason: str) -> list[Row]:
        """Queue what a worker had in work, each input alone; return the row of a deadly one."""
        ends = chunk.ends + 1
        if len(chunk.inputs) > 1:
            self._again.extend(_Chunk(inputs=[item], ends=ends) for item in chunk.inputs)
            return []
        (item,) = chunk.inputs
        if ends < MOST_ENDS:
            self._again.append(_Chunk(inputs=[item], ends=ends))
            return []
        sentence = f"{ends} workers failed with {item.path} in work: {reason}; leave it out"
        return [empty_row(item, handle.name) | {"error": sentence}]
