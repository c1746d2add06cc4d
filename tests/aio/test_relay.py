"""Our relay and our TURN client on real sockets, against each other and against others' programs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import pytest
from aioice.turn import create_turn_endpoint

from meshcall.address import Address
from meshcall.aio.carrier import DhtCarrier
from meshcall.aio.clock import SystemClock, system_random
from meshcall.aio.relay import Relay, client_context, server_context
from meshcall.aio.turn import RelayedSocket
from meshcall.aio.udp import Handler
from meshcall.config import Config
from meshcall.errors import InvalidConfig, NoPath, PortTaken, RelayOff
from meshcall.identity.certificate import make_certificate
from meshcall.node import Node
from meshcall.turn.client import Transport
from meshcall.turn.credentials import Credentials, issue
from meshcall.turn.events import Ended
from meshcall.turn.policy import RelayPolicy
from netsim.bench import relay_load
from netsim.bench.relay import our_relay
from tests.aio.coturn import LOOPBACK, SECRET, coturn, needs_coturn, run

CLOCK = SystemClock()
TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp", "tls")
FLAGS = {"udp": (), "tcp": ("-t",), "tls": ("-t", "-S")}
HAS_IPV6 = Path("/proc/net/if_inet6").exists() and "00000000000000000000000000000001" in Path(
    "/proc/net/if_inet6"
).read_text(encoding="ascii")


def valid() -> Credentials:
    """For a minute."""
    return issue(SECRET, "ada", CLOCK.now_ms() // 1000 + 60)


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def relay(
    policy: RelayPolicy | None = None, *, port: int = 0, context: ssl.SSLContext | None = None
) -> AsyncIterator[Relay]:
    """Ours, on the loopback interface, for loopback peers."""
    made = await Relay.open(
        port,
        secret=SECRET,
        policy=policy or RelayPolicy(loopback=True),
        context=context or server_context(None, random=system_random, now_ms=CLOCK.now_ms()),
        clock=CLOCK,
        random=system_random,
        hosts=(LOOPBACK, "::1") if HAS_IPV6 else (LOOPBACK,),
    )
    try:
        yield made
    finally:
        await made.close()


class Echo(asyncio.DatagramProtocol):
    """A peer that sends back what it gets."""

    def __init__(self) -> None:
        self.sources: list[Address] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.sources.append(addr[:2])
        self._transport.sendto(data, addr)


@contextlib.asynccontextmanager
async def echo(host: str = LOOPBACK) -> AsyncIterator[tuple[Address, Echo]]:
    """Such a peer and where it is."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Echo, local_addr=(host, 0))
    try:
        yield transport.get_extra_info("sockname")[:2], protocol
    finally:
        transport.close()


async def converse(port: int, transport: Transport, *, family: int = 4) -> None:
    """Our client at a relay: twenty datagrams to an echo and back, from the relayed address."""
    host = LOOPBACK if family == 4 else "::1"
    came: asyncio.Queue[tuple[bytes, Address]] = asyncio.Queue()
    async with echo(host) as (peer, protocol):
        relayed = await RelayedSocket.open(
            (host, port),
            valid(),
            transport,
            clock=CLOCK,
            random=system_random,
            on_data=lambda data, source: came.put_nowait((data, source)),
            family=6 if family == 6 else 4,
        )
        try:
            address = relayed.relayed
            for number in range(20):
                relayed.send_to(peer, bytes((number,)) * (number * 60 + 1))
                assert await asyncio.wait_for(came.get(), 5) == (bytes((number,)) * (number * 60 + 1), peer)
            assert set(protocol.sources) == {address}
        finally:
            await relayed.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_our_client_at_our_relay(transport: Transport) -> None:
    """Data both ways over UDP, TCP and TLS; closing gives everything back."""
    async with relay() as ours:
        await converse(ours.port, transport)
        await until(lambda: not ours.statistics().allocations and not ours.statistics().streams)
        statistics = ours.statistics()
    assert statistics.to_peers == statistics.to_clients == sum(number * 60 + 1 for number in range(20))


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
async def test_our_relay_lends_ipv6_addresses() -> None:
    """REQUESTED-ADDRESS-FAMILY, by IPv6 as well as in answer to it."""
    async with relay() as ours:
        await converse(ours.port, "udp", family=6)


