"""A screen beside the camera: the second source that one endpoint sends pictures of.

Law 1: it is encoded once for all links of a room, as the camera is: they share its studio.
Law 2: it has one outlet for as long as the call lives, whatever is shared: times and SSRC go on.
Law 3: it has a share of its own in what the way to the peer carries of pictures.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

from aiortc import RTCRtpTransceiver

from meshcall.aio.media.encoded import Outlet
from meshcall.aio.media.mixer import Mixer
from meshcall.aio.media.readers import VIDEO_BASE
from meshcall.aio.media.studio import Studio, enter
from meshcall.aio.rtc import hooks
from meshcall.errors import SourceUnusable
from meshcall.media.layers import Choice
from meshcall.media.plan import MediaPlan


class Sharing:
    """Of one endpoint."""

    def __init__(self) -> None:
        self.outlet = Outlet("video", self.want_keyframe)
        self.transceiver: RTCRtpTransceiver | None = None
        """That it is sent by, once there is one."""
        self.ssrcs: tuple[int, ...] = ()
        """That it is sent by, likewise."""
        self._studio: Studio | None = None
        self._leave: Callable[[], Awaitable[None]] | None = None
        self._leaving: set[asyncio.Future[None]] = set()
        """Studios that are being left."""
        self._connected = False
        self._counted: Counter[str] = Counter()
        """Of what was shared before."""
        self._wish: tuple[int, int] | None = None
        """Height and pictures a second that the peer asked for."""

    @property
    def on(self) -> bool:
        """Whether anything is shared."""
        return self._studio is not None

    @property
    def sends(self) -> bool:
        """Whether the peer takes it."""
        return self._connected

    async def change(self, plan: MediaPlan, node: object, source: str, mixer: Mixer | None) -> None:
        """Share another source; empty: none. ``mixer``: records the room.

        Raises :class:`SourceUnusable`; nothing is shared then.
        """
        before, self._leave = self._leave, None
        self._forget_studio()
        try:
            if self._leaving:
                await asyncio.wait(self._leaving)  # a camera has one reader
            if source:
                await self._enter(replace(plan, source=source, audio=False, record=None, mixed=None), node)
                if self._studio is not None and mixer is not None:
                    self._studio.record_by(mixer)
        finally:
            self._let_go(before)  # not before: whoever shares the same again keeps its encoders

    async def _enter(self, plan: MediaPlan, node: object) -> None:
        studio, leave = await enter(plan, node)
        if "video" not in studio.kinds():
            self._let_go(leave)
            raise SourceUnusable("what is to be shared has no pictures")
        self._studio, self._leave = studio, leave
        self.outlet.begin_again()

    def _let_go(self, leave: Callable[[], Awaitable[None]] | None) -> None:
        """In a task of its own: a studio that is left half is never closed."""
        if leave is not None:
            task = asyncio.ensure_future(leave())
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    def age(self, seconds: float) -> float:
        """See :func:`hooks.send_by`."""
        if self._studio is None:
            return 0.0
        return self._studio.source.pace.age(seconds - float((self.outlet.shift or 0) * VIDEO_BASE))

    def negotiated(self) -> None:
        """The peer may take it now, or no more."""
        direction = None if self.transceiver is None else self.transceiver.currentDirection
        if self._studio is None or direction not in ("sendrecv", "sendonly"):
            self.disconnect()
        elif not self._connected and self.transceiver is not None:
            self._connected = True
            self.outlet.open()
            self._studio.connect(self.outlet, hooks.codec_name(self.transceiver))
            if self._wish is not None:
                self._studio.set_layer(self.outlet, *self._wish)
            self._studio.open_gate()

    def disconnect(self) -> None:
        """Feed the outlet no more. Idempotent."""
        if self._studio is not None and self._connected:
            self._studio.disconnect(self.outlet)
            self.outlet.feed_from(None)
        self._connected = False

    def set_layer(self, height: int, fps: int) -> None:
        """The peer can show so many pixels (0: none) and pictures a second (0: any number)."""
        self._wish = height, fps
        if self._studio is not None and self._connected:
            self._studio.set_layer(self.outlet, height, fps)

    def set_rate(self, bits: int) -> None:
        """What the way carries of it, in bits a second; 0: nothing."""
        if self._studio is not None and self._connected:
            self._studio.set_rate(self.outlet, bits)

    @property
    def choice(self) -> Choice | None:
        """Which layer the peer is sent, and why not a higher one; None: it is not sent."""
        return self._studio.choice(self.outlet) if self._studio is not None and self._connected else None

    @property
    def useful(self) -> int:
        """Bits a second beyond which more are no use to the peer."""
        return self._studio.useful(self.outlet) if self._studio is not None and self._connected else 0

    def want_keyframe(self) -> None:
        """The peer can't go on without one."""
        if self._studio is not None:
            self._studio.want_keyframe(self.outlet)

    def counters(self) -> dict[str, int]:
        """What its encoders left out or failed at, and how often it was unplugged."""
        counted = self._counted + Counter({} if self._studio is None else self._studio.counted())
        return {f"screen-{reason}": count for reason, count in counted.items()}

    def _forget_studio(self) -> None:
        self.disconnect()
        if self._studio is not None:
            self._counted.update(self._studio.counted())
            self._studio = None

    async def close(self) -> None:
        """Share no more. Idempotent."""
        self._forget_studio()
        self.outlet.stop()
        leave, self._leave = self._leave, None
        self._let_go(leave)
        if self._leaving:
            await asyncio.wait(self._leaving)
