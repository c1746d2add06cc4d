"""What receivers tell peers to send: their estimates."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Final

from aiortc import RTCRtpReceiver

from meshcall import limits
from meshcall.aio.lateness import lateness_of_loop
from meshcall.aio.rtc.hooks.private import get_private, set_private
from meshcall.media.arrivals import Arrivals

_LISTENS: Final = 1.0
"""Seconds after the last packet for which it is looked how late the loop is."""


class Estimation:
    """One estimate for all pictures of a peer: they share its way to us."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock``: monotonic seconds."""
        self.arrivals = Arrivals()
        self.clock = clock
        self.ssrcs: dict[int, None] = {}
        self._lateness = lateness_of_loop()
        self._listens = False
        self._last = 0.0

    def arrived(self, now: float) -> None:
        """A packet came: look for a while how late this loop is with what it does."""
        self._last = now
        if not self._listens:
            self._listens = True
            self._lateness.listen(self._looked)
        late = self._lateness.now(now)
        if late > 0:
            self.arrivals.held_up(late, now)

    def _looked(self, late: float, now: float) -> None:
        self.arrivals.held_up(late, now)
        if now - self._last >= _LISTENS:
            self._listens = False
            self._lateness.forget(self._looked)

    def watch(self, receiver: RTCRtpReceiver) -> None:
        """Have a receiver of pictures tell what is found here, before it starts.

        aiortc's own takes ten seconds to find out that a link became wider, and takes a queue that stands
        full for an empty one.
        """
        repairs = get_private(receiver, "_RTCRtpReceiver__rtx_ssrc")
        set_private(receiver, "_RTCRtpReceiver__remote_bitrate_estimator", _Estimator(self, repairs))


class _Estimator:
    """In place of a receiver's."""

    def __init__(self, estimation: Estimation, repairs: Container[int]) -> None:
        self._estimation = estimation
        self._repairs = repairs

    def add(
        self, arrival_time_ms: int, abs_send_time: int, payload_size: int, ssrc: int
    ) -> tuple[int, list[int]] | None:
        """As receivers call it: a packet came; the bits and the SSRCs of a REMB to send now."""
        estimation = self._estimation
        now = estimation.clock()  # aiortc's time is in whole milliseconds
        estimation.arrived(now)
        if ssrc in self._repairs:
            # aiortc sends a packet again with the time at which it sent it first.
            estimation.arrivals.add_repair(now, payload_size)
            return None
        if ssrc not in estimation.ssrcs:
            estimation.ssrcs[ssrc] = None
            if len(estimation.ssrcs) > limits.ARRIVALS_SSRCS_MAX:
                del estimation.ssrcs[next(iter(estimation.ssrcs))]
        bits = estimation.arrivals.add_untrusted(abs_send_time, now, payload_size)
        return None if bits is None else (bits, list(estimation.ssrcs))
