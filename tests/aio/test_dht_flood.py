"""What a flood costs: ten thousand datagrams a second through the port, the shell and the engine."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator

import pytest

from meshcall.address import Address
from meshcall.aio.dht import DhtNode
from meshcall.aio.udp import UdpPort
from meshcall.dht import messages as m
from meshcall.identity.keys import SigningKey
from meshcall.limits import UDP_BATCH
from meshcall.testing.clock import FakeClock, seeded_random
from tests.yardstick import slowness

SEED = 20
PER_SECOND = 10_000
SECONDS = 3


class Wire:
    """A socket without a network: what is to be read, and how much was sent."""

    def __init__(self) -> None:
        self.incoming: Iterator[tuple[bytes, Address]] = iter(())
        self.sent = 0

    def getsockname(self) -> Address:
        """As a socket's."""
        return "0.0.0.0", 4000

    def fileno(self) -> int:
        """Never polled."""
        return -1

    def recvmsg(self, size: int, about: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, Address]:
        """The next datagram, or as a socket's when there is none."""
        for data, source in self.incoming:
            return data, [], 0, source
        raise BlockingIOError

    def sendto(self, data: bytes, address: Address) -> None:
        """Gone."""
        self.sent += 1

    def close(self) -> None:
        """As a socket's."""


class Loop:
    """The part of an event loop that a port uses."""

    def add_reader(self, *args: object) -> None:
        """The test reads."""

    def remove_reader(self, fd: int) -> None:
        """The test reads."""


def junk(rng: random.Random) -> bytes:
    """Random octets behind the first one of the DHT."""
    return b"\x04" + rng.randbytes(rng.randrange(1, 1199))


def broken(rng: random.Random) -> bytes:
    """A request with one octet wrong, which may still be a request."""
    frame = bytearray(asked(rng))
    frame[rng.randrange(1, 60)] ^= rng.randrange(1, 256)
    return bytes(frame)


def asked(rng: random.Random) -> bytes:
    """A good find_node."""
    return m.encode_frame(m.FindNode(rng.randbytes(8), rng.randbytes(20), 0, rng.randbytes(20), bytes(344)))


def reply(rng: random.Random) -> bytes:
    """A good reply to nothing."""
    nodes = rng.randbytes(520)
    head = rng.randbytes(8), rng.randbytes(20), 0, bytes(6), bytes(8)
    return m.encode_frame(m.Nodes(*head, nodes, b""))


def forged(rng: random.Random) -> bytes:
    """A store with a token and a record that are none."""
    return m.encode_frame(
        m.Store(rng.randbytes(8), rng.randbytes(20), 0, rng.randbytes(8), rng.randbytes(933), 0)
    )


@pytest.mark.parametrize("make", [junk, broken, asked, reply, forged])
@pytest.mark.parametrize("senders", [PER_SECOND * SECONDS, 50])
def test_ten_thousand_a_second_cost_less_than_half_a_core(
    make: Callable[[random.Random], bytes], senders: int
) -> None:
    """Whether each comes from an address of its own or all from fifty; the first second has the bursts."""
    rng = random.Random(SEED)
    hosts = [f"{rng.randrange(11, 126)}.{rng.randbytes(1)[0]}.{n >> 8}.{n & 255}" for n in range(senders)]
    flood = [(make(rng), (hosts[n % senders], 4000)) for n in range(PER_SECOND * SECONDS)]

    async def run() -> float:
        clock, wire = FakeClock(), Wire()
        port = UdpPort({4: wire}, Loop())  # type: ignore[dict-item] # no network here
        node = DhtNode(
            port,
            node_key=SigningKey.from_seed(rng.randbytes(32)),
            clock=clock,
            random=seeded_random("flood"),
            router=True,
        )
        await node.start()
        costs = []
        for second in range(SECONDS):
            begun = time.thread_time()
            for start in range(0, PER_SECOND, UDP_BATCH):
                at = second * PER_SECOND + start
                wire.incoming = iter(flood[at : min(at + UDP_BATCH, (second + 1) * PER_SECOND)])
                clock.advance(UDP_BATCH / PER_SECOND)
                port._read(4)
            costs.append(time.thread_time() - begun)
        assert port.statistics().received == len(flood)
        await node.close()
        return min(costs[1:])

    slower = slowness()
    cost = asyncio.run(run())
    slower = max(slower, slowness())
    print(f"seed {SEED}: {cost:.3f} s of a core for {PER_SECOND} of {make.__name__}, {senders} senders")
    print(f"this machine is {slower:.2f} times as slow as that of the figures")
    assert cost < 0.5 * slower
