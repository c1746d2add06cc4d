"""In the node: a media endpoint whose peer connection is in a worker.

Law 1: the ICE session is here: the worker says what it wants of it, and never where a datagram goes.
Law 2: what the worker says passes ``*_untrusted``; a worker that breaks the rules is ended.
Law 3: nothing waits for a worker: what it does not take is dropped and counted, and what it does not answer
has a deadline.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

from meshcall import limits
from meshcall.aio.ice.addresses import only_loopback
from meshcall.aio.ice.call_ice import MakeSession
from meshcall.aio.worker import messages as w
from meshcall.aio.worker.channel import Channel, make_pair
from meshcall.aio.worker.worker import Worker
from meshcall.errors import MediaFailed, MeshcallError, PeerGone, Rejected
from meshcall.ice.allowance import Allowance
from meshcall.ice.candidate import CandidatePolicy, encode_candidates, filter_untrusted, is_mdns_name
from meshcall.ice.events import IceEvent, Selected
from meshcall.media.endpoint import (
    ControlMessage,
    EndpointEvent,
    EndpointStats,
    Failed,
    ShareFailed,
    TransportLost,
)
from meshcall.media.plan import MediaKind, MediaPlan
from meshcall.views import LayerKind

Resolve = Callable[[str], Awaitable[list[str]]]

_CLOSE = limits.RECORD_CLOSE_TIMEOUT + limits.MEDIA_CLOSE_TIMEOUT + 2.0
"""Seconds that a worker gets to close an endpoint."""


class WorkerEndpoint:
    """See :class:`meshcall.media.endpoint.MediaEndpoint`."""

    def __init__(
        self, plan: MediaPlan, worker: Worker, make_session: MakeSession, resolve: Resolve | None
    ) -> None:
        """Raises :class:`MeshcallError` if the worker takes it not."""
        self._plan = plan
        self._worker = worker
        self._resolve = resolve
        self._loop = asyncio.get_running_loop()
        self._counters: Counter[str] = Counter()
        self._session = make_session(plan, self._counters, self._ice_event)
        self._session.sink = self._datagram_in
        self._allowance = Allowance()
        self._ice_told: w.IceState | None = None
        self._silence = 0.0
        self._statistics = EndpointStats()
        self._events: asyncio.Queue[EndpointEvent | None] = asyncio.Queue()
        self._unread_control = 0
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._number = 0
        self._names = 0
        self._peer_gone = False
        self._gone = ""
        """Why there is no worker any more."""
        self._ended = asyncio.Event()
        """The endpoint in the worker has closed, or the worker is gone."""
        self._over = False
        """Nothing is told any more."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        control, far_control = make_pair()
        datagrams, far_datagrams = make_pair()
        self._control = Channel(
            control,
            on_message=self._receive,
            on_closed=lambda: self._broken("the media process of this call crashed"),
            waiting=limits.WORKER_WAITING_MAX,
            size=limits.WORKER_MESSAGE_MAX + 1,
            rate=limits.WORKER_RATE,
        )
        self._datagrams = Channel(
            datagrams,
            on_message=self._datagram_out,
            on_closed=lambda: None,
            waiting=limits.WORKER_DATAGRAMS_MAX,
            size=limits.WORKER_DATAGRAM_MAX,
            rate=limits.WORKER_DATAGRAM_RATE,
        )
        local = self._session.local
        opening = w.Open(w.encode_plan(plan), local.ufrag, local.pwd, resolve is not None)
        try:
            worker.open(self, opening, [far_control, far_datagrams])
        except MeshcallError:
            self._control.close()
            self._datagrams.close()
            raise
        finally:
            far_control.close()
            far_datagrams.close()

    @property
    def pid(self) -> int:
        """The worker's process."""
        return self._worker.pid

    # --- offer and answer ---

    async def offer(self) -> bytes:
        """See :class:`MediaEndpoint`."""
        return await self._or_close(self._do("offer"))

    async def answer(self, offer: bytes) -> bytes:
        """See :class:`MediaEndpoint`."""
        return await self._or_close(self._do("answer", offer))

    async def accept(self, answer: bytes) -> None:
        """See :class:`MediaEndpoint`."""
        await self._do("accept", answer)

    async def add_candidates(self, candidates: bytes) -> None:
        """See :class:`MediaEndpoint`."""
        await self._do("candidates", candidates)

    async def open_gate(self) -> None:
        """See :class:`MediaEndpoint`."""
        with suppress(MeshcallError, Rejected):  # that it is over is an event
            await self._do("gate")

    def change(self, data: bytes) -> None:
        """See :class:`MediaEndpoint`."""
        self._tell(w.Change(data))

    def set_muted(self, kind: MediaKind, *, muted: bool) -> None:
        """See :class:`MediaEndpoint`."""
        self._tell(w.Muted(kind, muted))

    def share(self, source: str) -> None:
        """See :class:`MediaEndpoint`. A worker reads nothing but what it was confined to when it began."""
        if source:
            self._emit(ShareFailed("a daemon with --media-workers shares no second source"))

    def set_layer(self, kind: LayerKind, height: int, fps: int) -> None:
        """See :class:`MediaEndpoint`."""
        self._tell(w.Layer(kind, height, fps))

    def send_control(self, data: bytes) -> None:
        """See :class:`MediaEndpoint`."""
        if len(data) > limits.CONTROL_MESSAGE_MAX:
            raise ValueError(f"a control message has {limits.CONTROL_MESSAGE_MAX} octets at most")
        if self._peer_gone:
            raise PeerGone("the peer stopped reading")
        if self._closing is not None:
            self._counters["control-unsent"] += 1
        else:
            self._tell(w.Control(data))

    async def _do(self, verb: str, data: bytes = b"") -> bytes:
        if self._gone:
            raise MediaFailed(self._gone)
        if self._closing is not None:
            raise Rejected("state")
        self._number += 1
        number = self._number
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._answers[number] = answer
        self._tell(w.Do(number, verb, data))
        try:
            async with asyncio.timeout(_CLOSE):
                return await answer
        except TimeoutError:
            raise MediaFailed("the media process did not answer") from None
        finally:
            self._answers.pop(number, None)

    async def _or_close(self, work: Coroutine[Any, Any, bytes]) -> bytes:
        try:
            return await work
        except BaseException:
            await self.close()
            raise

    def _tell(self, message: Any) -> None:
        if self._control.closed:
            return
        if not self._control.send(w.encode(message)):
            self._broken("the media process of this call reads no more")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work, name="worker-endpoint")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what the worker says ---

    def _receive(self, data: bytes) -> None:
        try:
            self._take(w.decode_from_seat_untrusted(data))
        except Rejected as error:
            self._counters[error.reason] += 1
            self._broken(f"the media process of this call said what makes no sense ({error})")

    def _take(self, message: w.FromSeat) -> None:
        match message:
            case w.Done(number, data, failure):
                answer = self._answers.get(number)
                if answer is None or answer.done():
                    return
                if failure is None:
                    answer.set_result(data)
                else:
                    answer.set_exception(w.error_untrusted(failure))
            case w.Happened():
                self._event(w.event_untrusted(message))
            case w.Counted():
                self._statistics = w.statistics_untrusted(message)
                self._tell_silence()
            case w.Ended():
                self._ended.set()
                self._start_closing()
            case w.Resolve(number, name):
                self._look_up(number, name)
            case w.CloseIce():
                self._spawn(self._session.close())
            case w.Gather() | w.Lead() | w.Start() | w.Remote():
                if not self._session.closed:
                    self._do_ice(message)

    def _event(self, event: EndpointEvent) -> None:
        if isinstance(event, ControlMessage):
            if self._unread_control >= limits.CONTROL_QUEUE_MAX:
                self._counters["control-flood"] += 1
                return
            self._unread_control += 1
        if isinstance(event, TransportLost):
            self._peer_gone = True
        if self._events.qsize() >= limits.WORKER_EVENTS_MAX:
            raise Rejected("worker-flood")
        self._emit(event)

    def _emit(self, event: EndpointEvent) -> None:
        if not self._over:
            self._events.put_nowait(event)

    def _look_up(self, number: int, name: str) -> None:
        self._names += 1
        if self._resolve is None or self._names > limits.ICE_NAMES_MAX or not is_mdns_name(name):
            raise Rejected("worker-name")
        self._spawn(self._resolve_name(self._resolve, number, name))

    async def _resolve_name(self, resolve: Resolve, number: int, name: str) -> None:
        found = await resolve(name)
        self._tell(w.Resolved(number, found[: limits.ICE_NAME_ADDRESSES_MAX]))

    # --- ICE ---

    def _do_ice(self, message: w.Gather | w.Lead | w.Start | w.Remote) -> None:
        match message:
            case w.Gather():
                self._spawn(self._gather())
            case w.Start(anew=True):
                self._session.restart(w.credentials_untrusted(message))
            case w.Lead(controlling):
                self._session.controlling = controlling
            case w.Start():
                self._session.start(w.credentials_untrusted(message))
                self._spawn(self._watch_session())
            case w.Remote():
                self._add_remote(message)

    async def _gather(self) -> None:
        error = ""
        try:
            await self._session.gather()
        except OSError as caught:
            error = caught.strerror or "no port can be opened"
        self._tell_ice()
        self._tell(w.IceGathered(error))

    async def _watch_session(self) -> None:
        reason = ""
        try:
            await self._session.connected()
        except ConnectionError as error:
            reason = str(error) or "closed"
        self._tell(w.IceOutcome(reason))
        await self._session.wait_closed()
        self._tell(w.IceClosed())

    def _add_remote(self, message: w.Remote) -> None:
        """The worker has looked at them already; whether it is still its own master, nobody knows."""
        found, notes = w.remote_untrusted(message)
        alone = only_loopback([one.address for one in self._session.candidates])
        policy = CandidatePolicy(
            allow_loopback=self._plan.allow_loopback or alone,
            allow_lan=self._plan.allow_lan,
            max=limits.WORKER_CANDIDATES_MAX,
        )
        if self._session.agent.selected is not None:
            self._allowance.renew(self._loop.time())
        for candidate in filter_untrusted(found, policy, self._counters):
            refusal = self._allowance.refusal(candidate)
            if refusal:
                self._counters[refusal] += 1
            else:
                self._allowance.take([candidate])
                self._session.add_remote([candidate])
        self._session.add_notes(notes)

    def _ice_event(self, event: IceEvent) -> None:
        self._tell_ice()
        self._tell(w.ice_message(event))
        if isinstance(event, Selected):
            self._tell_silence()

    def _tell_ice(self) -> None:
        session = self._session
        now = w.IceState(list(session.candidates), session.expects_more, encode_candidates([], session.notes))
        if now != self._ice_told:
            self._ice_told = now
            self._tell(now)

    def _tell_silence(self) -> None:
        seconds = self._session.silence()
        if seconds or self._silence:
            self._silence = seconds
            self._tell(w.IceSilence(seconds))

    def _datagram_in(self, data: bytes) -> bool:
        """From the peer; all of it is the worker's."""
        if not data or len(data) > limits.WORKER_DATAGRAM_MAX or not self._datagrams.send(data):
            self._counters["worker-behind"] += 1
        return True

    def _datagram_out(self, data: bytes) -> None:
        """To the peer, if it is DTLS or RTP: ICE is ours to speak."""
        first = data[0]
        if not (20 <= first <= 63 or 128 <= first <= 191):
            self._counters["worker-datagram"] += 1
            return
        try:
            self._session.send(data)
        except ConnectionError:
            self._counters["worker-no-path"] += 1

    # --- use ---

    async def events(self) -> AsyncIterator[EndpointEvent]:
        """See :class:`MediaEndpoint`."""
        while (event := await self._events.get()) is not None:
            if isinstance(event, ControlMessage):
                self._unread_control -= 1
            yield event
        self._events.put_nowait(None)  # whoever asks again learns of the end, too

    def statistics(self) -> EndpointStats:
        """See :class:`MediaEndpoint`; what the worker told last."""
        told = self._statistics
        recorded = None if told.recorded is None or self._plan.record is None else str(self._plan.record)
        counters = Counter(self._counters)
        for name, count in told.counters.items():
            counters[name] += count
        return replace(told, recorded=recorded, counters=dict(counters))

    # --- the end ---

    def _broken(self, why: str) -> None:
        """Its worker does what it must not: it is ended, and all its endpoints with it."""
        if not self._gone and not self._ended.is_set():
            self._worker.end(why)

    def worker_ended(self, why: str) -> None:
        """See :class:`meshcall.aio.worker.worker.Tenant`."""
        self._gone = why or "the media process has ended"
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(MediaFailed(self._gone))
        self._ended.set()
        if self._closing is None:
            self._emit(Failed("media-failed", self._gone))
        self._start_closing()

    async def close(self) -> EndpointStats:
        """See :class:`MediaEndpoint`."""
        await asyncio.shield(self._start_closing())
        return self.statistics()

    def _start_closing(self) -> asyncio.Task[None]:
        if self._closing is None:
            # A task of its own: whoever waits for it may be cancelled, the closing is not.
            self._closing = self._loop.create_task(self._close(), name="worker-endpoint-close")
        return self._closing

    async def _close(self) -> None:
        if not self._ended.is_set():
            self._number += 1
            self._tell(w.Do(self._number, "close"))
            try:
                async with asyncio.timeout(_CLOSE):
                    await self._ended.wait()
            except TimeoutError:
                self._counters["close-timeout"] += 1
                self._broken("the media process did not close")
        self._over = True
        self._control.close()
        self._datagrams.close()
        await self._session.close()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(Rejected("state"))
        self._worker.leave(self)
        self._events.put_nowait(None)
