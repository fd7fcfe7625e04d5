"""Inputs of a batch job: found once, in one order, with names of their own."""

from pathlib import Path

import pytest

pytest.importorskip("fsspec", reason="needs the extra batch")
pytest.importorskip("pyarrow", reason="needs the extra batch")

import pyarrow as pa
import pyarrow.parquet as pq

from segdeploy.batch.inputs import (
    InputKind,
    InputList,
    TableRows,
    digest,
    list_inputs,
)
from segdeploy.batch.storage import Storage, read_options
from segdeploy.errors import ConfigError, DataError


def write_files(folder: Path, *names: str) -> Path:
    """Write files of three bytes each."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"abc")
    return folder


def find(tmp_path: Path, *addresses: object, column: str | None = None) -> InputList:
    """List inputs that need no options."""
    texts = [str(address) for address in addresses]
    return list_inputs(texts, Storage(), column=column, path=tmp_path / "inputs.jsonl")


def test_folder_is_entered_and_named_by_paths_below_it(tmp_path: Path) -> None:
    """Two images of the same name in two folders keep results of their own."""
    folder = write_files(tmp_path / "in", "b.png", "a/x.jpg", "c/x.jpg", "d.mp4", "e.csv", ".f.jpg")

    found = find(tmp_path, folder)

    assert [item.name for item in found] == ["b.png", "d.mp4", "a/x.jpg", "c/x.jpg"]
    assert [item.number for item in found] == [0, 1, 2, 3]
    assert (found.count.images, found.count.videos, found.count.bytes) == (3, 1, 12)


def test_star_of_a_pattern_stays_in_its_folder(tmp_path: Path) -> None:
    """As in a shell and in `segdeploy run`; two stars enter folders."""
    folder = write_files(tmp_path / "in", "a.jpg", "b.png", "c/d.jpg")

    assert [item.name for item in find(tmp_path, folder / "*.jpg")] == ["a.jpg"]
    assert [item.name for item in find(tmp_path, folder / "**" / "*.jpg")] == ["a.jpg", "c/d.jpg"]


def test_names_do_not_depend_on_other_inputs(tmp_path: Path) -> None:
    """A job with one more folder, resumed, must not write over what it has written."""
    first = write_files(tmp_path / "first", "x.jpg")
    second = write_files(tmp_path / "second", "x.jpg")

    names = [item.name for item in find(tmp_path, first, second, first / "x.jpg")]

    assert names == [str(path / "x.jpg").lstrip("/") for path in (first, second)]


def test_list_and_table_of_addresses(tmp_path: Path) -> None:
    """Both are read where they are; what they name is not looked for."""
    folder = write_files(tmp_path / "in", "a.jpg", "b.jpg")
    (tmp_path / "list.txt").write_text(f"# two\n{folder / 'a.jpg'}\n\n{folder / 'b.jpg'}\n")
    pq.write_table(
        pa.table({"url": [str(folder / "a.jpg"), None, "/gone.png"]}), tmp_path / "t.parquet"
    )

    listed = find(tmp_path, tmp_path / "list.txt")
    assert [Path(item.path).name for item in listed] == ["a.jpg", "b.jpg"]
    tabled = find(tmp_path, tmp_path / "t.parquet")
    assert [Path(item.path).name for item in tabled] == ["a.jpg", "gone.png"]


def test_rows_of_bytes_are_read_by_their_number(tmp_path: Path) -> None:
    """Also across the groups of rows in which a table is stored."""
    table = tmp_path / "t.parquet"
    pq.write_table(pa.table({"data": [b"one", b"two!", None]}), table, row_group_size=2)

    items = [*find(tmp_path, table, column="data")]

    assert [(item.row, item.size, item.name) for item in items] == [
        (0, 3, "t-00000000"),
        (1, 4, "t-00000001"),
        (2, 0, "t-00000002"),
    ]
    rows = TableRows(Storage(), "data")
    assert rows.read(str(table), 1) == b"two!"
    with pytest.raises(DataError, match=r"t\.parquet#2 is empty"):
        rows.read(str(table), 2)


def test_table_without_the_column_is_refused(tmp_path: Path) -> None:
    """The sentence names the columns that there are."""
    pq.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")

    with pytest.raises(ConfigError, match="has no column 'path', but a; name one with --column"):
        find(tmp_path, tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match="holds int64, not addresses or bytes"):
        find(tmp_path, tmp_path / "t.parquet", column="a")


def test_damaged_table_is_one_sentence(tmp_path: Path) -> None:
    """What comes from outside may be anything."""
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no table PAR1")

    with pytest.raises(DataError, match=r"t\.parquet is not a Parquet table"):
        find(tmp_path, tmp_path / "t.parquet")


def test_nothing_to_do_is_an_error(tmp_path: Path) -> None:
    """A job without inputs would look like one that is done."""
    folder = write_files(tmp_path / "in", "a.csv")

    with pytest.raises(DataError, match="there is no image and no video in"):
        find(tmp_path, folder)
    with pytest.raises(DataError, match="there is nothing at"):
        find(tmp_path, folder / "*.jpg")


def test_chunks_hold_some_images_or_one_video(tmp_path: Path) -> None:
    """A worker that ends costs only what it had in hand."""
    names = [f"{number:02}.jpg" for number in range(19)]
    found = find(tmp_path, write_files(tmp_path / "in", "05-film.mp4", *names))
    (done,) = (item for item in found if item.name == "00.jpg")

    chunks = [*found.chunks(skipped={digest(done.path)})]

    assert [len(chunk) for chunk in chunks] == [4, 1, 14]
    assert chunks[1][0].kind is InputKind.VIDEO


def test_name_stays_below_the_output(tmp_path: Path) -> None:
    """A table from outside must not choose where results are written."""
    table = tmp_path / "t.parquet"
    pq.write_table(pa.table({"path": ["memory://../../etc/x.png"]}), table)

    assert [item.name for item in find(tmp_path, table)] == ["etc/x.png"]


def test_credentials_are_refused_as_options() -> None:
    """Everybody on a machine can read the arguments of its processes."""
    assert read_options(("anon=true", "endpoint_url=http://h:1")) == {
        "anon": True,
        "endpoint_url": "http://h:1",
    }
    for key in ("secret", "key", "aws_access_key_id", "token"):
        with pytest.raises(ConfigError, match="is a credential"):
            read_options((f"{key}=x",))
    with pytest.raises(ConfigError, match="holds a user's name or a password"):
        Storage().check("s3://me:hidden@bucket/x")
    with pytest.raises(ConfigError, match="no kind of address that fsspec knows"):
        Storage().check("nowhere://x")
