"""One question to a STUN server (RFC 8489): is it there, and how far."""

from __future__ import annotations

import asyncio

from meshcall.address import Address
from meshcall.aio.clock import Clock
from meshcall.errors import Rejected
from meshcall.identity.keys import Random
from meshcall.limits import STUN_PROBE_PAUSE, STUN_PROBES
from meshcall.stun.message import (
    TRANSACTION_ID_SIZE,
    MessageClass,
    Method,
    StunMessage,
    decode_stun_untrusted,
)


class _Probe(asyncio.DatagramProtocol):
    def __init__(self, transaction_id: bytes) -> None:
        self._transaction_id = transaction_id
        self.answered = asyncio.Event()

    def datagram_received(self, data: bytes, addr: object) -> None:
        try:
            message = decode_stun_untrusted(data)
        except Rejected:
            return
        if message.transaction_id == self._transaction_id and message.kind is MessageClass.SUCCESS:
            self.answered.set()


async def probe_stun(address: Address, *, clock: Clock, random: Random) -> float | None:
    """Seconds that a Binding request to ``address`` took; None: there was no answer."""
    transaction_id = random(TRANSACTION_ID_SIZE)
    loop = asyncio.get_running_loop()
    try:
        transport, probe = await loop.create_datagram_endpoint(
            lambda: _Probe(transaction_id), remote_addr=address
        )
    except OSError:
        return None
    try:
        request = StunMessage(Method.BINDING, MessageClass.REQUEST, transaction_id).encode()
        for _ in range(STUN_PROBES):
            sent = clock.now()
            transport.sendto(request)
            try:
                async with asyncio.timeout(STUN_PROBE_PAUSE):
                    await probe.answered.wait()
            except TimeoutError:
                continue
            return clock.now() - sent
        return None
    finally:
        transport.close()
