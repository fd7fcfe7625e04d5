"""A file is opened for what it holds itself; it opens neither other files nor addresses."""

from pathlib import Path

import av
import pytest

from segdeploy.errors import DataError
from segdeploy.video.container import connect, open_file
from segdeploy.video.reader import VideoSource
from tests.helpers.clips import gray_frames, write_clip

PLAYLIST = """#EXTM3U
#EXT-X-TARGETDURATION:10
#EXTINF:10,
{0}
#EXT-X-ENDLIST
"""
CONCAT = "ffconcat version 1.0\nfile '{0}'\n"
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "secret.mp4", gray_frames(5), rate=25)


@pytest.mark.parametrize("text", [PLAYLIST, CONCAT, SDP], ids=["hls", "concat", "sdp"])
@pytest.mark.parametrize("ending", ["mp4", "m3u8", "ts", "ffconcat", "sdp"])
def test_playlists_open_nothing(tmp_path: Path, clip: Path, text: str, ending: str) -> None:
    """A list under any name would show other files of the user, or connect to an address."""
    path = tmp_path / f"film.{ending}"
    path.write_text(text.format(clip.name), encoding="utf-8")

    with pytest.raises(DataError, match=r"cannot be read as a video"):
        VideoSource(path)


def test_image_is_no_video(tmp_path: Path) -> None:
    """FFmpeg's reader of images takes "%d" in a name for a pattern of other files."""
    image = tmp_path / "image.ppm"
    image.write_bytes(b"P6 2 2 255\n" + bytes(12))

    with pytest.raises(DataError, match="its format is not one that is read"):
        VideoSource(image)


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "concat:a|b", "subfile,,start,0,end,9,,:a"]
)
def test_addresses_reach_no_files(address: str) -> None:
    """An address may come from a list of somebody else."""
    with pytest.raises(DataError, match="no video can be read from"):
        connect(address)


@pytest.mark.parametrize("name", ["10:30:00 door.mp4", "http:", "-", "a%03d.mp4", "pipe:0.mp4"])
def test_names_are_names_of_files(tmp_path: Path, clip: Path, name: str) -> None:
    """Recorders put the time into a name, which FFmpeg takes for a protocol."""
    path = clip.rename(tmp_path / name)

    with VideoSource(path) as source:
        assert len(list(source)) == 5


def test_metadata_in_any_encoding_is_read(tmp_path: Path, clip: Path) -> None:
    """Old programs wrote titles in Latin-1."""
    path = tmp_path / "old.mkv"
    with av.open(str(clip)) as source, av.open(str(path), "w") as output:
        output.metadata["title"] = "Koeln"
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    path.write_bytes(path.read_bytes().replace(b"Koeln", b"K\xf6lnx"))

    with open_file(path) as container:
        assert "lnx" in container.metadata["title"]
    with VideoSource(path) as again:
        assert len(list(again)) == 5
