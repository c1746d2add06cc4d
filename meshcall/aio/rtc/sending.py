"""Sending: what one endpoint sends of a studio, and what its peer reports of it.

Law 1: encoders are open before the gate is, so that the first frame leaves at once.
Law 2: a kind that the peer does not receive is not encoded for it.
Law 3: camera and screen share what the way carries of pictures, neither gets more than is any use.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from aiortc import RTCRtpTransceiver

from meshcall.aio.media.encoded import Outlet
from meshcall.aio.media.mixer import Mixer
from meshcall.aio.media.sources import OnEnded
from meshcall.aio.media.studio import Studio, enter
from meshcall.aio.rtc import hooks
from meshcall.aio.rtc.rate import Rate
from meshcall.aio.rtc.sharing import Sharing
from meshcall.media.copies import Copies
from meshcall.media.layers import Choice
from meshcall.media.pacer import Pacer
from meshcall.media.plan import MediaKind, MediaPlan
from meshcall.media.uplink import fair_parts

_SCREEN_STREAM = "screen"
"""Its MediaStream, which camera and microphone are not of."""


class Sending:
    """Of one endpoint."""

    def __init__(
        self,
        counters: Counter[str],
        on_ended: OnEnded,
        on_speech: Callable[[bool], None],
        on_narrow: Callable[[], None],
    ) -> None:
        """``on_ended`` is told of the source's end, once for each kind; ``on_speech`` whether somebody speaks
        into it, with each change; ``on_narrow`` again and again while there is no room for the pictures that
        the peer could show.
        """
        self._counters = counters
        self._on_ended = on_ended
        self._on_speech = on_speech
        self._on_narrow = on_narrow
        self._rate: Rate | None = None
        self._studio: Studio | None = None
        self._leave: Callable[[], Awaitable[None]] | None = None
        self._outlets: dict[MediaKind, Outlet] = {}
        self._transceivers: dict[MediaKind, RTCRtpTransceiver] = {}
        self._connected: set[MediaKind] = set()
        self._muted: set[MediaKind] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._node: object = None
        self._mixer: Mixer | None = None
        self.screen = Sharing()
        self._copies = Copies()
        self._pacer = Pacer()
        self._speaks = False
        """Somebody speaks into the source."""
        self._told_speech = False
        self._gate = False
        self._wish: tuple[int, int] | None = None
        """Height and pictures a second that the peer asked for, or is taken to show."""

    async def open(self, plan: MediaPlan, node: object) -> None:
        """Open the source, or join those who have opened it; raises :class:`SourceUnusable`."""
        self._wish = self._wish or plan.shown
        self._node = node
        self._studio, self._leave = await enter(plan, node)
        self._rate = Rate(self, self._studio.uplink)
        for kind in self._studio.kinds():
            self._outlets[kind] = Outlet(kind, self.want_keyframe)

    def record_room(self, plan: MediaPlan) -> Mixer | None:
        """What the room is recorded by, if it is to be."""
        if plan.mixed is None or self._studio is None:
            return None
        self._mixer = self._studio.record(plan.mixed, pictures=plan.video)
        return self._mixer

    def tracks(self) -> dict[MediaKind, Outlet]:
        """What there is to send."""
        return dict(self._outlets)

    def counters(self) -> dict[str, int]:
        """What encoders left out or failed at, and how often a device was unplugged."""
        if self._studio is None:
            return {}
        return self._studio.counted() | self.screen.counters()

    def frames_sent(self, kind: MediaKind) -> int:
        """Frames given to the sender since the gate opened."""
        return self._outlets[kind].frames if kind in self._outlets else 0

    def prepare(self, transceiver: RTCRtpTransceiver) -> None:
        """Send by it, listen to its peer, and open the encoder in advance. It has its codecs by now."""
        outlet = transceiver.sender.track
        if not isinstance(outlet, Outlet):
            return
        kind: MediaKind = "audio" if transceiver.kind == "audio" else "video"
        self._transceivers[kind] = transceiver
        assert self._rate is not None, "the source is open"
        assert self._studio is not None, "the source is open"
        age = self._studio.source.pace.age
        hooks.tap_sender(transceiver.sender, self._rate.feedback(kind))
        hooks.report_together(transceiver.sender)
        hooks.limit_repairs(transceiver.sender, self._counters, asyncio.get_running_loop().time)
        if kind == "audio":
            hooks.send_by(
                transceiver.sender,
                outlet,
                twice=lambda: self._copies.wanted,
                leaves=self._pacer.sounded,
                age=age,
            )
        else:
            hooks.send_by(transceiver.sender, outlet, pacer=self._pacer, age=age)
        self._tasks.append(asyncio.create_task(self._warm(kind, transceiver), name="encoder-warm"))

    async def share(self, plan: MediaPlan, source: str) -> None:
        """Send pictures of another source, too; empty: no more. Raises :class:`SourceUnusable`."""
        await self.screen.change(plan, self._node, source, self._mixer)
        self.negotiated()

    def prepare_screen(self, transceiver: RTCRtpTransceiver) -> None:
        """Send the screen by it, and listen to its peer, before it starts. Idempotent."""
        if self.screen.transceiver is transceiver or self._rate is None:
            return
        screen, sender = self.screen, transceiver.sender
        screen.transceiver = transceiver
        screen.ssrcs = hooks.begin_stream(sender, _SCREEN_STREAM)
        if sender.track is not screen.outlet:
            sender.replaceTrack(screen.outlet)
        hooks.tap_sender(sender, self._rate.feedback("video", screen.want_keyframe))
        hooks.report_together(sender)
        hooks.limit_repairs(sender, self._counters, asyncio.get_running_loop().time)
        hooks.send_by(sender, screen.outlet, pacer=self._pacer, age=screen.age)

    async def _warm(self, kind: MediaKind, transceiver: RTCRtpTransceiver) -> None:
        codec = hooks.codec_name(transceiver)
        if codec and self._studio is not None and not self._gate:
            await self._studio.warm(kind, codec, self._wish)

    def open_gate(self) -> None:
        """Send from now on."""
        self._gate = True
        if self._studio is None:
            return
        self._studio.ends.listen(self._on_ended)
        self._studio.listen(self._tell_speech)
        for outlet in self._outlets.values():
            outlet.open()
        self.negotiated()
        self._studio.open_gate()

    def negotiated(self) -> None:
        """What the peer receives may have changed."""
        if not self._gate or self._studio is None:
            return
        self.screen.negotiated()
        if self.screen.sends and self._rate is not None:
            self._rate.start()
        for kind, transceiver in self._transceivers.items():
            sends = transceiver.currentDirection in ("sendrecv", "sendonly") and kind not in self._muted
            if sends and kind == "video" and self._rate is not None:
                self._rate.start()
            if sends and kind not in self._connected:
                self._connected.add(kind)
                self._studio.connect(self._outlets[kind], hooks.codec_name(transceiver))
                if kind == "video" and self._wish is not None:
                    self._studio.set_layer(self._outlets[kind], *self._wish)
            elif not sends and kind in self._connected:
                self._connected.discard(kind)
                self._studio.disconnect(self._outlets[kind])
                self._outlets[kind].feed_from(None)

    def set_muted(self, kind: MediaKind, *, muted: bool) -> None:
        """Send nothing of this kind, or again."""
        (self._muted.add if muted else self._muted.discard)(kind)
        self.negotiated()
        self._tell_speech(self._speaks)

    def _tell_speech(self, speaks: bool) -> None:
        """Who is muted says nothing to anybody."""
        self._speaks = speaks
        heard = speaks and "audio" not in self._muted
        if heard != self._told_speech:
            self._told_speech = heard
            self._on_speech(heard)

    def set_layer(self, height: int, fps: int) -> None:
        """The peer can show pictures of ``height`` pixels (0: none) and ``fps`` a second (0: any number)."""
        self._wish = height, fps
        if self._studio is not None and "video" in self._outlets:
            self._studio.set_layer(self._outlets["video"], height, fps)

    @property
    def choice(self) -> Choice | None:
        """Which layer the peer is sent, and why not a higher one; None: no pictures are sent at all."""
        outlet = self._outlets.get("video")
        return None if self._studio is None or outlet is None else self._studio.choice(outlet)

    def layer(self) -> str:
        """The same in words, for people: ``720p30``, ``360p15 rate``, ``none asked`` or nothing."""
        return _words(self.choice)

    def screen_layer(self) -> str:
        """Likewise, of the screen."""
        return _words(self.screen.choice)

    @property
    def overloaded(self) -> bool:
        """This machine is too slow for what the peer could be sent."""
        return any(choice is not None and choice.why == "cpu" for choice in (self.choice, self.screen.choice))

    @property
    def useful(self) -> int:
        """Bits a second of pictures beyond which more are no use to the peer, by what it asked for."""
        return self._useful_of_camera + self.screen.useful

    @property
    def _useful_of_camera(self) -> int:
        outlet = self._outlets.get("video")
        return 0 if self._studio is None or outlet is None else self._studio.useful(outlet)

    def set_rate(self, bits: int) -> None:
        """What the way to the peer carries of pictures, in bits a second; 0: none, they are paused."""
        camera = bits
        if self.screen.sends:
            wants = {"camera": float(self._useful_of_camera), "screen": float(self.screen.useful)}
            parts = fair_parts(bits, wants)
            camera = round(parts["camera"])
            self.screen.set_rate(round(parts["screen"]))
        if self._studio is not None and "video" in self._outlets:
            self._studio.set_rate(self._outlets["video"], camera)
        choices = (self.choice, self.screen.choice)
        if any(choice is not None and choice.why in ("rate", "paused") for choice in choices):
            self._on_narrow()

    def set_pace(self, bits: int | None, *, close: bool = False) -> None:
        """See :meth:`meshcall.media.pacer.Pacer.allow`."""
        self._pacer.allow(bits, close=close)

    def pictures_sent(self) -> tuple[int, int]:
        """Packets and octets of pictures so far."""
        outlets = (self._outlets.get("video"), self.screen.outlet)
        sent = [(one.packets, one.octets) for one in outlets if one is not None]
        return sum(packets for packets, _ in sent), sum(octets for _, octets in sent)

    def measured(self, rtt: float) -> None:
        """The path answered a check after so many seconds."""
        if self._rate is not None:
            self._rate.measured(rtt)

    def set_loss(self, share: float) -> None:
        """The share of the packets of sound that does not arrive, 0 to 1."""
        self._copies.reported(share)
        if self._studio is not None and "audio" in self._outlets:
            self._studio.set_loss(self._outlets["audio"], share)

    def want_keyframe(self) -> None:
        """The peer can't go on without one."""
        if self._studio is not None and "video" in self._outlets:
            self._studio.want_keyframe(self._outlets["video"])

    async def close(self) -> None:
        """Send no more."""
        if self._rate is not None:
            self._rate.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for kind, outlet in self._outlets.items():
            outlet.stop()
            if outlet.skipped:
                self._counters[f"{kind}-sender-behind"] += outlet.skipped
        if self.screen.outlet.skipped:
            self._counters["screen-sender-behind"] += self.screen.outlet.skipped
        self._counters.update(self.counters())
        await self.screen.close()
        studio, self._studio = self._studio, None
        if studio is not None and self._leave is not None:
            studio.ends.forget(self._on_ended)
            studio.forget(self._tell_speech)
            for outlet in self._outlets.values():
                studio.disconnect(outlet)
            await self._leave()


def _words(choice: Choice | None) -> str:
    return "" if choice is None else f"{choice.layer or 'none'} {choice.why}".strip()
