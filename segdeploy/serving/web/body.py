"""Bodies of requests, read within their limits: bytes, time, and what they unpack to."""

import asyncio
import zlib
from collections.abc import AsyncIterator

import python_multipart
from python_multipart.exceptions import FormParserError
from starlette.requests import Request

from segdeploy.errors import RequestError
from segdeploy.serving.engine.limits import MIB, Held, Limits

ENCODINGS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS, "identity": 0, "": 0}
"""Content encodings, and how zlib calls them."""

FORM = "multipart/form-data"

MAX_FIELDS = 32
"""Fields of a form."""


async def read_body(request: Request, limits: Limits, held: Held) -> bytes:
    """Return the body of a request, unpacked.

    Args:
        request: The request.
        limits: Bounds.
        held: Counts the bytes.

    Raises:
        RequestError: It is too large, too slow, or badly packed.
        ClientDisconnect: The client left.
    """
    parts = []
    async for part in unpacked_parts(request, limits.body, limits.read_seconds):
        held.add(len(part))
        parts.append(part)
    return b"".join(parts)


async def unpacked_parts(request: Request, most: int, seconds: float) -> AsyncIterator[bytes]:
    """Yield the parts of a body as they arrive, unpacked.

    Args:
        request: The request.
        most: Bytes that it may have, packed and unpacked.
        seconds: Seconds in which all must have arrived.

    Raises:
        RequestError: As `read_body`.
    """
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ENCODINGS:
        msg = f"the content encoding {encoding[:64]!r} is unknown; send gzip, deflate or none"
        raise RequestError(msg, status=415)
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and len(length) < 20 and int(length) > most:
        raise _too_large(most)
    unpacker = zlib.decompressobj(ENCODINGS[encoding]) if ENCODINGS[encoding] else None
    count = arrived = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                arrived += len(chunk)
                part = chunk if unpacker is None else _unpack(unpacker, chunk, most - count)
                count += len(part)
                if count > most or arrived > most or (unpacker and unpacker.unconsumed_tail):
                    raise _too_large(most)
                yield part
    except TimeoutError as error:
        msg = f"the body did not arrive within {seconds:g} s; send it faster, or send less"
        raise RequestError(msg, status=408) from error
    if unpacker is not None and not unpacker.eof:
        msg = f"the body is no whole {encoding} stream; pack it again"
        raise RequestError(msg, status=400)


def _unpack(unpacker: "zlib._Decompress", chunk: bytes, most: int) -> bytes:
    try:
        return unpacker.decompress(chunk, most + 1)
    except zlib.error as error:
        msg = f"the body is badly packed ({error}); pack it again, or send it as it is"
        raise RequestError(msg, status=400) from error


def _too_large(most: int) -> RequestError:
    msg = (
        f"the body has more than {most / MIB:.3g} MiB; send less, or start the server with a larger"
        " --max-bytes"
    )
    return RequestError(msg, status=413)


def file_in_form(request: Request, content: bytes) -> bytes:
    """Return the one file in a form; a body that is no form is returned as it is.

    Raises:
        RequestError: The form is damaged, or has no file, or several.
    """
    if not request.headers.get("content-type", "").lower().startswith(FORM):
        return content
    files: list[bytes] = []

    def add_file(file: python_multipart.multipart.File) -> None:
        file.file_object.seek(0)
        files.append(file.file_object.read())
        file.close()

    try:
        parser = python_multipart.create_form_parser(
            {"Content-Type": request.headers["content-type"].encode("latin-1")},
            None,
            add_file,
            config={
                "MAX_FIELDS": MAX_FIELDS,
                # A file of the form stays in memory, whose bytes are counted already.
                "MAX_MEMORY_FILE_SIZE": len(content) + 1,
            },
        )
        parser.write(content)
        parser.finalize()
    except (FormParserError, UnicodeError, ValueError) as error:
        msg = f"the form is damaged ({' '.join(str(error).split())[:200]}); send it again"
        raise RequestError(msg, status=400) from error
    if len(files) != 1:
        msg = f"the form has {len(files)} files; send one image or video in a form"
        raise RequestError(msg, status=400)
    return files[0]
