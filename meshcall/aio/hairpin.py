"""Whether our NAT lets what we send to our own outside address come back in (RFC 4787 section 6).

Law: one socket of its own, few octets, a second at most; nothing of it is left.
"""

from __future__ import annotations

import asyncio
import contextlib

from meshcall import limits
from meshcall.address import Address
from meshcall.errors import Rejected
from meshcall.identity.keys import Random
from meshcall.stun.message import (
    TRANSACTION_ID_SIZE,
    MessageClass,
    Method,
    StunMessage,
    decode_stun_untrusted,
)


class _Asker(asyncio.DatagramProtocol):
    """Waits for the answer to one transaction."""

    def __init__(self, transaction: bytes) -> None:
        self._transaction = transaction
        self.answered = asyncio.Event()

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Anybody may send here; what does not carry the transaction is nothing."""
        with contextlib.suppress(Rejected):
            message = decode_stun_untrusted(data)
            if (message.kind, message.transaction_id) == (MessageClass.SUCCESS, self._transaction):
                self.answered.set()

    def error_received(self, exc: Exception) -> None:
        """A router that refuses is as good as one that is silent."""


async def check_hairpin(mapped: Address, random: Random) -> bool:
    """Whether a Binding request to ``mapped``, which leads to our port, is answered."""
    transaction = random(TRANSACTION_ID_SIZE)
    request = StunMessage(Method.BINDING, MessageClass.REQUEST, transaction).encode()
    loop = asyncio.get_running_loop()
    local = "::" if ":" in mapped[0] else "0.0.0.0"  # noqa: S104 - as the node's own port
    try:
        transport, asker = await loop.create_datagram_endpoint(
            lambda: _Asker(transaction), local_addr=(local, 0)
        )
    except OSError:
        return False
    try:
        for _ in range(limits.HAIRPIN_TRIES):
            transport.sendto(request, mapped)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.HAIRPIN_PAUSE):
                    await asker.answered.wait()
                    return True
        return False
    finally:
        transport.close()
