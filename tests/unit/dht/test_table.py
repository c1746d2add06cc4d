"""The routing table: exact, bounded, fair to those who answer."""

from __future__ import annotations

import random
import time

import pytest

from meshcall.dht.contact import Contact, node_id_of, proof_message
from meshcall.dht.table import Table
from meshcall.limits import DHT_BUCKETS_MAX, DHT_K


def contact(node_id: bytes | int, host: int = 1) -> Contact:
    """A contact at an address of its own."""
    if isinstance(node_id, int):
        node_id = node_id.to_bytes(20, "big")
    return Contact(node_id, (f"10.{host >> 16 & 255}.{host >> 8 & 255}.{host & 255}", 4000))


@pytest.mark.parametrize("n", [1, 19, 50, 200, 1000])
def test_closest_is_the_true_closest(n: int) -> None:
    """Recall 1.00: the k closest of all contacts in the table, in order, for any target."""
    rng = random.Random(n)
    table = Table(rng.randbytes(20))
    for index in range(n):
        table.add_contact(contact(rng.randbytes(20), index))
    known = list(table)
    for _ in range(50):
        target = rng.randbytes(20)
        goal = int.from_bytes(target, "big")
        expected = sorted(known, key=lambda c: c.long_id ^ goal)[:DHT_K]
        assert table.closest(target, DHT_K) == expected
        assert table.find_neighbors(contact(target)) == expected


def test_unhealthy_contacts_are_left_out_on_request() -> None:
    """Others are not sent to contacts that failed to answer us."""
    table = Table(bytes(20))
    good, bad = contact(1 << 100), contact(1 << 101)
    table.add_contact(good)
    table.add_contact(bad)
    bad.failures = 1
    assert table.closest(bytes(20), 5, healthy=True) == [good]
    assert table.closest(bytes(20), 5) == [good, bad]


def test_every_id_has_one_bucket() -> None:
    """Also the ids at the borders of ranges, where kademlia takes the wrong neighbour."""
    rng = random.Random(3)
    table = Table(bytes(20))
    for index in range(500):
        table.add_contact(contact(rng.randbytes(20), index))
    for bucket in table.buckets:
        for border in bucket.range:
            node_id = border.to_bytes(20, "big")
            assert table.bucket(node_id) is bucket
            assert table.buckets[table.get_bucket_for(contact(border))] is bucket


def test_ids_have_exactly_twenty_octets() -> None:
    """Padded, short, empty and non-octet ids make no contact."""
    for wrong in (b"", bytes(19), bytes(21), b"\0" + bytes(20), "x" * 20, 7, None):
        with pytest.raises(ValueError):
            Contact(wrong, ("10.0.0.1", 1))  # type: ignore[arg-type] # on purpose


def test_buckets_are_bounded_whatever_ids_come() -> None:
    """1,000 ids ground to share long prefixes with ours: at most 160 buckets, and quick."""
    own = random.Random(1).randbytes(20)
    table = Table(own)
    long_id = int.from_bytes(own, "big")
    started = time.thread_time()
    for index in range(1000):
        depth = index % 161
        table.add_contact(contact((long_id ^ (1 << depth) ^ index) % (1 << 160), index))
    assert len(table.buckets) <= DHT_BUCKETS_MAX
    assert time.thread_time() - started < 2.0
    assert own not in [c.id for c in table]
    assert all(len(bucket) <= DHT_K for bucket in table.buckets)


def test_equal_distances_do_not_crash() -> None:
    """Two contacts of one id at two addresses still have an order."""
    one, other = contact(5, 1), contact(5, 2)
    assert one < other
    assert one != other
    assert sorted([other, one]) == [one, other]
    assert len({one, other, contact(5, 1)}) == 2
    assert one != "one"


def test_a_live_contact_is_never_pushed_out() -> None:
    """A full bucket queues newcomers; only a removal makes room for one."""
    table = Table(bytes(20))
    top = 1 << 159
    first = [contact(top + index, index) for index in range(DHT_K)]
    assert [table.add_contact(c) for c in first] == [True] * DHT_K
    late = contact(top + 100, 100)
    table.add_contact(contact(1, 200))  # the near half splits off
    assert table.wants(late.id)
    assert not table.add_contact(late)
    assert not table.wants(late.id)
    assert table.get(late.id) is None
    assert len(table) == DHT_K + 1
    table.remove_contact(first[3])
    assert table.get(late.id) is late


def test_queue_of_a_full_bucket_is_bounded() -> None:
    """Newcomers beyond the queue are not even wanted."""
    table = Table(bytes(20))
    top = 1 << 159
    for index in range(200):
        table.add_contact(contact(top + index, index))
    bucket = table.bucket(top.to_bytes(20, "big"))
    assert len(bucket) == DHT_K
    assert len(bucket.replacement_nodes) <= DHT_K
    assert not table.wants((top + 999).to_bytes(20, "big"))


def test_own_id_is_no_contact() -> None:
    """Nobody can put us into our own table."""
    table = Table(b"\x01" * 20)
    assert not table.wants(b"\x01" * 20)
    assert not table.add_contact(contact(b"\x01" * 20))
    assert len(table) == 0


def test_answers_move_a_contact_back() -> None:
    """The longest silent is first in its bucket."""
    table = Table(bytes(20))
    one, two = contact(1 << 120, 1), contact(1 << 121, 2)
    table.add_contact(one)
    table.add_contact(two)
    one.failures = 1
    table.seen(one, 50.0)
    assert (one.failures, one.last_seen) == (0, 50.0)
    assert list(table) == [two, one]
    table.flush()
    assert len(table) == 0


def test_node_id_and_proof() -> None:
    """The id is a hash of the key; the proof names challenge, both ids and the address."""
    assert node_id_of(bytes(32)).hex() == "24ebc5067443a1ed7dedb26e21e52031cbf96067"
    assert (
        proof_message(b"c" * 16, b"r" * 20, b"q" * 20, b"o" * 6)
        == b"c" * 16 + b"r" * 20 + b"q" * 20 + b"o" * 6
    )
    assert repr(contact(1)).startswith("<Contact 00000000 10.0.0.1:4000")
