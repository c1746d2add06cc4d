"""The call page's server: the page's files, a login, and the same API, on the loopback interface.

Law 1: nothing is answered to another user of this machine, to another host name, or to another site's page
(``page_guard``); each answer carries the headers that keep the page to itself.
Law 2: the page's files are public to this user; all else needs a session, which needs a login link.
Law 3: what a browser that is not logged in can do is bounded: logins are counted, and slowed down.
"""

from __future__ import annotations

import errno
import logging
import socket
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import TracebackType
from typing import Annotated, Final, Self

import msgspec
from aiohttp import web

from meshcall.aio.clock import Clock, SystemClock, system_random
from meshcall.aio.files.atomic import load_or_set_aside, write_atomic
from meshcall.control import models
from meshcall.control.logins import SESSION_LIFE, Logins, Session, decode_sessions
from meshcall.control.loopback_peer import uid_of
from meshcall.control.messages import document, read_request
from meshcall.control.page_guard import SECURITY_HEADERS, check_place, cookie_name
from meshcall.control.server import ControlServer
from meshcall.control.serving import Handler, answered, make_runner
from meshcall.errors import Forbidden, NotLoggedIn, PageOff, TooManyLogins
from meshcall.paths import HomePaths

logger = logging.getLogger(__name__)


HOSTS: Final = ("127.0.0.1", "::1")

PORTS_TRIED: Final = 10
"""The wanted port and those after it: a second daemon on this machine has a page, too."""

LOGINS_PER_MINUTE: Final = 20
"""Tries to log in, good or bad (guessing; a token has 192 bits, so this is for the log's and CPU's sake)."""

_TYPES: Final = {
    "html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml",
    "json": "application/json", "webmanifest": "application/manifest+json", "wav": "audio/wav",
}  # fmt: skip


