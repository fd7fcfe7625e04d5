"""The page of a model under /browser: its files, and who gets them."""

import asyncio
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from segdeploy import assets
from segdeploy.serving.application import build_front
from segdeploy.serving.web.browser_page import BrowserPages
from tests.helpers.pages import require_runtime
from tests.helpers.servers import KEY, make_client, make_model, make_service


def get(
    *addresses: str, path: Path | None = None, keys: tuple[str, ...] = ()
) -> list[httpx.Response]:
    """Ask a server with one model for files."""
    model = replace(make_model(), path=path or assets.locate("street-int8"))
    service = make_service(model, keys=keys)
    front = build_front(service, more=BrowserPages(service).routes())

    async def run() -> list[httpx.Response]:
        async with make_client(front=front) as client:
            return [await client.get(address) for address in addresses]

    return asyncio.run(run())


def test_the_page_of_the_default_model_is_found() -> None:
    """/browser leads to a folder, whose files isolate the page so that threads work."""
    require_runtime()
    first, short, page, module, model, description = get(
        *("/browser", "/browser/colors", "/browser/colors/", "/browser/colors/worker.js"),
        *("/browser/colors/model.onnx", "/browser/colors/model.json"),
    )

    assert first.headers["location"] == short.headers["location"] == "/browser/colors/"
    assert page.text.startswith("<!doctype html>")
    assert module.headers["content-type"] == "text/javascript; charset=utf-8"
    assert page.headers["cross-origin-opener-policy"] == "same-origin"
    assert module.headers["cross-origin-embedder-policy"] == "require-corp"
    assert model.content == assets.locate("street-int8").read_bytes()
    assert description.json()["card"]["precision"] == "int8"
    assert description.json()["offline"] is False


@pytest.mark.parametrize(
    "address",
    [
        *("/browser/other/", "/browser/colors/../../etc/passwd", "/browser/colors/service.js"),
        "/browser/colors/%2e%2e/__init__.py",
    ],
)
def test_other_files_are_not_sent(address: str) -> None:
    """Names are looked up in a list, so that no path leads out of the page."""
    require_runtime()

    [response] = get(address)

    assert response.status_code == 404


def test_a_model_of_another_runtime_is_refused() -> None:
    """A browser runs ONNX files only."""
    [response] = get("/browser/colors/", path=Path("street.xml"))

    assert response.status_code == 404
    assert "is no ONNX file" in response.json()["detail"]


def test_the_page_needs_the_server_s_key() -> None:
    """The page holds the file of the model, so it is for those who may use it."""
    [response] = get("/browser/colors/model.onnx", keys=(KEY,))

    assert response.status_code == 401
