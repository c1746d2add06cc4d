"""Sessions on a shared port, servers, addresses: the shell around the ICE agent."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import pairwise
from types import SimpleNamespace
from typing import cast

import aioice
import aioice.stun
import pytest

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.ice import bases as bases_module
from meshcall.aio.ice.addresses import HostPolicy, only_loopback, select_addresses
from meshcall.aio.ice.port import IcePort
from meshcall.aio.ice.servers import StunServer, TurnServer, read_servers
from meshcall.aio.ice.session import IceSession
from meshcall.aio.udp import UdpPort
from meshcall.errors import InvalidConfig
from meshcall.ice.candidate import Candidate, encode_candidates
from meshcall.ice.events import Gathered, IceEvent, Selected
from meshcall.ice.nat import Mapping, NatView
from meshcall.media.plan import IceServer
from meshcall.stun.attributes import xor_address_untrusted
from meshcall.stun.message import (
    AttributeType,
    MessageClass,
    Method,
    StunMessage,
    decode_stun_untrusted,
)

ANYWHERE = HostPolicy(allow_loopback=True)
LOOPBACK = HostPolicy(("lo",), allow_loopback=True)


class End(IceSession):
    """A session and what it told."""

    def __init__(
        self,
        policy: HostPolicy = ANYWHERE,
        shared: IcePort | None = None,
        servers: list[StunServer | TurnServer] | None = None,
    ) -> None:
        self.seen: list[IceEvent] = []
        self.counted: Counter[str] = Counter()
        super().__init__(
            policy=policy,
            shared=shared,
            servers=servers or [],
            counters=self.counted,
            on_event=self.seen.append,
        )


@asynccontextmanager
async def shared_port(**settings: object) -> AsyncIterator[IcePort]:
    udp = await UdpPort.open(0)
    try:
        yield IcePort(udp, **settings)  # type: ignore[arg-type]
    finally:
        await udp.close()


async def connect(left: End, right: End) -> None:
    left.agent.controlling = True
    for one in (left, right):
        await one.gather()
    for one, other in ((left, right), (right, left)):
        one.add_remote(other.candidates)
        one.start(other.local)
    await asyncio.wait_for(asyncio.gather(left.connected(), right.connected()), 5)


# --- one port -------------------------------------------------------------------------------------


async def test_many_calls_share_one_port() -> None:
    """Five calls of one node: two sockets in all, and each call hears its own peer."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(shared_port())
        calls = []
        for _ in range(5):
            near, far = End(shared=hub), End(shared=await stack.enter_async_context(shared_port()))
            stack.push_async_callback(near.close)
            stack.push_async_callback(far.close)
            calls.append((near, far))
        await asyncio.gather(*(connect(near, far) for near, far in calls))
        assert {candidate.port for near, _ in calls for candidate in near.candidates} == {hub.bases[0][1]}
        for number, (near, far) in enumerate(calls):
            far.send(b"\x80to the hub %d" % number)
            near.send(b"\x14from the hub %d" % number)
        for number, (near, far) in enumerate(calls):
            assert await asyncio.wait_for(near.recv(), 2) == b"\x80to the hub %d" % number
            assert await asyncio.wait_for(far.recv(), 2) == b"\x14from the hub %d" % number
        await calls[0][0].close()
        calls[1][1].send(b"\x80still")
        assert await asyncio.wait_for(calls[1][0].recv(), 2) == b"\x80still"


async def test_strangers_reach_no_call() -> None:
    """What is not of a call's peer is counted; so are checks with another name, and late answers."""
    counters: Counter[str] = Counter()
    async with shared_port(counters=counters) as one, shared_port() as two:
        left, right = End(shared=one), End(shared=two)
        await connect(left, right)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            target = ("127.0.0.1", one.bases[0][1])
            request = StunMessage(Method.BINDING, MessageClass.REQUEST, bytes(12))
            named = StunMessage(request.method, request.kind, bytes(12), ((AttributeType.USERNAME, b"a:b"),))
            late = StunMessage(Method.BINDING, MessageClass.SUCCESS, bytes(12))
            for data in (b"\x16dtls", b"\x80rtp", request.encode(), named.encode(), late.encode(), b"\0bad"):
                stranger.sendto(data, target)
            for _ in range(100):
                if sum(counters.values()) == 6:
                    break
                await asyncio.sleep(0.01)
            stranger.setblocking(False)
            with pytest.raises(BlockingIOError):
                stranger.recv(2048)
        assert counters == {"ice-stranger": 2, "stun-unwanted": 3, "stun-size": 1}
        assert left._queue.empty()
        await left.close()
        await right.close()


