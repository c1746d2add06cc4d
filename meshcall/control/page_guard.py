"""Which requests to the page's port are its own. Pure: headers in, a verdict out.

The port is on the loopback interface, which every program and, by a browser, every web page of the machine
can reach: rebinding (a foreign name that resolves to 127.0.0.1), forms, images, scripts, WebSockets.

Law 1: the ``Host`` is one of ours, whatever the connection came to (DNS rebinding).
Law 2: a request that changes something or opens a WebSocket has our own ``Origin``; any other may lack it,
but not have a foreign one, nor be said to come from another site (``Sec-Fetch-Site``).
Law 3: what is not a plain file of the page needs a session.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from meshcall.errors import Forbidden

COOKIE_PREFIX: Final = "meshcall-"
"""The cookie's name ends with the port: browsers share cookies between the ports of a host."""

NAMES: Final = ("127.0.0.1", "[::1]", "localhost")
"""What the page may be called. Other names that lead here are somebody else's."""


def hosts(port: int) -> frozenset[str]:
    """The values of ``Host`` that are ours."""
    return frozenset(f"{name}:{port}" for name in NAMES)


def check_place(headers: Mapping[str, str], port: int, *, changes: bool) -> None:
    """Raise :class:`Forbidden` for a request that comes from elsewhere; ``changes``: law 2."""
    host = headers.get("Host", "").lower()
    if host not in hosts(port):
        raise Forbidden("this port answers to its own names only")
    origin = headers.get("Origin")
    if (origin is None and changes) or (origin is not None and origin.lower() != f"http://{host}"):
        raise Forbidden("other web pages can't use this interface")
    if headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("other web pages can't use this interface")


def cookie_name(port: int) -> str:
    """The session's cookie."""
    return f"{COOKIE_PREFIX}{port}"


SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data: blob:; media-src 'self' blob: mediastream:; font-src 'self'; "
        "manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "Permissions-Policy": (
        "camera=(self), microphone=(self), display-capture=(self), fullscreen=(self), "
        "picture-in-picture=(self), geolocation=(), payment=(), usb=()"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer of the page's port."""
