"""Rate control of one endpoint: asks the controller, hands on what it decides.

Law 1: what decides is ``meshcall.media.rate`` and ``meshcall.media.uplink``.
Law 2: a cut is handed on at once, anything else within ``RATE_TICK``.
Law 3: a peer that floods us with reports costs a comparison for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from meshcall import limits
from meshcall.aio.rhythm import until_next
from meshcall.media.feedback import Feedback, Rates
from meshcall.media.plan import MediaKind
from meshcall.media.rate import RateControl
from meshcall.media.uplink import Uplink


class Sends(Protocol):
    """What is told."""

    def set_rate(self, bits: int) -> None:
        """Bits per second of pictures; 0: none."""

    def set_pace(self, bits: int | None, *, close: bool = False) -> None:
        """See :meth:`meshcall.media.pacer.Pacer.allow`."""

    def set_loss(self, share: float) -> None:
        """Share of the sound that does not arrive."""

    def want_keyframe(self) -> None:
        """The peer can't go on without one."""

    @property
    def useful(self) -> int:
        """Bits per second of pictures beyond which more are no use to the peer."""

    def pictures_sent(self) -> tuple[int, int]:
        """Packets and octets of pictures so far."""


class Rate:
    """From the gate to the end."""

    def __init__(self, sends: Sends, uplink: Uplink) -> None:
        """``uplink``: of all that are sent the same."""
        self._sends = sends
        self._uplink = uplink
        self._loop = asyncio.get_running_loop()
        self.control = RateControl(self._loop.time())
        self._sent = (0, 0)
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Media flows from now on. Idempotent."""
        if self._timer is None and not self._closed:
            self.control = RateControl(self._loop.time())
            self._uplink.add(self, self.control)
            self._tick()

    def feedback(self, kind: MediaKind, want_keyframe: Callable[[], None] | None = None) -> Feedback:
        """Who hears what the peer reports of a stream; ``want_keyframe``: if it is not the camera's."""
        return _Reports(self, self._sends, kind, want_keyframe or self._sends.want_keyframe)

    def measured(self, rtt: float) -> None:
        """The path answered a check after so many seconds."""
        self.control.measured(rtt, self._loop.time())

    def close(self) -> None:
        """Decide no more. Idempotent."""
        self._closed = True
        self._uplink.remove(self)
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """Decide now."""
        if self._timer is None or self._closed:
            return
        now = self._loop.time()
        packets, octets = self._sends.pictures_sent()
        if packets != self._sent[0]:
            self.control.sent(packets - self._sent[0], octets - self._sent[1], now)
            self._sent = packets, octets
        useful = self._sends.useful
        self._uplink.want(self, useful + limits.RATE_AUDIO)
        self._uplink.look(now)
        pictures = self.control.allotment(now).pictures
        close = self.control.close(useful, now)
        if close:
            pictures = min(pictures, round(limits.BEATS_SHARE * useful))
        paced = close or self.control.narrow(now)
        self._sends.set_pace(pictures if paced else None, close=close)
        self._sends.set_rate(pictures)

    def _tick(self) -> None:
        pause = until_next(limits.RATE_TICK, self._loop.time())
        self._timer = self._loop.call_later(pause, self._tick)
        self.look()


class _Reports:
    """What a peer reports of one stream."""

    def __init__(self, rate: Rate, sends: Sends, kind: MediaKind, want_keyframe: Callable[[], None]) -> None:
        self._rate = rate
        self._plain = Rates(
            set_rate=None,
            set_loss=sends.set_loss if kind == "audio" else None,
            want_keyframe=want_keyframe,
        )
        self._clock = asyncio.get_running_loop().time
        self._bits = 0

    def rr(self, fraction_lost: float, jitter: float, rtt: float | None) -> None:
        """See :class:`Feedback`."""
        now = self._clock()
        self._plain.rr(fraction_lost, jitter, rtt)
        if rtt is not None:
            self._rate.control.measured(rtt, now)
        self._rate.control.reported(fraction_lost, now)

    def remb(self, bits: int) -> None:
        """See :class:`Feedback`."""
        self._rate.control.estimated(bits, self._clock())
        if bits < self._bits:
            self._rate.look()
        self._bits = bits

    def nack(self, packets: int) -> None:
        """See :class:`Feedback`."""
        self._rate.control.requested(packets, self._clock())

    def keyframe(self) -> None:
        """See :class:`Feedback`."""
        self._plain.keyframe()
