"""What every request passes: keys, origins, errors, headers, metrics and the log."""

import asyncio
import json
from collections.abc import Mapping

import httpx
import numpy as np
import pytest
from starlette.routing import Route

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.serving.application import build_front
from segdeploy.serving.cameras.live_views import LiveViews
from segdeploy.serving.web.openapi import document
from segdeploy.serving.web.service import Service
from tests.helpers.backends import ChannelBackend
from tests.helpers.servers import KEY, make_client, make_model, make_service
from tests.serving.web.test_segment_route import random_image, to_png


def get(path: str, service: Service | None = None, **headers: str) -> httpx.Response:
    """Return the response to a GET."""

    async def run() -> httpx.Response:
        async with make_client(service) as client:
            return await client.get(path, headers=headers)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": f"Bearer {KEY}"}, 200),
        ({"authorization": f"Basic {KEY}"}, 401),
        ({"x-api-key": KEY}, 200),
        ({"x-api-key": KEY[:-1]}, 401),
        ({"cookie": f"segdeploy_key={KEY}"}, 200),
        ({"cookie": "segdeploy_key=\x01;;;=="}, 401),
    ],
)
def test_keys(headers: Mapping[str, str], status: int) -> None:
    """Without its key nobody learns what a server has."""
    response = get("/models", make_service(keys=(KEY,)), **headers)

    assert response.status_code == status


@pytest.mark.parametrize("path", ["/", "/health/live", "/health/ready", "/v2/health/ready"])
def test_health_and_page_need_no_key(path: str) -> None:
    """Orchestrators have no keys, and the page asks for one."""
    assert get(path, make_service(keys=(KEY,))).status_code == 200


def test_login_keeps_the_key_out_of_reach_of_scripts() -> None:
    """The live view's images carry no header, so the browser keeps a cookie."""

    async def run() -> tuple[httpx.Response, httpx.Response]:
        async with make_client(make_service(keys=(KEY,))) as client:
            return await client.post("/login", content=KEY), await client.post(
                "/login", content="guess"
            )

    good, bad = asyncio.run(run())

    assert good.status_code == 204
    assert "HttpOnly" in good.headers["set-cookie"]
    assert "SameSite=strict" in good.headers["set-cookie"]
    assert bad.status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1:8000"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "localhost", "origin": "http://evil.example"}, 403),
        ({"host": "localhost:1", "origin": "http://localhost:1"}, 200),
        ({"host": "localhost", "origin": "null"}, 403),
    ],
)
def test_pages_of_others_cannot_use_a_local_server(headers: Mapping[str, str], status: int) -> None:
    """A page that a user visits reaches 127.0.0.1 through the user's browser."""
    assert get("/models", **headers).status_code == status


def test_fault_of_ours_is_one_sentence_and_its_place_in_the_log() -> None:
    """A client learns nothing of the code; whoever runs the server learns where to look."""

    class Broken(ChannelBackend):
        def run(self, batch: Batch) -> NetworkOutput:
            msg = "secret /home/user"
            raise ZeroDivisionError(msg)

    records: list[Mapping[str, object]] = []

    async def run() -> httpx.Response:
        front = build_front(make_service(make_model(Broken())), log=records.append)
        async with make_client(front=front) as client:
            return await client.post("/segment", content=to_png(random_image()))

    response = asyncio.run(run())

    assert response.status_code == 500
    assert "secret" not in response.text
    assert str(records[0]["fault"]).startswith("ZeroDivisionError at ")


def test_log_has_a_line_for_each_request_and_escapes_control_characters() -> None:
    """An address of a client must not write into the terminal."""
    records: list[Mapping[str, object]] = []

    async def run() -> None:
        front = build_front(make_service(), log=records.append)
        async with make_client(front=front) as client:
            await client.post("/segment", content=to_png(random_image()))
            await client.get("/%1b[2J%0a")

    asyncio.run(run())

    assert [record["status"] for record in records] == [200, 404]
    assert records[0]["path"] == "/segment"
    assert "infer" in str(records[0]["stages"])
    assert "\x1b" not in json.dumps(records)


def test_metrics_count_requests_images_and_stages() -> None:
    """Prometheus learns what is done, how long it takes, and what is refused."""

    async def run() -> str:
        async with make_client() as client:
            await client.post("/segment", content=to_png(random_image()))
            await client.post("/segment", content=b"no image")
            await client.get("/no/such/place")
            return (await client.get("/metrics")).text

    text = asyncio.run(run())

    assert 'segdeploy_requests_total{route="/segment",status="200"} 1.0' in text
    assert 'segdeploy_requests_total{route="/segment",status="415"} 1.0' in text
    assert 'segdeploy_requests_total{route="other",status="404"} 1.0' in text
    assert 'segdeploy_rejected_total{status="415"} 1.0' in text
    assert 'segdeploy_images_total{model="colors"}' in text or "segdeploy_images" in text
    assert 'segdeploy_stage_seconds_count{stage="infer"} 1.0' in text
    assert "segdeploy_queue_length 0.0" in text


def test_openapi_document_describes_every_route() -> None:
    """A route that is not described is not found, and one that is not there disappoints."""
    service = make_service()
    described = set(document("1", ["colors"])["paths"])
    front = build_front(service, more=LiveViews({}).routes())
    known = {route.path for route in front.routes if isinstance(route, Route)}

    assert described <= known
    page = {"/", "/page.css", "/page.js", "/icon.svg"}
    assert {path for path in known if not path.startswith("/v2")} - page == described
    assert get("/openapi.json").json()["openapi"] == "3.1.0"


def test_page_may_load_nothing_from_elsewhere() -> None:
    """What is dropped on the page stays on the server that the user started."""
    policy = get("/").headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "http:" not in policy


def test_masks_of_many_clients_are_their_own() -> None:
    """Whatever is segmented at the same time."""
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (20 + n, 30, 3), dtype=np.uint8) for n in range(12)]

    async def run() -> list[httpx.Response]:
        async with make_client() as client:
            return await asyncio.gather(
                *(client.post("/segment?as=json", content=to_png(image)) for image in images)
            )

    answers = asyncio.run(run())

    assert [answer.json()["height"] for answer in answers] == [len(image) for image in images]
