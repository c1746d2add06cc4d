"""``/openapi.json``: the API's description (OpenAPI 3.1), made from its table and its models. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from meshcall import __version__
from meshcall.control.endpoints import ENDPOINTS, PICTURE, Endpoint
from meshcall.control.models import API_PREFIX
from meshcall.views import SCHEMA, ErrorView

_REFERENCE: Final = "#/components/schemas/{name}"
_VARIABLE: Final = re.compile(r"\{(\w+)\}")
ERRORS: Final = {
    "400": "the request is wrong",
    "403": "another user, or another site's web page",
    "404": "there is no such contact, call or address",
    "409": "it can't be done now",
    "500": "a bug",
    "503": "too many event streams",
    "504": "it took too long",
}


def make_openapi() -> dict[str, Any]:
    """The document as plain JSON values."""
    types = _types()
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    by_type = dict(zip((repr(one) for one in types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        operations = paths.setdefault(API_PREFIX + endpoint.path, {})
        operations[endpoint.method.lower()] = _operation(endpoint, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "meshcall's local API",
            "version": __version__,
            "description": "Served by the daemon to its own user: on a unix socket, and to its own page.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _types() -> list[Any]:
    found: dict[str, Any] = {repr(ErrorView): ErrorView}
    for endpoint in ENDPOINTS:
        if endpoint.answer == PICTURE:
            continue
        answers = endpoint.answer.values() if isinstance(endpoint.answer, dict) else [endpoint.answer]
        for one in [*answers, *([endpoint.body] if endpoint.body else [])]:
            found[repr(one)] = one
    return list(found.values())


def _operation(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    words = endpoint.method.lower() + endpoint.path
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", words).strip("_"),
        "summary": endpoint.summary,
        "parameters": [
            *(
                {
                    "name": name,
                    "in": "path",
                    "required": True,
                    "description": endpoint.attributes[name],
                    "schema": {"type": "string"},
                }
                for name in _VARIABLE.findall(endpoint.path)
            ),
            *(
                {"name": one.name, "in": "query", "description": one.summary, "schema": one.schema}
                for one in endpoint.parameters
            ),
        ],
        "responses": {
            str(endpoint.status): {
                "description": "done",
                "content": _content(endpoint, _answer(endpoint, schemas)),
            },
            **{code: _error(text, schemas) for code, text in ERRORS.items()},
        },
    }
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": False,
            "content": {"application/json": {"schema": schemas[repr(endpoint.body)]}},
        }
    return operation


def _content(endpoint: Endpoint, schema: dict[str, Any]) -> dict[str, Any]:
    if endpoint.answer == PICTURE:
        return {PICTURE: {"schema": {"type": "string"}}}
    if endpoint.path in ("/events", "/pings"):
        return {"application/x-ndjson": {"schema": schema}}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if endpoint.streams:
        content["application/x-ndjson"] = {"schema": {}}
    return content


def _answer(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    """The answer's schema: the view's or the fields', with the version of all documents."""
    if endpoint.answer == PICTURE:
        return {}
    if isinstance(endpoint.answer, dict):
        fields = {name: schemas[repr(kind)] for name, kind in endpoint.answer.items()}
        return {
            "type": "object",
            "properties": {"schema": {"const": SCHEMA}, **fields},
            "required": ["schema", *fields],
        }
    return {
        "allOf": [
            schemas[repr(endpoint.answer)],
            {"type": "object", "properties": {"schema": {"const": SCHEMA}}, "required": ["schema"]},
        ]
    }


def _error(text: str, schemas: dict[str, Any]) -> dict[str, Any]:
    body = {
        "type": "object",
        "properties": {"schema": {"const": SCHEMA}, "error": schemas[repr(ErrorView)]},
        "required": ["schema", "error"],
    }
    return {"description": text, "content": {"application/json": {"schema": body}}}
