"""Prekeys turn over every day, live two days, and are gone after that, whatever the clock does."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from meshcall import limits
from meshcall.identity.keys import AgreementKey
from meshcall.identity.prekeys import Prekey, PrekeyRing

HOUR = 3_600_000
START = 1_800_000_000_000


def dice() -> Callable[[int], bytes]:
    """A random source that gives something new each time."""
    count = 0

    def random(n: int) -> bytes:
        nonlocal count
        count += 1
        return sha256(count.to_bytes(8, "big")).digest()[:n]

    return random


def test_a_prekey_is_published_for_a_day() -> None:
    """The same one for 24 hours, then another."""
    ring, random = PrekeyRing(), dice()
    first = ring.current(START, random)
    assert first.id != 0
    assert first.created_ms == START
    assert ring.current(START + 24 * HOUR - 1, random) is first
    second = ring.current(START + 24 * HOUR, random)
    assert second.id != first.id
    assert second.key.private != first.key.private
    assert ring.find(first.id) is first
    assert ring.find(second.id) is second


def test_private_halves_are_dropped_after_two_days() -> None:
    """At 48 hours it is gone from the ring and from what is written to disk."""
    ring, random = PrekeyRing(), dice()
    first = ring.current(START, random)
    assert not ring.expire(START + 48 * HOUR - 1)
    assert ring.find(first.id) is first
    assert ring.expire(START + 48 * HOUR)
    assert ring.find(first.id) is None
    assert ring.to_state() == []


def test_the_revision_tells_when_to_write() -> None:
    """It changes with every new and every dropped key, and with nothing else."""
    ring, random = PrekeyRing(), dice()
    seen = [ring.revision]
    ring.current(START, random)
    seen.append(ring.revision)
    ring.current(START + 1, random)
    assert ring.revision == seen[-1]
    ring.expire(START + 48 * HOUR)
    seen.append(ring.revision)
    assert seen == sorted(set(seen))


def test_state_round_trip() -> None:
    """What was written is what is read."""
    ring, random = PrekeyRing(), dice()
    first = ring.current(START, random)
    second = ring.current(START + 25 * HOUR, random)
    again = PrekeyRing.from_state(ring.to_state())
    assert len(again) == 2
    for prekey in (first, second):
        found = again.find(prekey.id)
        assert found is not None
        assert (found.key.private, found.created_ms) == (prekey.key.private, prekey.created_ms)
    assert again.current(START + 26 * HOUR, random).id == second.id


def test_damaged_entries_are_left_out() -> None:
    """Damage costs one key, not the start."""
    good = {"id": 7, "private": "05" * 32, "created_ms": START}
    bad = [
        {},
        {**good, "id": 0},
        {**good, "id": 2**32},
        {**good, "id": "7"},
        {**good, "private": "05" * 31},
        {**good, "private": "zz"},
        {**good, "private": None},
        {**good, "created_ms": None},
    ]
    ring = PrekeyRing.from_state([*bad, good])
    assert len(ring) == 1
    assert ring.find(7) is not None


def test_a_clock_that_was_ahead_leaves_no_key_for_ever() -> None:
    """A key dated far in the future is dropped; one dated a little ahead is kept but not published."""
    random = dice()
    far = PrekeyRing([Prekey(1, AgreementKey.generate(random), START + 400 * 24 * HOUR)])
    assert far.current(START, random).id != 1
    assert far.find(1) is None
    near = PrekeyRing([Prekey(1, AgreementKey.generate(random), START + HOUR)])
    assert near.current(START, random).id != 1
    assert near.find(1) is not None
    assert not near.expire(START + 40 * HOUR)
    assert near.current(START + 49 * HOUR, random).id != 1
    assert near.find(1) is None


def test_a_small_step_back_of_the_clock_changes_nothing() -> None:
    """Within the skew that peers forgive, the same key is published."""
    ring, random = PrekeyRing(), dice()
    first = ring.current(START, random)
    assert ring.current(START - 100_000, random) is first


def test_a_clock_that_jumps_about_does_not_fill_the_ring() -> None:
    """At most 8 keys, and the one just made is among them."""
    ring, random = PrekeyRing(), dice()
    for turn in range(50):
        made = ring.current(START + (turn * 13 % 40) * HOUR, random)
        assert ring.find(made.id) is made
        assert len(ring) <= limits.PREKEYS_MAX


def test_ids_are_never_zero_and_never_twice() -> None:
    """A random source that repeats itself is asked again."""
    answers = iter([bytes(4), b"\0\0\0\1", b"k" * 32, b"\0\0\0\1", bytes(4), b"\0\0\0\2", b"l" * 32])
    ring = PrekeyRing()
    assert ring.current(START, lambda n: next(answers)).id == 1
    assert ring.current(START + 25 * HOUR, lambda n: next(answers)).id == 2


def test_nothing_private_is_shown() -> None:
    """repr of a prekey and of a ring hold no private half."""
    ring = PrekeyRing()
    prekey = ring.current(START, dice())
    private = prekey.key.private
    for shown in (repr(prekey), repr(ring), str(prekey)):
        assert private.hex()[:8] not in shown
        assert repr(private)[2:10] not in shown