async def test_anybody_learns_its_address_where_that_is_wanted() -> None:
    """A plain Binding request is answered with the source's address, in less than three times its length."""
    async with shared_port(answers=True) as port:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.bind(("127.0.0.1", 0))
            asker.setblocking(False)
            request = StunMessage(Method.BINDING, MessageClass.REQUEST, b"x" * 12).encode()
            asker.sendto(request, ("127.0.0.1", port.bases[0][1]))
            answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(asker, 2048), 2)
            message = decode_stun_untrusted(answer)
            mine: Address = asker.getsockname()
            assert xor_address_untrusted(message, AttributeType.XOR_MAPPED_ADDRESS) == mine
            assert len(answer) <= 3 * len(request)


async def test_what_peers_see_is_offered_without_asking_anybody() -> None:
    """The node's address by its DHT peers is a reflexive candidate; an address of ours is not doubled."""
    async with shared_port(mapped=lambda: [("198.51.100.7", 4444), ("127.0.0.1", 5)]) as port:
        end = End(shared=port)
        await end.gather()
        reflexive = [candidate for candidate in end.candidates if candidate.kind == "srflx"]
        assert reflexive == [Candidate("srflx", "udp", "198.51.100.7", 4444, reflexive[0].priority)]
        await end.close()


class SeenNat:
    """What is known of a NAT, as the sessions of a port ask for it."""

    def __init__(self, mapping: Mapping) -> None:
        self._view = NatView(mapping=mapping)

    def view(self, family: int = 4) -> NatView:
        return self._view


@pytest.mark.parametrize("mapping", [Mapping.EIM, Mapping.APDM])
async def test_another_mapping_is_told_unless_each_destination_has_its_own(
    monkeypatch: pytest.MonkeyPatch, mapping: Mapping
) -> None:
    """A router that was rebooted has another port; a symmetric one has another for each witness, for ever."""
    monkeypatch.setattr(limits, "ICE_ADDRESSES_POLL", 0.02)
    ports = iter(range(4001, 9000))
    seen = [("198.51.100.7", 4000)]
    async with shared_port(mapped=lambda: list(seen)) as port:
        end = End(shared=port)
        port.nat = SeenNat(mapping)  # type: ignore[assignment]
        await end.gather()
        for _ in range(10):
            seen[:] = [("198.51.100.7", next(ports))]
            await asyncio.sleep(0.05)
        reflexive = [(one.address, one.port) for one in end.candidates if one.kind == "srflx"]
        told = [event for event in end.seen if isinstance(event, Gathered)]
        count = len([event for event in told if event.candidate.kind == "srflx"])
        if mapping is Mapping.EIM:
            assert reflexive == seen
            assert count > 3
        else:
            assert count == limits.ICE_MAPPED_PORTS
        seen[:] = [("198.51.100.99", 5000)]
        await asyncio.sleep(0.1)
        assert [(one.address, one.port) for one in end.candidates if one.kind == "srflx"] == seen
        await end.close()


async def test_interfaces_asked_for_by_name_have_ports_of_their_own() -> None:
    """Packets of a pinned call leave from the addresses that it names."""
    async with shared_port() as port:
        end = End(LOOPBACK, shared=port)
        await end.gather()
        assert {candidate.address for candidate in end.candidates} <= {"127.0.0.1", "::1"}
        assert port.bases[0][1] not in {candidate.port for candidate in end.candidates}
        await end.close()


async def test_a_flood_from_the_peer_is_bounded() -> None:
    """What DTLS does not read in time is dropped and counted."""
    end = End(LOOPBACK)
    for _ in range(limits.ICE_QUEUE_MAX + 7):
        end.receive_media(b"\x80")
    assert end._queue.qsize() == limits.ICE_QUEUE_MAX
    assert end.counted == {"ice-flood": 7}
    await end.close()


