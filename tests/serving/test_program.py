"""The program as it is run: Triton's own client, signals, clients that leave, and swaps."""

import http.client
import json
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from segdeploy import assets
from segdeploy.backends.loading import load_backend
from segdeploy.imaging.io import read_image
from segdeploy.imaging.preprocess import to_batch
from segdeploy.inference.predictor import Predictor
from tests.helpers.server_process import ServerProcess, running

pytestmark = pytest.mark.slow

STREET = Path(__file__).parents[2] / "docs" / "bundled" / "street.jpg"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with a model, and with a folder of which clients may load another."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(assets.locate("street-int8"), folder / "more.onnx")
    with running("street-int8", "--grpc-port", "0", "--models-dir", folder) as process:
        yield process


@pytest.fixture(params=["http", "grpc"])
def triton(request: pytest.FixtureRequest, server: ServerProcess) -> Any:
    """Triton's client module and a connected client, for each of its two ways."""
    module = pytest.importorskip(f"tritonclient.{request.param}")
    port = server.port if request.param == "http" else server.grpc_port
    return module, module.InferenceServerClient(f"127.0.0.1:{port}")


def test_triton_client_infers_what_the_predictor_does(triton: Any) -> None:
    """The judge of the protocol is its clients, unchanged."""
    module, client = triton
    backend = load_backend(assets.locate("street-int8"), device="cpu")
    spec, image = backend.card.input, read_image(STREET)
    batch = to_batch([image, image[::-1].copy()], spec)
    tensor = module.InferInput("image", list(batch.shape), "UINT8")
    tensor.set_data_from_numpy(batch)

    result = client.infer("street-int8", [tensor], request_id="a")

    assert np.array_equal(
        result.as_numpy("logits"), np.concatenate([backend.run(batch[:1]), backend.run(batch[1:])])
    )
    own = Predictor(backend).masks([np.ascontiguousarray(one[..., ::-1]) for one in batch])
    assert np.array_equal(result.as_numpy("mask"), np.stack(own))


def test_triton_client_has_every_call_of_the_protocol(triton: Any) -> None:
    """Health, metadata, and models that are loaded and unloaded by name."""
    module, client = triton
    is_http = module.__name__.endswith("http")
    plain = {} if is_http else {"as_json": True}

    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("street-int8")
    assert client.is_model_ready("street-int8", "1")
    assert not client.is_model_ready("none")
    assert client.get_server_metadata(**plain)["name"] == "segdeploy"
    assert client.get_model_metadata("street-int8", **plain)["platform"] == "segdeploy_onnxruntime"
    client.load_model("more")
    assert client.is_model_ready("more")
    index = client.get_model_repository_index(**plain)
    models = index if is_http else index["models"]
    assert {(model["name"], model["state"]) for model in models} >= {("more", "READY")}
    client.unload_model("more")
    assert not client.is_model_ready("more")


def test_triton_client_is_refused_as_the_protocol_says(triton: Any) -> None:
    """Its error is raised, with our sentence."""
    module, client = triton
    error = pytest.importorskip("tritonclient.utils").InferenceServerException
    tensor = module.InferInput("image", [1, 3], "UINT8")
    tensor.set_data_from_numpy(np.zeros((1, 3), np.uint8))

    with pytest.raises(error, match="the network takes"):
        client.infer("street-int8", [tensor])
    with pytest.raises(error, match="there is no model"):
        client.infer("none", [tensor])
    with pytest.raises(error, match="there is no file of a model"):
        client.load_model("secret")
    with pytest.raises(error, match="leave the parameters out"):
        client.load_model("more", config="{}")


def test_triton_client_infers_asynchronously(triton: Any) -> None:
    """Both clients have calls that return before the answer is there."""
    module, client = triton
    tensor = module.InferInput("image", [1, 360, 480, 3], "UINT8")
    tensor.set_data_from_numpy(np.zeros((1, 360, 480, 3), np.uint8))
    wanted = [module.InferRequestedOutput("mask")]

    if module.__name__.endswith("http"):
        result = client.async_infer("street-int8", [tensor], outputs=wanted).get_result()
    else:
        found: list[Any] = []
        arrived = threading.Event()

        def take(result: Any, error: Any) -> None:
            found.extend([result, error])
            arrived.set()

        client.async_infer("street-int8", [tensor], take, outputs=wanted)
        assert arrived.wait(60)
        assert found[1] is None
        result = found[0]

    assert result.as_numpy("mask").shape == (1, 360, 480)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_triton_client_packs_its_request(server: ServerProcess, algorithm: str) -> None:
    """Tensors of images pack well; the client packs them and the server unpacks."""
    module = pytest.importorskip("tritonclient.http")
    client = module.InferenceServerClient(f"127.0.0.1:{server.port}")
    tensor = module.InferInput("image", [1, 360, 480, 3], "UINT8")
    tensor.set_data_from_numpy(np.zeros((1, 360, 480, 3), np.uint8))

    result = client.infer(
        "street-int8",
        [tensor],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )

    assert result.as_numpy("mask").shape == (1, 360, 480)


