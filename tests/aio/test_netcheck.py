"""Netcheck of real nodes on loopback: who answers, who is silent, who there is nobody to ask."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

import pytest

from meshcall import limits
from meshcall.aio.clock import system_random
from meshcall.aio.hairpin import check_hairpin
from meshcall.aio.ice.port import IcePort
from meshcall.aio.udp import UdpPort
from meshcall.dht.events import PingDone
from meshcall.netcheck import udp_word
from meshcall.node import Node
from meshcall.testing.testnet import Testnet

from .test_node import StartNode, start, testnet  # noqa: F401 - fixtures


@pytest.mark.parametrize(
    ("heard", "asked", "has_address", "word"),
    [
        ([], [], False, "none"),
        ([], [], True, "unknown"),
        ([], ["11.0.0.1", "11.0.0.2"], True, "no"),
        (["192.168.1.9"], ["192.168.1.9", "11.0.0.2"], True, "lan"),
        (["192.168.1.9", "11.0.0.2"], ["192.168.1.9", "11.0.0.2"], True, "yes"),
        (["2600::1"], ["2600::1"], True, "yes"),
    ],
)
def test_what_answers_say_about_udp(heard: list[str], asked: list[str], has_address: bool, word: str) -> None:
    """Nobody to ask is not silence, and an answer on the LAN says nothing of the internet."""
    answers = [PingDone(1, (host, 4600), b"", 0.01) for host in heard]
    assert udp_word(answers, [(host, 4600) for host in asked], has_address=has_address) == word


async def test_nodes_that_answer(start: StartNode, testnet: Testnet) -> None:  # noqa: F811
    """A few of the table are asked; two checks at once are one."""
    alice: Node = await start("alice")
    first, second = await asyncio.gather(alice.netcheck(), alice.netcheck())
    assert first is second
    assert first.ipv4.udp == "lan"
    assert 0 < first.ipv4.answered == first.ipv4.asked <= limits.NETCHECK_NODES
    assert first.ipv4.rtt_ms is not None
    assert (first.ipv4.public, first.ipv4.hairpin) == (f"127.0.0.1:{alice.port}", "needless")
    assert (first.port, first.lan.enabled) == (alice.port, False)
    assert await alice.netcheck() is not first


async def test_a_configured_host_that_is_silent(start: StartNode) -> None:  # noqa: F811
    """Without a table the bootstrap hosts are asked, and their silence is told."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        hosts = (f"127.0.0.1:{silent.getsockname()[1]}", "nobody.invalid:4600")
        bob: Node = await start("bob", bootstrap=hosts, lan_only=True)
        found = await bob.netcheck()
    assert (found.ipv4.udp, found.ipv4.asked, found.ipv4.answered, found.dht_nodes) == ("no", 1, 0, 0)
    assert found.took_ms < 1000 * (limits.DHT_HARD_TIMEOUT + limits.NETCHECK_RESOLVE + 2)


async def test_peers_messages_tell_how_our_clock_is(start: StartNode) -> None:  # noqa: F811
    """Nobody wrote: nothing is known; after a ping the clocks agree."""
    alice, bob = await start("alice"), await start("bob")
    assert (await bob.netcheck()).clock_skew_s is None
    bob.contacts.add(alice.id_text(), "alice")
    async for _ in (await alice.ping(bob.id_text(), count=1)).events():
        pass
    skew = (await bob.netcheck()).clock_skew_s
    assert skew is not None
    assert abs(skew) < 1


async def test_hairpin_by_a_binding_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own port answers it when it comes in; where nobody answers the check ends by itself."""
    monkeypatch.setattr(limits, "HAIRPIN_PAUSE", 0.1)
    udp = await UdpPort.open(0)
    counters: Counter[str] = Counter()
    IcePort(udp, counters=counters, answers=True)
    assert await check_hairpin(("127.0.0.1", udp.port), system_random)
    await udp.close()
    assert not await check_hairpin(("127.0.0.1", udp.port), system_random)
    assert not counters
