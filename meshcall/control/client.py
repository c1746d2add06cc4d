"""The local API's client: the standard library's HTTP over the daemon's unix socket. Blocking.

Law 1: whatever goes wrong is a :class:`meshcall.errors.MeshcallError`: the daemon's own errors come back as
the class that it raised, so that exit codes and hints are the same on both sides.
Law 2: answers are plain dictionaries: a client shows what it knows and ignores what a newer daemon adds.
"""

from __future__ import annotations

import contextlib
import http.client
import shlex
import socket
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import quote, urlencode

import msgspec

from meshcall import errors
from meshcall.control import models
from meshcall.control.socket_path import socket_address
from meshcall.errors import (
    DaemonLost,
    DaemonNotRunning,
    Forbidden,
    InternalError,
    MeshcallError,
    UsageError,
)
from meshcall.paths import HomePaths

Document = dict[str, Any]

TIMEOUT = models.REQUEST_TIMEOUT + 5
"""Seconds to wait for an answer: a bit longer than the daemon gives itself."""

LINE_MAX = 1 << 20
"""Octets of one event: longer than any that a daemon sends."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP/1.1 over a unix socket."""

    def __init__(self, paths: HomePaths) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._paths = paths

    def connect(self) -> None:
        """Connect to the daemon of the home; :class:`DaemonNotRunning`."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(TIMEOUT)
            with socket_address(self._paths.socket) as address:
                connection.connect(address)
        except BaseException as error:
            connection.close()
            if isinstance(error, (FileNotFoundError, ConnectionRefusedError, NotADirectoryError)):
                raise DaemonNotRunning(hint=_start_hint(self._paths)) from error
            if isinstance(error, PermissionError):
                raise Forbidden(f"the home {self._paths.path} belongs to another user") from error
            raise
        self.sock = connection


class EventStream:
    """The events of a stream, one dictionary each. A context manager; leaving it drops the connection."""

    def __init__(self, connection: _UnixConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        self._socket = connection.sock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def set_timeout(self, seconds: float | None) -> None:
        """How long :meth:`__iter__` may wait for the next event before it raises :class:`TimeoutError`."""
        if self._socket is not None:
            self._socket.settimeout(seconds)

    def __iter__(self) -> Iterator[Document]:
        while True:
            try:
                line = self._response.readline(LINE_MAX)
            except TimeoutError:
                raise
            except (http.client.HTTPException, OSError, ValueError, AttributeError) as error:
                raise DaemonLost from error  # the last two: closed by another thread
            if not line:
                return
            if line.strip():
                yield _decode(line)

    def abandon(self) -> None:
        """Drop the connection from another thread; whoever waits for an event gets :class:`DaemonLost`."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Drop the connection. Idempotent."""
        self.abandon()  # wakes a thread that still reads; a mere close would wait for it
        self._response.close()
        self._connection.close()


class ControlClient:
    """Asks the daemon of one home."""

    def __init__(self, paths: HomePaths) -> None:
        self._paths = paths

    def get(self, *path: str, **query: int) -> Document:
        """The document at an address; its parts need no quoting."""
        return self._request("GET", path, None, query=query)

    def send(self, method: str, *path: str, body: models.Request | None = None) -> Document:
        """Ask for a change; the answer is what it made."""
        return self._request(method, path, body or models.Empty())

    def listen(self, call: str | None = None) -> EventStream:
        """The events of one call since its start, or all events from now on."""
        query = "" if call is None else f"?call={quote(call, safe='')}"
        return self._open("GET", ("events",), None, query=query)

    def attach(self, *path: str, body: models.Request) -> EventStream:
        """Start or answer a call that lives as long as the stream is open."""
        return self._open("POST", path, body)

    def _request(
        self,
        method: str,
        path: tuple[str, ...],
        body: models.Request | None,
        *,
        query: Mapping[str, int] | None = None,
    ) -> Document:
        connection = _UnixConnection(self._paths)
        url = _url(path) + (f"?{urlencode(query)}" if query else "")
        try:
            response = _exchange(connection, method, url, body)
            return _read_answer(response)
        finally:
            connection.close()

    def _open(
        self, method: str, path: tuple[str, ...], body: models.Request | None, *, query: str = ""
    ) -> EventStream:
        connection = _UnixConnection(self._paths)
        try:
            response = _exchange(connection, method, _url(path) + query, body)
            if response.status >= 300:
                _read_answer(response)
            stream = EventStream(connection, response)
            stream.set_timeout(None)
        except BaseException:
            connection.close()
            raise
        return stream


def _url(path: tuple[str, ...]) -> str:
    if not all(path):  # the address would be another one
        raise UsageError("an empty text names nothing", hint="is a variable of your script empty?")
    return "/".join((models.API_PREFIX, *(quote(part, safe="") for part in path)))


def _exchange(
    connection: _UnixConnection, method: str, url: str, body: models.Request | None
) -> http.client.HTTPResponse:
    headers = {} if body is None else {"Content-Type": "application/json"}
    try:
        # an explicit connect, so that its errors are told from those of the exchange
        connection.connect()
        connection.request(method, url, None if body is None else msgspec.json.encode(body), headers)
        return connection.getresponse()
    except TimeoutError as error:
        raise errors.RequestTimedOut from error
    except (http.client.HTTPException, OSError) as error:
        raise DaemonLost("the daemon did not answer") from error


def _read_answer(response: http.client.HTTPResponse) -> Document:
    try:
        content = response.read()
    except TimeoutError as error:
        raise errors.RequestTimedOut from error
    except (http.client.HTTPException, OSError) as error:
        raise DaemonLost from error
    document = _decode(content)
    if response.status >= 300 or "error" in document:
        raise error_from(document.get("error"))
    return document


def _decode(content: bytes) -> Document:
    try:
        document = msgspec.json.decode(content)
    except msgspec.MsgspecError as error:
        raise InternalError("the daemon's answer can't be read") from error
    if not isinstance(document, dict):
        raise InternalError("the daemon's answer can't be read")
    return document


def error_from(view: object) -> MeshcallError:
    """The daemon's error as an exception: of its own class if this release has it, else of a look-alike."""
    if not isinstance(view, dict):
        return InternalError("the daemon's answer can't be read")
    code, message, hint = view.get("code"), view.get("message"), view.get("hint")
    exit_code = view.get("exit_code")
    kind = _classes().get(str(code)) or _look_alike(str(code), exit_code if isinstance(exit_code, int) else 1)
    return kind(str(message) if message else None, hint=str(hint) if hint else None)


def _classes() -> dict[str, type[MeshcallError]]:
    """Every error class by its code."""
    found: dict[str, type[MeshcallError]] = {}
    waiting = [MeshcallError]
    while waiting:
        kind = waiting.pop()
        found.setdefault(kind.code, kind)
        waiting.extend(kind.__subclasses__())
    return found


def _look_alike(error_code: str, error_exit_code: int) -> type[MeshcallError]:
    class RemoteError(MeshcallError):
        """The daemon reported an error that this release does not know."""

        code: ClassVar[str] = error_code
        exit_code: ClassVar[int] = error_exit_code

    return RemoteError


def _start_hint(paths: HomePaths) -> str:
    from meshcall.paths import default_home

    if paths.path == default_home():
        return "start it with `meshcall daemon`"
    return f"start it with `meshcall --home {shlex.quote(str(paths.path))} daemon`"
