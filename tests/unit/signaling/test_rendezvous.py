"""Where peers meet: epochs, derivation, and that nothing repeats."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from meshcall.errors import Rejected
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.record.codec import RecordType
from meshcall.signaling.rendezvous import (
    Rendezvous,
    RendezvousSecret,
    Series,
    contact_rendezvous,
    epoch_of,
    epochs_near,
    inbox,
    invite_rendezvous,
    next_change_ms,
    reply_box,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "records.json").read_text(encoding="ascii")
)
NOW_MS = 1_800_000_000_000


def peer(number: int) -> PeerId:
    """A peer of its own."""
    return SigningKey.from_seed(number.to_bytes(32, "big")).peer_id


def boundary_after(peer_id: PeerId, now_ms: int) -> int:
    """The first millisecond of the next epoch."""
    low, high = now_ms, now_ms + 900_000
    while high - low > 1:
        middle = (low + high) // 2
        if epoch_of(peer_id, middle) == epoch_of(peer_id, now_ms):
            low = middle
        else:
            high = middle
    return high


def test_golden_rendezvous() -> None:
    """Seed, keys and storage keys are those in the vectors."""
    bob = PeerId.parse(VECTORS["identities"]["bob"]["id"])
    assert epoch_of(bob, VECTORS["now_ms"]) == VECTORS["epoch"]
    contact, invite = VECTORS["contact"], VECTORS["invite"]
    for kind, vector in (("contact", contact), ("invite", invite)):
        series = Series(kind, bytes.fromhex(vector["secret"]))  # type: ignore[arg-type]
        assert series.epoch(VECTORS["now_ms"]) == vector["epoch"]
    for place, expected in (
        (contact_rendezvous(bytes.fromhex(contact["secret"]), contact["epoch"]), contact),
        (invite_rendezvous(bytes.fromhex(invite["secret"]), invite["epoch"]), invite),
        (inbox(bob, VECTORS["epoch"]), VECTORS["inbox"]),
        (reply_box(bytes.fromhex(VECTORS["offer_hash"])), VECTORS["reply_box"]),
    ):
        assert place.signer.seed.hex() == expected["outer_seed"]
        assert place.signer.public.hex() == expected["outer_key"]
        assert place.mask_key.hex() == expected["mask_key"]
        for record_type in RecordType:
            name = f"{record_type.name.lower()}_storage_key"
            assert place.storage_key(record_type).hex() == expected[name]


def test_an_epoch_lasts_900_seconds_and_begins_at_another_time_for_each_peer() -> None:
    """Not all peers move to new storage nodes in the same second."""
    starts = set()
    for number in range(40):
        first = boundary_after(peer(number), NOW_MS)
        assert boundary_after(peer(number), first) - first == 900_000
        shift = int.from_bytes(hashlib.sha256(b"meshcall/1/epoch\0" + peer(number).key).digest()[:4], "big")
        assert (first + shift) % 900_000 == 0
        starts.add(first)
    assert len(starts) == 40


def test_the_neighbour_counts_only_near_a_boundary() -> None:
    """Within 120 s of a boundary both epochs serve, the current one first; else one."""
    bob = peer(2)
    edge = boundary_after(bob, NOW_MS)
    epoch = epoch_of(bob, edge)
    assert epochs_near(bob, edge - 120_001) == (epoch - 1,)
    assert epochs_near(bob, edge - 120_000) == (epoch - 1, epoch)
    assert epochs_near(bob, edge - 1) == (epoch - 1, epoch)
    assert epochs_near(bob, edge) == (epoch, epoch - 1)
    assert epochs_near(bob, edge + 119_999) == (epoch, epoch - 1)
    assert epochs_near(bob, edge + 120_000) == (epoch,)
    assert epochs_near(bob, edge, 900) == (epoch, epoch - 1, epoch + 1)


@pytest.mark.parametrize("offset_ms", [-120_000, -60_000, 0, 60_000, 120_000])
def test_two_clocks_within_two_minutes_always_meet(offset_ms: int) -> None:
    """Whatever the time, the caller's current epoch is one that the callee serves."""
    bob = peer(3)
    for step in range(0, 1_800_000, 7_919):
        now_ms = NOW_MS + step
        assert epoch_of(bob, now_ms + offset_ms) in epochs_near(bob, now_ms)


