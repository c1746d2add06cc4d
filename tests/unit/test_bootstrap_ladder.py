"""The bootstrap ladder's shell: whose names are resolved, and where; whom an invite leads to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from meshcall.address import Address
from meshcall.bootstrap_ladder import BootstrapLadder
from meshcall.testing.clock import FakeClock

FOUND: Address = ("9.9.9.8", 4600)
INVITED: list[Address] = [("9.9.9.9", 4000), ("192.168.1.5", 4000)]


class Dht:
    """Stands in for the DHT node: notes who is asked, and everybody answers."""

    def __init__(self) -> None:
        self.asked: list[Address] = []
        self.engine = SimpleNamespace(contacts=lambda: [(bytes(20), address) for address in self.asked])

    async def bootstrap(self, addresses: Sequence[Address] = (), *, saved: bool = True) -> int:
        """All of them answer."""
        self.asked += addresses
        return len(addresses)


def ladder(dht: Any, hosts: Sequence[str] = (), **options: Any) -> BootstrapLadder:
    """A ladder that knows these hosts only."""
    return BootstrapLadder(dht, clock=FakeClock(), hosts=hosts, **options)


async def turns_until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until ``condition`` holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def climbing(one: BootstrapLadder) -> Any:
    """The ladder runs meanwhile."""
    task = asyncio.create_task(one.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_slow_name_server_holds_up_neither_the_loop_nor_other_hosts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Names of configured hosts are resolved in another thread, each for itself."""
    answers, threads = threading.Event(), set[int]()

    def resolve(host: str, *_: object, **__: object) -> list[Any]:
        threads.add(threading.get_ident())
        if host == "slow.example":
            answers.wait(5)
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", FOUND if host == "good.example" else ("", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    dht = Dht()
    async with climbing(ladder(dht, ["slow.example:4600", "good.example:4600"])):
        try:
            await turns_until(lambda: FOUND in dht.asked)
            assert dht.asked == [FOUND]
            assert threading.get_ident() not in threads
        finally:
            answers.set()


async def test_a_name_that_is_none_is_told_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user is told of each host that can't be resolved, and that nobody answers."""

    def resolve(host: str, *_: object, **__: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    told: list[str] = []
    async with climbing(ladder(Dht(), ["nobody.example:4600"], on_warning=told.append)):
        await turns_until(lambda: len(told) == 2)
    assert told == [
        "the bootstrap host nobody.example can't be resolved",
        "none of the bootstrap addresses answers; still trying",
    ]


async def test_the_nodes_of_an_invite_are_asked_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once and with no name looked up; a LAN-only node is led into no internet by an invite."""

    def resolve(*_: object, **__: object) -> list[Any]:
        raise AssertionError("nothing here is a name")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for lan_only, asked in ((False, INVITED), (True, INVITED[1:])):
        dht = Dht()
        one = ladder(dht, lan_only=lan_only)
        await one.invited(INVITED)
        assert dht.asked == asked
        assert [(view.rung, view.asked) for view in one.status()] == [("invite", len(asked))]