async def test_a_new_address_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interface that comes up gets a port, one that is gone loses it, and the call goes on."""
    monkeypatch.setattr(limits, "ICE_ADDRESSES_POLL", 0.02)
    found = ["127.0.0.1"]
    monkeypatch.setattr(bases_module, "host_addresses", lambda policy: list(found))
    left, right = End(LOOPBACK), End(LOOPBACK)
    await connect(left, right)
    found[:] = ["127.0.0.2"]
    for end in (left, right):
        for _ in range(100):
            if {base[0] for base in end._bases} == {"127.0.0.2"}:
                break
            await asyncio.sleep(0.02)
        assert {base[0] for base in end._bases} == {"127.0.0.2"}
    right.add_remote([one for one in left.candidates if one.address == "127.0.0.2"])
    left.add_remote([one for one in right.candidates if one.address == "127.0.0.2"])
    for _ in range(200):
        if all(end.agent.selected and end.agent.selected.base[0] == "127.0.0.2" for end in (left, right)):
            break
        await asyncio.sleep(0.02)
    heard = asyncio.create_task(right.recv())
    for _ in range(60):  # the one may have tried the other's old address last, which is given up soon
        left.send(b"\x80on")
        await asyncio.wait([heard], timeout=0.05)
        if heard.done():
            break
    assert heard.done()
    assert await heard == b"\x80on"
    await left.close()
    await right.close()


# --- servers --------------------------------------------------------------------------------------


async def test_a_direct_path_in_doubt_has_our_address_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each doubt has one look, long before the path is given up; a relayed path is no reason for one."""
    looks: list[float] = []
    async with AsyncExitStack() as stack:
        session = End()
        stack.push_async_callback(session.close)
        pair = SimpleNamespace(indirect=False, in_doubt=lambda at: 1 <= at < 2 or at >= 3)
        monkeypatch.setattr(session.agent, "selected", pair)
        monkeypatch.setattr(session._bases, "path_lost", lambda: looks.append(at))
        at: float
        for at in (0.0, 1.0, 1.5, 2.0, 3.0, 3.5):
            session._look(at)
        assert looks == [1.0, 3.0]
        pair.indirect = True
        for at in (2.5, 4.0):
            session._look(at)
        assert looks == [1.0, 3.0]


