"""Thousands of broken requests: none crashes the server, shows a traceback or holds a worker."""

import os
import random
import socket
from pathlib import Path

import httpx
import pytest

from tests.helpers.server_process import running

pytestmark = pytest.mark.slow

STREET = Path(__file__).parents[2] / "docs" / "bundled" / "street.jpg"

COUNT = int(os.environ.get("SEGDEPLOY_BROKEN_REQUESTS", "300"))
"""How many requests are sent; a campaign sends 5,000 and more."""

PATHS = (
    *("/segment", "/segment?as=json&include=mask,rle,polygons,confidence", "/segment?as=overlay"),
    *("/v2/models/street-int8/infer", "/v2/repository/index", "/login", "/v2", "/live/x", "/%00"),
)
HEADERS = (
    *("Content-Encoding: gzip", "Content-Encoding: deflate", "Content-Encoding: x", "Accept: ;q=x"),
    *("Content-Type: multipart/form-data; boundary=a", "Content-Type: multipart/form-data"),
    *("Content-Type: video/mp4", "Inference-Header-Content-Length: 120", "Expect: 100-continue"),
    *("Inference-Header-Content-Length: -1", "Cookie: =;=;segdeploy_key=\x01", "Accept: text/x"),
    *("Transfer-Encoding: chunked", "Content-Length: 99999999999999999999", "Origin: null"),
)
INFERENCE = (
    b'{"inputs":[{"name":"image","shape":[1,360,480,3],"datatype":"UINT8","data":[1,2,3]}],'
    b'"outputs":[{"name":"mask","parameters":{"binary_data":true}}]}'
)
FORM = b'--a\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nX\r\n--a--\r\n'


def mutate(content: bytes, chance: random.Random) -> bytes:
    """Return bytes with some of them changed, left out or repeated."""
    broken = bytearray(content)
    for _ in range(chance.randrange(6)):
        at = chance.randrange(len(broken) + 1)
        match chance.randrange(3):
            case 0:
                broken[at : at + 1] = chance.randbytes(1)
            case 1:
                del broken[at : at + chance.randrange(1 + len(broken) // 2)]
            case _:
                broken[at:at] = broken[at : at + 40] * 3
    return bytes(broken)


def broken_request(chance: random.Random) -> bytes:
    """Return the bytes of a request that is mostly wrong."""
    body = mutate(chance.choice([STREET.read_bytes(), INFERENCE, FORM, b"", b"[" * 5000]), chance)
    headers = chance.sample(HEADERS, chance.randrange(4))
    if not any(header.startswith(("Content-Length", "Transfer")) for header in headers):
        headers.append(f"Content-Length: {max(0, len(body) + chance.choice([0, 0, 0, -7, 30]))}")
    method = chance.choice(["POST", "POST", "POST", "GET", "PUT", "HEAD", "BREW"])
    host = chance.choice(["localhost", "localhost", "localhost", "evil", ""])
    lines = [f"{method} {chance.choice(PATHS)} HTTP/1.1", f"Host: {host}", *headers]
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return (mutate(head, chance) if chance.random() < 0.2 else head) + body


def send(port: int, content: bytes, chance: random.Random) -> bytes:
    """Send a request, and return what is answered before the client loses its patience."""
    with socket.create_connection(("127.0.0.1", port), timeout=0.3) as connection:
        try:
            connection.sendall(content)
            if chance.random() < 0.8:
                connection.shutdown(socket.SHUT_WR)
            return connection.recv(1 << 16)
        except OSError:
            return b""


def test_broken_requests_change_nothing() -> None:
    """After all of them the next image is answered, and nothing waits or is held."""
    chance = random.Random(7)
    content = STREET.read_bytes()
    with running("street-int8", "--timeout", "5s") as server:
        for _ in range(COUNT):
            send(server.port, broken_request(chance), chance)
        answer = httpx.post(f"{server.address}/segment", content=content, timeout=60)
        figures = httpx.get(f"{server.address}/metrics").text
        code = server.stop()

    faults = [line for line in server.lines if "Traceback" in line or '"fault"' in line]
    assert faults == []
    assert answer.status_code == 200
    assert "segdeploy_queue_length 0.0" in figures
    assert code == 0
