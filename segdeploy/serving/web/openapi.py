"""The OpenAPI document of what the server speaks beside the Open Inference Protocol."""

from collections.abc import Mapping, Sequence
from typing import Any

from segdeploy.serving.web.answers import INCLUDED, MEDIA_TYPES

Values = Mapping[str, Any]

PROBLEM: Values = {
    "description": "Refused: what is wrong, in one sentence.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}

REFUSALS = ("400", "401", "403", "404", "406", "408", "413", "415", "422", "429", "500", "503")

BINARY: Values = {"schema": {"type": "string", "format": "binary"}}


def document(version: str, models: Sequence[str]) -> Values:
    """Return the document.

    Args:
        version: Version of segdeploy.
        models: Names of the loaded models.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "segdeploy serve",
            "version": version,
            "summary": "Semantic segmentation of images and videos.",
        },
        "security": [{}, {"bearer": []}, {"key": []}],
        "paths": {
            "/segment": {"post": _segment(models)},
            "/models": {"get": _get("The loaded models and their classes", "application/json")},
            "/cameras": {"get": _get("The cameras and what they show", "application/json")},
            "/live/{camera}": {"get": _live()},
            "/metrics": {"get": _get("Figures for Prometheus", "text/plain")},
            "/health/live": {"get": _get("Whether the process answers", "application/json")},
            "/health/ready": {"get": _get("Whether requests are accepted", "application/json")},
            "/openapi.json": {"get": _get("This document", "application/json")},
            "/login": {"post": _login()},
        },
        "components": {
            "schemas": {"Problem": _problem(), "Segmentation": _segmentation()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _get(summary: str, media: str) -> Values:
    return {
        "summary": summary,
        "responses": {
            "200": {"description": "It follows.", "content": {media: {}}},
            **dict.fromkeys(("401", "503"), PROBLEM),
        },
    }


def _live() -> Values:
    name = {"name": "camera", "in": "path", "required": True, "schema": {"type": "string"}}
    media = "multipart/x-mixed-replace"
    return {**_get("The overlay of a camera as MJPEG", media), "parameters": [name]}


def _login() -> Values:
    return {
        "summary": "Keep a key in a cookie of the browser",
        "requestBody": {"content": {"text/plain": {"schema": {"type": "string"}}}},
        "responses": {"204": {"description": "Kept."}, **dict.fromkeys(("401", "413"), PROBLEM)},
    }


def _segment(models: Sequence[str]) -> Values:
    media = {
        "image/png": BINARY,
        "image/jpeg": BINARY,
        "application/json": {"schema": {"$ref": "#/components/schemas/Segmentation"}},
        "application/x-ndjson": {"schema": {"$ref": "#/components/schemas/Segmentation"}},
    }
    form = {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "required": ["file"],
    }
    return {
        "summary": "Segment an image, or each frame of a video",
        "parameters": [
            _parameter("model", "Name of the model.", {"type": "string", "enum": list(models)}),
            _parameter(
                "as",
                "Form of the answer; by default what Accept names.",
                {"type": "string", "enum": list(MEDIA_TYPES)},
            ),
            {
                **_parameter(
                    "include",
                    "Parts of a JSON answer; by default shares and rle.",
                    {"type": "array", "items": {"type": "string", "enum": list(INCLUDED)}},
                ),
                "explode": False,
            },
            _parameter(
                "opacity",
                "Opacity of an overlay's colors.",
                {"type": "number", "minimum": 0, "maximum": 1, "default": 0.5},
            ),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "image/*": BINARY,
                "video/*": BINARY,
                "application/octet-stream": BINARY,
                "multipart/form-data": {"schema": form},
            },
        },
        "responses": {
            "200": {
                "description": "The class mask, an image of it, or JSON; JSON lines for a video.",
                "content": media,
                "headers": {
                    "Server-Timing": {
                        "description": "Milliseconds of each stage.",
                        "schema": {"type": "string"},
                    }
                },
            },
            **dict.fromkeys(REFUSALS, PROBLEM),
        },
    }


def _parameter(name: str, description: str, schema: Values) -> Values:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _problem() -> Values:
    text = {"type": "string"}
    return {
        "type": "object",
        "properties": {"title": text, "status": {"type": "integer"}, "detail": text},
        "required": ["title", "status", "detail"],
    }


def _segmentation() -> Values:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    side = {"type": "integer", "minimum": 1}
    annotation = {
        "type": "object",
        "properties": {
            "category": {"type": "string"},
            "category_id": {"type": "integer", "description": "Class index plus one."},
            "segmentation": {"description": "COCO's run lengths, or a polygon."},
            "area": {"type": "integer"},
            "bbox": {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4},
        },
    }
    png = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}
    return {
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "width": side,
            "height": side,
            "frame": {"type": "integer", "description": "Of a video: which frame."},
            "seconds": {"type": "number", "description": "Of a video: its time."},
            "shares": {"type": "object", "additionalProperties": share},
            "rle": {"type": "array", "items": annotation},
            "polygons": {"type": "array", "items": annotation},
            "mask": png,
            "confidence": {
                "type": "object",
                "properties": {
                    "mean": {"type": "object", "additionalProperties": share},
                    "png": png,
                },
            },
            "milliseconds": {"type": "object", "additionalProperties": {"type": "number"}},
        },
        "required": ["model", "width", "height"],
    }