async def test_a_server_that_answers_and_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer makes a candidate; the dead one costs its patience, once, and nothing else."""
    monkeypatch.setattr(limits, "ICE_SERVER_PATIENCE", 0.3)
    async with shared_port(answers=True) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead:
            dead.bind(("127.0.0.1", 0))
            live = StunServer("127.0.0.1", server.bases[0][1])
            end = End(LOOPBACK, servers=[live, StunServer("127.0.0.1", dead.getsockname()[1])])
            begin = time.monotonic()
            await end.gather()
            assert 0.25 < time.monotonic() - begin < 1
            assert dead.recv(2048)
    assert [one.kind for one in end.candidates].count("srflx") == 1
    await end.close()


def only_relayed(local: Candidate, remote: Candidate) -> bool:
    """In place of ``can_pair``: all other paths are blocked."""
    return local.kind == "relay" and ":" not in remote.address


class TurnStub(asyncio.DatagramProtocol):
    """Just enough of a TURN server: one allocation, one channel to each peer."""

    def __init__(self) -> None:
        self.peers: dict[int, Address] = {}
        self.client: Address | None = None
        self.says: Address | None = None
        """What it says that it lends; None: what it does."""
        self.drops = False
        """Of data; it still gives addresses and channels."""
        self.delay = 0.0
        """Of data, each way."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)
        self._open()

    def _open(self) -> None:
        self.relayed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.relayed.bind(("127.0.0.1", 0))
        self.relayed.setblocking(False)
        asyncio.get_running_loop().add_reader(self.relayed, self._from_peer)

    def forget(self, *, new_address: bool) -> None:
        """As if it had been started anew."""
        self.peers.clear()
        self.client = None
        if new_address:
            asyncio.get_running_loop().remove_reader(self.relayed)
            self.relayed.close()
            self._open()

    def _from_peer(self) -> None:
        data, source = self.relayed.recvfrom(2048)
        for channel, peer in self.peers.items():
            if peer == source and self.client is not None:
                head = channel.to_bytes(2, "big") + len(data).to_bytes(2, "big")
                self._pass_on(self.transport.sendto, head + data, self.client)

    def _pass_on(self, send: Callable[[bytes, Address], object], data: bytes, to: Address) -> None:
        if self.delay:
            asyncio.get_running_loop().call_later(self.delay, self._send_late, send, data, to)
        elif not self.drops:
            send(data, to)

    def _send_late(self, send: Callable[[bytes, Address], object], data: bytes, to: Address) -> None:
        with suppress(OSError):  # it was closed meanwhile
            send(data, to)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if data[0] & 0xC0 == 0x40:
            peer = self.peers.get(int.from_bytes(data[:2], "big"))
            if peer is not None and addr == self.client:
                self._pass_on(self.relayed.sendto, data[4:], peer)
            return
        request = aioice.stun.parse_message(data)
        answer = aioice.stun.Message(
            request.message_method, aioice.stun.Class.RESPONSE, transaction_id=request.transaction_id
        )
        if request.message_method == aioice.stun.Method.ALLOCATE:
            self.client = addr
            answer.attributes["LIFETIME"] = 600
            answer.attributes["XOR-MAPPED-ADDRESS"] = addr
            answer.attributes["XOR-RELAYED-ADDRESS"] = self.says or self.relayed.getsockname()
        elif request.message_method == aioice.stun.Method.CHANNEL_BIND:
            self.peers[request.attributes["CHANNEL-NUMBER"]] = request.attributes["XOR-PEER-ADDRESS"]
        else:
            answer.attributes["LIFETIME"] = 0
        self.transport.sendto(bytes(answer), addr)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.relayed)
        self.relayed.close()
        self.transport.close()


async def test_a_relay_carries_a_call_when_it_is_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TURN server's allocation becomes a candidate, and packets go both ways through it."""
    monkeypatch.setattr("meshcall.ice.checklist.can_pair", only_relayed)
    _, stub = await asyncio.get_running_loop().create_datagram_endpoint(TurnStub, local_addr=("127.0.0.1", 0))
    server = TurnServer("127.0.0.1", stub.transport.get_extra_info("sockname")[1], "udp", False, "u", "p")
    left, right = End(LOOPBACK, servers=[server]), End(LOOPBACK)
    try:
        await connect(left, right)
        path = next(event for event in left.seen if isinstance(event, Selected))
        assert path.local.kind == "relay"
        left.send(b"\x80through")
        assert await asyncio.wait_for(right.recv(), 2) == b"\x80through"
        right.send(b"\x80back")
        assert await asyncio.wait_for(left.recv(), 2) == b"\x80back"
    finally:
        await left.close()
        await right.close()
        await asyncio.sleep(0.05)  # the allocation is given back
        stub.close()


