"""A minute of junk at a callee, while a contact calls it."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from meshcall.aio.clock import SystemClock, system_random
from meshcall.aio.dht import DhtNode
from meshcall.aio.udp import UdpPort
from meshcall.config import Config
from meshcall.dht.messages import Deliver, FindNode, FindValue, Ping, Store, encode_frame
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.node import Node
from meshcall.testing.testnet import Testnet
from tests.attacks.capture import Capture
from tests.attacks.flooder import write_datagrams
from tests.attacks.strangers import Stranger, find
from tests.netns.flood import mutate, noise
from tests.yardstick import slowness

HERE = Path(__file__).parent
SEED = 20261
RATE = 10_000
STRANGERS_PER_SECOND = 20
LATER_MAX = 2.0
"""Seconds that the flood may add to the time until it rings."""
MEMORY_MAX_KIB = 20 * 1024
CPU_MAX = 0.6
"""Of one core; 0.3 to 0.5 are usual."""


class Callee:
    """The process of callee.py."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._rings: dict[str, asyncio.Queue[float]] = {}
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            if "ring" in told:
                self._rings.setdefault(told["ring"], asyncio.Queue()).put_nowait(told["at"])
            else:
                self._lines.put_nowait(told)

    async def hears(self) -> dict[str, Any]:
        """Its next line that is not about a ringing call."""
        async with asyncio.timeout(20):
            return await self._lines.get()

    async def asks(self, line: str) -> dict[str, Any]:
        """What it answers to ``line``."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        return await self.hears()

    async def stats(self) -> dict[str, Any]:
        """Its figures."""
        told: dict[str, Any] = (await self.asks("stats"))["stats"]
        return told

    async def ring(self, who: str) -> float:
        """When the next call of ``who`` rings, on the clock of this machine."""
        return await self._rings.setdefault(who, asyncio.Queue()).get()

    async def stop(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(20):
            await self._process.wait()
        await self._reading


@asynccontextmanager
async def callee(home: Path, testnet: Testnet) -> AsyncIterator[Callee]:
    """A node in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.attacks.callee",
        home,
        *testnet.bootstrap,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=HERE.parents[1],
    )
    made = Callee(process)
    try:
        yield made
    finally:
        await made.stop()


def junk(
    rng: random.Random, genuine: list[bytes], records: list[bytes], node_ids: list[bytes]
) -> Iterator[bytes]:
    """Without end: noise, damaged frames, well-formed requests, and writes with tokens that are none."""

    def head() -> tuple[bytes, bytes, int]:
        return rng.randbytes(8), rng.choice([*node_ids, rng.randbytes(20)]), rng.randrange(2)

    while True:
        yield noise(rng)
        yield mutate(rng, genuine)
        yield encode_frame(
            rng.choice(
                [
                    Ping(*head(), rng.randbytes(16), bytes(100)),
                    FindNode(*head(), rng.randbytes(20), bytes(300)),
                    FindValue(*head(), rng.randbytes(20), b"", b"", bytes(300)),
                ]
            )
        )
        record = rng.choice(records)
        yield encode_frame(
            rng.choice(
                [
                    Store(*head(), rng.randbytes(8), record, 0),
                    Deliver(*head(), rng.randbytes(8), record, rng.randbytes(20), rng.randbytes(8)),
                ]
            )
        )


async def ring_times(
    alice: Node, bob: Callee, who: PeerId, until: float, pause: float
) -> tuple[list[float], list[float]]:
    """Alice calls until then; seconds until each call rang there, and until she was told."""
    rang, told = [], []
    while time.monotonic() < until:
        alice._finder.forget(who)  # the whole way each time, look-up included
        began = time.monotonic()
        call = await alice.call(who)
        async with asyncio.timeout(30):
            rang.append(await bob.ring(alice.id_text()) - began)
            summary = await call.wait_ended()
        assert summary.reason == "declined"
        told.append(summary.timeline["ringing"] / 1000)
        await asyncio.sleep(pause)
    return rang, told


async def pester(dht: DhtNode, who: PeerId, port: int) -> int:
    """Strangers with valid offers, straight to the callee; how many were sent. Ends when it is cancelled."""
    found, sent = await find(dht, who), 0
    try:
        while True:
            record, _ = Stranger().offer(found)
            await asyncio.wait(
                [asyncio.ensure_future(dht.deliver(record, at=[("127.0.0.1", port)], only=True))], timeout=1
            )
            sent += 1
            await asyncio.sleep(1 / STRANGERS_PER_SECOND)
    except asyncio.CancelledError:
        return sent


