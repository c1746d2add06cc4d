"""Traffic that somebody recorded, and the callee's whole disk, stolen later."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshcall.aio.files import StateDb, load_key, open_home
from meshcall.errors import Rejected
from meshcall.identity.peer_id import PeerId
from meshcall.identity.prekeys import PrekeyRing
from meshcall.node import Node
from meshcall.post import Post
from meshcall.record.codec import RecordType, decode_record_untrusted
from meshcall.signaling.envelope import open_message_untrusted
from meshcall.signaling.presence import presence_hash, read_presence_untrusted
from meshcall.signaling.rendezvous import epochs_near, inbox
from meshcall.signaling.replay import ReplayCache
from meshcall.testing.testnet import Testnet
from tests.attacks.capture import Capture
from tests.attacks.nodes import SetClock, answered, config_of, ended, play_media, reachable, until
from tests.attacks.test_privacy import records_in

SEED = 20263
DAY_S = 86_400
CALLS = 6


def stolen(home: Path, loot: Path) -> Path:
    """All files of a home, as they lie there now."""
    shutil.copytree(home, loot, ignore=shutil.ignore_patterns("*.sock"))
    return loot


def octets_of(loot: Path) -> bytes:
    """All files one after the other."""
    return b"\0\0\0\0".join(path.read_bytes() for path in sorted(loot.rglob("*")) if path.is_file())


def holds(loot: Path, secret: bytes) -> bool:
    """Whether it lies anywhere in the files, as octets or as digits."""
    octets = octets_of(loot)
    return secret in octets or secret.hex().encode() in octets


def opened(loot: Path, records: set[bytes], then_ms: int) -> Iterator[bytes]:
    """The bodies of offers and hang-ups among ``records`` that the thief of ``loot`` can open.

    It has the identity, what prekeys there are, and a clock that it can set back.
    """
    me = PeerId.from_key(load_key(open_home(loot), None).public)
    state = StateDb.open(loot / "state.db", now_ms=then_ms)
    ring = PrekeyRing.from_state(state.prekeys())
    state.close()
    decoded = [decode_record_untrusted(record) for record in records]
    for epoch in epochs_near(me, then_ms, 900):
        place = inbox(me, epoch)
        presences = [
            presence_hash(read_presence_untrusted(record, me, place, then_ms))
            for record in decoded
            if record.type is RecordType.PRESENCE and record.key == place.signer.public
        ]
        replay = ReplayCache()
        for record in decoded:
            if record.type is not RecordType.INBOX or record.key != place.signer.public:
                continue
            try:
                message = open_message_untrusted(
                    record,
                    me=me,
                    find_prekey=lambda number: prekey.key if (prekey := ring.find(number)) else None,
                    rendezvous=place,
                    now_ms=then_ms,
                    replay=replay,
                    admit=lambda sender, kind: True,
                    known_presences=presences,
                )
            except Rejected as rejected:
                if rejected.reason != "bind":  # of a hang-up to its offer: opened all the same
                    continue
                yield b"a hang-up"
            else:
                yield repr(message).encode()


async def test_what_was_recorded_stays_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two days later nothing on the disk opens it, and no octets of the old private halves are left.

    Neither in the database nor in its log, whether the node ran on or was started again after it.
    """
    print(f"seed {SEED}")
    play_media(monkeypatch, SEED)
    capture, clock, ids = Capture(), SetClock(), set[str]()
    async with Testnet(5) as testnet:
        capture.attach(testnet)
        async with (
            Node(config_of(tmp_path / "alice", testnet), clock=clock) as alice,
            Node(config_of(tmp_path / "bob", testnet), clock=clock) as bob,
        ):
            await reachable(alice)
            await reachable(bob)
            then_ms = clock.now_ms()
            private: list[bytes] = []
            for number in range(CALLS):
                caller, callee = (alice, bob) if number % 2 else (bob, alice)
                call = await caller.call(callee.peer_id)
                theirs = await answered(callee, ids)
                private += [sent.reply_key.private for sent in caller._post._boxes.values()]
                await theirs.answer()
                await call.wait_connected()
                await call.hangup()
                await ended(theirs)
            early = [stolen(tmp_path / name, tmp_path / f"{name}-early") for name in ("alice", "bob")]
            prekeys = [
                node._post._where._prekeys.current(then_ms, _none).key.private for node in (alice, bob)
            ]
            # Stolen at once, it does open: the search is able to find
            assert all(holds(loot, key) for loot, key in zip(early, prekeys, strict=True))
            recorded = records_in(datagram.data for datagram in capture.datagrams)
            assert sum(len(list(opened(loot, recorded, then_ms))) for loot in early) >= CALLS
            clock.shift_s += 1.2 * DAY_S  # the next prekey is made
            await renewed(alice, bob)
            clock.shift_s += 0.9 * DAY_S  # the first is older than two days
            await renewed(alice, bob)
            loots = [stolen(tmp_path / name, tmp_path / f"{name}-late") for name in ("alice", "bob")]
            assert (tmp_path / "bob-late" / "state.db-wal").exists(), "the log is part of what is stolen"
        loots += [stolen(tmp_path / name, tmp_path / f"{name}-stopped") for name in ("alice", "bob")]
        for loot in loots:
            assert not any(holds(loot, key[:16]) or holds(loot, key[16:]) for key in [*prekeys, *private])
            assert list(opened(loot, recorded, then_ms)) == []


async def test_a_machine_that_slept_forgets_when_it_wakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped for two days, the old private half is on the disk until the next start, and then it is gone."""
    play_media(monkeypatch, SEED)
    clock = SetClock()
    async with Testnet(3) as testnet:
        config = config_of(tmp_path / "bob", testnet)
        async with Node(config, clock=clock) as bob:
            key = bob._post._where._prekeys.current(clock.now_ms(), _none).key.private
        assert holds(stolen(config.home, tmp_path / "before"), key)
        clock.shift_s += 2.1 * DAY_S
        async with Node(config, clock=clock):
            after = stolen(config.home, tmp_path / "after")
        assert not any(holds(after, half) for half in (key[:16], key[16:]))


async def renewed(*nodes: Node) -> None:
    """Each has looked at what is to be renewed, as it does once a minute."""
    for node in nodes:
        node._post.hasten()
        now_ms = node._clock.now_ms()

        def is_renewed(post: Post = node._post, now_ms: int = now_ms) -> bool:
            ages = [now_ms - prekey.created_ms for prekey in post._where._prekeys._prekeys.values()]
            young = min(ages) < DAY_S * 1000 and max(ages) < 2 * DAY_S * 1000
            return young and post._where._prekeys_saved == post._where._prekeys.revision

        await until(is_renewed)


def _none(size: int) -> bytes:
    raise AssertionError("there is a current prekey")
