"""kill -9 at any moment, and damaged files: nothing acknowledged is lost, nothing rings twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from meshcall.aio.clock import system_random
from meshcall.aio.files import StateDb
from meshcall.aio.udp import UdpPort
from meshcall.config import Config
from meshcall.control import models
from meshcall.control.client import ControlClient
from meshcall.dht.contact import Contact
from meshcall.dht.saved import checked_table, encode_table
from meshcall.errors import MeshcallError
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.letters import SentOffer
from meshcall.node import Node
from meshcall.paths import HomePaths
from meshcall.post import Post
from meshcall.record.codec import Record
from meshcall.testing.testnet import Testnet
from tests.daemon.conftest import Daemon, StartDaemon

KILLS = 24
START_WITHIN = 1.5
"""Seconds from start to joined through a saved table that is mostly dead."""


def flags(net: Testnet) -> list[str]:
    """A daemon that uses that network and nothing else."""
    return ["--no-mdns", "--source", "none", "--bootstrap", net.bootstrap[0]]


def watch_sequences(net: Testnet) -> list[int]:
    """The sequence numbers of all records that nodes of ``net`` are given from now on."""
    seen: list[int] = []

    def listening(check: Callable[..., Record]) -> Callable[..., Record]:
        def checked(data: bytes, at: bytes | None = None) -> Record:
            record = check(data, at)
            seen.append(record.seq)
            return record

        return checked

    for node in net.nodes:
        node.engine._core.check_record = listening(node.engine._core.check_record)
    return seen


def add_until_it_dies(home: Path, rng: random.Random, acknowledged: list[str]) -> None:
    """Contacts, one after the other; those that the daemon said yes to."""
    client = ControlClient(HomePaths(home))
    while True:
        peer = PeerId.from_key(SigningKey.from_seed(rng.randbytes(32)).public)
        name = f"c{rng.getrandbits(64):x}"
        try:
            client.send("POST", "contacts", body=models.AddContact(peer=peer.text, name=name))
        except (MeshcallError, OSError, ValueError):
            return
        acknowledged.append(peer.text)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_two_dozen_kills_lose_nothing(home: Path, start_daemon: StartDaemon) -> None:
    """Contacts that were acknowledged are there, sequence numbers only grow, the saved table is whole.

    Every second kill hits a daemon that is stopping, and so writing its files.
    """
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    acknowledged: list[str] = []
    last, began = 0, time.monotonic()
    async with Testnet(4) as net:
        sent = watch_sequences(net)
        for kill in range(KILLS):
            before = len(sent)
            daemon: Daemon = await asyncio.to_thread(start_daemon, home, *flags(net))
            listed = await asyncio.to_thread(ControlClient(HomePaths(home)).get, "contacts")
            assert set(acknowledged) <= {contact["peer_id"] for contact in listed["contacts"]}
            adding = asyncio.create_task(asyncio.to_thread(add_until_it_dies, home, rng, acknowledged))
            await asyncio.sleep(rng.uniform(0.0, 0.4))
            if kill % 2:
                daemon.process.send_signal(signal.SIGTERM)
                await asyncio.sleep(rng.uniform(0.0, 0.1))
            daemon.process.kill()
            await asyncio.to_thread(daemon.process.wait)
            await adding
            assert all(seq > last for seq in sent[before:]), "a sequence number went back"
            state = StateDb.open(home / "state.db")
            noted = state.last_sequence(b"post")
            assert not state.warnings
            state.close()
            assert noted >= max(sent[before:], default=0), "a number was sent before it was on the disk"
            last = max(last, noted)
            if (home / "dht.state").exists():
                checked_table((home / "dht.state").read_bytes())
    assert [name for name in os.listdir(home) if "corrupt" in name] == []  # noqa: PTH208 - as it is short
    print(
        f"{KILLS} kills, {len(acknowledged)} contacts, {len(sent)} records, {time.monotonic() - began:.1f} s"
    )
    assert len(acknowledged) > KILLS
    assert len(set(sent)) > KILLS / 2


class Spy:
    """Keeps the offers that a node's post delivers."""

    def __init__(self, post: Post) -> None:
        self.sent: list[SentOffer] = []
        self._deliver = post.deliver_offer
        post.deliver_offer = self.deliver  # type: ignore[method-assign]

    async def deliver(self, sent: SentOffer, *arguments: Any, **named: Any) -> None:
        """Note it and go on."""
        self.sent.append(sent)
        await self._deliver(sent, *arguments, **named)


async def until(test: Callable[[], Any], seconds: float = 15.0) -> Any:
    """What ``test`` returns as soon as that is something."""
    async with asyncio.timeout(seconds):
        while not (found := await asyncio.to_thread(test)):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
    return found


