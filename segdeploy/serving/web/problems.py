"""Errors as responses: one sentence as application/problem+json (RFC 9457)."""

import http
import json
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.responses import Response

from segdeploy.errors import (
    CancelledRequest,
    ConfigError,
    DataError,
    DeviceError,
    RequestError,
    SegdeployError,
)

PROBLEM = "application/problem+json"

LEFT = 499
"""Status in the log of a request whose client left; nothing is sent."""

STATUSES: Mapping[type[Exception], int] = {
    DataError: 422,
    ConfigError: 400,
    DeviceError: 503,
    CancelledRequest: LEFT,
    SegdeployError: 500,
}
"""Status of each error of ours that has none of its own; the first that fits is taken."""


def status_of(error: Exception) -> int:
    """Return the status of HTTP that an error becomes."""
    if isinstance(error, RequestError):
        return error.status
    if isinstance(error, HTTPException):
        return error.status_code
    return next((code for kind, code in STATUSES.items() if isinstance(error, kind)), 500)


def sentence_of(error: Exception) -> str:
    """Return what a client is told of an error; of a fault of ours, nothing but that it is one."""
    if isinstance(error, SegdeployError):
        return str(error)
    if isinstance(error, HTTPException):
        return {
            404: "there is nothing under this address; see /openapi.json for what there is",
            405: "this address takes another method; see /openapi.json",
        }.get(error.status_code, str(error.detail))
    return "the server failed at this request, which is a fault of it; its log has more"


def to_response(error: Exception) -> Response:
    """Return the response that tells a client of an error.

    The key "error" is what clients of the Open Inference Protocol read.
    """
    status = status_of(error)
    text = sentence_of(error)
    values = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase if status != LEFT else "Client Closed Request",
        "status": status,
        "detail": text,
        "error": text,
    }
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if isinstance(error, RequestError) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(json.dumps(values), status_code=status, headers=headers, media_type=PROBLEM)
