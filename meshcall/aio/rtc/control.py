"""The control channel: negotiated data channel 0, binary messages, bounded both ways.

Law 1: messages given before it opens leave when it opens; those given after the end are dropped.
Law 2: a peer that floods loses messages, counted; a peer that stops reading is an error for the sender.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from aiortc import RTCDataChannel, RTCPeerConnection

from meshcall import limits
from meshcall.aio.rtc import hooks
from meshcall.errors import PeerGone

LABEL = "control"
_FLUSH_POLL = 0.005


class ControlChannel:
    """One end of the control channel."""

    def __init__(
        self,
        pc: RTCPeerConnection,
        counters: Counter[str],
        on_open: Callable[[], None],
        on_message: Callable[[bytes], None],
        on_closed: Callable[[], None],
    ) -> None:
        """Make it; with aiortc all tracks must be there before, or a bundled call never connects.

        ``on_closed``: by whom- or whatever.
        """
        self._pc = pc
        self._counters = counters
        self._on_open = on_open
        self._on_message = on_message
        self._waiting: list[bytes] = []
        self._channel: RTCDataChannel = pc.createDataChannel(LABEL, negotiated=True, id=0)
        self._channel.on("open", self._opened)
        self._channel.on("message", self._received)
        self._channel.on("close", on_closed)

    @property
    def state(self) -> str:
        """``connecting``, ``open``, ``closing`` or ``closed``."""
        return self._channel.readyState

    def send(self, data: bytes) -> None:
        """Send, or keep until the channel opens; raises ValueError or :class:`PeerGone`."""
        if len(data) > limits.CONTROL_MESSAGE_MAX:
            raise ValueError(f"a control message has {limits.CONTROL_MESSAGE_MAX} octets at most")
        if self.state == "open":
            if self._channel.bufferedAmount + len(data) > limits.CONTROL_BUFFER_MAX:
                raise PeerGone("The peer does not read what is sent to it.")
            self._channel.send(data)
        elif self.state == "connecting" and len(self._waiting) < limits.CONTROL_QUEUE_MAX:
            self._waiting.append(data)
        else:
            self._counters["control-unsent"] += 1

    async def flush(self, timeout: float) -> None:
        """Wait until the peer acknowledged everything, or ``timeout`` seconds: a bye must not be cut off."""
        if self.state != "open":
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        await asyncio.sleep(0)
        # aiortc tells nobody of an acknowledgement, so it is looked for.
        while self.state == "open" and loop.time() < deadline:
            if hooks.control_idle(self._pc):
                return
            await asyncio.sleep(_FLUSH_POLL)

    def _opened(self) -> None:
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self._channel.send(data)
        self._on_open()

    def _received(self, data: bytes | str) -> None:
        if not isinstance(data, bytes) or len(data) > limits.CONTROL_MESSAGE_MAX:
            self._counters["control-message"] += 1
            return
        self._on_message(data)
