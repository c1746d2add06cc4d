"""Storage nodes that conspire and keep everything: what they have of a hundred calls."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from itertools import combinations
from pathlib import Path

import pytest

from meshcall.dht.messages import decode_frame_untrusted
from meshcall.errors import Rejected
from meshcall.node import Node
from meshcall.record.codec import RecordType, decode_record_untrusted
from meshcall.testing.testnet import Testnet
from tests.attacks.capture import Capture, Detector, kept, windows
from tests.attacks.nodes import SetClock, Stage, answered, config_of, ended, play_media, reachable, until

SEED = 20262
EPOCHS = 4
CALLS = 100
BETWEEN_S = 1200
"""From one round to the next: an epoch and both its overlaps, so that no two rounds share one."""
NAMES = {"alice": "Alice Liddell of Oxford", "bob": "Robert Dodgson", "carol": "Carol from the cellar"}
SIZES = {RecordType.PRESENCE: {308}, RecordType.MAILBOX: {677, 933}, RecordType.INBOX: {677, 933}}


def frames(datagrams: Iterable[bytes]) -> Iterator[object]:
    """Those that are frames of the DHT."""
    for data in datagrams:
        try:
            yield decode_frame_untrusted(data)
        except Rejected:
            continue


def records_in(datagrams: Iterable[bytes]) -> set[bytes]:
    """Every record that travelled, in whatever frame."""
    found: set[bytes] = set()
    for frame in frames(datagrams):
        found |= {
            record for record in [getattr(frame, "record", b""), *getattr(frame, "values", [])] if record
        }
    return found


def keys_in(datagrams: Iterable[bytes]) -> set[bytes]:
    """Every storage key that a peer named: of records, watches and finds of values."""
    found = {decode_record_untrusted(record).storage_key for record in records_in(datagrams)}
    for frame in frames(datagrams):
        found |= {key for key in (getattr(frame, "key", b""), getattr(frame, "reply_watch", b"")) if key}
        if type(frame).__name__ == "FindValue":
            found.add(frame.target)  # type: ignore[attr-defined]
    return found


def varying(record: bytes) -> bytes:
    """A record without what is the same in all records of the world: version, type, time, sizes, suite."""
    sealed = record[1] != RecordType.PRESENCE
    return record[2:34] + record[49 if sealed else 48 :]


def secrets_of(nodes: dict[str, Node], stage: Stage, call_ids: Iterable[str]) -> Detector:
    """What nobody else may learn."""
    detector = Detector()
    for name, node in nodes.items():
        detector.add(
            f"ID of {name}", node.peer_id.key, node.id_text().encode(), node.id_text().upper().encode()
        )
        detector.add(f"name of {name}", NAMES[name].encode())
        detector.add(f"rendezvous secret of {name}", node._handover._keys.current.secret)
        for prekey in node._post._where._prekeys._prekeys.values():
            detector.add(f"prekey of {name}", prekey.key.public, prekey.key.private)
    for description in stage.descriptions:
        detector.add("ufrag", description.ufrag.encode())
        detector.add("pwd", description.pwd.encode())
        detector.add("fingerprint", description.fingerprint, description.fingerprint.hex().encode())
        for candidate in description.candidates:
            packed = ipaddress.ip_address(candidate.address).packed
            detector.add("candidate", packed + candidate.port.to_bytes(2, "big"))
            detector.add("candidate as text", candidate.address.encode())
            detector.add("candidate as text", f"{candidate.address}:{candidate.port}".encode())
    for call_id in call_ids:
        detector.add("call id", bytes.fromhex(call_id), call_id.encode())
    return detector


async def many_calls(nodes: dict[str, Node], count: int, ids: set[str], turn: int) -> Counter[str]:
    """Calls in turn, of each kind of end; how they ended."""
    reasons: Counter[str] = Counter()
    pairs = [(a, b) for a in nodes for b in nodes if a != b]
    for number in range(count):
        caller, callee = pairs[(turn + number) % len(pairs)]
        call = await nodes[caller].call(nodes[callee].peer_id, timeout=10)
        theirs = await answered(nodes[callee], ids)
        match number % 3:
            case 0:
                await theirs.answer()
                async with asyncio.timeout(10):
                    await call.wait_connected()
                await (call if number % 2 else theirs).hangup()
            case 1:
                await theirs.decline()
            case 2:
                await call.hangup()
        ids.add(call.id)
        for summary in await asyncio.gather(ended(call), ended(theirs)):
            reasons[summary.reason] += 1
    return reasons


@pytest.mark.timeout(120)
async def test_storage_nodes_learn_nothing_from_a_hundred_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In nothing that they receive, send and keep is an ID, a name, an address, a credential or a call id.

    Sizes are those of the classes, no key serves two epochs, and nothing but what all records of the world
    share is the same in two records of one peer in two epochs.
    """
    print(f"seed {SEED}")
    stage, clock, capture = play_media(monkeypatch, SEED), SetClock(), Capture()
    ids: set[str] = set()
    reasons: Counter[str] = Counter()
    held: set[bytes] = set()
    async with AsyncExitStack() as stack:
        testnet = await stack.enter_async_context(Testnet(12))
        capture.attach(testnet)
        nodes = {
            name: await stack.enter_async_context(
                Node(config_of(tmp_path / name, testnet, name=NAMES[name]), clock=clock)
            )
            for name in NAMES
        }
        for epoch in range(EPOCHS):
            for node in nodes.values():
                if epoch:
                    node._post.hasten()
                    for other in nodes.values():
                        node._finder.forget(other.peer_id)
            await asyncio.sleep(0.3)  # old watches are given back
            for node in nodes.values():
                await reachable(node)
            # and no request about the last epoch is under way any more, however slow this machine is
            await until(lambda: not any(node.dht.state().open_requests for node in nodes.values()))
            capture.phase = epoch
            reasons += await many_calls(nodes, CALLS // EPOCHS, ids, turn=epoch)
            held |= set(kept(testnet))
            capture.phase = None
            clock.shift_s += BETWEEN_S
        detector = secrets_of(nodes, stage, ids)
        ports = {node.port: name for name, node in nodes.items()}
    seen = [datagram.data for datagram in capture.datagrams]
    print(
        f"{len(seen)} datagrams, {sum(map(len, seen))} octets, {len(detector)} windows; ends: {dict(reasons)}"
    )
    assert sum(reasons.values()) == 2 * CALLS
    assert len(stage.descriptions) > CALLS
    assert held
    assert detector.find([*seen, *held]) == set()
    check_sizes(records_in(seen) | held)
    check_epochs(capture)
    check_links(capture, ports)


def check_sizes(records: set[bytes]) -> None:
    """One size for presences, two for messages."""
    sizes: defaultdict[RecordType, set[int]] = defaultdict(set)
    for record in records:
        sizes[decode_record_untrusted(record).type].add(len(record))
    print({kind.name: found for kind, found in sizes.items()})
    assert sizes == SIZES


def check_epochs(capture: Capture) -> None:
    """No storage key and no outer key is seen in two epochs."""
    keys: list[set[bytes]] = []
    for epoch in range(EPOCHS):
        data = [d.data for d in capture.datagrams if d.phase == epoch]
        outer = {decode_record_untrusted(record).key for record in records_in(data)}
        assert outer
        keys.append(keys_in(data) | outer)
    assert min(map(len, keys)) > 2 * CALLS // EPOCHS, "an inbox of each peer, a reply box of each call"
    for one, other in combinations(keys, 2):
        assert not one & other


def check_links(capture: Capture, ports: dict[int, str]) -> None:
    """What a peer writes in two epochs shares no eight octets anywhere, and no four at one place."""
    pairs = 0
    for port in ports:
        epochs = [
            {
                varying(record)
                for record in records_in(
                    d.data
                    for d in capture.datagrams
                    if d.phase == epoch and d.received and d.other[1] == port
                )
            }
            for epoch in range(EPOCHS)
        ]
        for one, other in combinations(epochs, 2):
            pairs += 1
            assert one
            assert other
            assert not {w for r in one for w in windows(r)} & {w for r in other for w in windows(r)}
            assert not aligned(one) & aligned(other)
    assert pairs == 3 * EPOCHS * (EPOCHS - 1) // 2


def aligned(records: Iterable[bytes]) -> set[tuple[int, bytes]]:
    """(place, four octets) at every fourth place: a field that stays would show."""
    return {(at, record[at : at + 4]) for record in records for at in range(0, len(record) - 3, 4)}


# --- the capture can see ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ID of bob", "candidate", "ufrag", "call id", "name of bob"])
async def test_the_capture_finds_what_is_planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Eight octets of a secret in one datagram to one storage node are found."""
    stage, capture = play_media(monkeypatch, SEED), Capture()
    async with Testnet(3) as testnet, Node(config_of(tmp_path / "bob", testnet)) as bob:
        capture.attach(testnet)
        await reachable(bob)
        stage.description("actpass")
        call_id = stage.random.randbytes(16)
        detector = secrets_of({"bob": bob}, stage, [call_id.hex()])
        assert detector.find(d.data for d in capture.datagrams) == set()
        candidate = stage.descriptions[0].candidates[0]
        secret = {
            "ID of bob": bob.peer_id.key[11:19],
            "candidate": ipaddress.ip_address(candidate.address).packed + candidate.port.to_bytes(2, "big"),
            "ufrag": stage.descriptions[0].ufrag.encode()[2:10],
            "call id": call_id[8:],
            "name of bob": NAMES["bob"].encode()[3:11],
        }[kind]
        before = len(capture.datagrams)
        bob._udp.send(b"\x04junk" + secret + b"junk", testnet.addresses[1])
        async with asyncio.timeout(5):
            while not detector.find(d.data for d in capture.datagrams[before:]):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert detector.find(d.data for d in capture.datagrams) == {kind}


def test_the_comparison_of_epochs_finds_a_field_that_stays() -> None:
    """Four octets at one place, as an unmasked prekey id would be, are found."""
    one, other = bytes(range(100)), bytes(range(100, 200))
    assert not aligned([one]) & aligned([other])
    assert aligned([one]) & aligned([other[:36] + one[36:40] + other[40:]])
