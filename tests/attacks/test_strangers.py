"""Strangers with valid offers: they want an address, a victim's harm, every socket. The media are real."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.ice.port import IcePort
from meshcall.aio.rtc import endpoint as endpoint_module
from meshcall.aio.rtc.endpoint import make_endpoint
from meshcall.ice.candidate import Candidate, encode_candidates
from meshcall.media.plan import MediaPlan
from meshcall.node import Node
from meshcall.signaling import messages as m
from meshcall.signaling.description import decode_description_untrusted
from meshcall.switchboard import Switchboard
from meshcall.testing.testnet import Testnet
from tests.attacks.nodes import config_of, reachable, until
from tests.attacks.strangers import Stranger, find

LISTEN_S = 1.0
CHECKS_MAX = 7
"""Packets to one candidate: a first check and its retransmissions (RFC 8489 section 6.2.1)."""
NEVER = [
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.169.254/32", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/128", "::1/128", "ff00::/8", "::ffff:0:0/96"),
    )
]
MARTIANS = [
    *("127.0.0.1", "127.9.9.9", "224.0.0.251", "239.255.255.250", "169.254.169.254", "255.255.255.255"),
    *("0.0.0.1", "240.1.1.1", "::1", "ff02::fb", "::"),
]


class Sent:
    """Where the sockets of ICE send to; what would leave the machine is noted and not sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: Counter[Address] = Counter()
        send = IcePort.send

        def noted(port: IcePort, data: bytes, address: Address) -> None:
            self.addresses[address] += 1
            if ip_address(address[0]).is_loopback:
                send(port, data, address)

        monkeypatch.setattr(IcePort, "send", noted)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """From now on."""
    return Sent(monkeypatch)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Somewhere on this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield sock


async def description_of(candidates: Sequence[Candidate]) -> bytes:
    """A real offer that names these addresses, as many as they are."""
    endpoint = make_endpoint(MediaPlan(source="none", interfaces=("lo",), allow_loopback=True))
    try:
        offer = decode_description_untrusted(await endpoint.offer())
    finally:
        await endpoint.close()
    return offer.with_candidates([]).encode() + encode_candidates(candidates)


def heard(sock: socket.socket) -> int:
    """Datagrams that came."""
    count = 0
    while True:
        try:
            sock.recv(2048)
        except BlockingIOError:
            return count
        count += 1


def live(node: Node) -> int:
    """Calls that are not over."""
    return sum(not call.ended for call in node._calls)


async def test_a_stranger_gets_no_packet_before_its_call_is_accepted(
    tmp_path: Path, sent: Sent, listener: socket.socket
) -> None:
    """While it rings nothing is sent to what the offer names, and no endpoint exists; afterwards it is."""
    stranger = Stranger()
    async with Testnet(5) as testnet, Node(config_of(tmp_path / "bob", testnet)) as bob:
        await reachable(bob)
        found = await find(testnet.nodes[0], bob.peer_id)
        here = Candidate("host", "udp", "127.0.0.1", listener.getsockname()[1], 1 << 30)
        record, _ = stranger.offer(found, await description_of([here]))
        sent.addresses.clear()
        delivery = await testnet.nodes[0].deliver(record)
        delivery.close()
        await until(lambda: live(bob))
        call = bob.get_call(None)
        await asyncio.sleep(LISTEN_S)
        assert call.state == "incoming"
        assert heard(listener) == 0
        assert sent.addresses == {}
        assert call.driver._endpoint is None
        await call.answer()
        await until(lambda: heard(listener))
        assert set(sent.addresses) == {here_address(listener)}
        await call.hangup()
        await call.wait_ended()


def here_address(sock: socket.socket) -> Address:
    """Where it listens."""
    host, port = sock.getsockname()
    return host, port