async def test_a_call_leaves_its_relay_without_losing_a_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A direct path opens in the midst of two streams: all arrives, in time, and the relay is not used again.

    Time is measured against the pauses that the sender itself made: a busy machine is not the path's fault.
    """
    monkeypatch.setattr(
        "meshcall.ice.checklist.can_pair",
        lambda local, remote: (":" in local.address) == (":" in remote.address),
    )
    _, stub = await asyncio.get_running_loop().create_datagram_endpoint(TurnStub, local_addr=("127.0.0.1", 0))
    server = TurnServer("127.0.0.1", stub.transport.get_extra_info("sockname")[1], "udp", False, "u", "p")
    left, right = End(LOOPBACK, servers=[server]), End(LOOPBACK)
    is_open = False
    for end in (left, right):
        through = end._transmit

        def transmit(
            data: bytes,
            destination: Address,
            base: Address,
            end: End = end,
            through: Callable[[bytes, Address, Address], None] = through,
        ) -> None:
            if is_open or {destination, base} & set(left._relays._by_relayed):
                through(data, destination, base)

        monkeypatch.setattr(end, "_transmit", transmit)
    try:
        await connect(left, right)
        path = next(event for event in left.seen if isinstance(event, Selected))
        assert path.local.kind == "relay"
        came: dict[End, dict[int, float]] = {left: {}, right: {}}

        async def listen(end: End) -> None:
            with suppress(ConnectionError):
                while True:
                    data = await end.recv()
                    came[end].setdefault(int.from_bytes(data[1:3], "big"), time.monotonic())

        listeners = [asyncio.create_task(listen(end)) for end in (left, right)]
        sent: list[float] = []
        for number in range(150):
            is_open = number >= 40
            sent.append(time.monotonic())
            for end in (left, right):
                end.send(b"\x80" + number.to_bytes(2, "big"))
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
        for end in (left, right):
            assert sorted(came[end]) == list(range(150))
            assert max(came[end][number] - sent[number] for number in range(150)) <= 0.06 + max(
                after - before - 0.02 for before, after in pairwise(sent)
            )
            whys = [event.why for event in end.seen if isinstance(event, Selected)]
            assert whys[-1] in ("better", "named")
            assert "failover" not in whys
            assert end.agent.selected is not None
            assert not end.agent.selected.indirect
        for task in listeners:
            task.cancel()
    finally:
        await left.close()
        await right.close()
        await asyncio.sleep(0.05)
        stub.close()


@pytest.mark.parametrize(
    "says", [("198.51.100.7", 0), ("0.0.0.0", 4000), ("224.0.0.1", 4000), ("169.254.169.254", 4000), None]
)
async def test_a_relay_that_lies_about_what_it_lends_is_not_used(says: Address | None) -> None:
    """No address that can't be, nor one of ours (None): the call keeps its bases, the peer hears of none."""
    _, stub = await asyncio.get_running_loop().create_datagram_endpoint(TurnStub, local_addr=("127.0.0.1", 0))
    server = TurnServer("127.0.0.1", stub.transport.get_extra_info("sockname")[1], "udp", False, "u", "p")
    left, right = End(LOOPBACK), End(LOOPBACK)
    try:
        await connect(left, right)
        stub.says = says or next(one for one in left._bases if one[0] == "127.0.0.1")
        before = list(left.candidates)
        await left._relays.use(server)
        assert left.counted["ice-server"] == 1
        assert left.candidates == before
        assert len(left._relays) == 0
        left.send(b"\x80still")
        assert await asyncio.wait_for(right.recv(), 2) == b"\x80still"
    finally:
        await left.close()
        await right.close()
        await asyncio.sleep(0.05)
        stub.close()


class Tunnel:
    """In the place of a tunnel whose gateway names that relayed address."""

    families = (4,)

    def __init__(self, relayed: Address) -> None:
        self.port = relayed[1]
        self.sent: list[bytes] = []

    def register(self, *_: object) -> None:
        """Nothing comes."""

    def send(self, data: bytes, address: Address) -> None:
        self.sent.append(data)


@pytest.mark.parametrize("early", [True, False])
async def test_a_gateway_that_claims_our_own_address_gets_none_of_our_packets(early: bool) -> None:
    """What it lends is no base of the call, before and during it; the call's own base stays."""
    async with shared_port() as hub, shared_port() as other:
        base = next(one for one in hub.bases if ":" not in one[0])
        tunnel = Tunnel(base)
        port = IcePort(tunnel, hosts=(base[0],))  # type: ignore[arg-type]
        left, right = End(shared=hub), End(shared=other)
        try:
            if early:
                hub.add_relayed(port)
            await connect(left, right)
            if not early:
                hub.add_relayed(port)
            left.send(b"\x80through")
            assert await asyncio.wait_for(right.recv(), 2) == b"\x80through"
            hub.lose_relayed(port)
            left.send(b"\x80still")
            assert await asyncio.wait_for(right.recv(), 2) == b"\x80still"
            assert tunnel.sent == []
            assert left.counted["ice-relayed"] == 1
        finally:
            await left.close()
            await right.close()


