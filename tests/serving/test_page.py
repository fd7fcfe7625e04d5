"""The page in a real browser: what a person drops, sees, hovers over, compares and saves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from segdeploy import assets
from segdeploy.backends.loading import load_backend
from segdeploy.imaging.io import read_image
from segdeploy.inference.predictor import Predictor
from tests.helpers.chromium import launched
from tests.helpers.clips import write_clip
from tests.helpers.pages import require_runtime
from tests.helpers.server_process import ServerProcess, running
from tests.helpers.servers import KEY

pytestmark = pytest.mark.slow

BUNDLED = Path(__file__).parents[2] / "docs" / "bundled"
SEGMENTED = "pixels in"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium with a camera that shows a test pattern; skips where there is none."""
    with launched() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server with two models."""
    with running("street-int8", "street") as process:
        yield process


@pytest.fixture
def page(browser: Any, server: ServerProcess) -> Iterator[Any]:
    """The page, in which no script fails and nothing is asked of other hosts."""
    context = browser.new_context(accept_downloads=True)
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    elsewhere: list[str] = []

    def note(request: Any) -> None:
        if not request.url.startswith((server.address, f"blob:{server.address}", "data:")):
            elsewhere.append(request.url)

    opened.on("request", note)
    opened.goto(server.address)
    yield opened
    context.close()
    assert (problems, elsewhere) == ([], [])


def choose(page: Any, *paths: Path) -> None:
    """Choose files, and wait until the first one is segmented."""
    page.set_input_files("#files", [str(path) for path in paths])
    wait_for(page, SEGMENTED)


def wait_for(page: Any, text: str) -> None:
    """Wait until the status has a text."""
    page.get_by_role("status").filter(has_text=text).wait_for(timeout=60_000)


def test_hover_tells_the_class_that_the_predictor_finds(page: Any) -> None:
    """The page shows the mask of the model, not one of its own."""
    path = BUNDLED / "street.jpg"
    mask = Predictor(load_backend(assets.locate("street-int8"), device="cpu")).mask(
        read_image(path)
    )
    names = [entry.name for entry in load_backend(assets.locate("street-int8")).card.classes]

    choose(page, path)
    canvas = page.locator("#panes canvas[tabindex]")
    canvas.focus()
    page.keyboard.press("ArrowDown")
    text = page.locator(".under").inner_text()

    x, y = (int(number) for number in text.rpartition("(")[2].rstrip(")").split(","))
    assert names[mask[y, x]] in text
    assert "% confident" in text
    assert page.locator("tbody tr").count() == len(names)
    assert "%" in page.locator("tbody tr").first.inner_text()


def test_opacity_and_download_show_what_is_seen(page: Any, tmp_path: Path) -> None:
    """At no opacity, what is saved is the image itself."""
    path = BUNDLED / "street.jpg"
    choose(page, path)

    page.locator("#opacity").fill("0")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download what is seen").click()
    download.value.save_as(tmp_path / "seen.png")

    image = read_image(path)
    seen = cv2.imread(str(tmp_path / "seen.png"))
    assert download.value.suggested_filename == "street-segmented.png"
    assert seen.shape == image.shape
    assert np.abs(seen.astype(int) - image).mean() < 3


def test_two_models_are_compared_side_by_side(page: Any) -> None:
    """The second view follows the pointer of the first."""
    choose(page, BUNDLED / "rain.jpg")

    page.get_by_label("Beside it").select_option("street")
    page.locator("figcaption").nth(1).wait_for()
    page.wait_for_timeout(100)
    wait_for(page, SEGMENTED)
    page.locator("#panes canvas[tabindex]").nth(1).hover()
    page.wait_for_timeout(200)

    captions = page.locator("#panes figcaption").all_inner_texts()
    assert [caption.partition(" ")[0] for caption in captions] == ["street-int8", "street"]
    assert all("confident" in text for text in page.locator(".under").all_inner_texts())


def test_several_images_and_one_that_is_none(page: Any, tmp_path: Path) -> None:
    """What the server refuses stands in the status, and the next image is shown."""
    (tmp_path / "notes.jpg").write_text("no image")
    choose(page, BUNDLED / "fog.jpg", tmp_path / "notes.jpg")

    page.get_by_role("button", name="Next image").click()
    wait_for(page, "no image of a known format")
    page.get_by_role("button", name="Next image").click()
    wait_for(page, SEGMENTED)

    assert page.locator("#position").inner_text() == "1 of 2"


def test_video_and_webcam_are_segmented_while_they_play(page: Any, tmp_path: Path) -> None:
    """The newest frame is taken, of a file as of a camera."""
    images = [np.full((96, 128, 3), 8 * number, np.uint8) for number in range(25)]

    choose(page, write_clip(tmp_path / "clip.mp4", images))
    assert "128 × 96" in page.get_by_role("status").inner_text()
    webcam = page.get_by_role("button", name="Webcam")
    webcam.click()
    page.get_by_role("status").filter(has_not_text="128 × 96").filter(has_text=SEGMENTED).wait_for()
    assert webcam.get_attribute("aria-pressed") == "true"
    webcam.click()

    wait_for(page, "The webcam is off")


def test_page_fits_a_phone_and_follows_light_and_dark(browser: Any, server: ServerProcess) -> None:
    """Nothing is wider than the screen, and texts keep their contrast."""
    for scheme in ("light", "dark"):
        context = browser.new_context(
            viewport={"width": 360, "height": 740}, is_mobile=True, color_scheme=scheme
        )
        page = context.new_page()
        page.goto(server.address)
        choose(page, BUNDLED / "night.jpg")
        widths = page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]")
        back, front = page.evaluate(
            "() => [getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.body).color]"
        )
        context.close()

        assert widths[0] <= widths[1]
        assert contrast(back, front) > 7


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colors such as "rgb(1, 2, 3)", as WCAG 2 defines it."""

    def luminance(text: str) -> float:
        parts = [int(part) / 255 for part in text[4:-1].split(",")]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def test_page_asks_for_the_key(browser: Any, tmp_path: Path) -> None:
    """A wrong one is refused; the right one is kept for the whole page."""
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n")
    with running("street-int8", "--api-key-file", keys) as process:
        page = browser.new_page()
        page.goto(process.address)
        for key in ("wrong", KEY):
            page.get_by_label("This server asks for a key").fill(key)
            page.get_by_role("button", name="Use key").click()
            if key == "wrong":
                wait_for(page, "the key is wrong")
        page.locator("#key-form").wait_for(state="hidden")
        choose(page, BUNDLED / "street.jpg")
        page.close()


def test_a_model_runs_in_the_browser_itself(
    browser: Any, server: ServerProcess, tmp_path: Path
) -> None:
    """/browser shows the masks of the default model, which the server does not compute."""
    require_runtime()
    predictor = Predictor(load_backend(assets.locate("street-int8"), device="cpu"))
    opened = browser.new_page()
    opened.goto(f"{server.address}/browser")
    wait_for(opened, "Ready: ")

    opened.set_input_files("#file", str(BUNDLED / "street.jpg"))
    wait_for(opened, "street.jpg: 800 x 450 pixels")
    with opened.expect_download() as download:
        opened.get_by_role("button", name="Save mask").click()
    download.value.save_as(tmp_path / "mask.png")

    assert opened.evaluate("crossOriginIsolated")
    mask = read_image(tmp_path / "mask.png")[..., 0]
    # int8 rounds otherwise on other processors, of which WASM is one.
    assert (mask == predictor.mask(read_image(BUNDLED / "street.jpg"))).mean() > 0.95
    opened.close()
