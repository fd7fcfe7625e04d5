"""The manifest of a batch job: a row for each input that is done, and nothing else."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdeploy.batch.inputs import digest
from segdeploy.batch.storage import Storage, join
from segdeploy.batch.tables import read_rows, to_parquet, writer_to
from segdeploy.card import LabelClass
from segdeploy.errors import ConfigError, DataError
from segdeploy.video.annotations import coco_categories

MANIFEST, PARTS, JOB = "manifest.parquet", "manifest-parts", "job.json"

STAGING = ".staging"
"""Folder of a local output in which results lie until they are whole."""

ROWS, SECONDS = 5000, 5.0
"""A part is written once it has so many rows, or after so many seconds."""


@dataclass(frozen=True, kw_only=True)
class JobIdentity:
    """What must be the same when a job is resumed.

    Attributes:
        model: SHA-256 of the artifact.
        settings: What is saved and how, by option.
    """

    model: str
    settings: Mapping[str, str]


class Manifest:
    """The rows of the inputs that are done, in the folder of the results.

    Rows are written in parts, each whole or not at all; `finish` makes one table of them. What a
    killed job had not written is done again when it is resumed, under the same names.

    Attributes:
        done: Digests of the paths that have a row.
    """

    def __init__(self, output: str, storage: Storage) -> None:
        """Start with no rows."""
        self.done: set[int] = set()
        self._output = output
        self._storage = storage
        self._rows: list[Mapping[str, Any]] = []
        self._number = 0
        self._written = time.monotonic()

    def open(self, identity: JobIdentity, *, resume: bool) -> None:
        """Begin a manifest, or take the rows of an interrupted job.

        Raises:
            ConfigError: There is a manifest that is not to be resumed, or of another model.
        """
        address = join(self._output, JOB)
        values = {"model": identity.model, "settings": dict(identity.settings)}
        if not self._storage.exists(address) or not self._has_rows():
            self._storage.write(address, json.dumps(values, indent=2).encode())
            return
        if not resume:
            msg = (
                f"{self._output} holds the results of a job; add --resume, or name another --output"
            )
            raise ConfigError(msg)
        try:
            known = json.loads(self._storage.read(address))
        except ValueError as error:
            msg = f"{address} is damaged; name another --output"
            raise DataError(msg) from error
        if known != values:
            msg = (
                f"{self._output} holds results of another model or other options; use the same ones"
            )
            raise ConfigError(msg)
        for row in self.rows(columns=["path"]):
            self.done.add(digest(row["path"]))
        self._number = len(self._parts())

    def _has_rows(self) -> bool:
        return bool(self._parts()) or self._storage.exists(join(self._output, MANIFEST))

    def add(self, row: Mapping[str, Any]) -> None:
        """Add the row of an input whose results are written; a second one of it is dropped."""
        if (key := digest(row["path"])) in self.done:
            return
        self.done.add(key)
        self._rows.append(row)

    def flush(self, *, force: bool = False) -> None:
        """Write a part, if enough rows wait or enough time has passed."""
        is_due = len(self._rows) >= ROWS or time.monotonic() - self._written >= SECONDS
        if self._rows and (is_due or force):
            self._number += 1
            name = f"{PARTS}/part-{self._number:08d}.parquet"
            self._storage.write(join(self._output, name), to_parquet(self._rows))
            self._rows = []
            self._written = time.monotonic()

    def _parts(self) -> list[str]:
        folder = join(self._output, PARTS)
        if not self._storage.exists(folder):
            return []
        try:
            return [entry.address for entry in self._storage.find(folder)]
        except DataError:
            # An empty folder of an earlier job.
            return []

    def rows(self, *, columns: Sequence[str] | None = None) -> Iterator[Mapping[str, Any]]:
        """Yield every row that is written, each input once."""
        whole = join(self._output, MANIFEST)
        seen: set[int] = set()
        wanted = None if columns is None else list({"path", *columns})
        for address in (*([whole] if self._storage.exists(whole) else []), *self._parts()):
            with self._storage.open(address) as file:
                for row in read_rows(file, name=address, columns=wanted):
                    if (key := digest(row["path"])) not in seen:
                        seen.add(key)
                        yield row

    def finish(self, folder: Path) -> str:
        """Make one table of all parts, and return its address.

        Args:
            folder: Folder of this machine for the table while it grows.
        """
        self.flush(force=True)
        address = join(self._output, MANIFEST)
        parts = self._parts()
        if parts or not self._storage.exists(address):
            part = folder / f"new-{MANIFEST}"
            with writer_to(part) as write:
                for row in self.rows():
                    write(row)
            self._storage.publish(part, address)
            for done in parts:
                self._storage.remove(done)
        for name in (PARTS, STAGING):
            self._storage.remove_folder(join(self._output, name))
        return address

    def write_annotations(
        self, kind: str, name: str, classes: Sequence[LabelClass], folder: Path
    ) -> str:
        """Write COCO's JSON of all images, as `segdeploy run` does, and return its address.

        Args:
            kind: Column of the annotations.
            name: Name of the file.
            classes: Classes of the network.
            folder: Folder of this machine for the file while it grows.
        """
        part = folder / f"new-{name}"
        images: list[str] = []
        number = 0
        with part.open("w", encoding="utf-8", errors="backslashreplace") as file:
            categories = json.dumps(coco_categories(classes), ensure_ascii=False)
            file.write(f'{{"categories": {categories}, "annotations": [')
            for row in self.rows(columns=["number", "name", "width", "height", kind]):
                if row[kind] is None:
                    continue
                for fields in json.loads(row[kind]):
                    number += 1
                    ids = {"id": number, "image_id": row["number"], "iscrowd": 0}
                    file.write(("\n" if number == 1 else ",\n") + json.dumps(ids | fields))
                size = {"height": row["height"], "width": row["width"]}
                images.append(
                    json.dumps(
                        {"id": row["number"], "file_name": row["name"], **size}, ensure_ascii=False
                    )
                )
            file.write(f'\n], "images": [{", ".join(images)}]}}\n')
        address = join(self._output, name)
        self._storage.publish(part, address)
        return address
