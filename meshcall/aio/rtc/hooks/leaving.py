"""RTP that leaves: the packets of a frame go from their sender to ICE in one step, not each through aiortc's
coroutines.

Law: what is sent of them, and what ends the sending, is as in aiortc.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiortc.rtcdtlstransport import RTCDtlsTransport, State

from meshcall.aio.rtc.connection import Connection


class Leaving:
    """By one transport."""

    def __init__(self, dtls: RTCDtlsTransport) -> None:
        self._dtls = dtls
        connection = dtls.transport._connection
        self._session = connection.session if isinstance(connection, Connection) else None

    @property
    def at_once(self) -> bool:
        """Whether :meth:`send_now` works: its ICE is ours."""
        return self._session is not None

    async def send(self, packets: Sequence[bytes]) -> None:
        """Send RTP; raises ConnectionError when there is no connection any more."""
        if self.at_once:
            self.send_now(packets)
            return
        for packet in packets:
            await self._dtls._send_rtp(packet)

    def send_now(self, packets: Sequence[bytes]) -> None:
        """Likewise."""
        assert self._session is not None, "its ICE is ours"
        if self._dtls._state is not State.CONNECTED:
            raise ConnectionError("the transport is not connected")
        protect = self._dtls._tx_srtp.protect
        self._session.send_all([protect(packet) for packet in packets])