def test_clients_that_hang_up_leave_nothing_behind(server: ServerProcess) -> None:
    """Each sends an image and leaves: nothing is stuck, and the next one is answered."""
    content = STREET.read_bytes()
    head = f"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    for number in range(40):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            part = content if number % 2 else content[: len(content) // 2]
            connection.sendall(head.encode() + part)

    answer = httpx.post(f"{server.address}/segment", content=content, timeout=60)
    figures = httpx.get(f"{server.address}/metrics").text

    assert answer.status_code == 200
    assert 'status="499"' in figures
    assert "segdeploy_queue_length 0.0" in figures
    assert "segdeploy_held_bytes 0.0" in figures
    assert not [line for line in server.lines if "Traceback" in line or '"fault"' in line]


def post(port: int, content: bytes) -> int:
    """Return the status of one request on a connection of its own; 0 where nobody took it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with closing(connection):
        try:
            connection.request("POST", "/segment", content)
            response = connection.getresponse()
        except ConnectionError:
            return 0
        response.read()
        return response.status


def test_nothing_accepted_is_lost_at_sigterm() -> None:
    """An orchestrator stops servers all the time; a client must not notice."""
    content = STREET.read_bytes()
    with running("street-int8") as process, ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(post, process.port, content) for _ in range(60)]
        process.wait_for('"status": 200')
        process.send(signal.SIGTERM)
        statuses = [answer.result() for answer in answers]
        code = process.wait()

    accepted = [line for line in process.lines if '"path": "/segment"' in line]
    assert code == 0
    assert set(statuses) == {200, 0}
    assert statuses.count(200) == len(accepted)
    assert not [line for line in process.lines if "Traceback" in line]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_sighup_swaps_a_model_that_is_verified_and_no_other(tmp_path: Path) -> None:
    """Requests under way finish on the old one; a damaged file changes nothing."""
    path = tmp_path / "street.onnx"
    shutil.copy(assets.locate("street-int8"), path)
    whole, content = path.read_bytes(), STREET.read_bytes()
    with running(path) as process, ThreadPoolExecutor(4) as pool:

        def replace(new: bytes) -> None:
            part = tmp_path / "street.part"
            part.write_bytes(new)
            part.replace(path)
            process.send(signal.SIGHUP)

        answers = [pool.submit(post, process.port, content) for _ in range(20)]
        replace(whole[:-2] + bytes(2))
        process.wait_for("street stays as it was: .* was changed after it was exported")
        replace(whole)
        process.wait_for("street is now 2 images at a time|street is now")
        statuses = [answer.result() for answer in answers]

    assert statuses == [200] * 20


def test_slow_clients_are_given_up_and_tell_so(tmp_path: Path) -> None:
    """A head or a body that does not come on must not hold a place for ever."""
    with running("street-int8", "--timeout", "2s") as process:
        with socket.create_connection(("127.0.0.1", process.port)) as half_head:
            half_head.sendall(b"POST /segment HTTP/1.1\r\nHost: local")
            half_head.settimeout(20)
            assert half_head.recv(100) == b""
        with socket.create_connection(("127.0.0.1", process.port)) as half_body:
            half_body.sendall(
                b"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\nabc"
            )
            half_body.settimeout(20)
            assert b" 408 " in half_body.recv(1000)


def test_log_is_json_lines(server: ServerProcess) -> None:
    """What a request cost can be counted by any tool."""
    httpx.post(f"{server.address}/segment", content=STREET.read_bytes(), timeout=60)
    server.wait_for(r'"path": "/segment", "status": 200')

    records = [json.loads(line) for line in server.lines if line.startswith("{")]

    assert records[-1].keys() >= {"time", "client", "method", "path", "status", "milliseconds"}


def test_options_that_cannot_work_are_refused_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A port in use, a certificate without a key, an unreadable file of keys."""
    from tests.helpers.cli import run_cli

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run_cli("serve", "street-int8", "--port", port) == 1
    assert "choose another --port" in capsys.readouterr().err
    assert run_cli("serve", "--certfile", tmp_path / "a.pem") == 2
    assert run_cli("serve", "--api-key-file", tmp_path / "keys") == 2
    assert run_cli("serve", tmp_path / "none.onnx", "--port", "0") == 4
    assert run_cli("serve", "--max-delay", "2") == 2