def test_next_change_is_when_the_set_of_epochs_changes() -> None:
    """Walking from change to change meets every set, and between two of them nothing changes."""
    bob = peer(4)
    now_ms = NOW_MS
    for _ in range(12):
        change = next_change_ms(bob, now_ms)
        assert change > now_ms
        assert set(epochs_near(bob, change - 1)) == set(epochs_near(bob, now_ms))
        assert epochs_near(bob, change) != epochs_near(bob, change - 1)
        now_ms = change


def test_keys_never_repeat_across_epochs_peers_and_offers() -> None:
    """Outer, mask and storage keys of all epochs and peers differ; none can be linked by equality."""
    places = [inbox(peer(number), epoch) for number in range(10) for epoch in range(60)]
    for number in range(5):
        secret = hashlib.sha256(b"secret" + bytes([number])).digest()
        places += [contact_rendezvous(secret, epoch) for epoch in range(60)]
        places += [invite_rendezvous(secret[:16], epoch) for epoch in range(60)]
    # Not even if a secret were another's: each kind has its label
    places += [contact_rendezvous(peer(0).key, epoch) for epoch in range(5)]
    places += [invite_rendezvous(peer(0).key, epoch) for epoch in range(5)]
    places += [reply_box(hashlib.sha256(bytes([number])).digest()) for number in range(100)]
    seen: set[bytes] = set()
    for place in places:
        values = {
            place.signer.public,
            place.mask_key,
            *(place.storage_key(record_type) for record_type in RecordType),
        }
        assert not values & seen
        seen |= values


def test_epochs_of_a_secret_tell_nothing_of_its_owners_id() -> None:
    """They begin at another time than those of the inbox, and so for each secret."""
    begins = {(-Series.of(peer(1)).next_change_ms(0)) % 900_000}
    for number in range(20):
        series = Series("contact", hashlib.sha256(bytes([number])).digest())
        begins.add(boundary_of(series, NOW_MS) % 900_000)
    assert len(begins) == 21
    assert max(begins) - min(begins) > 450_000


def boundary_of(series: Series, now_ms: int) -> int:
    """When the epoch of ``now_ms`` ends."""
    at = now_ms
    while series.epoch(at) == series.epoch(now_ms):
        at = series.next_change_ms(at)
    return at


def test_clocks_two_minutes_apart_meet_at_a_contact_rendezvous() -> None:
    """The same overlap as at an inbox."""
    series = Series("contact", b"s" * 32)
    for now_ms in range(NOW_MS, NOW_MS + 1_800_000, 10_000):
        for offset_ms in (-119_999, 119_999):
            assert series.epoch(now_ms + offset_ms) in series.near(now_ms)


def test_a_secret_comes_back_and_replaces_what_was_before() -> None:
    """36 octets; a new one counts more, also when the last one's number was lost."""
    first = RendezvousSecret.after(0, NOW_MS, lambda size: b"r" * size)
    assert RendezvousSecret.decode_untrusted(first.encode()) == first
    assert len(first.encode()) == 36
    assert RendezvousSecret.after(first.generation, NOW_MS, bytes).generation == first.generation + 1
    assert RendezvousSecret.after(0, NOW_MS + 5000, bytes).generation > first.generation
    assert RendezvousSecret.after(2**32 - 1, NOW_MS, bytes).generation == 2**32 - 1
    assert "r" * 8 not in repr(first).replace("generation", "")
    for wrong in (b"", bytes(36), first.encode()[:-1], first.encode() + b"x"):
        with pytest.raises(Rejected):
            RendezvousSecret.decode_untrusted(wrong)


def test_the_mask_key_is_not_shown() -> None:
    """A rendezvous in a log tells neither the mask key nor the seed."""
    place = inbox(peer(5), 1)
    assert place.mask_key.hex() not in repr(place)
    assert str(place.mask_key) not in repr(place)
    assert place.signer.seed.hex() not in repr(place)


def test_inputs_are_checked() -> None:
    """A hash of another length is a bug; a time before 1970 is epoch 0."""
    with pytest.raises(ValueError, match="32 octets"):
        reply_box(b"short")
    assert epoch_of(peer(1), -(10**15)) == 0
    assert isinstance(inbox(peer(1), 0), Rendezvous)
