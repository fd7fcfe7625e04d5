"""The Open Inference Protocol over REST, request by request as its specification has them."""

import asyncio
import json
from typing import Any

import httpx
import numpy as np
import pytest

from segdeploy.arrays import Batch
from segdeploy.serving.web.service import Service
from tests.helpers.backends import ChannelBackend
from tests.helpers.cards import make_card
from tests.helpers.servers import make_client, make_model, make_service

INFER = "/v2/models/colors/infer"
LENGTH = "inference-header-content-length"


def small_service() -> Service:
    """Return a server whose network takes 4x6."""
    card = make_card(4, 6, classes=("red", "green", "blue"))
    return make_service(make_model(ChannelBackend(card)))


def send(method: str, path: str, content: bytes = b"", **headers: str) -> httpx.Response:
    """Return the response to one request."""

    async def run() -> httpx.Response:
        async with make_client(small_service()) as client:
            return await client.request(method, path, content=content, headers=headers)

    return asyncio.run(run())


def batch(count: int = 2) -> Batch:
    """Return random images."""
    return np.random.default_rng(1).integers(0, 256, (count, 4, 6, 3), dtype=np.uint8)


def request(**changes: Any) -> dict[str, Any]:
    """Return the JSON of a request; `changes` replace keys of its input."""
    images = batch()
    first = {"name": "image", "shape": [2, 4, 6, 3], "datatype": "UINT8", "data": images.tolist()}
    return {"id": "7", "inputs": [{**first, **changes}]}


def test_metadata_is_the_card() -> None:
    """A client learns what to send from the server alone."""
    server = send("GET", "/v2").json()
    model = send("GET", "/v2/models/colors").json()

    assert server["name"] == "segdeploy"
    assert "binary_tensor_data" in server["extensions"]
    assert model["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 4, 6, 3]}]
    assert model["outputs"] == [
        {"name": "logits", "datatype": "FP32", "shape": [-1, 3, -1, -1]},
        {"name": "mask", "datatype": "UINT8", "shape": [-1, 4, 6]},
    ]
    assert send("GET", "/v2/models/colors/versions/1").json() == model
    assert send("GET", "/v2/models/colors/versions/1/ready").json()["ready"] is True
    assert send("GET", "/v2/models/colors/versions/2").status_code == 404


@pytest.mark.parametrize("nested", [True, False])
def test_numbers_in_json(*, nested: bool) -> None:
    """Numbers may be nested as the tensor is, or flat."""
    images = batch()
    data = images.tolist() if nested else images.ravel().tolist()

    values = send("POST", INFER, json.dumps(request(data=data)).encode()).json()

    assert (values["model_name"], values["id"]) == ("colors", "7")
    logits, mask = values["outputs"]
    assert mask["shape"] == [2, 4, 6]
    assert np.array_equal(np.reshape(mask["data"], mask["shape"]), images.argmax(-1))
    assert logits["shape"] == [2, 3, 4, 6]


def test_bytes_behind_the_json() -> None:
    """The binary extension: tensors cost no text in either direction."""
    images = batch()
    asked = request(parameters={"binary_data_size": images.nbytes})
    del asked["inputs"][0]["data"]
    asked["outputs"] = [{"name": "mask", "parameters": {"binary_data": True}}]
    head = json.dumps(asked).encode()

    response = send("POST", INFER, head + images.tobytes(), **{LENGTH: str(len(head))})

    length = int(response.headers[LENGTH])
    values = json.loads(response.content[:length])
    mask = np.frombuffer(response.content[length:], np.uint8).reshape(2, 4, 6)
    assert [output["name"] for output in values["outputs"]] == ["mask"]
    assert values["outputs"][0]["parameters"]["binary_data_size"] == mask.nbytes
    assert np.array_equal(mask, images.argmax(-1))


def test_all_outputs_may_be_bytes() -> None:
    """`binary_data_output` is the default of every output."""
    asked = {**request(), "parameters": {"binary_data_output": True}}

    response = send("POST", INFER, json.dumps(asked).encode())

    values = json.loads(response.content[: int(response.headers[LENGTH])])
    sizes = [output["parameters"]["binary_data_size"] for output in values["outputs"]]
    assert sizes == [2 * 3 * 4 * 6 * 4, 2 * 4 * 6]


WRONG = {
    "another name": request(name="input"),
    "another type": request(datatype="FP32"),
    "another size": request(shape=[2, 6, 4, 3]),
    "too few numbers": request(data=[1, 2, 3]),
    "too large a number": request(data=[256] * 144),
    "a fraction": request(data=[0.5] * 144),
    "text": request(data=["a"] * 144),
    "ragged": request(data=[[1, 2], [3]]),
    "no data": {"inputs": [{"name": "image", "shape": [2, 4, 6, 3], "datatype": "UINT8"}]},
    "negative side": request(shape=[-2, 4, 6, 3]),
    "endless shape": request(shape=[1] * 100),
    "no images": request(shape=[0, 4, 6, 3], data=[]),
    "two inputs": {"inputs": request()["inputs"] * 2},
    "no inputs": {"inputs": []},
    "unknown output": {**request(), "outputs": [{"name": "boxes"}]},
    "shared memory": request(parameters={"shared_memory_region": "x"}),
    "size without bytes": request(parameters={"binary_data_size": 144}),
    "a list": [1],
    "deep": json.loads("[" * 400 + "]" * 400),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_request_is_refused_as_the_protocol_says(name: str) -> None:
    """Status 400 and {"error": ...}, which every client of the protocol shows."""
    response = send("POST", INFER, json.dumps(WRONG[name]).encode())

    assert response.status_code == 400, response.text
    assert response.json()["error"]


@pytest.mark.parametrize("length", ["-1", "99999", "1e3", "9" * 40, "x"])
def test_wrong_length_of_the_json_is_refused(length: str) -> None:
    """The header comes from outside like everything else."""
    response = send("POST", INFER, json.dumps(request()).encode(), **{LENGTH: length})

    assert response.status_code == 400


def test_repository_of_a_fixed_server_is_listed_only() -> None:
    """Without --models-dir no client changes what is served."""
    states = send("POST", "/v2/repository/index").json()

    assert states == [{"name": "colors", "version": "1", "state": "READY", "reason": ""}]
    assert send("POST", "/v2/repository/models/colors/unload").status_code == 403
    assert send("POST", "/v2/repository/models/colors/load").status_code == 403
