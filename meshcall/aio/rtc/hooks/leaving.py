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

    async def send(self, packets: Sequence[bytes]) -> None:
        """Send RTP; raises ConnectionError when there is no connection any more."""
        if self._session is None:  # its ICE is not ours
            for packet in packets:
                await self._dtls._send_rtp(packet)
            return
        if self._dtls._state is not State.CONNECTED:
            raise ConnectionError("the transport is not connected")
        protect = self._dtls._tx_srtp.protect
        self._session.send_all([protect(packet) for packet in packets])
