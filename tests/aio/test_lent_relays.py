"""Relays that a node lends, on real sockets: on its own port, or a coturn in the place of one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meshcall.address import Address
from meshcall.aio.clock import SystemClock, system_random
from meshcall.aio.dht import DhtNode
from meshcall.aio.ice.port import IcePort
from meshcall.aio.relay import Relay, server_context
from meshcall.aio.turn import RelayedSocket
from meshcall.aio.udp import UdpPort
from meshcall.config import Config
from meshcall.dht.messages import RELAY_GRANTED, RELAY_OFF
from meshcall.errors import InvalidConfig, NoPath, RelayOff
from meshcall.identity.keys import SigningKey
from meshcall.node import Node
from meshcall.stun.message import MessageClass, Method, StunMessage, decode_stun_untrusted
from meshcall.turn.client import Transport
from meshcall.turn.credentials import Credentials
from meshcall.turn.events import Refused, TurnEvent
from meshcall.turn.grant import Ask, Grant
from meshcall.turn.policy import RelayPolicy
from tests.aio.coturn import LOOPBACK, SECRET, configured_coturn, free_port, needs_coturn, run
from tests.aio.test_ice_session import LOOPBACK as LOOPBACK_POLICY
from tests.aio.test_ice_session import End, connect
from tests.aio.test_relay import FLAGS, echo, until, valid

CLOCK = SystemClock()


@contextlib.asynccontextmanager
async def asker() -> AsyncIterator[DhtNode]:
    """A DHT node that asks."""
    udp = await UdpPort.open(0, hosts=(LOOPBACK,))
    node = DhtNode(udp, node_key=SigningKey.generate(system_random), clock=CLOCK, random=system_random)
    await node.start()
    try:
        yield node
    finally:
        await node.close()
        await udp.close()


async def grant_of(node: DhtNode, at: Address) -> Grant:
    """What the node at ``at`` grants."""
    ask = Ask.new((), system_random)
    said = await node.ask_relay(at, ask.key.public, prove=ask.prove)
    assert said is not None
    assert said.reason == RELAY_GRANTED
    assert said.node_id is not None
    return ask.open_untrusted(said.sealed, said.node_id)


async def speak(server: Address, credentials: Credentials, transport: Transport) -> list[TurnEvent]:
    """A datagram to an echo and back through the relay; then what it says of peers that are private."""
    came: asyncio.Queue[bytes] = asyncio.Queue()
    async with echo() as (peer, _):
        relayed = await RelayedSocket.open(
            server,
            credentials,
            transport,
            clock=CLOCK,
            random=system_random,
            on_data=lambda data, source: came.put_nowait(data),
        )
        try:
            relayed.send_to(peer, b"through")
            assert await asyncio.wait_for(came.get(), 5) == b"through"
            said: list[TurnEvent] = []
            events = relayed.client.events

            def kept() -> list[TurnEvent]:
                found = events()
                said.extend(found)
                return found

            relayed.client.events = kept  # type: ignore[method-assign]
            for host in (
                "10.0.0.1",
                "172.16.0.1",
                "192.168.0.1",
                "169.254.169.254",
                "100.64.0.1",
                "224.0.0.1",
            ):
                relayed.permit([host])
            async with asyncio.timeout(5):
                while len(said) < 6:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.01)
            return said
        finally:
            await relayed.close()


@needs_coturn
@pytest.mark.parametrize("own_secret", [False, True], ids=["the daemon's secret", "coturn's secret"])
async def test_a_coturn_behind_the_announcement(tmp_path: Path, own_secret: bool) -> None:
    """A node grants what the coturn takes whose configuration it shows; private peers are denied."""
    port = free_port()
    config = Config(
        home=tmp_path / "ada", mdns=False, lan_only=True, interfaces=("lo",), source="none", coturn=str(port)
    )
    if own_secret:
        (tmp_path / "secret").write_bytes(b"of coturn\n")
        config = config.with_(coturn_secret=tmp_path / "secret")
    async with Node(config) as node, asker() as other:
        shown = node.relay_coturn()
        assert shown.lent
        assert ("static-auth-secret=of coturn\n" in shown.config) is own_secret
        assert node.status().relay.enabled
        async with configured_coturn(tmp_path, shown.config, port):
            for transport in ("udp", "tcp"):
                grant = await grant_of(other, (LOOPBACK, node.port))
                assert (transport, (LOOPBACK, port)) in grant.servers((LOOPBACK, node.port))
                said = await speak((LOOPBACK, port), grant.credentials, transport)
                assert [event.code for event in said if isinstance(event, Refused)] == [403] * 6
            handed = node.relay_credentials(60)
            assert handed.urls[0].endswith(f":{port}?transport=udp")
            await speak((LOOPBACK, port), Credentials(handed.username, handed.password), "udp")
            stolen = Credentials(grant.credentials.username, "guess")
            with pytest.raises(NoPath, match="401"):
                await RelayedSocket.open(
                    (LOOPBACK, port),
                    stolen,
                    "udp",
                    clock=CLOCK,
                    random=system_random,
                    on_data=lambda *_: None,
                )


async def test_a_secret_that_can_not_be_read(tmp_path: Path) -> None:
    """The start fails and says which file."""
    config = Config(
        home=tmp_path / "ada", mdns=False, lan_only=True, source="none", coturn="3478",
        coturn_secret=tmp_path / "none",
    )  # fmt: skip
    with pytest.raises(InvalidConfig, match="coturn-secret"):
        async with Node(config):
            pass


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_relay_on_the_nodes_own_port(transport: Transport) -> None:
    """DHT, STUN of calls and TURN share one UDP port; TCP and TLS are on the same number."""
    udp = await UdpPort.open(0, hosts=(LOOPBACK,))
    port = IcePort(udp, hosts=(LOOPBACK,), answers=True)
    node = DhtNode(udp, node_key=SigningKey.generate(system_random), clock=CLOCK, random=system_random)
    await node.start()
    made = await Relay.open_on(
        udp,
        port,
        tcp_ports=(udp.port,),
        secret=SECRET,
        policy=RelayPolicy(loopback=True),
        context=server_context(None, random=system_random, now_ms=CLOCK.now_ms()),
        clock=CLOCK,
        random=system_random,
    )
    came: asyncio.Queue[bytes] = asyncio.Queue()
    try:
        assert made.tcp_ports == [udp.port]
        async with echo() as (peer, _), asker() as other:
            relayed = await RelayedSocket.open(
                (LOOPBACK, udp.port),
                valid(),
                transport,
                clock=CLOCK,
                random=system_random,
                on_data=lambda data, source: came.put_nowait(data),
            )
            for number in range(20):
                relayed.send_to(peer, bytes((number,)) * 100)
                assert await asyncio.wait_for(came.get(), 5) == bytes((number,)) * 100
            assert await other.ping((LOOPBACK, udp.port)) is not None
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.setblocking(False)
                asking.connect((LOOPBACK, udp.port))
                asking.send(StunMessage(Method.BINDING, MessageClass.REQUEST, bytes(12)).encode())
                answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(asking, 2048), 5)
            assert decode_stun_untrusted(answer).kind is MessageClass.SUCCESS
            await relayed.close()
            async with asyncio.timeout(5):
                while made.allocations:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.01)
    finally:
        await made.close()
        assert port.relay is None
        assert await_nobody(udp)
        await node.close()
        await udp.close()


def await_nobody(udp: UdpPort) -> bool:
    """Whether ChannelData is nobody's now, and the port is still open."""
    return udp._handlers[0x40] is None and bool(udp.families)


