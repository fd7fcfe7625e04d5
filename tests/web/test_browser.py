"""The page in Chromium: its masks are Python's, it needs no network, and it says what is wrong."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from segdeploy import assets
from segdeploy.arrays import Image, Mask
from segdeploy.backends.loading import load_backend
from segdeploy.benchmarks.studies.browser import served
from segdeploy.imaging.io import read_image
from segdeploy.inference.predictor import Predictor
from segdeploy.web import site
from tests.helpers.chromium import launched
from tests.helpers.clips import gray_frames, write_clip
from tests.helpers.pages import write_page

pytestmark = pytest.mark.slow

STREET = Path(__file__).parents[2] / "docs" / "bundled" / "street.jpg"
SECONDS = 90_000
SOFTWARE_GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the bundled model in float32."""
    return write_page(tmp_path_factory.mktemp("web") / "street.web", assets.locate("street"))


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(load_backend(assets.locate("street"), device="cpu"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled street as an uncompressed video of one frame, which Chromium's camera shows."""
    path = tmp_path_factory.mktemp("clip") / "street.y4m"
    image = cv2.resize(read_image(STREET), (640, 480), interpolation=cv2.INTER_AREA)
    planes = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
    header = b"YUV4MPEG2 W640 H480 F20:1 Ip A1:1 C420jpeg\n"
    path.write_bytes(header + (b"FRAME\n" + planes.tobytes()) * 20)
    return path


@pytest.fixture(scope="module")
def browser(clip: Path) -> Iterator[Any]:
    """Chromium whose camera shows the clip."""
    camera = f"--use-file-for-fake-video-capture={clip}"
    plain = "--host-resolver-rules=MAP plain.test 127.0.0.1"
    with launched(camera, plain, *SOFTWARE_GPU) as chromium:
        yield chromium


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """Pages of one visitor, who has never been here."""
    context = browser.new_context(accept_downloads=True)
    yield context
    context.close()


@pytest.fixture
def page(context: Any, folder: Path) -> Iterator[Any]:
    """The loaded page, in which no script fails and nothing is asked of other hosts."""
    with served(folder) as address:
        opened = context.new_page()
        problems: list[str] = []
        opened.on("pageerror", lambda error: problems.append(str(error)))
        opened.on("request", lambda request: problems.extend(elsewhere(request.url, address)))
        opened.goto(address)
        wait_until_ready(opened)
        yield opened
        assert problems == []


def elsewhere(url: str, address: str) -> list[str]:
    return [] if url.startswith((address, f"blob:{address}", "data:")) else [url]


def wait_until_ready(page: Any) -> None:
    page.get_by_role("status").filter(has_text="Ready").wait_for(timeout=SECONDS)


def wait_for(page: Any, text: str) -> None:
    page.get_by_role("status").filter(has_text=text).wait_for(timeout=SECONDS)


def saved(page: Any, name: str, folder: Path) -> Image:
    """Press a button that saves, and read the file."""
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Save {name}").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return read_image(path)


def mask_and_frame(page: Any, folder: Path) -> tuple[Mask, Image]:
    """Return what the page shows: its mask, and the pixels that it was computed from."""
    return saved(page, "mask", folder)[..., 0], saved(page, "frame", folder)


def test_the_mask_of_an_image_is_python_s(page: Any, predictor: Predictor, tmp_path: Path) -> None:
    """Pixel by pixel, for a file without loss; and the overlay has the card's colors."""
    path = tmp_path / "street.png"
    image = read_image(STREET)
    cv2.imwrite(str(path), image)

    page.set_input_files("#file", str(path))
    wait_for(page, "street.png: 800 x 450 pixels")
    mask, frame = mask_and_frame(page, tmp_path)
    page.locator("#opacity").fill("1")
    overlay = saved(page, "overlay", tmp_path)

    colors = np.array([entry.color[::-1] for entry in predictor.card.classes])
    assert np.array_equal(frame, image)
    assert (mask == predictor.mask(image)).mean() >= 0.9999
    assert np.array_equal(overlay, colors[mask])


def test_the_camera_is_segmented(page: Any, predictor: Predictor, tmp_path: Path) -> None:
    """Each frame is shown with its own mask, and the speed of each stage is told."""
    page.get_by_role("button", name="Camera").click()
    wait_for(page, "camera: 640 x 480 pixels")
    page.locator("#speed").filter(has_text="fps (wall time)").wait_for(timeout=SECONDS)
    page.get_by_role("button", name="Stop").click()
    mask, frame = mask_and_frame(page, tmp_path)

    shown = cv2.resize(read_image(STREET), (640, 480), interpolation=cv2.INTER_AREA)
    stages = page.locator("#speed").inner_text()
    assert np.abs(frame.astype(int) - shown).mean() < 6
    assert (mask == predictor.mask(frame)).mean() >= 0.9999
    assert all(name in stages for name in ("capture", "resize", "network", "mask", "draw"))


def test_a_video_is_segmented(page: Any, predictor: Predictor, tmp_path: Path) -> None:
    """A video file plays in the page, and an image may follow it at any time."""
    write_clip(tmp_path / "clip.mp4", gray_frames(20, height=96, width=128))
    page.set_input_files("#file", str(tmp_path / "clip.mp4"))
    wait_for(page, "clip.mp4: ")
    page.locator("#speed").filter(has_text="fps (wall time)").wait_for(timeout=SECONDS)
    page.set_input_files("#file", str(STREET))
    wait_for(page, "street.jpg: 800 x 450 pixels")
    mask, frame = mask_and_frame(page, tmp_path)

    assert (mask == predictor.mask(frame)).mean() >= 0.9999
    assert page.get_by_role("button", name="Stop").is_disabled()


def test_the_page_works_without_a_network(context: Any, folder: Path) -> None:
    """After the first load the server may be gone; threads work though it sets no headers."""
    page = context.new_page()
    with served(folder) as address:
        page.goto(address)
        wait_until_ready(page)
        status = page.get_by_role("status").inner_text()
        cores = page.evaluate("navigator.hardwareConcurrency")
    page.reload()
    wait_until_ready(page)
    page.set_input_files("#file", str(STREET))
    wait_for(page, "pixels")

    assert page.evaluate("crossOriginIsolated")
    assert status.endswith("1 thread") == (cores == 1)


def test_a_file_that_is_no_image_is_refused(page: Any, tmp_path: Path) -> None:
    """The sentence names it, and the next image works."""
    (tmp_path / "notes.png").write_text("not an image")
    page.set_input_files("#file", str(tmp_path / "notes.png"))
    wait_for(page, "notes.png is no image that this browser can read")

    page.set_input_files("#file", str(STREET))
    wait_for(page, "street.jpg: 800 x 450 pixels")


def test_without_https_the_page_runs_with_one_thread(context: Any, folder: Path) -> None:
    """Browsers give a plain address no service worker; the page says what is missing."""
    page = context.new_page()
    with served(folder) as address:
        page.goto(address.replace("localhost", "plain.test"))
        wait_for(page, "1 thread")
        page.set_input_files("#file", str(STREET))
        wait_for(page, "pixels")
        notes = page.get_by_role("list", name="Notes").inner_text()
        page.get_by_role("button", name="Camera").click()
        wait_for(page, "a camera needs https or localhost")

    assert "one thread" in notes
    assert "not kept for use without a network" in notes


def test_from_a_file_the_page_says_how_to_serve_it(context: Any, folder: Path) -> None:
    """Browsers do not load modules from file://."""
    page = context.new_page()
    page.goto((folder / "index.html").as_uri())

    wait_for(page, "python3 -m http.server")


def test_a_model_that_fails_its_self_test_is_not_used(
    context: Any, folder: Path, tmp_path: Path
) -> None:
    """What the export stored must come out on this very device."""
    other = write_page(tmp_path / "other.web", assets.locate("street"))
    description = json.loads((other / site.DESCRIPTION_FILE).read_text())
    description["expected"]["labels"] = "eNoDAAAAAAE="
    (other / site.DESCRIPTION_FILE).write_text(json.dumps(description))
    page = context.new_page()
    with served(other) as address:
        page.goto(address)
        wait_for(page, "does not return the output that its export stored")

    assert page.locator("#file").is_disabled()


def test_webgpu_is_used_where_it_reproduces_the_stored_output(
    context: Any, artifacts: Path, tmp_path: Path
) -> None:
    """A software adapter is slower than WASM, so it is used only if it is asked for."""
    model = artifacts / "best.onnx"
    page = context.new_page()
    with served(write_page(tmp_path / "best.web", model, webgpu=True)) as address:
        page.goto(address)
        wait_for(page, "fp32, WASM")
        notes = page.get_by_role("list", name="Notes").inner_text()
        page.goto(f"{address}?device=webgpu")
        wait_for(page, "fp32, WebGPU")
        page.set_input_files("#file", str(STREET))
        wait_for(page, "pixels")
        mask, frame = mask_and_frame(page, tmp_path)

    assert "WebGPU is not used: " in notes
    assert (mask == Predictor(load_backend(model, device="cpu")).mask(frame)).mean() > 0.999