async def test_a_relay_that_claims_another_ones_address_gets_none_of_its_packets() -> None:
    """The first to name an address has it."""
    loop, stubs = asyncio.get_running_loop(), []
    for _ in range(2):
        _, stub = await loop.create_datagram_endpoint(TurnStub, local_addr=("127.0.0.1", 0))
        stubs.append(stub)
    stubs[1].says = stubs[0].relayed.getsockname()
    servers = [
        TurnServer("127.0.0.1", stub.transport.get_extra_info("sockname")[1], "udp", False, "u", "p")
        for stub in stubs
    ]
    end = End(LOOPBACK)
    try:
        await end.gather()
        for server in servers:
            await end._relays.use(server)
        assert len(end._relays) == 1
        assert [one.kind for one in end.candidates].count("relay") == 1
        assert end.counted["ice-server"] == 1
    finally:
        await end.close()
        await asyncio.sleep(0.05)
        for stub in stubs:
            stub.close()


async def test_what_others_see_as_ours_is_offered_only_if_it_can_be() -> None:
    """A DHT node that names an address that is none spoils no description."""
    async with shared_port(mapped=lambda: [("198.51.100.7", 0)]) as port:
        end = End(shared=port)
        await end.gather()
        assert [one for one in end.candidates if one.kind == "srflx"] == []
        encode_candidates(end.candidates)
        await end.close()


@pytest.mark.parametrize("fault", ["drops", "delays"])
@pytest.mark.parametrize("direct", [True, False], ids=["direct", "relays only"])
async def test_a_bad_relay_costs_a_call_nothing(
    monkeypatch: pytest.MonkeyPatch, fault: str, direct: bool
) -> None:
    """It gives an address, then drops all data or holds it for 2 s: the call takes another path at once."""
    if not direct:
        monkeypatch.setattr("meshcall.ice.checklist.can_pair", only_relayed)
    loop, stubs = asyncio.get_running_loop(), []
    for _ in range(1 if direct else 2):
        _, stub = await loop.create_datagram_endpoint(TurnStub, local_addr=("127.0.0.1", 0))
        stubs.append(stub)
    stubs[0].drops, stubs[0].delay = fault == "drops", 2.0 if fault == "delays" else 0.0
    servers = [
        TurnServer("127.0.0.1", stub.transport.get_extra_info("sockname")[1], "udp", False, "u", "p")
        for stub in stubs
    ]
    left, right = End(LOOPBACK, servers=[*servers]), End(LOOPBACK)
    try:
        begin = time.monotonic()
        await connect(left, right)
        assert time.monotonic() - begin < 1.5
        assert left.agent.selected is not None
        assert left.agent.selected.relayed == (not direct)
        for number in range(5):
            left.send(b"\x80%d" % number)
            assert await asyncio.wait_for(right.recv(), 1) == b"\x80%d" % number
            await asyncio.sleep(0.5)  # the late answers come: nothing goes back to the bad relay
        assert left.agent.selected.base != stubs[0].relayed.getsockname()
    finally:
        await left.close()
        await right.close()
        await asyncio.sleep(0.05)
        for stub in stubs:
            stub.close()


@pytest.mark.parametrize("address", ["the same", "another"])
async def test_a_relay_that_forgot_us_is_asked_again(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """The server was started anew in a call: a new allocation, and the call goes on over it."""
    monkeypatch.setattr("meshcall.ice.checklist.can_pair", only_relayed)
    monkeypatch.setattr(limits, "CONSENT_INTERVAL", 0.1)
    monkeypatch.setattr(limits, "CONSENT_RETRY", 0.02)
    monkeypatch.setattr(limits, "CONSENT_REVIVE", 0.05)
    _, stub = await asyncio.get_running_loop().create_datagram_endpoint(TurnStub, local_addr=("127.0.0.1", 0))
    server = TurnServer("127.0.0.1", stub.transport.get_extra_info("sockname")[1], "udp", False, "u", "p")
    left, right = End(LOOPBACK, servers=[server]), End(LOOPBACK)
    try:
        await connect(left, right)
        stub.forget(new_address=address == "another")
        count = 0
        for _ in range(300):
            count = sum(isinstance(event, Selected) for event in right.seen)
            if count > 1 and len(left._relays) == 1 and not left._relays._broken:
                break
            await asyncio.sleep(0.02)
        assert count > 1
        left.send(b"\x80through")
        assert await asyncio.wait_for(right.recv(), 2) == b"\x80through"
        assert len(left._relays) == 1
    finally:
        await left.close()
        await right.close()
        await asyncio.sleep(0.05)
        stub.close()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("stun:stun.example", StunServer("stun.example", 3478)),
        ("stun:192.0.2.1:3479", StunServer("192.0.2.1", 3479)),
        ("stun:[2001:db8::1]:3479", StunServer("2001:db8::1", 3479)),
        ("turn:192.0.2.1", TurnServer("192.0.2.1", 3478, "udp", False, "u", "p")),
        ("turn:[::1]:443?transport=tcp", TurnServer("::1", 443, "tcp", False, "u", "p")),
        ("turns:relay.example", TurnServer("relay.example", 5349, "tcp", True, "u", "p")),
    ],
)
def test_servers_are_read(uri: str, expected: object) -> None:
    """Names, IPv4, IPv6 in brackets, ports by default."""
    credentials = ("u", "p") if uri.startswith("turn") else ("", "")
    assert read_servers([IceServer(uri, *credentials)]) == [expected]


