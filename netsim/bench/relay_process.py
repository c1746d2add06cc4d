"""Our relay alone in a process, on the loopback interface, without quotas: what the relay bench loads."""

from __future__ import annotations

import asyncio
import sys

from meshcall.aio.clock import SystemClock, system_random
from meshcall.aio.relay import Relay, server_context
from meshcall.turn.policy import RelayPolicy

HOST = "127.0.0.1"


async def serve(secret: bytes) -> None:
    """Print the port, then relay until the process is ended."""
    clock = SystemClock()
    policy = RelayPolicy(
        loopback=True, allocations=1000, per_user=1000, per_address=1000, rate=1e9, total_rate=1e9
    )
    relay = await Relay.open(
        0,
        secret=secret,
        policy=policy,
        context=server_context(None, random=system_random, now_ms=clock.now_ms()),
        clock=clock,
        random=system_random,
        hosts=(HOST,),
    )
    print(relay.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1].encode()))