async def test_an_offer_can_aim_few_packets_and_none_at_some(
    tmp_path: Path, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty-eight candidates in an accepted offer, four hundred after it: few get packets, and some never.

    Until there is no path: nobody answers.
    """
    stranger, call_id = Stranger(), os.urandom(16)
    plan = Switchboard.plan  # as if this machine had another network than its loopback
    monkeypatch.setattr(endpoint_module, "only_loopback", lambda addresses: False)
    monkeypatch.setattr("meshcall.ice.checklist.can_pair", lambda local, remote: ":" not in remote.address)
    monkeypatch.setattr(
        Switchboard, "plan", lambda board, *args: replace(plan(board, *args), allow_loopback=False)
    )
    victims = [Candidate("host", "udp", f"203.0.113.{n}", 40_000, 1000 - n) for n in range(1, 30)]
    victim = [Candidate("host", "udp", "203.0.113.200", 20_000 + n, 5000 - n) for n in range(10)]
    martians = [Candidate("host", "udp", address, 40_000, 10_000) for address in MARTIANS]
    async with Testnet(5) as testnet, Node(config_of(tmp_path / "bob", testnet)) as bob:
        await reachable(bob)
        found = await find(testnet.nodes[0], bob.peer_id)
        named = [*martians[:10], *victim, *victims[:8]]
        record, offer_hash = stranger.offer(found, await description_of(named), call_id=call_id)
        sent.addresses.clear()
        (await testnet.nodes[0].deliver(record)).close()
        await until(lambda: live(bob))
        call = bob.get_call(None)
        await call.answer()
        for block in range(20):
            more = [Candidate("host", "udp", f"198.51.{block}.{n}", 40_000, 1) for n in range(1, 5)]
            more += [Candidate("host", "udp", "203.0.113.200", 30_000 + 4 * block + n, 2) for n in range(4)]
            later = m.Candidates(encode_candidates([*more, *martians]))
            record, _ = stranger.message(found, later, offer_hash, call_id)
            (await testnet.nodes[block % 5].deliver(record)).close()
        assert live(bob) == 1
        async with asyncio.timeout(30):
            summary = await call.wait_ended()
    print(f"{sum(sent.addresses.values())} packets to {len(sent.addresses)} addresses: {sent.addresses}")
    assert summary.reason in ("no-path", "failed")
    assert [a for a in sent.addresses if any(ip_address(a[0]) in net for net in NEVER)] == []
    assert len(sent.addresses) <= limits.ICE_REMOTE_CANDIDATES_MAX
    per_host = Counter[str]()
    for (host, _), count in sent.addresses.items():
        per_host[host] += count
    assert per_host, "some are checked: the test can fail"
    assert max(per_host.values()) <= limits.CANDIDATES_PER_ADDRESS_MAX * CHECKS_MAX
    assert max(sent.addresses.values()) <= CHECKS_MAX
    assert sum(sent.addresses.values()) <= limits.ICE_CHECKS_MAX


@pytest.mark.timeout(90)
async def test_a_thousand_offers_open_few_calls(tmp_path: Path) -> None:
    """1,000 valid offers of 50 identities in 10 s, at a node that answers anybody: few calls, few sockets.

    A contact is connected in their midst.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    strangers = [Stranger() for _ in range(50)]
    most_live = most_strangers = most_files = 0
    async with (
        Testnet(8) as testnet,
        Node(config_of(tmp_path / "bob", testnet, auto_answer="anyone")) as bob,
        Node(config_of(tmp_path / "alice", testnet)) as alice,
    ):
        await reachable(alice)
        await reachable(bob)
        bob.contacts.add(alice.id_text(), "alice")
        found = await find(testnet.nodes[0], bob.peer_id)
        nobody = Candidate("host", "udp", "127.0.0.1", 9_999, 1 << 30)
        description = await description_of([nobody])
        records = [strangers[n % 50].offer(found, description)[0] for n in range(1000)]
        before = open_files()
        resource.setrlimit(resource.RLIMIT_NOFILE, (before + 200, hard))
        try:
            call, began = None, time.monotonic()
            for number, record in enumerate(records):
                if number == 500:
                    call = await alice.call(bob.peer_id)
                (
                    await testnet.nodes[number % 8].deliver(record, at=[("127.0.0.1", bob.port)], only=True)
                ).close()
                theirs = [c for c in bob._calls if not c.ended and c.peer_id != alice.peer_id]
                most_live = max(most_live, live(bob))
                most_strangers = max(most_strangers, len(theirs))
                most_files = max(most_files, open_files() - before)
                await asyncio.sleep(max(0.0, began + (number + 1) / 100 - time.monotonic()))
            took = time.monotonic() - began
            assert call is not None
            assert call.state in ("connected", "degraded")
            assert call.connected_ms is not None
            setup_ms = call.connected_ms - call.since_ms
            await call.hangup()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        counters = bob.status().counters
    print(
        f"1000 offers in {took:.1f} s: at most {most_live} calls, {most_strangers} of strangers,"
        f" {most_files} files more; the contact was connected in {setup_ms} ms"
    )
    print({k: v for k, v in counters.items() if k.startswith(("letter", "taken", "offer", "limited"))})
    assert took < 20
    assert counters["taken-offer"] > limits.CALLS_LIVE_MAX
    assert 1 <= most_strangers <= limits.CALLS_STRANGERS_MAX
    assert most_live <= limits.CALLS_LIVE_MAX
    assert most_files < 100
    assert "bugs" not in counters


def open_files() -> int:
    """File descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))
