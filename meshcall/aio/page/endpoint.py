"""A media endpoint whose peer connection is a browser's.

Law 1: everything that is awaited of the page has a deadline.
Law 2: descriptions and candidates pass the same checks as for our own stack, both ways: the page's become
octets or :class:`MeshcallError`, the peer's become SDP or :class:`Rejected`.
Law 3: the peer can change the running session only after the gate is open, that is, after its confirm was
verified.
Law 4: a path that is gone comes back within ``CONSENT_LOST``, or the call is lost.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Final, Literal

from meshcall import limits
from meshcall.aio.clock import Clock
from meshcall.aio.rtc.remote import (
    read_answer_untrusted,
    read_candidates_untrusted,
    read_later_untrusted,
    read_offer_untrusted,
)
from meshcall.call.negotiation import (
    Negotiate,
    Rounds,
    decode_negotiate_untrusted,
    encode_negotiate,
    is_negotiate,
)
from meshcall.errors import MeshcallError, NoPath, PageGone, PeerGone, Rejected, SourceUnusable
from meshcall.ice.candidate import (
    Candidate,
    CandidatePolicy,
    candidate_line,
    encode_candidates,
    parse_candidate_line,
)
from meshcall.ice.notes import RoundNote
from meshcall.media import endpoint as m
from meshcall.media import page as p
from meshcall.media.path import path_of
from meshcall.media.plan import MediaKind, MediaPlan
from meshcall.signaling.description import Description
from meshcall.signaling.sdp import from_sdp, sources_of, to_sdp
from meshcall.views import LayerKind

_REASONS: Final = {"closed": "closed", "failed": "no-path", "no-path": "no-path", "dtls": "dtls"}


class PageEndpoint:
    """See :class:`meshcall.media.endpoint.MediaEndpoint`."""

    def __init__(
        self,
        name: str,
        plan: MediaPlan,
        *,
        send: Callable[[p.ToPage], None],
        clock: Clock,
        servers: Callable[[], Sequence[p.IceServerView]],
        on_closed: Callable[[], object],
    ) -> None:
        """``name``: what the page knows it by."""
        self._name = name
        self._plan = plan
        self._send = send
        self._clock = clock
        self._servers = servers
        self._on_closed = on_closed
        self._begin = clock.now()
        self._timeline: dict[str, float] = {}
        self._counters: Counter[str] = Counter()
        self._events: asyncio.Queue[m.EndpointEvent | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._described: asyncio.Future[p.Described] = self._loop.create_future()
        self._local: Description | None = None
        self._remote: Description | None = None
        self._sources: dict[str, tuple[int, ...]] = {}
        """What the peer's sections send by, or sent by when they last did."""
        self._early: list[str] = []
        self._found: list[str] = []
        """Candidate lines of ours that are to be told soon."""
        self._unread = 0
        self._open = False
        """The control channel is."""
        self._unsent: list[bytes] = []
        self._gate = False
        self._secured = False
        self._rounds = Rounds()
        self._by_letter: set[int] = set()
        """Rounds of the peer's that came by sealed message, and are to be answered likewise."""
        self._lost: asyncio.TimerHandle | None = None
        """Runs while no path answers."""
        self._path: m.PathKind | Literal[""] = ""
        self._route = ""
        self._totals: p.Totals | None = None
        self._supervisor: asyncio.TimerHandle | None = None
        self._closed = False

    # --- offer and answer -------------------------------------------------------------------------

    async def offer(self) -> bytes:
        """See :class:`MediaEndpoint`."""
        data = await self._describe("")
        self._supervise(self._plan.offer_timeout, "abandoned")
        return data

    async def answer(self, offer: bytes) -> bytes:
        """See :class:`MediaEndpoint`."""
        try:
            self._remote = read_offer_untrusted(offer, self._policy(), self._counters)
            text = to_sdp(self._remote, "offer")
        except BaseException:
            await self.close()
            raise
        answer = await self._describe(text)
        self._add(self._early)
        self._supervise(self._plan.connect_timeout + limits.MEDIA_ANSWER_TRAVEL, "no-path")
        return answer

    async def accept(self, answer: bytes) -> None:
        """See :class:`MediaEndpoint`. A refused answer leaves the offer open for a better one."""
        if self._local is None or self._remote is not None or self._closed:
            raise Rejected("state")
        self._remote = read_answer_untrusted(answer, self._local, self._policy(), self._counters)
        self._send(p.Remote(media=self._name, kind="answer", sdp=to_sdp(self._remote, "answer")))
        self._mark("remote")
        self._add(self._early)
        self._supervise(self._plan.connect_timeout, "no-path")

    async def add_candidates(self, candidates: bytes) -> None:
        """See :class:`MediaEndpoint`."""
        found, _ = read_candidates_untrusted(candidates, self._policy(), self._counters)
        lines = [candidate_line(one) for one in found]
        if self._remote is None:
            self._early = [*self._early, *lines][: limits.ICE_REMOTE_CANDIDATES_MAX]
        else:
            self._add(lines)

    def _add(self, lines: list[str]) -> None:
        if lines and not self._closed:
            self._send(p.RemoteCandidates(media=self._name, lines=lines))

    async def _describe(self, remote: str) -> bytes:
        """Have the page make a peer connection and describe it."""
        if self._closed:
            raise Rejected("state")
        self._send(
            p.Open(
                media=self._name,
                peer=self._plan.peer,
                room=self._plan.room,
                audio=self._plan.audio,
                video=self._plan.video,
                camera=self._plan.camera,
                servers=list(self._servers()),
                remote=remote,
            )
        )
        try:
            async with asyncio.timeout(limits.PAGE_DESCRIBE):
                described = await self._described
            self._local = self._read(described.sdp)
        except TimeoutError:
            await self.close()
            raise PageGone("the page did not answer in time") from None
        except BaseException:
            await self.close()
            raise
        self._mark("described")
        return self._local.encode()

    def _read(self, sdp: str) -> Description:
        """The page's own SDP; raises :class:`NoPath` or :class:`MeshcallError`."""
        try:
            return from_sdp(sdp, end_of_candidates=False)
        except (ValueError, IndexError, Rejected) as error:
            raise MeshcallError(f"the browser's description can't be used: {error}") from error

    def _policy(self) -> CandidatePolicy:
        return CandidatePolicy(
            allow_loopback=self._plan.allow_loopback,
            allow_lan=self._plan.allow_lan,
            allow_mdns=self._plan.allow_lan,  # the browser resolves what other browsers hide
        )

    # --- what the page says -----------------------------------------------------------------------

    def receive(self, message: p.PageMessage) -> None:
        """A message of the page about this endpoint."""
        if self._closed:
            return
        match message:
            case p.Described():
                self._page_described(message)
            case p.LocalCandidate(line=line):
                self._page_candidate(line)
            case p.PathFound(local=local, remote=remote):
                ends = (
                    m.SelectedCandidate(local.kind, local.address, local.port),
                    m.SelectedCandidate(remote.kind, remote.address, remote.port),
                )
                self._path = path_of(*ends)
                self._route = f"{local.kind} {local.address} -> {remote.kind} {remote.address}"
                self._mark("ice")
                self._whole()
                self._events.put_nowait(m.IceConnected(*ends, self._path))
            case p.PathGone():
                if self._lost is None:
                    self._lost = self._loop.call_later(limits.CONSENT_LOST, self._path_lost)
                self._events.put_nowait(m.PathBroken())
            case p.Secure(local=ours, remote=theirs):
                self._page_secured(ours, theirs)
            case p.ControlOpened():
                self._page_control_open()
            case p.ControlReceived(data=data):
                self._page_control(data)
            case p.Played(kind=kind):
                self._mark(f"first-{kind}")
                self._events.put_nowait(m.FirstMedia(kind))
            case p.Totals():
                self._totals = message
            case p.Ended(reason=reason, detail=detail):
                self._page_ended(reason, detail)

    def _page_described(self, message: p.Described) -> None:
        if not self._described.done():
            self._described.set_result(message)
        elif self._gate:
            try:
                self._tell_change(message)
            except (MeshcallError, ValueError):
                self._counters["page-description"] += 1
        else:
            self._counters["page-early"] += 1

    def _tell_change(self, message: p.Described) -> None:
        """Tell the peer what the page says of a change."""
        notes = (RoundNote(message.round),) if message.round else ()
        description = replace(self._read(message.sdp), notes=notes)
        change = encode_negotiate(Negotiate(message.kind, description.encode()))
        if message.kind == "offer":  # one without an answer: the path may carry nothing one way
            by_letter = self._rounds.ask(message.round)
        else:
            by_letter = message.round in self._by_letter
        self.send_control(change)
        if by_letter or self._lost is not None:
            self._events.put_nowait(m.Change(change))

    def _page_candidate(self, line: str) -> None:
        if not line or self._local is None:
            return
        if not self._found:
            self._loop.call_later(limits.ICE_TRICKLE_PAUSE, self._trickle)
        if len(self._found) < limits.CANDIDATES_MAX:
            self._found.append(line)

    def _trickle(self) -> None:
        """Tell what was found since the description, together."""
        lines, self._found = self._found, []
        candidates: list[Candidate] = []
        for line in lines:
            try:
                candidate = parse_candidate_line(line)
            except ValueError:
                self._counters["page-candidate"] += 1
                continue
            if candidate.tcptype != "active":
                candidates.append(candidate)
        if candidates and not self._closed:
            self._events.put_nowait(m.LocalCandidates(encode_candidates(candidates)))

    def _page_secured(self, ours: bytes, theirs: bytes) -> None:
        if self._secured or self._local is None or self._remote is None:
            return
        if ours != self._local.fingerprint or theirs != self._remote.fingerprint:
            self._fail("fingerprint", "")
            return
        self._secured = True
        self._mark("dtls")
        self._events.put_nowait(m.Secured(ours, theirs))

    def _page_control_open(self) -> None:
        if self._open:
            return
        self._open = True
        self._mark("control")
        if self._supervisor is not None:
            self._supervisor.cancel()
        for data in self._unsent:
            self._send(p.SendControl(media=self._name, data=data))
        self._unsent.clear()
        self._events.put_nowait(m.ControlOpen())

    def _page_control(self, data: bytes) -> None:
        if is_negotiate(data):
            self._negotiate(data, by_letter=False)
        elif self._unread >= limits.CONTROL_QUEUE_MAX:
            self._counters["control-flood"] += 1
        else:
            self._unread += 1
            self._events.put_nowait(m.ControlMessage(data))

    def _negotiate(self, data: bytes, *, by_letter: bool) -> None:
        """The peer changes the running session: a screen more, other ICE credentials."""
        if not self._gate or self._remote is None or self._closed:
            self._counters["negotiate-early"] += 1
            return
        try:
            wanted = decode_negotiate_untrusted(data)
            remote = read_later_untrusted(wanted.body, self._remote, self._policy(), self._counters)
            sources = sources_of(remote, self._sources or sources_of(self._remote, {}))
            text = to_sdp(remote, wanted.kind, silent=sources)
            number = self._rounds.take_untrusted(wanted.kind, remote.notes)
        except Rejected as error:
            self._counters[f"negotiate-{error.reason}"] += 1
            return
        self._sources = sources
        if by_letter:
            self._by_letter = {number}
        self._send(p.Remote(media=self._name, kind=wanted.kind, sdp=text, round=number))

    def _whole(self) -> None:
        """A path answers."""
        if self._lost is not None:
            self._lost.cancel()
            self._lost = None

    def _path_lost(self) -> None:
        self._events.put_nowait(m.TransportLost("no-response"))

    def _page_ended(self, reason: str, detail: str) -> None:
        if reason in ("no-device", "unsupported"):
            error = SourceUnusable(detail or "the browser has no camera or microphone that it may use")
            if not self._described.done():
                self._described.set_exception(error)
            else:
                self._fail("internal", str(error))
        elif not self._described.done():
            self._described.set_exception(NoPath(detail or "the browser made no connection"))
        elif self._open:
            self._events.put_nowait(m.TransportLost("closed" if reason == "closed" else "no-response"))
        else:
            self._fail(_REASONS[reason], detail)

    def page_gone(self) -> None:
        """The tab was closed, or the browser died."""
        if self._closed:
            return
        self._counters["page-gone"] += 1
        if not self._described.done():
            self._described.set_exception(PageGone())
            self._described.exception()  # whoever waits is told; perhaps nobody does
        self._events.put_nowait(m.Failed("page-gone", PageGone.sentence()))

    def _fail(self, reason: str, detail: str) -> None:
        if not self._closed:
            self._events.put_nowait(m.Failed(reason, detail))
            self._end()

    def _supervise(self, timeout: float, reason: str) -> None:
        """Fail with ``reason`` unless the control channel is open within ``timeout`` seconds."""
        if self._supervisor is not None:
            self._supervisor.cancel()
        self._supervisor = None if self._open else self._loop.call_later(timeout, self._fail, reason, "")

    def _mark(self, step: str) -> None:
        self._timeline.setdefault(step, round((self._clock.now() - self._begin) * 1000, 1))

    # --- use --------------------------------------------------------------------------------------

    def change(self, data: bytes) -> None:
        """See :class:`MediaEndpoint`."""
        if is_negotiate(data):
            self._negotiate(data, by_letter=True)
        else:
            self._counters["negotiate-unknown"] += 1

    async def open_gate(self) -> None:
        """See :class:`MediaEndpoint`."""
        if not self._gate and not self._closed:
            self._gate = True
            self._mark("gate")
            self._send(p.Gate(media=self._name))

    def set_muted(self, kind: MediaKind, *, muted: bool) -> None:
        """See :class:`MediaEndpoint`: the page that wants it has done so."""

    def share(self, source: str) -> None:
        """See :class:`MediaEndpoint`."""

    def set_layer(self, kind: LayerKind, height: int, fps: int) -> None:
        """See :class:`MediaEndpoint`."""
        if not self._closed:
            self._send(p.SetLayer(media=self._name, kind=kind, height=height, fps=fps))

    def send_control(self, data: bytes) -> None:
        """See :class:`MediaEndpoint`."""
        if len(data) > limits.CONTROL_MESSAGE_MAX:
            raise ValueError(f"a control message has {limits.CONTROL_MESSAGE_MAX} octets at most")
        if self._closed:
            self._counters["control-unsent"] += 1
        elif self._open:
            self._send(p.SendControl(media=self._name, data=data))
        elif len(self._unsent) < limits.CONTROL_QUEUE_MAX:
            self._unsent.append(data)
        else:
            raise PeerGone("the peer stopped reading")

    async def events(self) -> AsyncIterator[m.EndpointEvent]:
        """See :class:`MediaEndpoint`."""
        while (event := await self._events.get()) is not None:
            if isinstance(event, m.ControlMessage):
                self._unread -= 1
            yield event
        self._events.put_nowait(None)  # whoever asks again learns of the end, too

    def statistics(self) -> m.EndpointStats:
        """See :class:`MediaEndpoint`."""
        totals = self._totals
        return m.EndpointStats(
            audio=_kind_stats(None if totals is None else totals.audio),
            video=_kind_stats(None if totals is None else totals.video),
            screen=_kind_stats(None if totals is None else totals.screen),
            audio_seconds_received=0.0 if totals is None else round(totals.audio_seconds, 2),
            path=self._path,
            rtt_ms=None if totals is None else totals.rtt_ms,
            route=self._route,
            timeline=dict(self._timeline),
            counters={reason: count for reason, count in self._counters.items() if count},
        )

    async def close(self) -> m.EndpointStats:
        """See :class:`MediaEndpoint`."""
        self._end()
        return self.statistics()

    def _end(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._whole()
        if self._supervisor is not None:
            self._supervisor.cancel()
        self._send(p.Close(media=self._name))
        self._on_closed()
        if not self._described.done():
            self._described.cancel()
        self._events.put_nowait(None)


def _kind_stats(totals: p.KindTotals | None) -> m.KindStats:
    if totals is None:
        return m.KindStats()
    return m.KindStats(
        frames_sent=totals.frames_sent,
        frames_received=totals.frames_received,
        packets_lost=totals.packets_lost,
        codec=totals.codec,
        height=totals.height,
    )
