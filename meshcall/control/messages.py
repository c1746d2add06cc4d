"""Requests into structs, views and errors into JSON responses."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from meshcall.control import models
from meshcall.errors import BadRequest, Forbidden, MeshcallError, RequestTimedOut
from meshcall.views import SCHEMA, ErrorView, View

RequestType = TypeVar("RequestType", bound=models.Request)

BODY_TIMEOUT = 10.0
"""Seconds a client may take to send the body that it announced."""

_STATUS_BY_CODE = {
    "forbidden": 403,
    "unknown-contact": 404,
    "no-such-call": 404,
    "no-such-room": 404,
    "no-such-member": 404,
    "not-found": 404,
    "request-timeout": 504,
    "too-many-listeners": 503,
    "not-logged-in": 401,
    "too-many-logins": 429,
    "internal": 500,
}


_PARAMETERS: Final = {
    models.API_PREFIX + "/events": {"call"},
    models.API_PREFIX + "/history": {"limit", "missed"},
}


def check_headers(request: web.Request) -> None:
    """Refuse what no client of ours sends: a web page's request, a form, a question mark."""
    if "Origin" in request.headers:
        raise Forbidden("web pages can't use this interface")
    if request.method != "GET" and request.content_type != "application/json":
        raise BadRequest("the content type must be application/json")


def check_parameters(request: web.Request) -> None:
    """Refuse parameters that the address does not know."""
    unknown = set(request.query) - _PARAMETERS.get(request.path, set())
    if unknown:
        raise BadRequest(f"there is no parameter {sorted(unknown)[0]!r}")


def whole_number(request: web.Request, name: str, default: int, maximum: int) -> int:
    """The parameter ``name``, 0 to ``maximum``; :class:`BadRequest` for anything else."""
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) <= maximum):
        raise BadRequest(f"{name} is a whole number from 0 to {maximum}")
    return int(text)


async def read_request(request: web.Request, model: type[RequestType]) -> RequestType:
    """The body as a ``model``; :class:`BadRequest` whatever else it is."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            body = await request.read()
    except TimeoutError:
        raise RequestTimedOut("the request's body did not arrive") from None
    try:
        return msgspec.json.decode(body or b"{}", type=model)
    except msgspec.ValidationError as error:
        raise BadRequest(_in_words(str(error))) from None
    except msgspec.MsgspecError as error:
        raise BadRequest(f"bad request: {error}") from None
    except (UnicodeDecodeError, RecursionError):
        raise BadRequest("bad request: not JSON") from None


_LENGTH = re.compile(r"Expected `str` of length (>=|<=) (\d+) - at `\$\.(\w+)`")


_ENUM = re.compile(r"Invalid enum value ('.*') - at `\$\.(\w+)`", re.DOTALL)


def _in_words(complaint: str) -> str:
    """What a user can cause with a text that is empty, too long or no word that we know; the rest is for who
    writes a client.
    """
    unknown = _ENUM.fullmatch(complaint)
    if unknown is not None:
        return f"{unknown[2]} can't be {unknown[1]}"
    match = _LENGTH.fullmatch(complaint)
    if match is None:
        return f"bad request: {complaint}"
    return f"{match[3]}: {'empty' if match[1] == '>=' else f'longer than {match[2]} characters'}"


def absolute_path(text: str | None) -> Path | None:
    """A path that a client named; the daemon's own working directory means nothing to it."""
    if text is None:
        return None
    path = Path(text)
    if not path.is_absolute() or "\0" in text:
        raise BadRequest(f"{text!r} is not an absolute path")
    return path


def encode_document(content: View | dict[str, Any]) -> bytes:
    """``content`` as one JSON document with the schema's version in it."""
    fields = content.to_dict() if isinstance(content, View) else content
    return msgspec.json.encode({"schema": SCHEMA, **fields})


def document(content: View | dict[str, Any], *, status: int = 200) -> web.Response:
    """An answer."""
    return web.Response(body=encode_document(content), status=status, content_type="application/json")


def error_response(error: MeshcallError) -> web.Response:
    """An error as an answer."""
    view = ErrorView(code=error.code, message=str(error), hint=error.hint, exit_code=error.exit_code)
    status = _STATUS_BY_CODE.get(error.code, 400 if error.exit_code == 2 else 409)
    return document({"error": view}, status=status)


def http_error_response(error: web.HTTPException) -> web.Response:
    """What the HTTP library refuses by itself, in the same form as our own errors."""
    messages = {
        404: "there is no such address in this API",
        405: "that method is not for this address",
        413: f"the request is larger than {models.BODY_MAX} octets",
    }
    view = ErrorView(code="bad-request", message=messages.get(error.status, error.reason), exit_code=2)
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    body = encode_document({"error": view})
    return web.Response(body=body, status=error.status, headers=headers, content_type="application/json")
