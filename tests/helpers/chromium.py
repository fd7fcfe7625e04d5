"""Chromium without a window, for tests of pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from segdeploy.benchmarks.studies.browser import FAKE_CAMERA, find_chromium


@contextmanager
def launched(*arguments: str) -> Iterator[Any]:
    """Yield Chromium with a camera that shows a test pattern; skip where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium: install Debian's chromium, or name one in SEGDEPLOY_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        arguments = ("--no-sandbox", *FAKE_CAMERA, *arguments)
        chromium = playwright.chromium.launch(executable_path=path, args=[*arguments])
        yield chromium
        chromium.close()
