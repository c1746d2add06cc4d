"""Looks at a call's path while it is connected, and tells when it is poor and when it is well again.

Law 1: what decides is ``meshcall.media.quality``.
Law 2: a change is told once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiortc import RTCPeerConnection

from meshcall import limits
from meshcall.aio.ice.call_ice import CallIce
from meshcall.aio.rhythm import until_next
from meshcall.aio.rtc import hooks
from meshcall.media.quality import Quality, Trouble


class QualityWatch:
    """Tells by ``tell(trouble)``, in the loop that it is started in."""

    def __init__(
        self,
        pc: RTCPeerConnection,
        ice: CallIce,
        tell: Callable[[Trouble], None],
        overloaded: Callable[[], bool],
    ) -> None:
        """Nothing is looked at before :meth:`start`. ``overloaded``: whether this machine sends less than it
        could, because it is too slow.
        """
        self._overloaded = overloaded
        self._pc = pc
        self._ice = ice
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._quality = Quality()
        self._told: Trouble = ""
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """There is a path. Idempotent."""
        if self._timer is None:
            self._look_later()

    def measured(self, rtt: float) -> None:
        """The path answered a check."""
        self._quality.measured(rtt, self._loop.time())

    def narrowed(self) -> None:
        """There is no room for the pictures that the peer could show."""
        self._quality.narrowed(self._loop.time())

    def close(self) -> None:
        """Look no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self) -> None:
        pause = until_next(limits.QUALITY_POLL, self._loop.time())
        self._timer = self._loop.call_later(pause, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        self._look_later()
        self._quality.unanswered(self._ice.silence(), now)
        counts = [hooks.packet_counts(one.receiver) for one in self._pc.getTransceivers()]
        self._quality.counted(sum(one[0] for one in counts), sum(one[1] for one in counts), now)
        if self._overloaded():
            self._quality.overloaded(now)
        trouble = self._quality.trouble(now)
        if trouble != self._told:
            self._told = trouble
            self._tell(trouble)
