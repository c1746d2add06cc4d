"""In the node: one worker process.

Law 1: it is asked each ``WORKER_PING`` whether its loop is alive; after ``WORKER_SILENT`` questions of which
none was answered it is killed. A node that slept itself asks anew before it judges.
Law 2: however it ends, each of its endpoints is told once, and the process is gone soon after.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from meshcall import limits
from meshcall.aio.worker import messages as w
from meshcall.aio.worker.channel import Channel
from meshcall.errors import MediaFailed, Rejected

_log = logging.getLogger("meshcall.media")


class Tenant(Protocol):
    """An endpoint in a worker, as the worker's keeper sees it."""

    def worker_ended(self, why: str) -> None:
        """Nothing more comes from there."""


class Worker:
    """See the laws."""

    def __init__(
        self, command: socket.socket, pid: int, handle: int, on_ended: Callable[[Worker], None]
    ) -> None:
        """``command``: our end of its command socket; ``handle``: a pidfd. ``on_ended``: it is not to be used
        any more.
        """
        self.pid = pid
        self._command = command
        self._handle = handle
        self._on_ended = on_ended
        self._loop = asyncio.get_running_loop()
        self._tenants: set[Tenant] = set()
        self._probes: dict[int, asyncio.Future[w.Failure | None]] = {}
        self._number = 0
        self._unanswered = 0
        self._timer: asyncio.TimerHandle | None = None
        self._exited = self._loop.create_future()
        self.ended = False
        self._channel = Channel(
            command,
            on_message=self._receive,
            on_closed=lambda: self.end("the media process of this call crashed"),
            waiting=limits.WORKER_WAITING_MAX,
            size=limits.WORKER_MESSAGE_MAX,
            rate=limits.WORKER_RATE,
        )
        self._loop.add_reader(handle, self._exit)

    @property
    def tenants(self) -> int:
        """Endpoints that it has."""
        return len(self._tenants)

    # --- work ---

    def open(self, tenant: Tenant, opening: w.Open, ends: list[socket.socket]) -> None:
        """Have it make an endpoint that talks on ``ends``; raises :class:`MeshcallError`."""
        if self.ended:
            raise MediaFailed("the media process has ended")
        self._tenants.add(tenant)
        self._watch()
        try:
            socket.send_fds(self._command, [w.encode(opening)], [end.fileno() for end in ends])
        except OSError as error:
            self._tenants.discard(tenant)
            raise MediaFailed("the media process takes no call") from error

    def leave(self, tenant: Tenant) -> None:
        """The endpoint is closed; the last one ends the process. Idempotent."""
        self._tenants.discard(tenant)
        if not self._tenants and not self._probes:
            self.end("")

    async def probe(self, source: str) -> None:
        """Raise unless ``source`` can be sent; ends the process."""
        self._number += 1
        waiting: asyncio.Future[w.Failure | None] = self._loop.create_future()
        self._probes[self._number] = waiting
        self._watch()
        self._channel.send(w.encode(w.Probe(self._number, os.fsencode(source))))
        try:
            failure = await waiting
        finally:
            self._probes.pop(self._number, None)
            self.end("")
        if failure is not None:
            raise w.error_untrusted(failure)

    def _receive(self, data: bytes) -> None:
        try:
            message = w.decode_from_worker_untrusted(data)
        except Rejected as error:
            self.end(f"the media process of this call said what makes no sense ({error})")
            return
        match message:
            case w.Pong():
                self._unanswered = 0
            case w.Probed(number, failure):
                waiting = self._probes.get(number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(failure)

    def _watch(self) -> None:
        """Somebody waits for it from now on."""
        if self._timer is None:
            self._ask()

    def _ask(self) -> None:
        if self._unanswered >= limits.WORKER_SILENT:
            self.end("the media process of this call hung")
            return
        self._unanswered += 1
        self._channel.send(w.encode(w.Ping()))
        self._timer = self._loop.call_later(limits.WORKER_PING, self._ask)

    # --- the end ---

    def end(self, why: str) -> None:
        """Use it no more: its endpoints are told ``why``; empty: it had none. Idempotent."""
        if self.ended:
            return
        self.ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._channel.close()
        for waiting in self._probes.values():
            if not waiting.done():
                waiting.set_exception(MediaFailed("the source could not be looked at"))
        if why:
            _log.warning("%s; its process is ended (%d)", why, self.pid)
            self.kill()
        else:
            self._timer = self._loop.call_later(limits.WORKER_EXIT, self.kill)
        tenants, self._tenants = self._tenants, set()
        for tenant in tenants:
            tenant.worker_ended(why)
        self._on_ended(self)

    def kill(self) -> None:
        """SIGKILL; also a process that is stopped ends by it."""
        if self._handle >= 0:
            with suppress(OSError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def _exit(self) -> None:
        """The process is gone."""
        self.end("the media process of this call ended by itself" if self._tenants else "")
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._handle)
        os.close(self._handle)
        self._handle = -1
        self._exited.set_result(None)

    async def wait_exited(self) -> None:
        """Return when the process is gone."""
        await asyncio.shield(self._exited)
