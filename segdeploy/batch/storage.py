"""Files at any address that fsspec knows: listed, read, and written whole or not at all."""

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

from segdeploy.errors import (
    ConfigError,
    DataError,
    MissingExtraError,
    MissingFileError,
    OutputError,
)
from segdeploy.system.budget import check_budget, file_budget
from segdeploy.system.files import cannot_write, make_folder, sync

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

SECRETS = re.compile(
    r"secret|password|passwd|token|^key$|access_?key|account_?key|credential", re.IGNORECASE
)
"""Names of options whose values are credentials, which the environment has to hold."""

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""The extra that installs the library of a scheme."""

MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file that was listed.

    Attributes:
        address: Where it is.
        size: Its size in bytes.
    """

    address: str
    size: int


def read_options(pairs: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the options of a file system, of texts such as "endpoint_url=http://host:9000".

    Raises:
        ConfigError: A text has no "=", or is a credential.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            msg = f"--storage-option {key!r} has no value; write KEY=VALUE, for example anon=true"
            raise ConfigError(msg)
        if SECRETS.search(key):
            msg = (
                f"--storage-option {key} is a credential, which others see in the list of"
                " processes; set it in the environment, for example AWS_SECRET_ACCESS_KEY"
            )
            raise ConfigError(msg)
        options[key] = {"true": True, "false": False}.get(text.lower(), text)
    return options


def is_local(address: str) -> bool:
    """Return whether an address is a path of this machine."""
    scheme = SCHEME.match(address)
    return scheme is None or scheme[1].lower() == "file"


def local_path(address: str) -> Path:
    """Return the path of a local address."""
    return Path(address.removeprefix("file://"))


def absolute(address: str) -> str:
    """Return an address that means the same in processes of other working folders."""
    if not is_local(address):
        return address
    # Links stay, as `Path.resolve` would not leave them.
    return os.path.abspath(local_path(address))  # noqa: PTH100


def join(address: str, name: str) -> str:
    """Return the address of a file in a folder."""
    return f"{address.rstrip('/')}/{name}"


@dataclass(frozen=True)
class Storage:
    """The file systems of a job; it can be sent to other processes.

    Attributes:
        options: Options of all that are not local.
    """

    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def _opened(self) -> dict[str, Any]:
        return {}

    def __getstate__(self) -> Mapping[str, Any]:
        """Return the options alone: connections stay in their process."""
        return self.options

    def __setstate__(self, options: Mapping[str, Any]) -> None:
        """Take the options of another process."""
        object.__setattr__(self, "options", options)

    def check(self, address: str) -> None:
        """Check that an address can be used, before work begins.

        Raises:
            ConfigError: Nothing knows its scheme, or it holds a password.
            MissingExtraError: The library of its scheme is not installed.
        """
        if is_local(address):
            return
        if "@" in address.split("://", 1)[1].partition("/")[0]:
            msg = "an address holds a user's name or a password; set credentials in the environment"
            raise ConfigError(msg)
        self._files(address)

    def _files(self, address: str) -> Any:  # noqa: ANN401 - fsspec has no types
        """Return fsspec's file system of an address."""
        import fsspec

        scheme = SCHEME.match(address)
        name = scheme[1].lower() if scheme else "file"
        if name not in self._opened:
            try:
                self._opened[name] = fsspec.filesystem(
                    name, use_listings_cache=False, skip_instance_cache=True, **self.options
                )
            except ImportError as error:
                raise MissingExtraError(error.name or name, EXTRAS.get(name, "batch")) from error
            except ValueError as error:
                msg = (
                    f"{name}:// is no kind of address that fsspec knows; use s3://, gs:// or a path"
                )
                raise ConfigError(msg) from error
        return self._opened[name]

    def exists(self, address: str) -> bool:
        """Return whether there is a file or a folder.

        Raises:
            DataError: The storage does not say.
        """
        if is_local(address):
            return local_path(address).exists()
        try:
            return bool(self._files(address).exists(address))
        except Exception as error:
            raise _cannot_read(address, error) from error

    def find(self, address: str) -> Iterator[Entry]:
        """Yield the files of a pattern or below a folder, sorted by name; or the file itself.

        At most one folder is held in memory.

        Raises:
            MissingFileError: There is none.
        """
        root, pattern = split_pattern(address)
        count = 0
        for entry in self._walk(root):
            if pattern is None or pattern.fullmatch(entry.address.removeprefix(root).lstrip("/")):
                count += 1
                yield entry
        if not count:
            msg = f"there is nothing at {address}; check the address"
            raise MissingFileError(msg)

    def _walk(self, root: str) -> Iterator[Entry]:
        if is_local(root):
            yield from _walk_local(local_path(root or "."))
            return
        files = self._files(root)
        scheme = root.split("://", 1)[0]
        try:
            if files.isfile(root):
                yield Entry(address=root, size=files.size(root) or 0)
                return
            for folder, _, found in files.walk(root, detail=True, topdown=True):
                for name in sorted(found):
                    if name:
                        size = found[name].get("size") or 0
                        yield Entry(address=f"{scheme}://{folder}/{name}", size=size)
        except Exception as error:
            raise _cannot_read(root, error) from error

    def open(self, address: str) -> BinaryIO:
        """Open a file to read it."""
        if is_local(address):
            return local_path(address).open("rb")
        return cast("BinaryIO", self._files(address).open(address, "rb"))

    def read(self, address: str) -> bytes:
        """Return what a file holds.

        Raises:
            DataError: It cannot be read, or is larger than the budget.
        """
        most = file_budget(0)
        try:
            with self.open(address) as file:
                content = file.read(most + 1)
        except FileNotFoundError as error:
            msg = f"there is no {address}; check the name"
            raise MissingFileError(msg) from error
        except Exception as error:
            raise _cannot_read(address, error) from error
        check_budget(f"{address} is a file", len(content), size=0, error=DataError)
        return content

    def fetch(self, address: str, path: Path) -> None:
        """Copy a file to this machine, piece by piece.

        Raises:
            DataError: It cannot be read.
        """
        try:
            self._files(address).get_file(address, str(path))
        except Exception as error:
            raise _cannot_read(address, error) from error

    def write(self, address: str, content: bytes) -> None:
        """Write a file whole, or leave the old one as it was.

        Raises:
            OutputError: It cannot be written.
        """
        if is_local(address):
            _replace(local_path(address), content)
            return
        try:
            self._files(address).pipe_file(address, content)
        except Exception as error:
            raise cannot_write(Path(address), " ".join(str(error).split())) from error

    def publish(self, path: Path, address: str) -> None:
        """Move a whole file of this machine to its address.

        Object stores show an object once all of it is there; on a disk it is renamed.

        Raises:
            OutputError: It cannot be written.
        """
        if is_local(address):
            target = local_path(address)
            make_folder(target.parent)
            try:
                _move(path, target)
            except OSError as error:
                raise cannot_write(target, error) from error
            return
        try:
            self._files(address).put_file(str(path), address)
        except Exception as error:
            reason = " ".join(str(error).split())
            msg = f"cannot write {address}: {reason}; check rights and the name"
            raise OutputError(msg) from error
        path.unlink()

    def remove(self, address: str) -> None:
        """Remove a file that was written before."""
        if is_local(address):
            local_path(address).unlink(missing_ok=True)
        else:
            self._files(address).rm_file(address)

    def remove_folder(self, address: str) -> None:
        """Remove a folder of this machine; a store of objects has none once it is empty."""
        if is_local(address):
            shutil.rmtree(local_path(address), ignore_errors=True)


def split_pattern(address: str) -> tuple[str, re.Pattern[str] | None]:
    """Return the folder below which a pattern is looked for, and the pattern; None for a path.

    A star stands for any characters but a slash, two for any.
    """
    if not MAGIC.search(address) or (is_local(address) and local_path(address).exists()):
        return address, None
    parts = address.split("/")
    first = next(number for number, part in enumerate(parts) if MAGIC.search(part))
    from fsspec.utils import glob_translate

    root = "/".join(parts[:first])
    if first and not root:
        root = "/"
    return root, re.compile(glob_translate("/".join(parts[first:])))


def _walk_local(root: Path) -> Iterator[Entry]:
    if root.is_file():
        yield Entry(address=str(root), size=root.stat().st_size)
        return
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                yield Entry(address=str(path), size=path.stat().st_size)


def _replace(path: Path, content: bytes) -> None:
    """Write a file of this machine under a name of its own, and rename it."""
    make_folder(path.parent)
    part = _part_of(path)
    try:
        part.write_bytes(content)
        sync(part)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def _move(path: Path, target: Path) -> None:
    """Move a file to its name, also to another disk."""
    try:
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        part = _part_of(target)
        try:
            shutil.copyfile(path, part)
            sync(part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        path.unlink()


def _part_of(path: Path) -> Path:
    """Return a name beside a file that no other process uses."""
    return path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.part")


def _cannot_read(address: str, error: Exception) -> DataError:
    reason = (
        getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    )
    return DataError(
        f"cannot read {address}: {reason}; check the name, rights and --storage-option"
    )
