"""The media endpoint on aiortc: one peer connection for one call.

Law 1: everything that is awaited has a deadline of ours; aiortc has none that serve.
Law 2: whatever happens, ``close`` leaves no socket, task or thread behind, and it runs by itself when an
offer fails, is abandoned, or no path is found.
Law 3: what a peer sent raises :class:`Rejected`, or becomes an event or a counter.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Literal, TypeVar

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)

from meshcall import limits
from meshcall.aio.clock import Clock, SystemClock
from meshcall.aio.ice.addresses import only_loopback
from meshcall.aio.ice.call_ice import CallIce, MakeIce, ice_on
from meshcall.aio.ice.port import IcePort
from meshcall.aio.ice.trickle import Trickle
from meshcall.aio.media.encoded import Outlet
from meshcall.aio.media.recorder import Recorder
from meshcall.aio.rtc import hooks, remains
from meshcall.aio.rtc.changes import Changes
from meshcall.aio.rtc.connection import Connection
from meshcall.aio.rtc.control import ControlChannel
from meshcall.aio.rtc.link import Link
from meshcall.aio.rtc.names import Names, Resolve
from meshcall.aio.rtc.quality import QualityWatch
from meshcall.aio.rtc.reception import Reception, What
from meshcall.aio.rtc.remote import (
    read_answer_untrusted,
    read_candidates_untrusted,
    read_later_untrusted,
    read_offer_untrusted,
)
from meshcall.aio.rtc.sending import Sending
from meshcall.call.negotiation import Rounds, is_negotiate, offer_screen
from meshcall.errors import MeshcallError, NoPath, Rejected
from meshcall.ice.allowance import Allowance
from meshcall.ice.candidate import Candidate, CandidatePolicy
from meshcall.ice.check import Credentials
from meshcall.ice.events import Broken, Gathered, IceEvent, Measured, Noted, Selected
from meshcall.ice.notes import Note, RoundNote
from meshcall.media.endpoint import (
    Change,
    ControlMessage,
    ControlOpen,
    EndpointEvent,
    EndpointStats,
    Failed,
    FirstMedia,
    IceConnected,
    KindStats,
    LocalCandidates,
    MediaEndpoint,
    PathQuality,
    RecordFailed,
    Secured,
    ShareFailed,
    SourceEnded,
    Speaking,
)
from meshcall.media.plan import MediaKind, MediaPlan
from meshcall.media_paths import check_record, screen_record
from meshcall.signaling.description import Description, check_answer_untrusted
from meshcall.signaling.sdp import from_sdp, to_sdp
from meshcall.views import LayerKind

_T = TypeVar("_T")

_KINDS: tuple[MediaKind, ...] = ("audio", "video")
_FLUSH_TIMEOUT = 0.3
"""Seconds that a last control message gets to be acknowledged."""


def make_endpoint(
    plan: MediaPlan,
    clock: Clock | None = None,
    *,
    port: IcePort | None = None,
    resolve: Resolve | None = None,
    make_ice: MakeIce | None = None,
) -> MediaEndpoint:
    """An endpoint for one call. Nothing is opened before ``offer`` or ``answer``.

    ``port``: the node's; without it the endpoint opens one of its own. ``resolve``: tells the addresses of a
    browser's ``.local`` name; without it such candidates are refused. ``make_ice``: in the place of an ICE
    session on ``port``.
    """
    return RtcEndpoint(plan, clock or SystemClock(), port, resolve, make_ice)


class RtcEndpoint:
    """See :class:`meshcall.media.endpoint.MediaEndpoint`."""

    def __init__(
        self,
        plan: MediaPlan,
        clock: Clock,
        port: IcePort | None = None,
        resolve: Resolve | None = None,
        make_ice: MakeIce | None = None,
    ) -> None:
        """``clock`` times the timeline."""
        hooks.install()
        self._plan = plan
        self._node = port
        """Whose endpoint it is: only those of one node share a studio."""
        self._ice_maker = make_ice or ice_on(port)
        self._ice: CallIce | None = None
        self._clock = clock
        self._begin = clock.now()
        self._timeline: dict[str, float] = {}
        self._counters: Counter[str] = Counter()
        self._events: asyncio.Queue[EndpointEvent | None] = asyncio.Queue()
        self._unread_control = 0
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[Failed | None] = self._loop.create_future()
        """Why it failed; None: it did not."""
        self._pc: RTCPeerConnection | None = None
        self._control: ControlChannel | None = None
        self._unsent: list[bytes] = []
        self._link: Link | None = None
        self._quality: QualityWatch | None = None
        self._reception = Reception(self._counters, self._first_media)
        self._sending = Sending(
            self._counters,
            lambda kind: self._emit(SourceEnded(kind)),
            lambda speaking: self._emit(Speaking(speaking)),
            self._narrowed,
        )
        self._changes = Changes(
            self._answer_change,
            self._send_change,
            self._counters,
            offer=self._offer_change,
            accept=self._accept_change,
        )
        self._offered: Description | None = None
        """Our offer in the running session that waits for its answer."""
        self._share = ""
        """What is to be shared."""
        self._sharing: asyncio.Task[None] | None = None
        self._rounds = Rounds()
        self._broken = False
        """No path answers."""
        self._local: Description | None = None
        self._remote: Description | None = None
        """What the peer described itself with at the start."""
        self._current: Description | None = None
        """What it described itself with last, in the running session."""
        self._early: list[Candidate] = []
        self._early_notes: list[Note] = []
        self._trickle = Trickle(self._tell_candidates, self._current_candidates)
        self._allowance = Allowance()
        """Which of the peer's candidates we check."""
        self._names = (
            None
            if resolve is None
            else Names(resolve, policy=self._policy, counters=self._counters, on_found=self._add)
        )
        self._gate = False
        self._supervisor: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._final: EndpointStats | None = None

    async def __aenter__(self) -> RtcEndpoint:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- offer and answer ---

    async def offer(self) -> bytes:
        """See :class:`MediaEndpoint`."""
        return await self._or_close(self._offer())

    async def answer(self, offer: bytes) -> bytes:
        """See :class:`MediaEndpoint`."""
        return await self._or_close(self._answer(offer))

    async def accept(self, answer: bytes) -> None:
        """See :class:`MediaEndpoint`. A refused answer leaves the offer open for a better one."""
        if self._local is None or self._remote is not None or self._closing is not None:
            raise Rejected("state")
        remote = read_answer_untrusted(answer, self._local, self._policy(), self._counters)
        self._remote = remote
        if self._link is not None:
            self._link.expect(remote.fingerprint)
        await self._or_close(self._set_remote(remote, "answer"))
        self._supervise(self._plan.connect_timeout, "no-path")

    async def add_candidates(self, candidates: bytes) -> None:
        """See :class:`MediaEndpoint`."""
        found, notes = read_candidates_untrusted(candidates, self._policy(), self._counters)
        if self._remote is None:
            self._early = [*self._early, *found][: limits.ICE_REMOTE_CANDIDATES_MAX]
            self._early_notes = [*self._early_notes, *notes][: limits.NOTES_PER_CALL_MAX]
        else:
            self._add(found, notes)

    async def _offer(self) -> bytes:
        pc = await self._open()
        tracks = self._tracks()
        with hooks.ice_by(self._make_ice):
            for kind in self._kinds():
                track = tracks.get(kind)
                if track is not None:
                    pc.addTransceiver(track, "sendrecv")
                else:
                    pc.addTransceiver(kind, "recvonly")
            self._wire(pc)
        data = await self._describe(pc)
        self._supervise(self._plan.offer_timeout, "abandoned")
        return data

    async def _answer(self, data: bytes) -> bytes:
        if self._pc is not None:
            raise Rejected("state")
        remote = read_offer_untrusted(data, self._policy(), self._counters)
        pc = await self._open()
        self._remote = remote
        self._changes.polite = True
        with hooks.ice_by(self._make_ice):
            await self._set_remote(remote, "offer")
            tracks = self._tracks()
            for transceiver in pc.getTransceivers():
                kind = _kind(transceiver)
                if kind not in self._kinds():
                    transceiver.direction = "inactive"
                elif kind in tracks:
                    pc.addTrack(tracks[kind])
            self._wire(pc)
        answer = await self._describe(pc)
        self._add(self._early, [*remote.notes, *self._early_notes])
        self._supervise(self._plan.connect_timeout + limits.MEDIA_ANSWER_TRAVEL, "no-path")
        return answer

    async def _open(self) -> RTCPeerConnection:
        """Open what can fail for reasons of this machine, then the peer connection."""
        if self._pc is not None or self._closing is not None:
            raise RuntimeError("an endpoint makes one offer or one answer")
        if self._plan.record is not None:
            check_record(self._plan.record)
        await self._sending.open(self._plan, self._node)
        if self._closing is not None:
            await self._sending.close()  # closed meanwhile: nothing may be opened any more
            raise Rejected("state")
        self._mark("source")
        configuration = RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        pc = self._pc = RTCPeerConnection(configuration)
        remains.of_process.begin()
        return pc

    def _make_ice(self) -> Connection:
        self._ice = self._ice_maker(self._plan, self._counters, self._ice_event)
        return Connection(self._ice)

    def _ice_event(self, event: IceEvent) -> None:
        if self._local is not None and self._closing is None:
            match event:
                case Gathered(candidate):
                    self._trickle.found(candidate)
                case Noted(note):
                    self._trickle.noted(note)
                case Broken():
                    self._broken = True
                    self._trickle.broken()
                    self._changes.repeat()
                case Selected():
                    self._broken = False
                    self._trickle.whole()
                case _:
                    pass
        if isinstance(event, Measured):
            self._reception.measured(event.rtt)
            self._sending.measured(event.rtt)
            if self._quality is not None:
                self._quality.measured(event.rtt)
        if self._link is not None:
            self._link.ice_event(event)

    def _tell_candidates(self, candidates: bytes) -> None:
        self._emit(LocalCandidates(candidates))

    def _current_candidates(self) -> list[Candidate]:
        return [] if self._ice is None else self._ice.candidates

    def _tracks(self) -> dict[MediaKind, Outlet]:
        return {kind: track for kind, track in self._sending.tracks().items() if kind in self._kinds()}

    def _kinds(self) -> tuple[MediaKind, ...]:
        wanted = {"audio": self._plan.audio, "video": self._plan.video}
        return tuple(kind for kind in _KINDS if wanted[kind])

    def _wire(self, pc: RTCPeerConnection) -> None:
        """Make the control channel, which must come after the tracks, and put our hooks in."""
        self._control = ControlChannel(
            pc, self._counters, self._control_open, self._control_message, self._control_closed
        )
        for transceiver in pc.getTransceivers():
            self._reception.prepare(transceiver.receiver, _kind(transceiver))
        self._link = Link(pc, self._counters, self._emit, self._fail)
        assert self._ice is not None, "the transport was made with the tracks"
        self._quality = QualityWatch(
            pc, self._ice, lambda trouble: self._emit(PathQuality(trouble)), lambda: self._sending.overloaded
        )
        if self._remote is not None:
            self._link.expect(self._remote.fingerprint)
        for data in self._unsent:
            self._control.send(data)

    async def _describe(self, pc: RTCPeerConnection) -> bytes:
        """Make the local description, candidates included, and encode it."""
        try:
            async with asyncio.timeout(self._plan.gather_timeout):
                await pc.setLocalDescription()
        except TimeoutError as error:
            raise NoPath("this machine's network addresses can't be used") from error
        if self._closing is not None:
            await self._close_ice()  # closed meanwhile: what was opened after that is closed now
            raise Rejected("state")
        assert self._ice is not None, "the transport was made with the tracks"
        local = from_sdp(pc.localDescription.sdp, end_of_candidates=not self._ice.expects_more)
        self._local = replace(local, notes=self._ice.notes)
        for late in [one for one in self._ice.candidates if one not in self._local.candidates]:
            self._ice_event(Gathered(late))
        for transceiver in pc.getTransceivers():
            self._sending.prepare(transceiver)
        self._mark("described")
        if not self._local.candidates:
            raise NoPath("this machine has no usable network address")
        return self._local.encode()

    async def _set_remote(self, remote: Description, kind: Literal["offer", "answer"]) -> None:
        assert self._pc is not None, "_open() has made it"
        numeric = tuple(one for one in remote.candidates if not one.is_mdns)
        text = to_sdp(replace(remote, candidates=numeric), kind)
        # Before the first await: later candidates may come meanwhile
        self._allowance.take(remote.candidates)
        try:
            async with asyncio.timeout(self._plan.gather_timeout):
                await self._pc.setRemoteDescription(RTCSessionDescription(text, kind))
        except MeshcallError:
            raise
        except Exception as error:
            raise Rejected("description") from error
        for candidate in remote.candidates:
            if candidate.is_mdns and self._names is not None:
                self._names.look_up(candidate)
        if kind == "answer":
            self._add(self._early, [*remote.notes, *self._early_notes])
        self._mark("remote")

    def _add(self, candidates: list[Candidate], notes: Iterable[Note] = ()) -> None:
        if self._ice is None or self._remote is None or self._closing is not None:
            return
        self._ice.add_notes(notes)
        if self._link is not None and self._link.path:
            self._allowance.renew(self._clock.now())
        for candidate in candidates:
            refusal = self._allowance.refusal(candidate)
            if refusal:
                self._counters[refusal] += 1
            else:
                self._allowance.take([candidate])
                if not candidate.is_mdns:
                    self._ice.add_remote([candidate])
                elif self._names is not None:
                    self._names.look_up(candidate)

    async def _answer_change(self, offer: bytes) -> bytes:
        """Our answer to the peer's offer in the running session: a screen, or none any more; ICE anew."""
        pc, first = self._pc, self._remote
        assert pc is not None, "the gate is open"
        assert first is not None, "the gate is open"
        later = read_later_untrusted(offer, first, self._policy(), self._counters)
        if later.setup != "actpass":
            raise Rejected("setup")
        number = self._rounds.take_untrusted("offer", later.notes)
        await self._renew_receivers(later)
        try:
            text = to_sdp(replace(later, candidates=()), "offer")
            async with asyncio.timeout(self._plan.gather_timeout):
                await pc.setRemoteDescription(RTCSessionDescription(text, "offer"))
        except MeshcallError:
            raise
        except Exception as error:
            raise Rejected("description") from error
        before, self._current = self._current or first, later
        if (later.ufrag, later.pwd) != (before.ufrag, before.pwd) and self._ice is not None:
            self._ice.restart(Credentials(later.ufrag, later.pwd))
        transceiver = self._screen_section()
        if transceiver is not None:
            self._direct(transceiver)
        self._add(list(later.candidates), later.notes)
        async with asyncio.timeout(self._plan.gather_timeout):
            await pc.setLocalDescription()
        self._sending.negotiated()
        answer = from_sdp(pc.localDescription.sdp, end_of_candidates=False)
        return replace(answer, notes=(RoundNote(number),) if number else ()).encode()

    def _screen_section(self) -> RTCRtpTransceiver | None:
        """What carries a screen, either way."""
        assert self._pc is not None, "the gate is open"
        return next((one for one in self._pc.getTransceivers() if self._what(one) == "screen"), None)

    def _direct(self, transceiver: RTCRtpTransceiver) -> None:
        """What goes on in the section of the screen, as far as we decide."""
        if self._sending.screen.on:
            self._sending.prepare_screen(transceiver)
        receives = "sendrecv" if self._sending.screen.on else "recvonly"
        transceiver.direction = receives if self._plan.video else "inactive"
        self._reception.prepare(transceiver.receiver, "screen")

    def _offer_change(self, number: int) -> bytes:
        """Our offer in the running session: a screen, or none any more; empty: it is so already."""
        pc, first, shares = self._pc, self._remote, self._sending.screen.on
        assert pc is not None, "the gate is open"
        assert first is not None, "the gate is open"
        transceiver = self._screen_section()
        sends = transceiver is not None and transceiver.currentDirection in ("sendrecv", "sendonly")
        if not self._plan.video or sends == shares:
            return b""
        if transceiver is None:
            transceiver = pc.addTransceiver(self._sending.screen.outlet, "sendrecv")
        self._direct(transceiver)
        current = from_sdp(pc.localDescription.sdp, end_of_candidates=False)
        ssrcs = self._sending.screen.ssrcs
        offered = offer_screen(current, len(first.sections), ssrcs, sends=shares)
        if offered is None:
            return b""
        self._offered = offered
        self._rounds.ask(number)
        return replace(offered, notes=(RoundNote(number),)).encode()

    async def _accept_change(self, answer: bytes) -> None:
        """The peer's answer to it: only now is it what holds here, too."""
        pc, first, offered = self._pc, self._remote, self._offered
        assert pc is not None, "the gate is open"
        assert first is not None, "the gate is open"
        assert offered is not None, "it was offered"
        later = read_later_untrusted(answer, first, self._policy(), self._counters)
        self._rounds.take_untrusted("answer", later.notes)
        check_answer_untrusted(offered, later)
        await self._renew_receivers(later)
        transceiver = self._screen_section()
        assert transceiver is not None, "it was offered"
        if transceiver.mid is None:
            hooks.place(transceiver, len(first.sections))
        texts = (
            to_sdp(replace(offered, candidates=()), "offer"),
            to_sdp(replace(later, candidates=()), "answer"),
        )
        try:
            async with asyncio.timeout(self._plan.gather_timeout):
                await pc.setLocalDescription(RTCSessionDescription(texts[0], "offer"))
                await asyncio.sleep(0)  # or what aiortc begins then would see half of the answer
                await pc.setRemoteDescription(RTCSessionDescription(texts[1], "answer"))
        except Exception as error:
            raise Rejected("description") from error
        self._current = later
        self._add(list(later.candidates), later.notes)
        self._sending.negotiated()

    async def _follow_share(self) -> None:
        """Share what is wanted, whatever that becomes meanwhile."""
        done: str | None = None
        while done != self._share:
            done = self._share
            try:
                await self._sending.share(self._plan, done)
            except MeshcallError as error:
                if self._share == done:
                    self._share = done = ""
                self._emit(ShareFailed(str(error)))
            self._changes.want()

    def _send_change(self, data: bytes, by_letter: bool) -> None:
        self.send_control(data)
        if by_letter or self._broken:
            self._emit(Change(data))

    def change(self, data: bytes) -> None:
        """See :class:`MediaEndpoint`."""
        if is_negotiate(data):
            self._changes.take(data, by_letter=True)
        else:
            self._counters["negotiate-unknown"] += 1

    async def _renew_receivers(self, later: Description) -> None:
        """Begin anew where the peer's stream ends, or becomes another one."""
        assert self._pc is not None, "the gate is open"
        assert self._remote is not None, "the gate is open"
        transceivers = {transceiver.mid: transceiver for transceiver in self._pc.getTransceivers()}
        for old, new in zip((self._current or self._remote).sections, later.sections, strict=False):
            another = bool(old.ssrcs) and new.ssrcs[:1] != old.ssrcs[:1]
            if new.mid in transceivers and old.sends and (another or not new.sends):
                await self._reception.renew(transceivers[new.mid])

    def _what(self, transceiver: RTCRtpTransceiver) -> What:
        """What a transceiver carries: what came later than the call's first sections is a screen."""
        assert self._remote is not None, "the peer has described itself"
        if transceiver.mid not in [section.mid for section in self._remote.sections]:
            return "screen"
        return _kind(transceiver)

    def _policy(self) -> CandidatePolicy:
        # Without a network of its own, a machine can still call itself.
        alone = self._local is not None and only_loopback([c.address for c in self._local.candidates])
        return CandidatePolicy(
            allow_loopback=self._plan.allow_loopback or alone,
            allow_lan=self._plan.allow_lan,
            allow_mdns=self._plan.allow_lan and self._names is not None,
        )

    async def _or_close(self, work: Awaitable[_T]) -> _T:
        """Await ``work``; whatever goes wrong, cancellation included, close."""
        try:
            return await work
        except BaseException:
            await self.close()
            raise

    # --- progress ---

    def _supervise(self, timeout: float, reason: str) -> None:
        """Fail with ``reason`` unless the control channel is open within ``timeout`` seconds."""
        if self._supervisor is not None:
            self._supervisor.cancel()
        self._supervisor = asyncio.create_task(self._watch(timeout, reason), name="endpoint-deadline")

    async def _watch(self, timeout: float, reason: str) -> None:
        try:
            async with asyncio.timeout(timeout):
                failed = await asyncio.shield(self._outcome)
        except TimeoutError:
            if self._link is not None and self._link.path:
                reason = "no-control" if self._link.secured else "dtls"
            failed = Failed(reason)
        if failed is not None and self._closing is None:
            self._emit(failed)
            self._start_closing()

    def _fail(self, reason: str, detail: str = "", cause: str = "") -> None:
        if not self._outcome.done():
            self._outcome.set_result(Failed(reason, detail, cause))

    def _control_open(self) -> None:
        self._emit(ControlOpen())
        if not self._outcome.done():
            self._outcome.set_result(None)

    def _control_closed(self) -> None:
        if self._link is not None:
            self._link.control_closed()

    def _control_message(self, data: bytes) -> None:
        if is_negotiate(data):
            self._changes.take(data)
            return
        if self._unread_control >= limits.CONTROL_QUEUE_MAX:
            self._counters["control-flood"] += 1
            return
        self._unread_control += 1
        self._emit(ControlMessage(data))

    def _first_media(self, kind: MediaKind) -> None:
        self._emit(FirstMedia(kind))

    def _narrowed(self) -> None:
        if self._quality is not None:
            self._quality.narrowed()

    def _record_failed(self, message: str) -> None:
        self._emit(RecordFailed(message))

    def _emit(self, event: EndpointEvent) -> None:
        match event:
            case IceConnected():
                self._mark("ice")
            case Secured():
                self._mark("dtls")
            case ControlOpen():
                self._mark("control")
                if self._quality is not None:
                    self._quality.start()
            case FirstMedia(kind):
                self._mark(f"first-{kind}")
        if self._final is None:
            self._events.put_nowait(event)

    def _mark(self, step: str) -> None:
        self._timeline.setdefault(step, round((self._clock.now() - self._begin) * 1000, 1))

    # --- use ---

    async def open_gate(self) -> None:
        """See :class:`MediaEndpoint`."""
        if self._gate or self._closing is not None or self._pc is None:
            return
        self._gate = True
        self._mark("gate")
        self._sending.open_gate()
        recorder, record_screen = None, None
        if self._plan.record is not None:
            recorder = Recorder(self._plan.record, self._arriving(), self._record_failed)
            record_screen = partial(
                Recorder,
                screen_record(self._plan.record),
                frozenset[MediaKind](("video",)),
                self._record_failed,
                start=recorder.start,
            )
        mixer = self._sending.record_room(self._plan)
        join_mix = None if mixer is None else partial(mixer.part, self._record_failed)
        self._reception.open_gate(recorder, record_screen, join_mix)
        self._changes.open_gate()
        if self._share:
            self._begin_sharing()

    def _arriving(self) -> frozenset[MediaKind]:
        """What the peer sends, by the descriptions."""
        assert self._pc is not None, "open_gate() has checked"
        return frozenset(
            _kind(transceiver)
            for transceiver in self._pc.getTransceivers()
            if transceiver.currentDirection in ("sendrecv", "recvonly")
        )

    def set_muted(self, kind: MediaKind, *, muted: bool) -> None:
        """See :class:`MediaEndpoint`."""
        self._sending.set_muted(kind, muted=muted)

    def share(self, source: str) -> None:
        """See :class:`MediaEndpoint`."""
        self._share = source
        self._begin_sharing()

    def _begin_sharing(self) -> None:
        if self._gate and self._closing is None and (self._sharing is None or self._sharing.done()):
            self._sharing = asyncio.create_task(self._follow_share(), name="endpoint-share")

    def set_layer(self, kind: LayerKind, height: int, fps: int) -> None:
        """See :class:`MediaEndpoint`."""
        if kind == "camera":
            self._sending.set_layer(height, fps)
        else:
            self._sending.screen.set_layer(height, fps)

    def send_control(self, data: bytes) -> None:
        """See :class:`MediaEndpoint`."""
        if self._closing is not None:
            self._counters["control-unsent"] += 1
        elif self._control is not None:
            self._control.send(data)
        elif len(data) > limits.CONTROL_MESSAGE_MAX:
            raise ValueError(f"a control message has {limits.CONTROL_MESSAGE_MAX} octets at most")
        elif len(self._unsent) < limits.CONTROL_QUEUE_MAX:
            self._unsent.append(data)

    async def events(self) -> AsyncIterator[EndpointEvent]:
        """See :class:`MediaEndpoint`."""
        while (event := await self._events.get()) is not None:
            if isinstance(event, ControlMessage):
                self._unread_control -= 1
            yield event
        self._events.put_nowait(None)  # whoever asks again learns of the end, too

    def statistics(self) -> EndpointStats:
        """See :class:`MediaEndpoint`."""
        return self._final or self._snapshot()

    def _snapshot(self) -> EndpointStats:
        link, recorder, offset = self._link, self._reception.recorder, self._reception.offset
        rtt = None if link is None or link.rtt is None else round(link.rtt * 1000, 2)
        counters = {reason: count for reason, count in self._counters.items() if count}
        counters |= self._sending.counters()
        if recorder is not None:
            counters |= {f"{kind}-not-recorded": count for kind, count in recorder.dropped.items()}
        kinds = {kind: self._kind_stats(kind) for kind in _KINDS}
        return EndpointStats(
            audio=kinds["audio"],
            video=kinds["video"],
            screen=self._screen_stats(),
            audio_seconds_received=round(self._reception.audio_seconds, 2),
            sync_ms=None if offset is None else round(offset * 1000),
            path="" if link is None else link.path,
            route="" if link is None else link.route,
            rtt_ms=rtt,
            timeline=dict(self._timeline),
            counters=counters,
            recorded=None if recorder is None else recorder.path,
        )

    def _kind_stats(self, kind: MediaKind) -> KindStats:
        stats = KindStats(
            frames_sent=self._sending.frames_sent(kind), frames_received=self._reception.frames(kind)
        )
        if self._reception.recorder is not None:
            stats = replace(stats, frames_recorded=self._reception.recorder.frames[kind])
        if kind == "audio":
            sound = self._reception.sound
            stats = replace(
                stats,
                frames_recovered=sound.repaired,
                concealed_ms=round(sound.concealed * 1000),
                lag_ms=round(self._reception.sound_lag * 1000),
            )
        else:
            stats = replace(self._repairs(stats, kind), layer=self._sending.layer())
        return replace(stats, packets_lost=self._reception.lost(kind), codec=self._codec(kind))

    def _repairs(self, stats: KindStats, what: What) -> KindStats:
        freezes = self._reception.freezes(what)
        return replace(
            stats,
            height=self._reception.heights.get(what, 0),
            packets_repaired=self._reception.repaired(what),
            freezes=freezes.count,
            frozen_ms=round(freezes.seconds * 1000),
            longest_freeze_ms=round(freezes.longest * 1000),
        )

    def _screen_stats(self) -> KindStats:
        recorder = self._reception.screen_recorder
        stats = KindStats(
            frames_sent=self._sending.screen.outlet.frames,
            frames_received=self._reception.frames("screen"),
            frames_recorded=0 if recorder is None else recorder.frames["video"],
            packets_lost=self._reception.lost("screen"),
            codec=self._codec("screen"),
            layer=self._sending.screen_layer(),
        )
        return self._repairs(stats, "screen")

    def _codec(self, what: What) -> str:
        if self._pc is None or self._remote is None:
            return ""
        codecs = [hooks.codec_name(one) for one in self._pc.getTransceivers() if self._what(one) == what]
        return codecs[0] if codecs else ""

    # --- the end ---

    async def close(self) -> EndpointStats:
        """See :class:`MediaEndpoint`."""
        await asyncio.shield(self._start_closing())
        return self.statistics()

    def _start_closing(self) -> asyncio.Task[None]:
        if self._closing is None:
            # A task of its own: whoever waits for it may be cancelled, the closing is not.
            self._closing = asyncio.create_task(self._close(), name="endpoint-close")
        return self._closing

    async def _close(self) -> None:
        steps: tuple[Callable[[], Awaitable[object]], ...] = (
            self._close_connection,
            self._reception.close,
            self._sending.close,
        )
        for step in steps:
            try:
                await step()
            except Exception:  # noqa: BLE001 - the other steps must run, whatever this one met
                self._counters["close-error"] += 1
        self._final = self._snapshot()
        self._events.put_nowait(None)
        if self._pc is not None:
            remains.of_process.end()

    async def _close_connection(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
        self._fail("closed")
        if self._sharing is not None:
            self._sharing.cancel()
            await asyncio.wait([self._sharing])
        await self._changes.close()
        self._trickle.close()
        if self._quality is not None:
            self._quality.close()
        if self._names is not None:
            await self._names.close()
        if self._link is not None:
            self._link.end()
        if self._pc is None:
            return
        try:
            async with asyncio.timeout(limits.MEDIA_CLOSE_TIMEOUT):
                if self._control is not None:
                    await self._control.flush(_FLUSH_TIMEOUT)
                await self._reception.stop_decoders()
                await self._pc.close()
        except TimeoutError:
            self._counters["close-timeout"] += 1
            await self._close_ice()

    async def _close_ice(self) -> None:
        if self._ice is not None:
            await self._ice.close()


def _kind(transceiver: RTCRtpTransceiver) -> MediaKind:
    return "audio" if transceiver.kind == "audio" else "video"