@pytest.mark.parametrize(
    "uri", ["http:x", "stun:", "stun:x:0", "stun:x:99999", "stun:x?transport=tcp", "turns:x?transport=udp"]
)
def test_what_is_no_server_is_refused(uri: str) -> None:
    """With a sentence that says what to write."""
    with pytest.raises(InvalidConfig):
        read_servers([IceServer(uri)])


# --- addresses ------------------------------------------------------------------------------------

FOUND = [
    ("lo", "127.0.0.1"),
    ("lo", "::1"),
    ("eth0", "192.0.2.2"),
    ("eth0", "fd00::2"),
    ("eth0", "fe80::1"),
    ("docker0", "172.17.0.1"),
    ("br-12ab", "172.18.0.1"),
]


@pytest.mark.parametrize(
    ("policy", "found", "expected"),
    [
        (HostPolicy(), FOUND, ["192.0.2.2", "fd00::2"]),
        (HostPolicy(allow_loopback=True), FOUND, ["192.0.2.2", "fd00::2", "127.0.0.1", "::1"]),
        (HostPolicy(("lo",)), FOUND, ["127.0.0.1", "::1"]),
        (HostPolicy(("docker0",)), FOUND, ["172.17.0.1"]),
        (HostPolicy(("absent",)), FOUND, []),
        (HostPolicy(), FOUND[:2], ["127.0.0.1", "::1"]),
        (HostPolicy(), [("veth-a", "10.0.0.1"), ("lo", "127.0.0.1")], ["10.0.0.1"]),
        (HostPolicy(), [], []),
        (
            HostPolicy(),
            [("eth0", f"192.0.2.{n}") for n in range(1, 99)],
            [f"192.0.2.{n}" for n in range(1, 7)],
        ),
    ],
)
def test_which_addresses_are_offered(
    policy: HostPolicy, found: list[tuple[str, str]], expected: list[str]
) -> None:
    """Loopback and virtual bridges only when asked for or alone."""
    assert select_addresses(found, policy) == expected


def test_only_loopback() -> None:
    """A machine without a network is told from one with."""
    assert only_loopback(["127.0.0.1", "::1"])
    assert not only_loopback(["127.0.0.1", "192.0.2.1"])
    assert not only_loopback([])


async def test_calls_that_look_in_one_moment_get_one_look_at_the_addresses() -> None:
    """But each its own way to look, and none what was seen a moment before."""
    looked: list[HostPolicy] = []

    def addresses(policy: HostPolicy) -> list[str]:
        looked.append(policy)
        return [f"192.0.2.{len(looked)}"]

    async with shared_port() as port:
        assert port.look(ANYWHERE, addresses, 7.0) == ["192.0.2.1"]
        assert port.look(ANYWHERE, addresses, 7.0 + limits.ICE_ADDRESSES_SAME / 2) == ["192.0.2.1"]
        assert port.look(LOOPBACK, addresses, 7.0 + limits.ICE_ADDRESSES_SAME / 2) == ["192.0.2.2"]
        assert port.look(LOOPBACK, addresses, 7.1) == ["192.0.2.3"]
    assert looked == [ANYWHERE, LOOPBACK, LOOPBACK]
