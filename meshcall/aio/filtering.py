"""Whether our NAT lets in what comes from another port of a host that we have sent to (RFC 4787 section 5).

A relay is such a host: its node's port is one, the address that it lends another one. A question from there
to our own port, which answers everybody, is answered if it came in.

Law: one allocation, a few packets, two seconds at most; it is given back whatever happens.
"""

from __future__ import annotations

import asyncio
import contextlib

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.ice.allocation import Allocation, allocate_first
from meshcall.aio.ice.servers import LentRelay
from meshcall.errors import Rejected
from meshcall.identity.keys import Random
from meshcall.stun.message import (
    TRANSACTION_ID_SIZE,
    MessageClass,
    Method,
    StunMessage,
    decode_stun_untrusted,
)


async def check_other_port(relay: LentRelay, mapped: Address, random: Random) -> bool | None:
    """Whether it comes in. ``mapped``: where the relay's node, which was just asked, sees our own port.

    None: the relay gave no address, or one of another host.
    """
    transaction = random(TRANSACTION_ID_SIZE)
    answered = asyncio.Event()

    def received(data: bytes, source: Address, relayed: Address) -> None:
        with contextlib.suppress(Rejected):
            message = decode_stun_untrusted(data)
            if (message.kind, message.transaction_id) == (MessageClass.SUCCESS, transaction):
                answered.set()

    allocation: Allocation | None = None
    try:
        async with asyncio.timeout(limits.FILTERING_PATIENCE):
            allocation = await allocate_first(relay.ways, received, lambda gone: None)
            if allocation.relayed[0] != relay.node[0]:
                return None
            request = StunMessage(Method.BINDING, MessageClass.REQUEST, transaction).encode()
            for _ in range(limits.HAIRPIN_TRIES):
                allocation.send(request, mapped)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(limits.HAIRPIN_PAUSE):
                        await answered.wait()
                        return True
            return False
    except OSError:  # TimeoutError is one
        return None
    finally:
        if allocation is not None:
            allocation.close()