def shown(times: list[float]) -> str:
    """In words."""
    return (
        f"median {statistics.median(times) * 1000:.0f} ms, most {max(times) * 1000:.0f} ms, n = {len(times)}"
    )


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("senders", "tokens", "seconds"), [(1, False, 15), (211, True, 60)], ids=["one-address", "botnet"]
)
async def test_a_contact_rings_through_a_flood(
    tmp_path: Path, senders: int, tokens: bool, seconds: float
) -> None:
    """10,000 datagrams a second for a minute from many addresses that hold tokens: each call rings in time.

    So it does when one address floods. Memory stays, and the flood does not take the core.
    """
    rng = random.Random(SEED)
    slower = slowness()
    async with Testnet(8) as testnet, callee(tmp_path / "bob", testnet) as bob:
        capture = Capture()
        capture.attach(testnet)
        started = await bob.hears()
        who, port = PeerId.parse(started["id"]), started["port"]
        config = Config(
            home=tmp_path / "alice",
            mdns=False,
            bootstrap=testnet.bootstrap,
            interfaces=("lo",),
            source="none",
        )
        async with Node(config) as alice:
            await bob.asks(alice.id_text())
            while (await bob.stats())["watches"] < 4 or alice.status().dht.watches < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            baseline, baseline_told = await ring_times(alice, bob, who, time.monotonic() + 6, 0.3)
            udp = await UdpPort.open(0, hosts=("127.0.0.1",))
            dht = DhtNode(
                udp,
                node_key=SigningKey.generate(system_random),
                clock=SystemClock(),
                random=system_random,
            )
            await dht.start()
            await dht.bootstrap(testnet.addresses[:3])
            found = await find(dht, who)
            records = [Stranger().offer(found)[0] for _ in range(20)]
            node_ids = [node.node_id for node in testnet.nodes]
            genuine = [d.data for d in capture.datagrams if not d.received and d.other[1] == port]
            source = junk(rng, genuine, records, node_ids)
            write_datagrams(tmp_path / "junk", [next(source) for _ in range(40_000)])
            pestering = asyncio.create_task(pester(dht, who, port))
            before = await bob.stats()
            flooder = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.attacks.flooder",
                tmp_path / "junk",
                "127.0.0.1",
                str(port),
                str(RATE),
                str(seconds),
                str(senders),
                *(["tokens"] if tokens else []),
                stdout=asyncio.subprocess.PIPE,
                cwd=HERE.parents[1],
            )
            await asyncio.sleep(1)
            flooded, flooded_told = await ring_times(alice, bob, who, time.monotonic() + seconds - 4, 1.5)
            after = await bob.stats()
            output, _ = await flooder.communicate()
            pestering.cancel()
            offers = await pestering
            end = await bob.stats()
            await dht.close()
            await udp.close()
    sent = json.loads(output)
    reached = sent["sent"] / sent["seconds"]
    cpu = (after["cpu"] - before["cpu"]) / (after["at"] - before["at"])
    grown = end["rss_kib"] - before["rss_kib"]
    print(f"\nseed {SEED}, {senders} senders: {reached:.0f} datagrams/s for {sent['seconds']:.0f} s")
    print(f"rings there: without {shown(baseline)}; with {shown(flooded)}")
    print(f"caller told: without {shown(baseline_told)}; with {shown(flooded_told)}")
    slower = max(slower, slowness())
    print(f"this machine is {slower:.2f} times as slow as that of the figures")
    print(f"{cpu:.2f} of a core, {grown / 1024:+.1f} MiB; {offers} offers of strangers besides")
    print(f"received {end['received'] - before['received']}, dropped by the kernel {end['dropped']}")
    print(Counter(end["counters"]) - Counter(before["counters"]))
    assert reached > RATE * 0.9
    assert max(flooded) < max(baseline) + LATER_MAX
    assert grown < MEMORY_MAX_KIB
    assert cpu < CPU_MAX * slower
    assert end["received"] + end["dropped"] > sent["sent"] * 0.9, "the flood did not arrive"
