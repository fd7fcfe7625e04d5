"""The page of an ONNX file in Chromium beside native ONNX Runtime: labels, speed, loading, memory.

`python -m segdeploy.benchmarks.studies.browser best.onnx IMAGES --camera 300`.

Needs Playwright and a Chromium. Both runtimes take turns with the same number of threads, so that
their ratio holds on a machine with other work.
"""

import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import click
import cv2
import numpy as np

from segdeploy.arrays import Image, Mask
from segdeploy.backends.loading import load_backend
from segdeploy.cli.console import echo, progress
from segdeploy.cli.options import Artifact
from segdeploy.imaging.io import list_images, read_image
from segdeploy.inference.predictor import Predictor
from segdeploy.system.files import temporary_folder
from segdeploy.system.machine import describe_machine
from segdeploy.web import site

NAMES = ("chromium", "chromium-browser", "google-chrome")
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
MILLISECONDS = 120_000
WARM = 3


class _Quiet(SimpleHTTPRequestHandler):
    """A static server without headers of its own."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Print nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Yield the address of a folder while it is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def find_chromium() -> str | None:
    """Return the path of Chromium, which SEGDEPLOY_CHROMIUM may name; None without one."""
    named = os.environ.get("SEGDEPLOY_CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def opened(address: str) -> Iterator[Any]:
    """Yield the page in a fresh Chromium, ready, with a camera that shows a test pattern."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", *FAKE_CAMERA]
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=arguments)
        page = browser.new_page(accept_downloads=True)
        page.set_default_timeout(MILLISECONDS)
        page.goto(address)
        page.get_by_role("status").filter(has_text="Ready").wait_for()
        yield page
        browser.close()


class Page:
    """The page as a person uses it."""

    def __init__(self, page: Any, scratch: Path) -> None:  # noqa: ANN401 - of Playwright
        """Wrap the page of Playwright.

        Args:
            page: The page.
            scratch: Folder for what passes between it and Python.
        """
        self._page = page
        self._scratch = scratch

    @property
    def status(self) -> str:
        """What the page says of itself."""
        return str(self._page.get_by_role("status").inner_text())

    def show(self, image: Image, name: str) -> None:
        """Show an image, and wait for its mask."""
        path = self._scratch / f"{name}.png"
        cv2.imwrite(str(path), image)
        self._page.set_input_files("#file", str(path))
        self._page.get_by_role("status").filter(has_text=f"{name}.png: ").wait_for()
        path.unlink()

    def mask(self) -> Mask:
        """Return the mask that is shown."""
        path = self._scratch / "mask.png"
        with self._page.expect_download() as download:
            self._page.get_by_role("button", name="Save mask").click()
        download.value.save_as(path)
        return np.ascontiguousarray(read_image(path)[..., 0])

    def stages(self) -> Mapping[str, float]:
        """Return the milliseconds of each stage, and the fps of a video."""
        rows = self._page.locator("#speed tr").all_inner_texts()
        pairs = (row.split("\t") for row in rows)
        return {name.strip(): float(value.split()[0]) for name, value in pairs}

    def camera(self) -> None:
        """Segment the camera from now on."""
        self._page.get_by_role("button", name="Camera").click()
        self._page.locator("#speed").filter(has_text="fps").wait_for()

    def memory(self) -> float:
        """Return the megabytes of the page's heap and buffers, of Chromium's own measure."""
        measured = self._page.evaluate("performance.measureUserAgentSpecificMemory()")
        return float(measured["bytes"]) / 1e6


def compare(page: Page, predictor: Predictor, images: Sequence[Path]) -> Mapping[str, Any]:
    """Return the share of equal labels on images, and the times of both by turns."""
    equal = total = 0
    browser: list[float] = []
    native: list[float] = []
    with progress("comparing", len(images)) as step:
        for index, path in enumerate(images):
            image = read_image(path)
            page.show(image, f"image-{index}")
            start = perf_counter()
            expected = predictor.mask(image)
            seconds = perf_counter() - start
            mask = page.mask()
            equal += int((mask == expected).sum())
            total += mask.size
            if index >= WARM:
                native.append(1000 * seconds)
                stages = page.stages()
                browser.append(sum(stages[name] for name in ("resize", "network", "mask")))
            step(f"{equal / total:.4%}")
    result: dict[str, Any] = {"images": len(images), "pixels": total, "differing": total - equal}
    if native:
        ratios = [one / other for one, other in zip(native, browser, strict=True)]
        result |= {
            "native_ms": median(native),
            "browser_ms": median(browser),
            "share_of_native_speed": median(ratios),
        }
    return result


def watch_camera(page: Page, seconds: float, every: float) -> Mapping[str, Any]:
    """Return the memory of the page and its fps while it segments the camera."""
    page.camera()
    samples = [page.memory()]
    start = perf_counter()
    while perf_counter() - start < seconds:
        sleep(every)
        samples.append(page.memory())
    half = len(samples) // 2
    return {
        "camera_seconds": round(perf_counter() - start),
        "camera_fps": page.stages().get("fps (wall time)"),
        "memory_mb": [round(sample, 1) for sample in samples],
        "growth_mb": round(median(samples[half:]) - median(samples[: half or 1]), 1),
    }


@click.command()
@click.argument("model", type=Artifact())
@click.argument("images", type=click.Path(path_type=Path, exists=True))
@click.option("--most", default=101, help="Images that are compared, evenly spaced.")
@click.option("--threads", default=2, help="Threads of both runtimes.")
@click.option("--camera", "seconds", default=0.0, help="Seconds of the camera.")
@click.option("--every", default=20.0, help="Seconds between two measures of memory.")
def main(model: Path, images: Path, most: int, threads: int, seconds: float, every: float) -> None:
    """Compare the page of MODEL, an exported ONNX file, with native ONNX Runtime on IMAGES."""
    paths = list_images([images])
    paths = paths[:: max(1, len(paths) // most)][:most]
    predictor = Predictor(load_backend(model, device="cpu", threads=threads))
    with temporary_folder() as scratch:
        folder = scratch / "page"
        site.copy_page(folder)
        shutil.copyfile(model, folder / site.MODEL_FILE)
        site.complete_page(folder)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        with served(folder) as address:
            start = perf_counter()
            with opened(f"{address}?threads={threads}") as playwright_page:
                page = Page(playwright_page, scratch)
                result: dict[str, Any] = {"status": page.status, "bytes": size}
                page.show(read_image(paths[0]), "first")
                result["seconds_to_first_mask"] = round(perf_counter() - start, 1)
                result |= compare(page, predictor, paths)
                if seconds:
                    result |= watch_camera(page, seconds, every)
    echo(
        json.dumps(
            {"processor": describe_machine().processor, "model": model.name, **result}, indent=2
        )
    )


if __name__ == "__main__":
    main()