async def test_a_node_lends_a_relay(tmp_path: Path) -> None:
    """What `meshcall relay` tells is good for an allocation; the status tells of it; the secret stays."""
    config = Config(
        home=tmp_path / "ada", mdns=False, lan_only=True, interfaces=("lo",), source="none", relay=True,
        relay_port=0, relay_addresses=(LOOPBACK,),
    )  # fmt: skip
    made = []
    for _ in range(2):
        async with Node(config) as node:
            shown = node.relay_credentials(60)
            made.append(shown)
            status = node.status()
            assert status.relay.enabled
            port = status.relay.port
            assert shown.urls == [
                f"turn:{LOOPBACK}:{port}?transport=udp",
                f"turns:{LOOPBACK}:{port}?transport=tcp",
                f"turn:{LOOPBACK}:{port}?transport=tcp",
            ]
            for before in made:
                relayed = await RelayedSocket.open(
                    (LOOPBACK, port), Credentials(before.username, before.password), "udp", clock=CLOCK,
                    random=system_random, on_data=lambda data, peer: None,
                )  # fmt: skip
                assert relayed.relayed is not None
                assert node.status().relay.allocations == 1
                await relayed.close()
                await until(lambda node=node: not node.status().relay.allocations)  # type: ignore[misc]
            assert node.status().counters["relay-allocate"] == len(made)
            for life in (0, 86_401):
                with pytest.raises(InvalidConfig):
                    node.relay_credentials(life)
    async with Node(config.with_(relay=False)) as node:
        assert not node.status().relay.enabled
        with pytest.raises(RelayOff):
            node.relay_credentials(60)


@needs_coturn
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_our_client_at_coturn(transport: Transport, tmp_path: Path) -> None:
    """coturn takes our requests and our credentials."""
    async with coturn(tmp_path) as port:
        await converse(port, transport)


