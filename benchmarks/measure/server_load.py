"""A server of any kind under load: started, asked by `hey`, and its processor time and memory read.

The load comes from the same machine, so a server is judged by its own processor time.
"""

import csv
import io
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from segdeploy.errors import SegdeployError
from segdeploy.system.machine import BLAS_THREADS
from segdeploy.system.posix import TICKS, end_group

FASTAPI = """
import io, sys
import cv2, numpy as np, onnxruntime, uvicorn
from fastapi import FastAPI, UploadFile
from fastapi.responses import Response
from PIL import Image

app = FastAPI()
session = onnxruntime.InferenceSession(sys.argv[1])
_, height, width, _ = session.get_inputs()[0].shape

@app.post("/segment")
def segment(file: UploadFile):
    image = Image.open(file.file).convert("RGB")
    batch = np.asarray(image.resize((width, height)))[None]
    logits = session.run(None, {"image": batch})[0][0]
    large = cv2.resize(logits.transpose(1, 2, 0), image.size)
    out = io.BytesIO()
    Image.fromarray(large.argmax(-1).astype(np.uint8)).save(out, "png")
    return Response(out.getvalue(), media_type="image/png")

uvicorn.run(app, port=int(sys.argv[2]), log_level="error")
"""
"""What people write: FastAPI, one session of ONNX Runtime, PNG."""

LITSERVE = """
import io, sys
import cv2, litserve, numpy as np, onnxruntime
from fastapi import UploadFile
from fastapi.responses import Response
from PIL import Image

class Segment(litserve.LitAPI):
    def setup(self, device):
        self.session = onnxruntime.InferenceSession(sys.argv[1])
        _, self.height, self.width, _ = self.session.get_inputs()[0].shape
    def decode_request(self, request: UploadFile):
        return Image.open(request.file).convert("RGB")
    def predict(self, image):
        batch = np.asarray(image.resize((self.width, self.height)))[None]
        logits = self.session.run(None, {"image": batch})[0][0]
        return cv2.resize(logits.transpose(1, 2, 0), image.size).argmax(-1).astype(np.uint8)
    def encode_response(self, mask):
        out = io.BytesIO()
        Image.fromarray(mask).save(out, "png")
        return Response(out.getvalue(), media_type="image/png")

if __name__ == "__main__":
    server = litserve.LitServer(Segment(api_path="/segment"), accelerator="cpu")
    server.run(port=int(sys.argv[2]), generate_client_file=False, log_level="error")
"""
"""The same for litserve."""

PEERS = {"FastAPI": FASTAPI, "litserve": LITSERVE}


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a load measured.

    Attributes:
        seconds: Latencies of the accepted requests, in seconds, sorted.
        refused: Latencies of the refused ones, status 503, sorted.
        failed: Requests with neither.
        wall: Seconds from the first request to the last response.
        busy: Seconds of processor time of the server.
    """

    seconds: Sequence[float]
    refused: Sequence[float]
    failed: int
    wall: float
    busy: float

    @property
    def per_wall(self) -> float:
        """Images per second of wall time."""
        return len(self.seconds) / self.wall

    @property
    def per_busy(self) -> float:
        """Images per second of the server's processor time."""
        return len(self.seconds) / max(self.busy, 1 / TICKS)

    def quantile(self, share: float) -> float:
        """Return a quantile of the accepted requests' latencies, in milliseconds."""
        return 1000 * quantile(self.seconds, share)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that a share of sorted values does not exceed; NaN of none."""
    if not values:
        return float("nan")
    return values[min(len(values) - 1, int(share * len(values)))]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What every request of a load sends.

    Attributes:
        path: Path of the address.
        body: File with the body.
        media: Its type.
        headers: Further headers.
    """

    path: str
    body: Path
    media: str = "image/jpeg"
    headers: Mapping[str, str]


def read_hey(text: str) -> tuple[list[float], list[float], int]:
    """Return the latencies of accepted and of refused requests, and the number of others."""
    accepted: list[float] = []
    refused: list[float] = []
    failed = 0
    for row in csv.DictReader(io.StringIO(text)):
        if row["status-code"] == "200":
            accepted.append(float(row["response-time"]))
        elif row["status-code"] == "503":
            refused.append(float(row["response-time"]))
        else:
            failed += 1
    return sorted(accepted), sorted(refused), failed


class Server:
    """A running server of any kind.

    Attributes:
        port: Where it listens on the loopback.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        """Wait until it listens.

        Raises:
            SegdeployError: It does not.
        """
        self._process, self.port = process, port
        for _ in range(600):
            if process.poll() is not None:
                break
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    return
            time.sleep(0.1)
        msg = "a server did not start; its output is above"
        raise SegdeployError(msg)

    def busy(self) -> float:
        """Return the processor time of the server and its children so far, in seconds."""
        return sum(_ticks(pid) for pid in _family(self._process.pid)) / TICKS

    def memory(self) -> float:
        """Return the memory that the server holds now, in MB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        lines = (line.split() for line in status.splitlines() if line.startswith("VmRSS"))
        return next(int(words[1]) * 1024 / 1e6 for words in lines)

    def load(
        self,
        request: Request,
        *,
        clients: int,
        seconds: float = 0,
        number: int = 0,
        rate: float = 0,
    ) -> Load:
        """Send requests and return what was measured.

        Args:
            request: What is sent.
            clients: How many at the same time.
            seconds: For how long; 0 where a number is given.
            number: How many requests.
            rate: Requests per second of all clients; 0 for as many as are answered.

        Raises:
            SegdeployError: `hey` failed.
        """
        amount = ["-n", str(number)] if number else ["-z", f"{seconds}s"]
        pace = ["-q", str(max(0.1, rate / clients))] if rate else []
        headers = [
            word for name, value in request.headers.items() for word in ("-H", f"{name}: {value}")
        ]
        command = ["hey", *amount, *pace, "-c", str(clients), "-t", "120", "-o", "csv", *headers]
        body = ["-m", "POST", "-T", request.media, "-D", str(request.body)]
        before, start = self.busy(), time.perf_counter()
        done = subprocess.run(  # noqa: S603 - `hey`, and arguments of ours
            [*command, *body, f"http://127.0.0.1:{self.port}{request.path}"],
            capture_output=True,
            text=True,
            check=False,
        )
        wall, busy = time.perf_counter() - start, self.busy() - before
        accepted, refused, failed = read_hey(done.stdout)
        if not accepted:
            msg = f"nothing was answered by the server: {done.stderr[:500] or 'see above'}"
            raise SegdeployError(msg)
        return Load(seconds=accepted, refused=refused, failed=failed, wall=wall, busy=busy)


def _family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    below = children.read_text(encoding="utf-8").split() if children.exists() else []
    return [pid, *(one for child in below for one in _family(int(child)))]


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


@contextmanager
def started(command: Sequence[str | Path], port: int) -> Iterator[Server]:
    """Yield a server that is stopped after the block."""
    process = subprocess.Popen(  # noqa: S603 - servers of this study
        [str(word) for word in command],
        stdout=subprocess.DEVNULL,
        env={**BLAS_THREADS, **os.environ},
        start_new_session=True,
    )
    try:
        yield Server(process, port)
    finally:
        end_group(process, grace=30)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def peer(python: Path, name: str, model: Path, folder: Path) -> Iterator[Server]:
    """Yield a peer's server with a model."""
    script, port = folder / f"serve_{name}.py", free_port()
    script.write_text(PEERS[name], encoding="utf-8")
    with started([python, script, model, str(port)], port) as server:
        yield server