async def test_a_flood_of_allocations_on_the_nodes_port_holds_up_no_call() -> None:
    """2,000 requests of a stranger on the port that a call uses: its checks are answered at once."""
    udp = await UdpPort.open(0, hosts=(LOOPBACK,))
    port = IcePort(udp, hosts=(LOOPBACK,), answers=True)
    made = await Relay.open_on(
        udp,
        port,
        tcp_ports=(),
        secret=SECRET,
        policy=RelayPolicy(loopback=True),
        context=server_context(None, random=system_random, now_ms=CLOCK.now_ms()),
        clock=CLOCK,
        random=system_random,
    )
    request = StunMessage(Method.ALLOCATE, MessageClass.REQUEST, bytes(12)).encode()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.connect((LOOPBACK, udp.port))
            call = End(LOOPBACK_POLICY, shared=port)
            await call.gather()
            called = End(LOOPBACK_POLICY)
            for _ in range(2000):
                stranger.send(request)
            began = CLOCK.now()
            await asyncio.wait_for(connect(call, called), 5)
            print(f"connected {CLOCK.now() - began:.3f} s into the flood")
            assert CLOCK.now() - began < 3.0
            await call.close()
            await called.close()
        statistics = made.statistics()
        assert statistics.allocations == 0
        assert statistics.counters["unauthenticated"] <= 2000
    finally:
        await made.close()
        await udp.close()


