"""Intact files that are mutated: networks of tests/data, and small files of every other format."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image as PillowImage
from PIL import PngImagePlugin

from segdeploy.card import ModelCard
from segdeploy.imaging.rle import encode_counts
from segdeploy.system.files import PART
from tests.helpers.cards import make_card

ARTIFACTS = Path(__file__).parents[1] / "data" / "first_format"

CLASSES = """\
ignore = [255, "blurred"]

[[classes]]
name = "background"
color = [0, 0, 0]
id = 0

[[classes]]
name = "road"
color = [128, 64, 128]
id = 1
label = ["street", "road"]

[[classes]]
name = "car"
color = [0, 0, 142]
id = [2, 3]
"""

COLORS = """\
reach = 8

[[classes]]
name = "void"
mask_color = [0, 0, 0]

[[classes]]
name = "road"
mask_color = [[128, 64, 128], [244, 35, 232]]
"""

PALETTE = 'road = "#804080"\ncar = [0, 0, 142]\nvoid = "#000000"\n'

ZONES = """\
{"zones": [{"name": "crossing", "size": [64, 48], "polygon": [[20, 5], [40, 5], [60, 47], [0, 47]]},
           {"name": "lane", "camera": "door", "polygon": [[0, 0], [9.5, 0], [9.5, 30]]}]}
