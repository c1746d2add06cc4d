"""The local API's server: JSON over HTTP on a unix socket that only this user can reach.

Law 1: the socket has mode 0600 in a folder of mode 0700, and each peer's user id is checked besides.
Law 2: a GET changes nothing; whatever changes something has the JSON content type and a bounded body.
Law 3: a web page gets nowhere: a request with an ``Origin`` is refused.
Law 4: what a client does or meets is answered with a stable code; a bug is logged, and told as ``internal``.
Law 5: a ping, and a call started with ``attach``, live as long as their client: they end when it goes away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
from aiohttp import web

from meshcall import limits
from meshcall.control import models
from meshcall.control.background import abandon, finish, hang_up_after, limited, logged
from meshcall.control.doctor import look
from meshcall.control.listener import Listener
from meshcall.control.messages import (
    absolute_path,
    check_headers,
    check_parameters,
    document,
    encode_document,
    read_request,
    whole_number,
)
from meshcall.control.metrics import METRICS_TYPE, format_metrics
from meshcall.control.node_api import CallApi, NodeApi
from meshcall.control.openapi import make_openapi
from meshcall.control.page_socket import PageSocket
from meshcall.control.room_routes import RoomRoutes
from meshcall.control.selection import Purpose, choose_call
from meshcall.control.serving import Handler, answered, make_runner
from meshcall.control.unix_socket import listen, peer_uid
from meshcall.errors import BadRequest, Forbidden, PageOff, TooManyListeners
from meshcall.identity.peer_id import PeerId
from meshcall.paths import HomePaths
from meshcall.views import View

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

STREAM_END_GRACE = 2.0
"""Seconds that streams get to tell the end of their calls when the daemon stops."""


def _no_page() -> str:
    raise PageOff


class ControlServer:
    """Serves one node. ``async with ControlServer(node, paths): ...``"""

    def __init__(
        self,
        node: NodeApi,
        paths: HomePaths,
        *,
        allowed_uids: frozenset[int] | None = None,
    ) -> None:
        """``allowed_uids``: whose processes may use it; by default this user's and root's."""
        self.login_url: Callable[[], str] = _no_page
        """Makes a link that logs a browser in at the page; raises :class:`PageOff`."""
        self._node = node
        self._paths = paths
        self.allowed_uids = frozenset({os.geteuid(), 0}) if allowed_uids is None else allowed_uids
        """Whose processes may use it."""
        self._runner: web.AppRunner | None = None
        self._inode: tuple[int, int] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._listeners: set[Listener] = set()
        self._attached: dict[str, CallApi] = {}
        self._detached = asyncio.Event()
        """Set while no call is attached to a client."""
        self._detached.set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen. The caller holds the home's lock, so a socket that is there already is a dead daemon's."""
        self._runner = make_runner([*self.routes(), *self._own_routes()], self._guard)
        await self._runner.setup()
        listening = listen(self._paths)
        info = self._paths.socket.lstat()
        self._inode = (info.st_dev, info.st_ino)
        await web.SockSite(self._runner, listening).start()

    async def close(self) -> None:
        """Hang up the attached calls, let their clients see it, stop, and remove the socket. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for call in list(self._attached.values()):
            self._do(call.hangup())
        if self._attached:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STREAM_END_GRACE):
                    await self._detached.wait()
        for listener in self._listeners:
            listener.end()
        await runner.cleanup()
        tasks = list(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STREAM_END_GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._remove_socket()

    def _remove_socket(self) -> None:
        path = self._paths.socket
        with contextlib.suppress(OSError):
            info = path.lstat()
            if (info.st_dev, info.st_ino) == self._inode:
                path.unlink()

    def _spawn(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Run ``work`` to its end even if the request that wanted it goes away; its result may be ignored."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits is told; if nobody does any more, it is nobody's concern

    def _do(self, work: Coroutine[Any, Any, object]) -> None:
        """Run ``work``, whose result nobody waits for."""
        self._spawn(logged(work))

    # --- routes -----------------------------------------------------------------------------------

    def routes(self) -> list[web.RouteDef]:
        """The addresses of :mod:`meshcall.control.endpoints`, and what describes and watches them."""
        prefix = models.API_PREFIX
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/id", self._get_id),
            ("GET", "/id/qr", self._get_qr),
            ("GET", "/status", self._get_status),
            ("GET", "/settings", self._get_settings),
            ("POST", "/settings", self._change_settings),
            ("GET", "/dht", self._get_dht),
            ("GET", "/dht/lookup/{key}", self._dht_lookup),
            ("GET", "/dht/ping/{address}", self._dht_ping),
            ("GET", "/relay/credentials/{seconds}", self._relay_credentials),
            ("GET", "/relay/coturn", self._relay_coturn),
            ("GET", "/netcheck", self._netcheck),
            ("GET", "/doctor", self._doctor),
            ("GET", "/peers", self._get_peers),
            ("GET", "/contacts", self._get_contacts),
            ("POST", "/contacts", self._add_contact),
            ("PATCH", "/contacts/{name}", self._rename_contact),
            ("DELETE", "/contacts/{name}", self._remove_contact),
            ("POST", "/contacts/{name}/block", self._block_contact),
            ("POST", "/contacts/{name}/unblock", self._unblock_contact),
            ("POST", "/invites", self._create_invite),
            ("POST", "/invites/accept", self._accept_invite),
            ("GET", "/calls", self._get_calls),
            ("POST", "/calls", self._start_call),
            ("GET", "/calls/{call}", self._get_call),
            ("POST", "/calls/{call}/answer", self._answer_call),
            ("POST", "/calls/{call}/decline", self._decline_call),
            ("POST", "/calls/{call}/hangup", self._hangup_call),
            ("POST", "/calls/{call}/chat", self._chat),
            ("POST", "/calls/{call}/media", self._tell_media),
            ("GET", "/calls/{call}/verification", self._get_verification),
            ("POST", "/calls/{call}/verified", self._verified),
            *RoomRoutes(self._node).table(),
            ("POST", "/pings", self._start_ping),
            ("GET", "/history", self._get_history),
            ("POST", "/history/seen", self._see_missed),
            ("GET", "/events", self._get_events),
            ("GET", "/page", self._get_page_socket),
        ]
        return [
            web.get(prefix + path, handler, allow_head=False)
            if method == "GET"
            else web.route(method, prefix + path, handler)
            for method, path, handler in table
        ] + [
            web.get("/openapi.json", self._get_openapi, allow_head=False),
            web.get("/metrics", self._get_metrics, allow_head=False),
            web.get("/healthz", self._get_health, allow_head=False),
        ]

    def _own_routes(self) -> list[web.RouteDef]:
        """What only the socket has: a page can't make links that log others in."""
        return [web.post(models.API_PREFIX + "/page/login", self._make_login)]

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        return await answered(request, self._checked(request, handler))

    async def _checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._check_peer(request)
        check_headers(request)
        return await self.answer(request, handler)

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer to a request that may be made; ``handler`` is one of :meth:`routes`."""
        check_parameters(request)
        found = request.match_info.handler
        streams = (self._start_call, self._answer_call, self._start_ping, self._get_events)
        if found in (*streams, self._get_page_socket):
            return await handler(request)
        if found in (self._dht_lookup, self._dht_ping, self._netcheck, self._doctor):
            return await limited(handler(request))  # ends with its client: it changes nothing
        # shielded: a change that was begun is finished even if the client does not wait for the answer
        return await asyncio.shield(self._spawn(limited(handler(request))))

    def _check_peer(self, request: web.Request) -> None:
        transport = request.transport
        uid = peer_uid(transport.get_extra_info("socket")) if transport is not None else None
        if uid is not None and uid not in self.allowed_uids:
            raise Forbidden

    # --- reading ----------------------------------------------------------------------------------

    async def _get_id(self, request: web.Request) -> web.Response:
        peer_id = PeerId.parse(self._node.id_text())
        return document(
            {
                "peer_id": peer_id.text,
                "grouped": peer_id.grouped,
                "short": peer_id.short,
                "uri": self._node.uri_text(),
            }
        )

    async def _get_qr(self, request: web.Request) -> web.Response:
        from meshcall.control.qr import draw  # late: only who shows a code needs it

        return web.Response(body=draw(self._node.uri_text()), content_type="image/svg+xml")

    async def _get_status(self, request: web.Request) -> web.Response:
        return document(self._node.status())

    async def _get_settings(self, request: web.Request) -> web.Response:
        return document(self._node.settings.now)

    async def _change_settings(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.ChangeSettings)
        return document(self._node.settings.change(msgspec.structs.asdict(wanted)))

    async def _get_dht(self, request: web.Request) -> web.Response:
        return document(self._node.dht.state())

    async def _dht_lookup(self, request: web.Request) -> web.Response:
        return document(await self._node.dht.lookup(request.match_info["key"]))

    async def _dht_ping(self, request: web.Request) -> web.Response:
        return document(await self._node.dht.ping(request.match_info["address"]))

    async def _netcheck(self, request: web.Request) -> web.Response:
        return document(await self._node.netcheck())

    async def _relay_coturn(self, request: web.Request) -> web.Response:
        return document(self._node.relay_coturn())

    async def _relay_credentials(self, request: web.Request) -> web.Response:
        text = request.match_info["seconds"]
        if not (text.isascii() and text.isdecimal() and len(text) <= 9):
            raise BadRequest("the life of credentials is a number of seconds")
        return document(self._node.relay_credentials(int(text)))

    async def _doctor(self, request: web.Request) -> web.Response:
        return document(await look(self._paths))

    async def _get_peers(self, request: web.Request) -> web.Response:
        return document({"peers": self._node.peers()})

    async def _get_contacts(self, request: web.Request) -> web.Response:
        return document({"contacts": self._node.contacts.list()})

    async def _get_calls(self, request: web.Request) -> web.Response:
        return document({"calls": self._node.calls()})

    async def _get_call(self, request: web.Request) -> web.Response:
        return document(self._choose(request, "show").view())

    async def _get_history(self, request: web.Request) -> web.Response:
        limit = whole_number(request, "limit", models.HISTORY_DEFAULT, models.HISTORY_MAX)
        missed = bool(whole_number(request, "missed", 0, 1))
        return document({"calls": await self._node.history(limit=limit, missed=missed)})

    async def _see_missed(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.SeeMissed)
        await self._node.see_missed(wanted.calls)
        return document({})

    async def _get_openapi(self, request: web.Request) -> web.Response:
        return web.json_response(make_openapi())

    async def _get_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=format_metrics(self._node.status()), headers={"Content-Type": METRICS_TYPE})

    async def _get_health(self, request: web.Request) -> web.Response:
        self._node.status()  # a node that can't say how it is, is not well: 500
        return document({"healthy": True})

    async def _make_login(self, request: web.Request) -> web.Response:
        await read_request(request, models.Empty)
        return document({"url": self.login_url()})

    async def _get_page_socket(self, request: web.Request) -> web.StreamResponse:
        return await PageSocket(self._node).serve(request)

    # --- contacts and invites ---------------------------------------------------------------------

    async def _add_contact(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.AddContact)
        return document(self._node.contacts.add(wanted.peer, wanted.name), status=201)

    async def _rename_contact(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.RenameContact)
        return document(self._node.contacts.rename(request.match_info["name"], wanted.name))

    async def _remove_contact(self, request: web.Request) -> web.Response:
        await read_request(request, models.Empty)
        self._node.contacts.remove(request.match_info["name"])
        return document({})

    async def _block_contact(self, request: web.Request) -> web.Response:
        await read_request(request, models.Empty)
        return document(self._node.contacts.block(request.match_info["name"]))

    async def _unblock_contact(self, request: web.Request) -> web.Response:
        await read_request(request, models.Empty)
        return document(self._node.contacts.unblock(request.match_info["name"]))

    async def _create_invite(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.CreateInvite)
        uri = self._node.create_invite(once=wanted.once, expires=wanted.expires)
        return document({"uri": uri, "once": wanted.once, "expires_s": wanted.expires}, status=201)

    async def _accept_invite(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.AcceptInvite)
        return document(await self._node.accept_invite(wanted.uri))

    # --- calls ------------------------------------------------------------------------------------

    def _choose(self, request: web.Request, purpose: Purpose) -> CallApi:
        call_id = choose_call(self._node.calls(), request.match_info["call"], purpose)
        return self._node.get_call(call_id)

    async def _start_call(self, request: web.Request) -> web.StreamResponse:
        wanted = await read_request(request, models.StartCall)
        if wanted.attach:
            self._check_listeners()
        work = self._node.call(
            wanted.peer,
            source=wanted.source,
            record=absolute_path(wanted.record),
            timeout=wanted.timeout,
            wait=wanted.wait,
            page=wanted.page,
            video=wanted.video,
        )
        starting = self._spawn(work)
        try:
            call = await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._do(abandon(starting))
            raise
        return await self._run_call(request, call, wanted.duration, attach=wanted.attach, status=201)

    async def _answer_call(self, request: web.Request) -> web.StreamResponse:
        wanted = await read_request(request, models.AnswerCall)
        if wanted.attach:
            self._check_listeners()
        call = self._choose(request, "answer")
        await asyncio.shield(
            self._spawn(
                call.answer(
                    source=wanted.source,
                    record=absolute_path(wanted.record),
                    page=wanted.page,
                    video=wanted.video,
                )
            )
        )
        return await self._run_call(request, call, wanted.duration, attach=wanted.attach, status=200)

    async def _run_call(
        self, request: web.Request, call: CallApi, duration: float | None, *, attach: bool, status: int
    ) -> web.StreamResponse:
        if duration is not None:
            self._do(hang_up_after(call, duration))
        if not attach:
            return document(call.view(), status=status)
        self._attached[call.id] = call
        self._detached.clear()
        try:
            return await self._stream(request, call.events())
        finally:
            del self._attached[call.id]
            if not self._attached:
                self._detached.set()
            if call.view().state != "ended":
                self._do(call.hangup())

    async def _start_ping(self, request: web.Request) -> web.StreamResponse:
        wanted = await read_request(request, models.StartPing)
        self._check_listeners()
        ping = await self._node.ping(
            wanted.peer, count=wanted.count, interval=wanted.interval, until_direct=wanted.until_direct
        )
        try:
            return await self._stream(request, ping.events())
        finally:
            self._do(ping.stop())

    async def _decline_call(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.DeclineCall)
        if len(wanted.say.encode()) > limits.WORDS_MAX:
            raise BadRequest(f"what the caller is told has at most {limits.WORDS_MAX} octets")
        call = self._choose(request, "decline")
        await call.decline(wanted.say)
        return document(call.view())

    async def _hangup_call(self, request: web.Request) -> web.Response:
        await read_request(request, models.Empty)
        call = self._choose(request, "hangup")
        await call.hangup()
        return document(call.view())

    async def _chat(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.SendChat)
        call = self._choose(request, "chat")
        await call.chat(wanted.text)
        return document({"call": call.id})

    async def _tell_media(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.TellMedia)
        call = self._choose(request, "show")
        call.tell_media(audio=wanted.audio, video=wanted.video, screen=wanted.screen)
        return document({"call": call.id})

    async def _get_verification(self, request: web.Request) -> web.Response:
        return document(self._choose(request, "show").verification())

    async def _verified(self, request: web.Request) -> web.Response:
        await read_request(request, models.Empty)
        call = self._choose(request, "show")
        call.verification()  # nobody has compared what is not there
        return document(self._node.contacts.verify(call.peer_id))

    # --- streams ----------------------------------------------------------------------------------

    async def _get_events(self, request: web.Request) -> web.StreamResponse:
        self._check_listeners()
        wanted = request.query.get("call")
        if wanted is None:
            return await self._stream(request, self._node.events())
        call = self._node.get_call(choose_call(self._node.calls(), wanted, "show"))
        return await self._stream(request, call.events())

    def _check_listeners(self) -> None:
        if len(self._listeners) >= models.LISTENERS_MAX:
            raise TooManyListeners

    async def _stream(self, request: web.Request, events: AsyncIterator[View]) -> web.StreamResponse:
        """Answer with one JSON document per line for each event, until they end or the client goes away."""
        response = web.StreamResponse(
            headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"}
        )
        listener = Listener(events)
        self._listeners.add(listener)
        filling = self._spawn(logged(listener.fill()))
        try:
            await response.prepare(request)
            async for event in listener.read():
                await response.write(encode_document(event) + b"\n")
            await response.write_eof()
        except ConnectionError:
            logger.debug("a listener went away")
        finally:
            self._listeners.discard(listener)
            self._do(finish(filling, events))
        return response
