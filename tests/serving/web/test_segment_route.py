"""POST /segment: the right mask in every form, and a sentence for everything else."""

import asyncio
import base64
import gzip
import io
import json
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import PngImagePlugin

from segdeploy.arrays import Image
from segdeploy.imaging.rle import decode_counts, fill_runs
from segdeploy.inference.predictor import Predictor
from segdeploy.serving.engine.limits import Limits
from tests.helpers.backends import ChannelBackend
from tests.helpers.clips import gray_frames, write_clip
from tests.helpers.servers import make_client, make_model, make_service

Call = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


def ask(call: Call, **limits: int) -> httpx.Response:
    """Return a server's response to one request."""

    async def run() -> httpx.Response:
        async with make_client(make_service(limits=Limits(**limits))) as client:
            return await call(client)

    return asyncio.run(run())


def post(
    content: bytes, query: str = "", limits: dict[str, int] | None = None, **headers: str
) -> httpx.Response:
    """Return the response to an image."""
    return ask(
        lambda client: client.post(f"/segment{query}", content=content, headers=headers),
        **(limits or {}),
    )


def random_image(height: int = 40, width: int = 70) -> Image:
    """Return an image of blocks, so that regions have a size."""
    random = np.random.default_rng(3)
    blocks = random.integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    return blocks.repeat(10, axis=0).repeat(10, axis=1)


def to_png(image: Image) -> bytes:
    """Return the bytes of a PNG."""
    return cv2.imencode(".png", image)[1].tobytes()


def expected(image: Image) -> Any:
    """Return the mask that `Predictor` makes of an image."""
    return Predictor(ChannelBackend()).mask(image)


def test_mask_is_that_of_the_predictor() -> None:
    """A server is not another network: the same pixels get the same classes."""
    image = random_image()

    response = post(to_png(image))

    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    assert np.array_equal(
        cv2.imdecode(np.frombuffer(response.content, np.uint8), -1), expected(image)
    )
    assert "infer;dur=" in response.headers["server-timing"]


def test_json_has_run_lengths_that_give_the_mask_back() -> None:
    """COCO's run lengths are exact, and small."""
    image = random_image()

    values = post(to_png(image), accept="application/json").json()
    mask = np.full(image.shape[:2], 255, np.uint8)
    for entry in values["rle"]:
        fill_runs(mask, decode_counts(entry["segmentation"]["counts"]), entry["category_id"] - 1)

    assert np.array_equal(mask, expected(image))
    assert sum(values["shares"].values()) == pytest.approx(1, abs=1e-5)
    assert {entry["category"] for entry in values["rle"]} == {"red", "green", "blue"}


def test_json_includes_what_is_asked_for() -> None:
    """The page shows the confidence under the mouse; others do not pay for it."""
    image = random_image()

    values = post(to_png(image), "?as=json&include=mask,confidence,polygons").json()

    assert values.keys() >= {"mask", "confidence", "polygons"}
    assert "rle" not in values
    mask = cv2.imdecode(np.frombuffer(base64.b64decode(values["mask"]), np.uint8), -1)
    assert np.array_equal(mask, expected(image))
    assert 0.3 < values["confidence"]["mean"]["red"] <= 1


def test_overlay_and_colors_have_the_size_of_the_image() -> None:
    """What is shown lies over what was sent."""
    image = random_image(40, 200)

    overlay = post(to_png(image), "?as=overlay&opacity=0")
    color = post(to_png(image), "?as=color")

    drawn = cv2.imdecode(np.frombuffer(overlay.content, np.uint8), 1)
    assert overlay.headers["content-type"] == "image/jpeg"
    assert np.abs(drawn[:, 120:].astype(int) - image[:, 120:]).mean() < 20
    assert cv2.imdecode(np.frombuffer(color.content, np.uint8), 1).shape == image.shape


def test_image_of_a_phone_is_turned_upright() -> None:
    """A photo with EXIF orientation 6 is stored lying on its side."""
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    PillowImage.fromarray(random_image(40, 70)).save(content, "jpeg", exif=exif)

    values = post(content.getvalue(), "?as=json").json()

    assert (values["height"], values["width"]) == (70, 40)


def test_form_field_is_an_image() -> None:
    """Browsers and curl -F send forms."""
    image = random_image()

    response = ask(
        lambda client: client.post(
            "/segment", files={"file": ("../../etc/passwd", to_png(image))}, data={"note": "x"}
        )
    )

    assert np.array_equal(
        cv2.imdecode(np.frombuffer(response.content, np.uint8), -1), expected(image)
    )


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "image/png"),
        ("application/json;q=0.4, image/jpeg", "image/jpeg"),
        ("application/json, */*;q=0.1", "application/json"),
    ],
)
def test_accept_chooses_the_form(accept: str, media: str) -> None:
    """The heaviest type that can be made is taken."""
    assert post(to_png(random_image()), accept=accept).headers["content-type"] == media


