"""Sources are told apart by what a user writes."""

from pathlib import Path

import pytest

from segdeploy.errors import DataError
from segdeploy.video.source_kinds import NamedSource, SourceKind, find_sources

JPEG = b"\xff\xd8\xff\xe0" + bytes(12)
IMAGES, VIDEO, ADDRESS, CAMERA, PIPE = (
    SourceKind.IMAGES,
    SourceKind.VIDEO,
    SourceKind.ADDRESS,
    SourceKind.CAMERA,
    SourceKind.PIPE,
)


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of images and a film, with folders below it; and files with unusual names."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "photos/b.jpg",
        "photos/a.PNG",
        "photos/drive.MP4",
        "photos/notes.md",
        "photos/.hidden.png",
        "photos/below/c.jpg",
        "photos/.cache/d.jpg",
        "more/x.jpg",
        "dashcam.mp4",
    ):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"anything")


def kinds(*texts: str, recursive: bool = False) -> list[tuple[SourceKind, list[str]]]:
    """Return the kind and the names of each source."""
    return [
        (source.kind, [str(path) for path in source.paths] or [source.text])
        for source in find_sources(texts, recursive=recursive)
    ]


def test_films_folders_patterns_and_addresses_are_told_apart() -> None:
    """One line without any option; images are one source, and what never ends comes last."""
    assert kinds("0", "rtsp://door/1", "dashcam.mp4", "photos", "more/*.jpg", "-") == [
        (IMAGES, ["photos/a.PNG", "photos/b.jpg", "more/x.jpg"]),
        (VIDEO, ["dashcam.mp4"]),
        (VIDEO, ["photos/drive.MP4"]),
        (PIPE, ["-"]),
        (ADDRESS, ["rtsp://door/1"]),
        (CAMERA, ["0"]),
    ]


def test_folders_below_a_folder_are_entered_on_request() -> None:
    """Hidden files and folders are left out; each file counts once."""
    assert kinds("photos", recursive=True)[0] == (
        IMAGES,
        ["photos/a.PNG", "photos/b.jpg", "photos/below/c.jpg"],
    )
    assert kinds("photos", "photos/a.PNG", "dashcam.mp4", "dashcam.mp4") == [
        (IMAGES, ["photos/a.PNG", "photos/b.jpg"]),
        (VIDEO, ["photos/drive.MP4"]),
        (VIDEO, ["dashcam.mp4"]),
    ]


def test_a_list_holds_any_source() -> None:
    """Paths are relative to the list, also where Windows wrote it; a number is a camera."""
    Path("lists").mkdir()
    lines = ("\ufeff../dashcam.mp4", "# a comment", "", "../more/*.jpg", "http://door/2", "1")
    Path("lists/cam.txt").write_text("\r\n".join(lines), encoding="utf-8")

    assert kinds("lists/cam.txt") == [
        (IMAGES, ["lists/../more/x.jpg"]),
        (VIDEO, ["lists/../dashcam.mp4"]),
        (ADDRESS, ["http://door/2"]),
        (CAMERA, ["1"]),
    ]


def test_the_beginning_decides_where_the_name_says_nothing() -> None:
    """A download has no extension; an extension that is known is believed."""
    for name in ("download", "frames.mjpeg", "photo.heic.tmp"):
        Path(name).write_bytes(JPEG)
    Path("recording").write_bytes(b"no image")

    assert kinds("download") == [(IMAGES, ["download"])]
    assert kinds("photo.heic.tmp") == [(IMAGES, ["photo.heic.tmp"])]
    assert kinds("recording") == [(VIDEO, ["recording"])]
    assert kinds("frames.mjpeg") == [(VIDEO, ["frames.mjpeg"])]


def test_a_file_that_exists_is_what_it_is() -> None:
    """A name of digits is no camera, one with brackets no pattern, and one in capitals a list."""
    for name in ("7", "a [1].jpg"):
        Path(name).write_bytes(JPEG)
    Path("CAM.TXT").write_text("dashcam.mp4")

    assert kinds("7", "a [1].jpg") == [(IMAGES, ["7", "a [1].jpg"])]
    assert kinds("CAM.TXT") == [(VIDEO, ["dashcam.mp4"])]


def test_options_say_the_kind() -> None:
    """`--image` takes images alone out of a folder, and `--video` believes any name."""
    Path("film.jpg").write_bytes(b"a film")

    found = find_sources([], images=[Path("photos")], videos=[Path("film.jpg")])

    assert [source.kind for source in found] == [IMAGES, VIDEO]
    assert found[0].paths == (Path("photos/a.PNG"), Path("photos/b.jpg"))


@pytest.mark.parametrize(
    ("text", "is_live"),
    [
        ("rtsp://a/1", True),
        ("udp://@:9000", True),
        ("http://a/film.mp4", False),
        ("HTTPS://a/film.mp4", False),
    ],
)
def test_only_addresses_of_files_may_have_an_end(text: str, is_live: bool) -> None:  # noqa: FBT001
    """Two that have none cannot be processed one after the other."""
    assert find_sources([text])[0].is_live is is_live
    assert NamedSource(kind=CAMERA, text="0").is_live


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nowhere.mp4", "there is no video nowhere.mp4"),
        ("nowhere.jpg", "there is no nowhere.jpg; name an image"),
        ("nowhere", "there is no nowhere; name images, videos, folders, patterns"),
        ("no/*.jpg", r"no file matches no/\*.jpg"),
        ("photos/.cache/empty", "there is no photos/.cache/empty"),
        ("void", "no image or video lies in void; --recursive also searches"),
        ("nowhere.txt", "nowhere.txt cannot be read as a list"),
        ("blank.txt", "blank.txt lists nothing"),
        ("lists.txt", "lists.txt lists blank.txt"),
    ],
)
def test_what_is_not_there_gets_one_sentence(text: str, sentence: str) -> None:
    """Before anything is opened."""
    Path("void").mkdir()
    Path("blank.txt").write_text("# nothing\n")
    Path("lists.txt").write_text("blank.txt\n")

    with pytest.raises(DataError, match=sentence):
        find_sources([text])
