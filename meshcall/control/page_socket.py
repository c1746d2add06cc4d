"""The WebSocket of one page: events of the node and media messages to it, media messages from it.

Law 1: a page that reads too slowly, or does not answer pings, is dropped; it costs a fixed amount of memory.
Law 2: however the connection ends, the page's calls end with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

import msgspec
from aiohttp import WSMsgType, web

from meshcall import limits
from meshcall.control.listener import Listener
from meshcall.control.node_api import NodeApi
from meshcall.media.page import MESSAGE_MAX, ToPage
from meshcall.views import View

HEARTBEAT: Final = 2.0
"""Seconds between two pings; without a pong within half of it the page is gone (a browser that hangs)."""


class PageSocket:
    """One page that is connected."""

    def __init__(self, node: NodeApi) -> None:
        self._node = node
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Talk to the page until either end closes. Raises :class:`TooManyListeners`."""
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=MESSAGE_MAX, compress=False)
        pages = self._node.pages
        name = pages.open(self._tell)
        try:
            await socket.prepare(request)
            self._put({"hello": {"page": name}})
            events = Listener(self._node.events())
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(events.fill()),
                    group.create_task(self._pass_on(events)),
                    group.create_task(self._write(socket)),
                ]
                try:
                    async for message in socket:
                        if message.type is WSMsgType.TEXT:
                            pages.receive(name, message.data)
                finally:
                    for task in tasks:
                        task.cancel()
        finally:
            pages.close(name)
        return socket

    def _tell(self, message: ToPage) -> None:
        self._put({"media": message})

    async def _pass_on(self, events: Listener) -> None:
        async for event in events.read():
            self._put({"event": event})
        self._queue.put_nowait(None)

    def _put(self, content: dict[str, View | ToPage | dict[str, Any]]) -> None:
        if self._queue.qsize() < limits.PAGE_QUEUE:
            self._queue.put_nowait(msgspec.json.encode(content))
        else:
            self._queue.put_nowait(None)  # it will have to ask for the state anew

    async def _write(self, socket: web.WebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError):
            while (data := await self._queue.get()) is not None:
                await socket.send_str(data.decode())
        await socket.close()
