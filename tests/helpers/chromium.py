"""Chromium without a window, for tests of pages."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@contextmanager
def launched(*arguments: str) -> Iterator[Any]:
    """Yield Chromium with a camera that shows a test pattern; skip where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = os.environ.get("SEGDEPLOY_CHROMIUM") or next(
        filter(None, map(shutil.which, NAMES)), None
    )
    if path is None:
        pytest.skip("no Chromium: install Debian's chromium, or name one in SEGDEPLOY_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        arguments = ("--no-sandbox", *FAKE_CAMERA, *arguments)
        chromium = playwright.chromium.launch(executable_path=path, args=[*arguments])
        yield chromium
        chromium.close()
