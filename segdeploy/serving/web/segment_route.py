"""POST /segment: an image or a video in, a mask, an overlay or JSON out."""

from collections.abc import AsyncIterator, Collection, Mapping

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from segdeploy.errors import RequestError
from segdeploy.serving.web.answers import (
    ACCEPTED,
    INCLUDED,
    JSON,
    MEDIA_TYPES,
    Wanted,
    answer_image,
)
from segdeploy.serving.web.body import file_in_form, read_body
from segdeploy.serving.web.clips import LINES, is_video, stream_clip, stream_upload
from segdeploy.serving.web.service import Service, check_query

PARAMETERS: Mapping[str, str] = {
    "model": "Name of the model; the first one by default.",
    "as": f"Form of the answer: {', '.join(MEDIA_TYPES)}; by default what Accept names.",
    "include": f"Parts of a JSON answer, separated by commas: {', '.join(INCLUDED)}.",
    "opacity": "Opacity of an overlay's colors, 0 to 1.",
}


def read_wanted(query: Mapping[str, str], accept: str) -> Wanted:
    """Return what a request wants.

    Args:
        query: Its parameters.
        accept: Its header Accept.

    Raises:
        RequestError: A value is unknown, or nothing that is accepted can be made.
    """
    form = query.get("as") or _accepted_form(accept)
    if form not in MEDIA_TYPES:
        msg = f"'as' is {form[:64]!r}; it must be one of {', '.join(MEDIA_TYPES)}"
        raise RequestError(msg, status=400)
    included = read_included(query, default=("shares", "rle"))
    return Wanted(form=form, included=included, opacity=_read_opacity(query.get("opacity", "0.5")))


def read_included(query: Mapping[str, str], *, default: Collection[str]) -> Collection[str]:
    """Return the parts of a JSON answer that a request wants.

    Raises:
        RequestError: One is unknown.
    """
    if "include" not in query:
        return default
    included = [part for part in query["include"].split(",") if part]
    if unknown := [part for part in included if part not in INCLUDED]:
        msg = f"'include' holds {unknown[0][:64]!r}; known are {', '.join(INCLUDED)}"
        raise RequestError(msg, status=400)
    return included


def _accepted_form(accept: str) -> str:
    """Return the form of the media type that is accepted with the largest weight."""
    if not accept.strip():
        return "mask"
    found: list[tuple[float, str]] = []
    for part in accept.split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name == "q":
                weight = _read_weight(value)
        if media in ACCEPTED and weight > 0:
            found.append((weight, ACCEPTED[media]))
    if not found:
        msg = f"{accept[:100]!r} is accepted; this address has {', '.join(ACCEPTED)}"
        raise RequestError(msg, status=406)
    return max(found, key=lambda item: item[0])[1]


def _read_weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _read_opacity(text: str) -> float:
    try:
        opacity = float(text)
    except ValueError:
        opacity = -1.0
    if not 0 <= opacity <= 1:
        msg = f"'opacity' is {text[:64]!r}; it must be a number from 0 to 1"
        raise RequestError(msg, status=400)
    return opacity


class SegmentRoute:
    """Answers POST /segment."""

    def __init__(self, service: Service) -> None:
        """Keep the parts of the server."""
        self._service = service

    async def answer(self, request: Request) -> Response:
        """Return the answer for the image or the video in the body."""
        service = self._service
        check_query(request, PARAMETERS)
        model = service.models.get(request.query_params.get("model"))
        if request.headers.get("content-type", "").lower().startswith("video/"):
            return await self._stream(stream_upload(service, model, request, _of_frames(request)))
        wanted = read_wanted(request.query_params, _accept_of(request))
        service.scheduler.check_room()
        with service.memory.hold() as held:
            body = await read_body(request, service.limits, held)
            content = file_in_form(request, body)
            del body
            if not content:
                msg = "the body is empty; send an image, as the body or as a form's file"
                raise RequestError(msg, status=400)
            if is_video(content):
                return await self._stream(stream_clip(service, model, content, _of_frames(request)))
            answer = await service.do(answer_image(content, model, wanted, service.limits), request)
        return Response(answer.body, media_type=answer.media_type)

    async def _stream(self, lines: AsyncIterator[bytes]) -> Response:
        """Return JSON lines as they come; an error before the first one is a plain response."""
        first = await anext(lines)

        async def all_lines() -> AsyncIterator[bytes]:
            yield first
            async for line in lines:
                yield line

        return StreamingResponse(all_lines(), media_type=LINES)


def _of_frames(request: Request) -> Collection[str]:
    """Return the parts of each frame's line.

    Raises:
        RequestError: Something else than JSON is wanted, or an unknown part.
    """
    form = request.query_params.get("as", "json")
    if form != "json":
        msg = f"a video is answered in JSON lines, not as {form[:64]!r}; leave 'as' out"
        raise RequestError(msg, status=400)
    return read_included(request.query_params, default=("shares",))


def _accept_of(request: Request) -> str:
    """Return what a client accepts; whoever accepts JSON lines sends a video or takes JSON."""
    return request.headers.get("accept", "").replace(LINES, JSON)
