"""Names of servers are looked up beside everything else."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from meshcall import limits
from meshcall.aio.ice.servers import StunServer, resolve


async def test_a_resolver_that_is_dead_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses need no resolver, threads of others stay free, and no more than a few names wait for it."""
    alive = threading.Event()

    def hang(host: str, port: int, **_: Any) -> list[Any]:
        alive.wait(10)
        return [(socket.AF_INET, 0, 0, "", ("192.0.2.7", port))]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    names = [StunServer(f"stun{number}.example", 3478) for number in range(limits.ICE_LOOKUPS + 1)]
    waiting = [asyncio.create_task(resolve(name)) for name in names[:-1]]
    try:
        await asyncio.sleep(0)
        with pytest.raises(OSError, match="does not answer"):
            await resolve(names[-1])
        assert await resolve(StunServer("192.0.2.1", 3478)) == [("192.0.2.1", 3478)]
        async with asyncio.timeout(5):
            await asyncio.gather(*(asyncio.to_thread(int) for _ in range(40)))
        assert not any(task.done() for task in waiting)
    finally:
        alive.set()
    assert await asyncio.gather(*waiting) == [[("192.0.2.7", 3478)]] * limits.ICE_LOOKUPS
    assert await resolve(names[-1]) == [("192.0.2.7", 3478)]