async def test_a_node_begins_and_ceases_to_lend_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is proven reachable it grants; after that nothing new, but what it lent goes on."""
    proven = True
    monkeypatch.setattr("meshcall.relay_role.lends_by_itself", lambda dht, lan_only: proven)
    monkeypatch.setattr("meshcall.relay_role.RELAY_ROLE_LOOK", 0.05)
    config = Config(home=tmp_path / "ada", mdns=False, lan_only=True, interfaces=("lo",), source="none")
    async with Node(config) as node, asker() as other:
        await until(lambda: node.status().relay.enabled)
        at = (LOOPBACK, node.port)
        grant = await grant_of(other, at)
        assert ("udp", at) in grant.servers(at)
        assert [found for found, _ in other.engine.lenders(CLOCK.now())] == [at]
        relayed = await RelayedSocket.open(
            at, grant.credentials, "udp", clock=CLOCK, random=system_random, on_data=lambda *_: None
        )
        proven = False
        await until(lambda: not node.status().relay.enabled)
        ask = Ask.new((), system_random)
        said = await other.ask_relay(at, ask.key.public, prove=ask.prove)
        assert said is not None
        assert said.reason == RELAY_OFF
        assert node.status().relay.allocations == 1
        with pytest.raises(RelayOff):
            node.relay_credentials(60)
        proven = True
        await until(lambda: node.status().relay.enabled)
        assert (await grant_of(other, at)).credentials != grant.credentials
        await relayed.close()
    async with Node(config.with_(relay=False)) as node:
        await asyncio.sleep(0.2)
        assert not node.status().relay.enabled


@needs_coturn
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_turnutils_uclient_at_a_relay_on_the_nodes_own_port(transport: Transport) -> None:
    """coturn's test program finds nothing unusual there, and loses nothing."""
    udp = await UdpPort.open(0, hosts=(LOOPBACK,))
    port = IcePort(udp, hosts=(LOOPBACK,), answers=True)
    made = await Relay.open_on(
        udp,
        port,
        tcp_ports=(udp.port,),
        secret=SECRET,
        policy=RelayPolicy(loopback=True),
        context=server_context(None, random=system_random, now_ms=CLOCK.now_ms()),
        clock=CLOCK,
        random=system_random,
    )
    try:
        status, said = await run(
            "turnutils_uclient", *FLAGS[transport], "-y", "-c", "-n", "20", "-m", "4", "-l", "172", "-z", "5",
            "-u", "ada", "-W", SECRET.decode(), "-p", str(udp.port), LOOPBACK,
        )  # fmt: skip
        assert status == 0, said
        assert "Total lost packets 0 (0.000000%)" in said, said
        assert made.statistics().to_peers >= 4 * 20 * 172
    finally:
        await made.close()
        await udp.close()