@needs_coturn
@pytest.mark.parametrize("method", ["channels", "indications"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_turnutils_uclient_at_our_relay(transport: Transport, method: str) -> None:
    """Four clients of coturn's own test program send to each other through us, and lose nothing."""
    async with relay() as ours:
        flags = ("-s",) if method == "indications" else ()
        status, said = await run(
            "turnutils_uclient", *FLAGS[transport], *flags, "-y", "-c", "-n", "20", "-m", "4", "-l", "172",
            "-z", "5", "-u", "ada", "-W", SECRET.decode(), "-p", str(ours.port), LOOPBACK,
        )  # fmt: skip
        statistics = ours.statistics()
    assert status == 0, said
    assert "Total lost packets 0 (0.000000%)" in said, said
    assert statistics.to_peers >= 4 * 20 * 172
    assert statistics.counters.get("bugs") is None


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_aioice_at_our_relay(transport: Transport) -> None:
    """aioice's TURN client gets an address, and data both ways."""

    class Receiver(asyncio.DatagramProtocol):
        came: asyncio.Queue[tuple[bytes, Address]] = asyncio.Queue()

        def datagram_received(self, data: bytes, addr: Address) -> None:
            self.came.put_nowait((data, addr))

    who = valid()
    async with relay() as ours, echo() as (peer, protocol):
        endpoint, receiver = await create_turn_endpoint(
            Receiver,
            (LOOPBACK, ours.port),
            who.username,
            who.password,
            ssl=client_context() if transport == "tls" else None,
            transport="udp" if transport == "udp" else "tcp",
        )
        address = endpoint.get_extra_info("sockname")
        endpoint.sendto(b"hello", peer)
        assert await asyncio.wait_for(receiver.came.get(), 5) == (b"hello", peer)
        assert protocol.sources == [address]
        endpoint.close()
        await until(lambda: not ours.statistics().allocations)


async def test_wrong_credentials_and_no_relay_are_told() -> None:
    """At once; nothing is left behind."""
    arguments = {"clock": CLOCK, "random": system_random, "on_data": lambda data, peer: None}
    async with relay() as ours:
        for transport in TRANSPORTS:
            with pytest.raises(NoPath, match="401"):
                await RelayedSocket.open(
                    (LOOPBACK, ours.port), issue(b"other", "ada", 1 << 40), transport, **arguments  # type: ignore[arg-type]
                )  # fmt: skip
        port = ours.port
    with pytest.raises(NoPath, match="can't be reached"):
        await RelayedSocket.open((LOOPBACK, port), valid(), "tcp", **arguments)  # type: ignore[arg-type]


async def test_a_relay_that_dies_is_told_on_a_stream_at_once() -> None:
    """The connection is gone, and with it the address."""
    told: asyncio.Queue[Ended] = asyncio.Queue()
    async with relay() as ours:
        relayed = await RelayedSocket.open(
            (LOOPBACK, ours.port), valid(), "tls", clock=CLOCK, random=system_random,
            on_data=lambda data, peer: None, on_ended=told.put_nowait,
        )  # fmt: skip
    assert await asyncio.wait_for(told.get(), 5) == Ended("lost")
    assert relayed.relayed is None
    await relayed.close()


async def test_streams_of_garbage_are_closed() -> None:
    """HTTP, half a TLS handshake, ChannelData without an end: no octet comes back, no stream stays."""
    async with relay() as ours:
        for garbage in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16garbage that is no hello",
            b"\x40\x00\xff\xff",
            b"\xff",
        ):
            reader, writer = await asyncio.open_connection(LOOPBACK, ours.port)
            writer.write(garbage)
            came = b""
            with contextlib.suppress(ConnectionResetError):
                came = await asyncio.wait_for(reader.read(), 5)
            assert len(came) <= 3 * len(garbage)  # a TLS alert, perhaps
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await until(lambda: not ours.statistics().streams)


async def test_streams_without_an_allocation_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent ones, ones that never end their handshake, and ones that only send Binding requests."""
    monkeypatch.setattr("meshcall.aio.relay.listener.TURN_STREAM_PATIENCE", 0.3)
    async with relay() as ours:
        for begin in (b"", b"\x16", b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)):
            reader, writer = await asyncio.open_connection(LOOPBACK, ours.port)
            writer.write(begin)
            with contextlib.suppress(ConnectionResetError):
                await asyncio.wait_for(reader.read(), 5)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        assert ours.statistics().counters.keys() >= {"stream-idle", "stream-not-made"}


async def test_an_allocation_of_a_client_that_vanished_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is swept when its life is over, though nothing more comes from anybody."""
    monkeypatch.setattr("meshcall.turn.requests.TURN_LIFETIME", 2)
    async with relay() as ours:
        relayed = await RelayedSocket.open(
            (LOOPBACK, ours.port), valid(), "udp", clock=CLOCK, random=system_random,
            on_data=lambda data, peer: None,
        )  # fmt: skip
        transport = cast("asyncio.DatagramTransport", relayed._transport)
        transport.abort()
        assert ours.statistics().allocations == 1
        await until(lambda: not ours.statistics().allocations)
        assert ours.statistics().counters["expired-allocation"] == 1
        await relayed.close()


async def test_one_address_gets_so_many_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those over the quota are closed at once."""
    monkeypatch.setattr("meshcall.aio.relay.listener.TURN_STREAMS_PER_ADDRESS", 3)
    async with relay() as ours:
        streams = [await asyncio.open_connection(LOOPBACK, ours.port) for _ in range(4)]
        closed = b""
        with contextlib.suppress(ConnectionResetError):
            closed = await asyncio.wait_for(streams[3][0].read(), 5)
        assert closed == b""
        assert ours.statistics().counters["stream-over-quota"] == 1
        for _, writer in streams:
            writer.close()


async def test_connections_that_are_made_to_be_closed_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """One address has a burst and then a few a second, however quickly it closes them; the relay goes on."""
    monkeypatch.setattr("meshcall.aio.relay.listener.TURN_STREAMS_PER_ADDRESS", 10)
    async with relay() as ours:
        for _ in range(100):
            _, writer = await asyncio.open_connection(LOOPBACK, ours.port)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await until(lambda: ours.statistics().counters["stream-over-rate"] >= 80)
        await converse(ours.port, "udp")


async def test_a_client_behind_our_private_address_is_a_stranger_to_our_node() -> None:
    """The DHT takes who comes through the relay by its public address, so it is told nothing of the LAN."""

    class Port:
        """In the place of the node's UDP port."""

        def __init__(self) -> None:
            self.sent: list[tuple[bytes, Address]] = []

        def register(self, octets: range, handler: Handler, awaited: object = None) -> None:
            self.receive = handler

        def send(self, data: bytes, address: Address) -> None:
            self.sent.append((data, address))

    public = "198.51.100.9"
    ours = await Relay.open(
        0, secret=SECRET, policy=RelayPolicy(loopback=True),
        context=server_context(None, random=system_random, now_ms=CLOCK.now_ms()), clock=CLOCK,
        random=system_random, hosts=(LOOPBACK,), addresses={4: public},
    )  # fmt: skip
    relayed = await RelayedSocket.open(
        (LOOPBACK, ours.port), valid(), "udp", clock=CLOCK, random=system_random,
        on_data=lambda data, source: None,
    )  # fmt: skip
    assert relayed.relayed is not None
    local, seen = (LOOPBACK, relayed.relayed[1]), relayed.relayed
    assert seen[0] == public
    port, came = Port(), list[tuple[bytes, Address]]()
    carrier = DhtCarrier(port, random=system_random)  # type: ignore[arg-type]
    carrier.outside, carrier.inside = ours.outside, ours.inside
    carrier.register(range(4, 16), lambda data, source: came.append((data, source)))
    port.receive(b"\x04ask", local)
    port.receive(b"\x04ask", (LOOPBACK, 9))
    assert came == [(b"\x04ask", seen), (b"\x04ask", (LOOPBACK, 9))]
    carrier.send(b"\x04answer", seen)
    assert port.sent == [(b"\x04answer", local)]
    await relayed.close()
    await until(lambda: not ours.statistics().allocations)
    assert ours.outside(local) == local
    assert ours.inside(seen) == seen
    await ours.close()


async def test_a_relay_relays_nothing_to_its_own_machine() -> None:
    """Without the switch for tests, loopback peers are refused over the wire, too."""
    came: list[bytes] = []
    async with relay(RelayPolicy()) as ours, echo() as (peer, protocol):
        relayed = await RelayedSocket.open(
            (LOOPBACK, ours.port), valid(), "udp", clock=CLOCK, random=system_random,
            on_data=lambda data, source: came.append(data),
        )  # fmt: skip
        relayed.send_to(peer, b"attack")
        await until(lambda: "refused-403" in ours.statistics().counters)
        await relayed.close()
    assert (came, protocol.sources) == ([], [])


async def test_the_bench_counts_what_arrives() -> None:
    """Four calls of the bench's for half a second through our relay in a process of its own."""
    async with our_relay() as (pid, port):
        load = await asyncio.to_thread(relay_load.run, (LOOPBACK, port), b"bench", pid, calls=4, seconds=0.5)
    assert load.sent >= 4 * 25 * 10
    assert 0 < load.received <= load.sent
    assert load.cpu > 0


async def test_a_taken_port_is_told() -> None:
    """For UDP and for TCP."""
    async with relay() as ours:
        with pytest.raises(PortTaken):
            async with relay(port=ours.port):
                pass
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        with pytest.raises(PortTaken, match="TCP"):
            async with relay(port=other.getsockname()[1]):
                pass


async def test_a_certificate_of_ones_own(tmp_path: Path) -> None:
    """A PEM file with key and certificate; another file is refused with a sentence."""
    pem = tmp_path / "relay.pem"
    pem.write_bytes(make_certificate(system_random, CLOCK.now_ms()))
    async with relay(context=server_context(pem, random=system_random, now_ms=0)) as ours:
        await converse(ours.port, "tls")
    pem.write_bytes(b"nothing")
    for path in (pem, tmp_path / "missing"):
        with pytest.raises(InvalidConfig, match="can't be used"):
            server_context(path, random=system_random, now_ms=0)