def bomb() -> bytes:
    """Return a PNG of few bytes that says it has 60000 x 60000 pixels."""
    content = to_png(np.zeros((1, 1, 3), np.uint8))
    header = b"IHDR" + (60000).to_bytes(4) * 2 + content[24:29]
    return content[:12] + header + zlib.crc32(header).to_bytes(4) + content[33:]


def text_bomb() -> bytes:
    """Return a PNG whose text unpacks to 20 MB."""
    content, info = io.BytesIO(), PngImagePlugin.PngInfo()
    info.add_text("a", "a" * 20_000_000, zip=True)
    PillowImage.new("RGB", (4, 4)).save(content, "png", pnginfo=info)
    return content.getvalue()


REFUSED = {
    "text": (b"hello", "", 415),
    "nothing": (b"", "", 400),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "", 415),
    "bomb": (bomb(), "", 413),
    "truncated": (to_png(random_image())[:-40], "", 422),
    "unknown form": (b"x", "?as=tiff", 400),
    "unknown part": (b"x", "?as=json&include=all", 400),
    "unknown parameter": (b"x", "?modle=colors", 400),
    "unknown model": (b"x", "?model=../etc/passwd", 404),
    "opacity": (b"x", "?as=overlay&opacity=nan", 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_answered_is_told_in_one_sentence(name: str) -> None:
    """Each refusal has its status, and says what to do; nothing is a fault of the server."""
    content, query, status = REFUSED[name]

    response = post(content, query)

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    values = response.json()
    assert values["status"] == status
    assert values["detail"]
    assert "\n" not in values["detail"]


def test_text_of_a_png_is_not_unpacked_without_bounds() -> None:
    """Pillow bounds the text; the image is an image all the same, or damaged."""
    assert post(text_bomb()).status_code in {200, 415, 422}


def test_nothing_that_is_accepted_can_be_made() -> None:
    """A client that takes text only is told."""
    assert post(b"x", accept="text/plain").status_code == 406


def test_large_body_and_many_pixels_are_refused() -> None:
    """Bytes are counted before they are held, pixels before they are decoded."""
    content = to_png(random_image())

    assert post(content, limits={"body": len(content) - 1}).status_code == 413
    assert post(content, limits={"pixels": 40 * 70 - 1}).status_code == 413
    assert post(content, limits={"pixels": 40 * 70}).status_code == 200


def test_memory_of_all_requests_is_bounded_and_given_back() -> None:
    """Many large bodies at once are refused, and the next one is accepted."""
    content = to_png(random_image())

    async def run() -> list[int]:
        service = make_service(limits=Limits(held=len(content)))
        async with make_client(service) as client:
            with service.memory.hold() as held:
                held.add(1)
                full = await client.post("/segment", content=content)
            free = await client.post("/segment", content=content)
        assert service.memory.bytes == 0
        return [full.status_code, free.status_code]

    assert asyncio.run(run()) == [503, 200]


def test_packed_body_is_unpacked_within_its_bound() -> None:
    """A kilobyte of gzip must not become a gigabyte."""
    image = random_image()
    good = post(gzip.compress(to_png(image)), **{"content-encoding": "gzip"})
    large = post(
        gzip.compress(bytes(10_000_000)), limits={"body": 100_000}, **{"content-encoding": "gzip"}
    )
    cut = post(gzip.compress(to_png(image))[:-9], **{"content-encoding": "gzip"})
    other = post(b"x", **{"content-encoding": "br"})

    assert good.status_code == 200
    assert large.status_code == 413
    assert cut.status_code == 400
    assert other.status_code == 415


def test_video_is_answered_with_a_line_for_each_frame(tmp_path: Path) -> None:
    """A clip as a body, with its type or without, gives the shares of each frame in order."""
    clip = write_clip(tmp_path / "clip.mp4", gray_frames(5))
    content = clip.read_bytes()

    typed = post(content, **{"content-type": "video/mp4"})
    plain = post(content, "?include=shares,rle")
    broken = post(content[:300], **{"content-type": "video/mp4"})

    lines = [json.loads(line) for line in typed.text.splitlines()]
    assert typed.headers["content-type"] == "application/x-ndjson"
    assert [line["frame"] for line in lines] == list(range(5))
    assert lines[1]["seconds"] > lines[0]["seconds"]
    assert len(plain.text.splitlines()) == 5
    assert broken.status_code == 422


def test_model_is_chosen_by_name() -> None:
    """Two networks on one server, the first by default."""

    async def run() -> list[str]:
        service = make_service(make_model(name="first"), make_model(name="second"))
        async with make_client(service) as client:
            content = to_png(random_image())
            answers = [
                await client.post(f"/segment?as=json{query}", content=content)
                for query in ("", "&model=second")
            ]
        return [answer.json()["model"] for answer in answers]

    assert asyncio.run(run()) == ["first", "second"]
