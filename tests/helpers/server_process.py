"""`segdeploy serve` as users start it: a process that is asked over sockets."""

import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segdeploy.system.concurrency import PYTHON

SECONDS = 60
"""How long a start or an end may take on a busy machine."""


class ServerProcess:
    """A running server.

    Attributes:
        lines: What it wrote to stderr so far.
    """

    def __init__(self, *arguments: str | Path) -> None:
        """Start it on a free port."""
        command = [*PYTHON, "-m", "segdeploy", "serve", "--port", "0", "--schedule", "cores"]
        self._process = subprocess.Popen(
            [*command, *map(str, arguments)], stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(self.wait_for(r"serving on \w+://.*:(\d+)$"))

    @property
    def address(self) -> str:
        """Return where it is asked."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def grpc_port(self) -> int:
        """Return the port of gRPC."""
        return int(self.wait_for(r"gRPC on .*:(\d+)$"))

    def wait_for(self, pattern: str) -> str:
        """Return the first group of a pattern, once a line on stderr has it."""

        def found() -> re.Match[str] | None:
            matches = (re.search(pattern, line.rstrip()) for line in self.lines)
            return next((match for match in matches if match), None)

        with self._changed:
            arrived = self._changed.wait_for(lambda: found() or self._is_over(), SECONDS)
            match = found()
        assert match is not None, (arrived, self.lines)
        return match[1] if match.groups() else match[0]

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code, once it has ended and all is read that it wrote."""
        code = self._process.wait(SECONDS)
        self._reader.join(SECONDS)
        assert self._process.stderr is not None
        self._process.stderr.close()
        return code

    def stop(self) -> int:
        """Stop it by SIGTERM and return its exit code."""
        if self._process.poll() is None:
            self.send(signal.SIGTERM)
        return self.wait()

    def _is_over(self) -> bool:
        return self._process.poll() is not None

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


@contextmanager
def running(*arguments: str | Path) -> Iterator[ServerProcess]:
    """Yield a server that is stopped at the end of the block."""
    server = ServerProcess(*arguments)
    try:
        yield server
    finally:
        server.stop()