"""

OPTIONS = """\
--stride 1 --max-frames 1 --opacity 0.5 --palette turbo --save overlay,jsonl
--classes Sky,Road --contours --no-legend --background 00ff00 --save cutout,color,confidence,side
--threads 1 --batch 1 --tta flip --serial --device cpu --backend auto --json
--tile 32,48 --overlap 8 --tile-format png --save overlay,mask
--crf 23 --codec h264 --preset ultrafast --latency
"""
"""Lines of options of `segdeploy run`."""

FRAMES = 10

FILMS = (
    ("mp4", "libx264", "aac"),
    ("mkv", "libx264", "aac"),
    ("mov", "mpeg4", "pcm_s16le"),
    ("ts", "libx264", "aac"),
    ("flv", "flv", None),
    ("avi", "mjpeg", "pcm_s16le"),
    ("webm", "libvpx-vp9", "libopus"),
    ("y4m", "wrapped_avframe", None),
    ("gif", "gif", None),
)
"""Ending, video codec and audio codec of each film."""


def write_seeds(folder: Path) -> None:
    """Write the seeds of every kind into folders of a new folder."""
    for name in ("images", "hostile", "texts", "films", "models", "openvino", "tiles"):
        (folder / name).mkdir(parents=True)
    write_images(folder / "images")
    write_hostile(folder / "hostile")
    write_tiles(folder / "tiles")
    write_texts(folder / "texts")
    for ending, video, audio in FILMS:
        write_film(folder / "films" / f"film.{ending}", video, audio)
    for path in ARTIFACTS.iterdir():
        shutil.copy(path, folder / ("openvino" if path.suffix in {".xml", ".bin"} else "models"))
    (folder / "training").mkdir()
    for name in ("best.pt", "last.pt"):
        shutil.copy(ARTIFACTS / name, folder / "training")
    write_weights(folder / "models")
    write_datasets(folder)
    write_interrupted(folder)


def pixels(
    mode: str = "RGB", height: int = 24, width: int = 32, *, number: int = 0
) -> PillowImage.Image:
    """Return an image of smooth colors with noise, so that every coder has something to do."""
    row, column = np.mgrid[:height, :width]
    random = np.random.default_rng(number)
    noise, across = random.integers(0, 20, (height, width)), random.integers(0, 200, 2)
    planes = (across[0] + 7 * row + noise, across[1] + 5 * column + noise, 3 * (row + column))
    colors = np.stack(planes, 2).astype(np.uint8)
    return PillowImage.fromarray(colors).convert(mode)


def write_images(folder: Path) -> None:
    """Write an image of every format and of every kind of pixels that the reader knows."""
    color, gray = pixels(), pixels("L")
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 200, zip=True)
    frames = {"save_all": True, "append_images": [color.transpose(1)]}
    saved: list[tuple[str, PillowImage.Image, dict[str, object]]] = [
        ("color.png", color, {"pnginfo": text}),
        ("gray.png", gray, {}),
        ("deep.png", PillowImage.fromarray(np.asarray(gray, np.uint16) * 257), {}),
        ("palette.png", color.quantize(9), {"transparency": 3}),
        ("bits.png", pixels("1"), {}),
        ("opacity.png", pixels("RGBA"), {}),
        ("animated.png", color, frames),
        ("plain.jpg", color, {}),
        ("turned.jpg", color, {"exif": exif}),
        ("progressive.jpg", gray, {"progressive": True}),
        ("print.jpg", pixels("CMYK"), {"icc_profile": b"x" * 200}),
        ("plain.bmp", color, {}),
        ("palette.bmp", color.quantize(9), {}),
        ("animated.gif", color.quantize(9), frames),
        ("plain.ppm", color, {}),
        ("gray.ppm", gray, {}),
        ("bits.ppm", pixels("1"), {}),
        ("plain.webp", color, {}),
        ("exact.webp", pixels("RGBA"), {"lossless": True}),
        ("animated.webp", color, frames),
    ]
    saved += [
        (f"{compression}.tif", color, {"compression": compression})
        for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
    ]
    saved.append(("palette.tif", color.quantize(9), {}))
    saved.append(("deep.tif", PillowImage.fromarray(np.asarray(gray, np.uint16) * 257), {}))
    saved.append(("real.tif", PillowImage.fromarray(np.asarray(gray, np.float32)), {}))
    saved.append(("fax.tif", pixels("1"), {"compression": "group4"}))
    for name, image, options in saved:
        image.save(folder / name, **options)


def write_hostile(folder: Path) -> None:
    """Write formats that are not read, under names of those that are."""
    color = pixels()
    for kind in ("EPS", "ICO", "TGA", "PCX", "DDS", "JPEG2000", "PDF", "SGI", "ICNS", "AVIF"):
        content = io.BytesIO()
        try:
            color.save(content, kind)
        except (KeyError, OSError, ValueError):
            # This Pillow was built without the library.
            continue
        (folder / f"{kind.lower()}.png").write_bytes(content.getvalue())
    (folder / "drawing.jpg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "list.tif").write_text("#EXTM3U\nfile:///etc/passwd\n")
    (folder / "many.ppm").write_bytes(b"P6\n30000 30000\n255\n")


def write_tiles(folder: Path) -> None:
    """Write TIFFs in tiles and in strips, with and without smaller copies."""
    import pyvips

    array = np.asarray(pixels("RGB", 100, 120))
    image = pyvips.Image.new_from_memory(array.tobytes(), 120, 100, 3, "uchar")
    image = image.copy(interpretation="srgb")
    for compression in ("none", "deflate", "jpeg", "lzw"):
        image.tiffsave(
            str(folder / f"tiles-{compression}.tif"),
            tile=True,
            tile_width=32,
            tile_height=32,
            compression=compression,
            pyramid=compression == "deflate",
        )
    image.tiffsave(str(folder / "strips.tif"), compression="lzw")
    image.tiffsave(str(folder / "big.tif"), bigtiff=True)
    image.cast("ushort").tiffsave(str(folder / "deep.tif"))


def write_texts(folder: Path) -> None:
    """Write a recipe, class maps, a palette, cards, a list and a report."""
    (folder / "classes.toml").write_text(CLASSES)
    (folder / "colors.toml").write_text(COLORS)
    (folder / "eleven.toml").write_text(
        "".join(f'[[classes]]\nname = "class {number}"\n' for number in range(11))
    )
    (folder / "palette.toml").write_text(PALETTE)
    (folder / "recipe.toml").write_text((ARTIFACTS / "recipe.toml").read_text())
    (folder / "card.json").write_text(make_card().to_json())
    (folder / "trained.json").write_text(_card_of(ARTIFACTS / "best.onnx").to_json())
    (folder / "report.json").write_text((ARTIFACTS / "report.json").read_text())
    (folder / "zones.json").write_text(ZONES)
    (folder / "name.txt").write_text("plain photo-1 (2)")
    (folder / "options.txt").write_text(OPTIONS)
    (folder / "list.txt").write_text("../../seeds/images/plain.jpg\n../../seeds/images/gray.png\n")


def _card_of(path: Path) -> ModelCard:
    from segdeploy.backends.loading import read_card

    return read_card(path)


def write_weights(folder: Path) -> None:
    """Write the weights of best.pt as other programs store weights."""
    import torch
    from safetensors.torch import save_file

    from segdeploy.models.checkpoint import load_checkpoint

    stored = load_checkpoint(ARTIFACTS / "best.pt").weights
    weights = {name: tensor.contiguous() for name, tensor in stored.items()}
    torch.save(weights, folder / "weights.pt")
    save_file(weights, folder / "weights.safetensors")


def write_film(path: Path, video: str, audio: str | None) -> None:
    """Write a film of ten frames; where this FFmpeg lacks the encoder, nothing."""
    try:
        with av.open(
            str(path), "w", format="yuv4mpegpipe" if path.suffix == ".y4m" else None
        ) as out:
            stream = out.add_stream(video, rate=25)
            stream.width, stream.height = 64, 48
            stream.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(video, "yuv420p")
            stream.gop_size, stream.thread_count = 4, 1
            sound = out.add_stream(audio, rate=48000, layout="mono") if audio else None
            for index in range(FRAMES):
                shade = np.asarray(pixels("RGB", 48, 64)) // 2 + 12 * index
                frame = av.VideoFrame.from_ndarray(shade.astype(np.uint8), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                out.mux(stream.encode(frame))
                if sound is not None:
                    tone = av.AudioFrame.from_ndarray(
                        np.zeros((1, 1920), np.int16), format="s16", layout="mono"
                    )
                    tone.sample_rate, tone.pts = 48000, 1920 * index
                    tone.time_base = Fraction(1, 48000)
                    out.mux(sound.encode(tone))
            out.mux(stream.encode(None))
            if sound is not None:
                out.mux(sound.encode(None))
    except (av.FFmpegError, ValueError) as error:
        path.unlink(missing_ok=True)
        print(f"there is no seed {path.name}: {error}", file=sys.stderr)


def write_interrupted(folder: Path) -> None:
    """Write the results of a run that ended early, and of one that was killed."""
    for name in ("stopped", "killed"):
        (folder / name).mkdir()
    subprocess.run(
        [
            *(sys.executable, "-m", "segdeploy", "run", "--model", ARTIFACTS / "best.onnx"),
            *("--video", folder / "films/film.mp4", "--save", "overlay,mask"),
            *("--max-frames", "6", "--output", folder / "stopped/out"),
        ],
        check=True,
        capture_output=True,
    )
    shutil.copytree(folder / "stopped/out", folder / "killed/out")
    film = folder / "killed/out/film-overlay.mp4"
    film.rename(film.with_name(film.name + PART))


def write_datasets(folder: Path) -> None:
    """Write a small dataset in each layout that has a description to read."""
    values = np.zeros((24, 32), np.uint8)
    values[10:] = 1
    values[14:20, 4:14] = 2
    mask = PillowImage.fromarray(values)
    for number, split in enumerate(("train", "val")):
        images = [pixels(number=10 * number + index) for index in (1, 2)]
        files, camvid = folder / "folder", folder / "camvid"
        for made in (files / "images" / split, files / "masks" / split):
            made.mkdir(parents=True)
        for index, image in enumerate(images):
            image.save(files / "images" / split / f"{index}.png")
            mask.save(files / "masks" / split / f"{index}.png")
        (files / "classes.toml").write_text(CLASSES)
        for made in (camvid / split, camvid / f"{split}annot"):
            made.mkdir(parents=True)
        images[0].save(camvid / split / "0.png")
        mask.save(camvid / f"{split}annot" / "0.png")
        _write_coco(folder / "coco", split, images)
        _write_labelme(folder / "labelme", split, images)


def _write_coco(folder: Path, split: str, photos: Sequence[PillowImage.Image]) -> None:
    (folder / split).mkdir(parents=True)
    for name, photo in zip("ab", photos, strict=True):
        photo.save(folder / split / f"{name}.png")
    categories = [{"id": index, "name": name} for index, name in enumerate(("road", "car"), 1)]
    images = [
        {"id": index, "file_name": f"{name}.png", "height": 24, "width": 32}
        for index, name in enumerate("ab")
    ]
    shapes = (
        [[2, 3, 20, 3, 20, 14, 2, 14]],
        {"size": [24, 32], "counts": [100, 24, 200, 24, 420]},
        {"size": [24, 32], "counts": encode_counts([100, 24, 200, 24, 420])},
    )
    annotations = [
        {
            "id": index,
            "image_id": index % 2,
            "category_id": 1 + index % 2,
            "segmentation": shape,
            "iscrowd": int(isinstance(shape, dict)),
            "bbox": [2, 3, 18, 11],
            "area": 198,
        }
        for index, shape in enumerate(shapes)
    ]
    content = {"images": images, "categories": categories, "annotations": annotations}
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def _write_labelme(folder: Path, split: str, photos: Sequence[PillowImage.Image]) -> None:
    (folder / split).mkdir(parents=True)
    (folder / "classes.toml").write_text(CLASSES)
    kinds = {
        "polygon": [[2, 3], [20, 3], [20, 14]],
        "rectangle": [[1, 1], [9, 9]],
        "circle": [[8, 8], [8, 12]],
    }
    for name, photo in zip("ab", photos, strict=True):
        photo.save(folder / split / f"{name}.png")
        content = {
            "version": "5.0.1",
            "flags": {},
            "shapes": [
                {"label": "road", "points": points, "shape_type": kind, "group_id": None}
                for kind, points in kinds.items()
            ],
            "imagePath": f"{name}.png",
            "imageData": None,
            "imageHeight": 24,
            "imageWidth": 32,
        }
        (folder / split / f"{name}.json").write_text(json.dumps(content))