class LogIn(models.Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST login."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class PageServer:
    """Serves the page. ``async with PageServer(api, ...)``"""

    def __init__(self, api: ControlServer, logins: Logins, *, port: int, clock: Clock) -> None:
        """``port``: the one that is wanted."""
        self._api = api
        self._logins = logins
        self._wanted = port
        self._clock = clock
        self._runner: web.AppRunner | None = None
        self._tries: list[float] = []
        self._files = read_files(files("meshcall") / "web")
        self.port = 0
        """Where it listens; 0: it does not."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen on the wanted port or one of the next; a machine without any of them has no page."""
        own = [
            web.post("/login", self._log_in),
            web.post("/logout", self._log_out),
            web.get("/{name:.*}", self._get_file, allow_head=False),
        ]
        self._runner = make_runner([*self._api.routes(), *own], self._guard)
        await self._runner.setup()
        sockets = open_sockets(self._wanted)
        if not sockets:
            logger.warning("the ports %d to %d are taken: there is no page", self._wanted, self._last)
            return
        self.port = sockets[0].getsockname()[1]
        for listening in sockets:
            await web.SockSite(self._runner, listening).start()

    @property
    def _last(self) -> int:
        return self._wanted + PORTS_TRIED - 1

    async def close(self) -> None:
        """Stop. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        self.port = 0

    def login_url(self) -> str:
        """A link that logs one browser in, once. The token is in the fragment: it is sent to nobody.

        Raises :class:`PageOff`.
        """
        if not self.port:
            raise PageOff(f"the ports {self._wanted} to {self._last} are taken, so there is no page")
        return f"http://127.0.0.1:{self.port}/#login={self._logins.make_token(self._clock.now_ms())}"

    # --- who may ----------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await answered(request, self._checked(request, handler))
        if not response.prepared:
            response.headers.update(SECURITY_HEADERS)
        return response

    async def _checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._check_user(request)
        changes = request.method != "GET" or "Upgrade" in request.headers
        check_place(request.headers, self.port, changes=changes)
        found = request.match_info.handler
        if found == self._get_file:
            return await handler(request)
        if request.method != "GET" and request.content_type != "application/json":
            raise Forbidden("the content type must be application/json")
        if found == self._log_in:
            return await handler(request)
        if not self._logins.is_good(self._secret(request), self._clock.now_ms()):
            raise NotLoggedIn
        if found == self._log_out:
            return await handler(request)
        return await self._api.answer(request, handler)

    def _check_user(self, request: web.Request) -> None:
        transport = request.transport
        if transport is None:
            raise Forbidden
        client, server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        try:
            uid = uid_of((client[0], client[1]), (server[0], server[1]))
        except OSError as error:
            if error.errno == errno.ENOENT:  # no such table: another system; the session has to do
                return
            raise Forbidden from None
        if uid not in self._api.allowed_uids:
            raise Forbidden

    def _secret(self, request: web.Request) -> str:
        return request.cookies.get(cookie_name(self.port), "")

    # --- login ------------------------------------------------------------------------------------

    async def _log_in(self, request: web.Request) -> web.Response:
        now = self._clock.now()
        self._tries = [at for at in self._tries if now - at < 60]
        if len(self._tries) >= LOGINS_PER_MINUTE:
            raise TooManyLogins
        self._tries.append(now)
        wanted = await read_request(request, LogIn)
        secret = self._logins.log_in(wanted.token, self._clock.now_ms())
        if secret is None:
            raise NotLoggedIn("this login link was used already, or is too old")
        response = document({})
        response.set_cookie(
            cookie_name(self.port),
            secret,
            max_age=int(SESSION_LIFE),
            path="/",
            httponly=True,
            samesite="Strict",
        )
        return response

    async def _log_out(self, request: web.Request) -> web.Response:
        await read_request(request, models.Empty)
        self._logins.log_out(self._secret(request))
        response = document({})
        response.del_cookie(cookie_name(self.port), path="/")
        return response

    # --- the page ---------------------------------------------------------------------------------

    async def _get_file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"] or "index.html"
        found = self._files.get(name)
        if found is None or request.query_string:
            raise web.HTTPNotFound
        return web.Response(
            body=found.read_bytes(),
            content_type=_TYPES[name.rpartition(".")[2]],
            charset="utf-8",
            headers={"Cache-Control": "no-cache"},
        )


def make_page_server(api: ControlServer, paths: HomePaths, port: int) -> PageServer:
    """The page of the daemon in a home. Sessions that it had are good still."""
    none: list[Session] = []
    kept, warning = load_or_set_aside(paths.logins, decode_sessions, none)
    if warning:
        logger.warning("%s", warning)

    def keep(octets: bytes) -> None:
        try:
            write_atomic(paths.logins, octets)
        except OSError as error:
            logger.warning("who is logged in can't be kept: %s", error.strerror)

    logins = Logins(random=system_random, kept=kept, keep=keep)
    return PageServer(api, logins, port=port, clock=SystemClock())


def read_files(folder: Traversable) -> dict[str, Traversable]:
    """The page's files by their paths, as they are installed; nothing else is ever opened."""
    found: dict[str, Traversable] = {}

    def walk(at: Traversable, prefix: str) -> None:
        for one in at.iterdir():
            if one.is_dir():
                walk(one, f"{prefix}{one.name}/")
            elif one.name.rpartition(".")[2] in _TYPES:
                found[prefix + one.name] = one

    walk(folder, "")
    return found


def open_sockets(wanted: int) -> list[socket.socket]:
    """Listening sockets on all of :data:`HOSTS` that this machine has, with one port; none: all are taken."""
    for port in range(wanted, min(wanted + PORTS_TRIED, 65536)):
        found: list[socket.socket] = []
        try:
            for host in HOSTS:
                one = _listen(host, port)
                if one is not None:
                    found.append(one)
        except OSError:
            for one in found:
                one.close()
            continue
        if found:
            return found
    return []


def _listen(host: str, port: int) -> socket.socket | None:
    """None: this machine has no such address. Raises OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        one = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return None
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((host, port))
        one.listen(64)
        one.setblocking(False)
    except OSError as error:
        one.close()
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None
        raise
    return one


__all__ = ["PageServer", "open_sockets", "read_files"]
