"""The routing table: exact, bounded, fair to those who answer."""

from __future__ import annotations

import random
import time

import pytest

from meshcall.dht.contact import Contact, node_id_of, proof_message
from meshcall.dht.table import Bucket, Table
from meshcall.limits import DHT_BUCKETS_MAX, DHT_K, DHT_PER_NETWORK


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


def test_a_contact_is_small() -> None:
    """No dictionary of its own, and no number that follows from its id: tables are most of an engine."""
    one = contact(1 << 100)
    one.failures += 1
    one.last_seen = 7.0
    assert vars(one) == {}
    assert (one.long_id, one.port, one.address) == (1 << 100, 4000, (one.ip, 4000))


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
    assert table.wants(late.id, late.ip)
    assert not table.add_contact(late)
    assert not table.wants(late.id, late.ip)
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
    assert not table.wants((top + 999).to_bytes(20, "big"), "10.0.0.1")


def test_own_id_is_no_contact() -> None:
    """Nobody can put us into our own table."""
    table = Table(b"\x01" * 20)
    assert not table.wants(b"\x01" * 20, "10.0.0.1")
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


# --- networks ---


def spread(rng: random.Random, count: int, network: str) -> list[Contact]:
    """Contacts with random ids in one network."""
    return [Contact(rng.randbytes(20), (f"{network}{i + 1}", 4000)) for i in range(count)]


@pytest.mark.parametrize("network", ["45.1.2.", "2600:1:2:0::"])
def test_one_network_has_two_places_in_a_bucket_and_in_a_result(network: str) -> None:
    """Of 200 ids at one /24 or /48 at most two enter each bucket, and two stand in a result."""
    rng = random.Random(31)
    table = Table(bytes(20))
    for contact in spread(rng, 100, network):
        table.add_contact(contact)
    assert len(table) == DHT_PER_NETWORK
    for contact in [Contact(rng.randbytes(20), (f"46.{i}.1.1", 1)) for i in range(200)]:
        table.add_contact(contact)
    for contact in spread(rng, 100, network):
        table.add_contact(contact)
    for bucket in table.buckets:
        assert sum(c.ip.startswith(network) for c in bucket.contacts()) <= DHT_PER_NETWORK
    for _ in range(20):
        result = table.closest(rng.randbytes(20), 20)
        assert len(result) == 20
        assert sum(c.ip.startswith(network) for c in result) <= DHT_PER_NETWORK


@pytest.mark.parametrize(
    ("network", "one_network"), [("10.1.2.", False), ("fd00:1:2::", False), ("45.1.2.", True)]
)
def test_networks_are_not_counted_on_a_lan(network: str, one_network: bool) -> None:
    """Private addresses, and a table of one LAN, take as many of a /24 as there is room for."""
    table = Table(bytes(20), one_network=one_network)
    for contact in spread(random.Random(32), 100, network):
        table.add_contact(contact)
    assert len(table) >= 20
    assert len(table.closest(bytes(20), 20)) == 20


def test_a_crowded_network_makes_nobody_split_or_wait() -> None:
    """Its ids cause no split, and its queue is as short as its places are few."""
    table = Table(bytes(20))
    for contact in spread(random.Random(33), 100, "45.1.2."):
        table.add_contact(contact)
    assert len(table.buckets) == 1
    assert len(table.buckets[0].replacement_nodes) == DHT_PER_NETWORK


def test_who_waits_takes_a_place_only_if_its_network_has_one() -> None:
    """The newest that waits is passed over when two of its network are in."""
    rng = random.Random(34)
    table = Table(bytes(20), 4)
    far = [(1 << 159 | rng.getrandbits(158)).to_bytes(20, "big") for _ in range(7)]
    places = ["45.1.1.1", "45.1.1.2", "45.2.1.1", "45.3.1.1", "45.4.1.1", "45.1.1.3"]
    near = [Contact(bytes([0, i]) + rng.randbytes(18), (f"47.{i}.1.1", 1)) for i in range(4)]
    contacts = [Contact(i, (ip, 1)) for i, ip in zip(far, places, strict=False)]
    for contact in (*near, *contacts):
        table.add_contact(contact)
    table.remove_contact(contacts[2])
    bucket = table.bucket(far[0])
    assert {c.ip for c in bucket.contacts()} == {"45.1.1.1", "45.1.1.2", "45.3.1.1", "45.4.1.1"}
    table.remove_contact(contacts[0])
    assert {c.ip for c in bucket.contacts()} == {"45.1.1.2", "45.3.1.1", "45.4.1.1", "45.1.1.3"}


def test_who_waits_in_one_table_waits_in_no_other() -> None:
    """Buckets where nobody waits share one dict: it must never be written to."""
    full, other = Bucket(0, 1 << 159, ksize=1), Bucket(0, 1 << 159, ksize=1)
    assert full.add_node(contact(1, 1))
    assert not full.add_node(contact(2, 2))
    assert [waiting.long_id for waiting in full.replacement_nodes.values()] == [2]
    assert not other.replacement_nodes
    full.remove_node(contact(1, 1))
    assert [place.long_id for place in full.nodes.values()] == [2]
    assert not full.replacement_nodes