@pytest.mark.timeout(90)
async def test_an_offer_that_rang_before_a_kill_does_not_ring_after_the_restart(
    home: Path, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    """The same octets again, through the DHT and straight to the daemon's port, over real sockets."""
    async with Testnet(6) as net:
        bob: Daemon = await asyncio.to_thread(start_daemon, home, *flags(net))
        client = ControlClient(HomePaths(home))
        who = (await asyncio.to_thread(client.get, "status"))["peer_id"]
        await until(lambda: client.get("status")["dht"]["watches"] >= 4)
        config = Config(
            home=tmp_path / "alice", mdns=False, mainline=False, source="none", bootstrap=net.bootstrap
        )
        async with Node(config) as alice:
            spy = Spy(alice._post)
            await until(lambda: alice.status().dht.nodes >= 4)
            call = await alice.call(who)
            await until(lambda: [one for one in client.get("calls")["calls"] if one["state"] == "incoming"])
            bob.process.kill()
            await asyncio.to_thread(bob.process.wait)
            await call.hangup()
            (record,) = {sent.record for sent in spy.sent}

            await asyncio.to_thread(start_daemon, home, *flags(net))
            status = await until(lambda: client.get("status"))
            assert status["peer_id"] == who
            await until(lambda: client.get("status")["dht"]["watches"] >= 4)
            refused = client.get("status")["counters"].get("letter-replay", 0)
            direct = await alice._dht.deliver(record, at=[("127.0.0.1", status["port"])], only=True)
            await alice._dht.deliver(record)
            await until(lambda: client.get("status")["counters"].get("notified", 0))
            await asyncio.sleep(1.0)
            status = await asyncio.to_thread(client.get, "status")
            calls = (await asyncio.to_thread(client.get, "calls"))["calls"]
        print({name: n for name, n in status["counters"].items() if "letter" in name or "notif" in name})
        assert direct.asked == 1
        assert status["counters"]["letter-replay"] + refused >= 1
        assert [one for one in calls if one["state"] == "incoming"] == []
        assert status["calls"] == 0


def flipped(data: bytes, rng: random.Random) -> bytes:
    """With a hundred octets that are others."""
    damaged = bytearray(data)
    for _ in range(100):
        damaged[rng.randrange(len(damaged))] ^= rng.randrange(1, 256)
    return bytes(damaged)


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flipped": flipped,
    "head gone": lambda data, rng: rng.randbytes(64) + data[64:],
    "truncated": lambda data, rng: data[: len(data) // 2],
    "zeroed": lambda data, rng: bytes(len(data)),
    "empty": lambda data, rng: b"",
}


def put(path: Path, data: bytes) -> None:
    """Make it the file's content; a database's log goes."""
    path.write_bytes(data)
    path.chmod(0o600)
    for log in ("-wal", "-shm"):
        path.with_name(path.name + log).unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_it_starts_with_each_state_file_damaged(home: Path, start_daemon: StartDaemon) -> None:
    """Database and saved table: set aside, and the daemon works. The key: a clear error, and it is kept."""
    print("seed 5")
    rng = random.Random(5)
    async with Testnet(6) as net:
        daemon: Daemon = await asyncio.to_thread(start_daemon, home, *flags(net))
        client = ControlClient(HomePaths(home))
        await until(lambda: client.get("status")["dht"]["nodes"] >= 4)
        assert await asyncio.to_thread(daemon.stop) == 0
        for name in ("state.db", "dht.state"):
            whole = (home / name).read_bytes()
            assert len(whole) > 100
            for damage, spoil in DAMAGES.items():
                put(home / name, spoil(whole, rng))
                daemon = await asyncio.to_thread(start_daemon, home, *flags(net))
                status = await until(lambda: client.get("status"))
                print(f"{name} {damage}: {status['warnings']}")
                assert status["warnings"] or damage == "flipped", (name, damage)
                await until(lambda: client.get("status")["dht"]["nodes"] >= 4)
                peer = PeerId.from_key(SigningKey.from_seed(rng.randbytes(32)).public)
                body = models.AddContact(peer=peer.text, name=f"zoë {damage}")
                await asyncio.to_thread(partial(client.send, "POST", "contacts", body=body))
                assert await asyncio.to_thread(daemon.stop) == 0, (name, damage)
                put(home / name, whole)
        key = (home / "identity.key").read_bytes()
        for damage, spoil in DAMAGES.items():
            spoilt = spoil(key, rng)
            (home / "identity.key").write_bytes(spoilt)
            daemon = start_daemon(home, *flags(net), ready=False)
            assert await asyncio.to_thread(daemon.process.wait, 20) == 7, damage
            assert "error: " in daemon.log.read_text()
            assert "Traceback" not in daemon.log.read_text()
            assert (home / "identity.key").read_bytes() == spoilt


@pytest.mark.timeout(60)
async def test_a_start_from_a_saved_table_that_is_mostly_dead_is_fast(tmp_path: Path) -> None:
    """20 contacts, 15 of them silent: all are asked at once, and joined and watched in about a second."""
    async with Testnet(5) as net:
        silent = [await UdpPort.open(0, hosts=("127.0.0.1",)) for _ in range(15)]
        contacts = [Contact(node.node_id, at) for node, at in zip(net.nodes, net.addresses, strict=True)]
        contacts += [Contact(system_random(20), ("127.0.0.1", port.port)) for port in silent]
        random.Random(1).shuffle(contacts)
        home = tmp_path / "home"
        home.mkdir(mode=0o700)
        (home / "dht.state").write_bytes(encode_table(contacts))
        (home / "dht.state").chmod(0o600)
        began = time.monotonic()
        config = Config(home=home, mdns=False, mainline=False, source="none")
        async with Node(config) as node:
            while node.status().dht.nodes < 5:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.005)
            joined = time.monotonic() - began
            while node.status().dht.watches < 5:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            watched = time.monotonic() - began
            await asyncio.sleep(2.0)
            rungs = {view.rung: (view.asked, view.answered) for view in node.status().dht.bootstrap}
        for port in silent:
            await port.close()
    print(f"joined {joined:.2f} s after the start, watched after {watched:.2f} s; {rungs}")
    assert watched < START_WITHIN
    assert rungs["saved"][0] == 20
    assert rungs["saved"][1] >= 1
