"""In a worker: one media endpoint, on what the node says, telling the node what happens.

Law 1: what the endpoint raises is told, never let out; a bug of it is in the log.
Law 2: the statistics are told before what they would tell: an event, or an answer.
Law 3: of what a peer floods the control channel with, ``WORKER_CONTROL_RATE`` messages a second are told.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

from meshcall import limits
from meshcall.aio.rtc.endpoint import make_endpoint
from meshcall.aio.worker import messages as w
from meshcall.aio.worker.channel import Channel
from meshcall.aio.worker.far_ice import FarIce
from meshcall.errors import PeerGone
from meshcall.ice.check import Credentials
from meshcall.media.endpoint import ControlMessage, EndpointStats, TransportLost

_log = logging.getLogger("meshcall.media")


class Seat:
    """See the laws."""

    def __init__(
        self,
        opening: w.Open,
        control: socket.socket,
        datagrams: socket.socket,
        on_gone: Callable[[Seat], None],
    ) -> None:
        """``on_gone``: the node has let go of it, and it is closed."""
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._counters: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._doing: set[asyncio.Task[None]] = set()
        self._names: dict[int, asyncio.Future[list[str]]] = {}
        self._told_until = 0.0
        """When the control messages that were told have had their time."""
        self._control = Channel(
            control,
            on_message=self._receive,
            on_closed=self._gone,
            waiting=limits.WORKER_WAITING_MAX,
            size=limits.WORKER_MESSAGE_MAX,
        )
        self._datagrams = Channel(
            datagrams,
            on_message=lambda data: self._ice.receive(data),
            on_closed=lambda: None,
            waiting=limits.WORKER_DATAGRAMS_MAX,
            size=limits.WORKER_DATAGRAM_MAX,
        )
        self._ice = FarIce(Credentials(opening.ufrag, opening.pwd), self._tell, self._datagrams.send)
        self._endpoint = make_endpoint(
            w.decode_plan(opening.plan),
            resolve=self._resolve if opening.resolves else None,
            make_ice=self._ice.bind,
        )
        self._spawn(self._pump())
        self._counting = self._loop.call_later(limits.WORKER_COUNT, self._count)

    def _tell(self, message: Any) -> None:
        if not self._control.send(w.encode(message)):
            self._counters["worker-untold"] += 1

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work, name="seat")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- what the node says ---

    def _receive(self, data: bytes) -> None:
        match w.decode_to_seat(data):
            case w.Do() as wanted:
                task = self._spawn(self._do(wanted))
                self._doing.add(task)
                task.add_done_callback(self._doing.discard)
            case w.Change(change):
                self._endpoint.change(change)
            case w.Muted(kind, muted):
                self._endpoint.set_muted(kind, muted=muted)
            case w.Layer(kind, height, fps):
                self._endpoint.set_layer(kind, height, fps)
            case w.Control(control):
                try:
                    self._endpoint.send_control(control)
                except PeerGone:
                    self._tell(w.event_message(TransportLost("no-response")))
            case w.Resolved(number, addresses):
                waiting = self._names.pop(number, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(addresses)
            case other:
                self._ice.told(other)

    async def _do(self, wanted: w.Do) -> None:
        data, failure = b"", None
        try:
            match wanted.verb:
                case "offer":
                    data = await self._endpoint.offer()
                case "answer":
                    data = await self._endpoint.answer(wanted.data)
                case "accept":
                    await self._endpoint.accept(wanted.data)
                case "candidates":
                    await self._endpoint.add_candidates(wanted.data)
                case "gate":
                    await self._endpoint.open_gate()
                case "close":
                    await self._endpoint.close()
                case verb:
                    raise AssertionError(f"no verb {verb}")
        except Exception as error:  # noqa: BLE001 - the node raises it where it was asked for
            failure = w.failure_of(error)
            if failure is None:
                _log.error("the media endpoint failed", exc_info=error)
                failure = w.Failure("error", "the media endpoint failed; the log says more")
        self._tell(w.statistics_message(self._statistics()))
        self._tell(w.Done(wanted.number, data, failure))

    async def _resolve(self, name: str) -> list[str]:
        number = len(self._names)
        while number in self._names:
            number += 1
        waiting: asyncio.Future[list[str]] = self._loop.create_future()
        self._names[number] = waiting
        self._tell(w.Resolve(number, name))
        return await waiting

    # --- what happens ---

    async def _pump(self) -> None:
        async for event in self._endpoint.events():
            if isinstance(event, ControlMessage) and not self._may_tell():
                self._counters["control-flood"] += 1
                continue
            if not isinstance(event, ControlMessage):
                self._tell(w.statistics_message(self._statistics()))
            self._tell(w.event_message(event))
        self._counting.cancel()
        if self._doing:  # what failed and closed it is told first
            await asyncio.wait(tuple(self._doing), timeout=limits.WORKER_EXIT)
        self._tell(w.statistics_message(self._statistics()))
        self._tell(w.Ended())

    def _may_tell(self) -> bool:
        now = self._loop.time()
        if self._told_until > now + 1:
            return False
        self._told_until = max(self._told_until, now) + 1 / limits.WORKER_CONTROL_RATE
        return True

    def _statistics(self) -> EndpointStats:
        statistics = self._endpoint.statistics()
        return replace(statistics, counters=Counter(statistics.counters) + self._counters)

    def _count(self) -> None:
        self._counting = self._loop.call_later(limits.WORKER_COUNT, self._count)
        self._tell(w.statistics_message(self._statistics()))

    # --- the end ---

    def _gone(self) -> None:
        """The node has closed its end."""
        self._loop.create_task(self._close(), name="seat-close")

    async def _close(self) -> None:
        self._counting.cancel()
        self._datagrams.close()
        with suppress(Exception):
            await self._endpoint.close()
        for task in tuple(self._tasks):
            task.cancel()
        self._on_gone(self)
