"""The store: places, numbers, lives, caps, eviction."""

from __future__ import annotations

import pytest

from meshcall.identity.keys import SigningKey
from meshcall.record.codec import VALUE_SIZES, Record, RecordType, sign_record
from meshcall.record.store import RecordStore, StoreResult

SIGNER = SigningKey.from_seed(bytes(32))
FAR = "8.8.8.8"


def a_record(
    seq: int = 1,
    *,
    record_type: RecordType = RecordType.INBOX,
    fill: int = 0,
    ttl: int = 600,
    signer: SigningKey = SIGNER,
) -> Record:
    """A signed record of one repeated octet."""
    return sign_record(signer, record_type, seq, ttl, bytes([fill]) * VALUE_SIZES[record_type][0])


def unsigned(number: int, *, ttl: int = 600, record_type: RecordType = RecordType.INBOX) -> Record:
    """A record under its own key; the store never looks at signatures, and thousands of them take time."""
    key = number.to_bytes(32, "big")
    return Record(record_type, key, 1, ttl, bytes(VALUE_SIZES[record_type][0]), bytes(64))


def address(number: int) -> str:
    """A public IPv4 address of its own /24."""
    return f"11.{number >> 8 & 255}.{number & 255}.1"


def test_a_stored_record_comes_back_until_its_ttl_is_over() -> None:
    """Lives are relative and monotonic; at the deadline nothing is left."""
    store = RecordStore()
    record = a_record(ttl=60)
    assert store.put(record, FAR, 1000.0) is StoreResult.STORED
    assert store.get(record.storage_key, 1059.9) == [record.encode()]
    assert store.deadline() == 1060.0
    assert store.get(record.storage_key, 1060.0) == []
    assert store.expire(1060.0) == 1
    assert (len(store), store.deadline()) == (0, None)
    assert store.statistics().octets == store.statistics().sources == store.statistics().keys == 0


def test_a_ttl_above_the_cap_of_its_type_is_cut() -> None:
    """Even a record that was decoded elsewhere can't stay longer than its type allows."""
    store = RecordStore()
    store.put(unsigned(1, ttl=2**32 - 1), FAR, 0.0)
    assert store.deadline() == 600.0


def test_newer_numbers_replace_older_ones_of_the_same_network() -> None:
    """One source network has one value per key and type: the newest."""
    store = RecordStore()
    old, new = a_record(5), a_record(6, fill=1)
    assert store.put(old, "11.0.0.1", 0.0) is StoreResult.STORED
    assert store.put(new, "11.0.0.99", 1.0) is StoreResult.REPLACED
    assert store.get(old.storage_key, 1.0) == [new.encode()]
    assert store.put(old, "11.0.0.1", 2.0) is StoreResult.STALE
    assert store.put(a_record(6, fill=2), "11.0.0.1", 2.0) is StoreResult.CONFLICT
    assert store.get(old.storage_key, 2.0) == [new.encode()]


def test_the_same_octets_again_lengthen_nothing() -> None:
    """Somebody who stores an old record again and again can't keep it alive."""
    store = RecordStore()
    record = a_record(ttl=100)
    store.put(record, FAR, 0.0)
    assert store.put(record, FAR, 90.0) is StoreResult.UNCHANGED
    assert store.get(record.storage_key, 100.0) == []


def test_another_network_can_not_replace_a_value() -> None:
    """Whoever knows an ID can sign any number for its inbox; what others stored there stays."""
    store = RecordStore()
    honest, forged = a_record(5), a_record(2**64 - 1, fill=9)
    store.put(honest, "11.0.0.1", 0.0)
    assert store.put(forged, "12.0.0.1", 1.0) is StoreResult.STORED
    assert store.get(honest.storage_key, 1.0) == [honest.encode(), forged.encode()]
    newer = a_record(6, fill=1)
    assert store.put(newer, "11.0.0.1", 2.0) is StoreResult.REPLACED
    assert store.get(honest.storage_key, 2.0) == [newer.encode(), forged.encode()]


def test_each_address_of_a_lan_is_its_own_network() -> None:
    """All peers of a meeting without internet share one /24."""
    store = RecordStore()
    for host in range(1, 5):
        record = a_record(host, fill=host)
        assert store.put(record, f"192.168.7.{host}", 0.0) is StoreResult.STORED
    assert len(store) == 4
    assert store.put(a_record(9), "fe80::1%eth0", 0.0) is StoreResult.STORED
    assert store.put(a_record(9, fill=1), "fe80::2%eth0", 0.0) is StoreResult.STORED


def test_ipv6_networks_are_a_48_and_mapped_addresses_are_ipv4() -> None:
    """A host can't use its many IPv6 addresses to take more places."""
    store = RecordStore()
    assert store.put(a_record(1), "2600:1:2:3::1", 0.0) is StoreResult.STORED
    assert store.put(a_record(2), "2600:1:2:ffff::1", 0.0) is StoreResult.REPLACED
    assert store.put(a_record(1), "2600:1:3::1", 0.0) is StoreResult.STORED
    assert store.put(a_record(1), "11.0.0.1", 0.0) is StoreResult.STORED
    assert store.put(a_record(2), "::ffff:11.0.0.2", 0.0) is StoreResult.REPLACED


def test_types_do_not_crowd_each_other_out() -> None:
    """An inbox that is full of messages still takes the presence that shares its key, and the reverse."""
    store = RecordStore()
    for number in range(8):
        assert store.put(a_record(number), address(number), 0.0) is StoreResult.STORED
    assert store.put(a_record(9), address(9), 0.0) is StoreResult.KEY_FULL
    presence = a_record(1, record_type=RecordType.PRESENCE)
    assert store.put(presence, address(9), 0.0) is StoreResult.STORED
    assert store.get(presence.storage_key, 0.0, (RecordType.PRESENCE,)) == [presence.encode()]
    assert len(store.get(presence.storage_key, 0.0)) == 9
    assert store.put(a_record(99), address(3), 1.0) is StoreResult.REPLACED, "a full key still updates"


def test_a_full_key_has_room_again_when_a_value_expires() -> None:
    """Refusal lasts only as long as the values do."""
    store = RecordStore()
    for number in range(8):
        store.put(a_record(number, ttl=10 + number), address(number), 0.0)
    assert store.put(a_record(9), address(9), 9.9) is StoreResult.KEY_FULL
    assert store.put(a_record(9), address(9), 10.0) is StoreResult.STORED


def test_100_000_stores_from_one_host_leave_room_for_others() -> None:
    """One address holds at most 64 values, one /24 at most 512, whatever it sends."""
    store = RecordStore()
    for number in range(100_000):
        store.put(unsigned(number), "11.0.0.1", 0.0)
    assert len(store) == 64
    assert store.statistics().results == {"stored": 64, "source-full": 99_936, "expired": 0}
    for number in range(20_000):
        store.put(unsigned(200_000 + number), f"11.0.0.{number % 256}", 0.0)
    assert len(store) == 512
    assert store.put(unsigned(1), FAR, 0.0) is StoreResult.STORED


def test_100_000_stores_from_many_hosts_keep_the_total_and_the_own_records() -> None:
    """Caps hold under a flood from everywhere, and our own records survive it."""
    store = RecordStore()
    own = a_record(1, record_type=RecordType.PRESENCE, ttl=7200)
    assert store.put(own, "", 0.0, pinned=True) is StoreResult.STORED
    for number in range(100_000):
        store.put(unsigned(number), address(number % 2000), 0.0)
    statistics = store.statistics()
    assert statistics.values == 4096
    assert statistics.octets <= 4 * 1024 * 1024
    assert store.get(own.storage_key, 0.0) == [own.encode()]
    assert statistics.results["evicted"] > 0


def test_octets_are_capped_too() -> None:
    """Large values fill the store before the count does."""
    store = RecordStore(max_octets=2000)
    for number in range(5):
        store.put(unsigned(number), address(number), float(number))
    assert (len(store), store.statistics().octets) == (2, 2 * 677)


def test_a_full_store_drops_what_expires_first_but_nothing_of_its_own() -> None:
    """Eviction order is by expiry; pinned values are passed over, and when only they are left it refuses."""
    store = RecordStore(max_values=3)
    own = a_record(1, ttl=10)
    store.put(own, "", 0.0, pinned=True)
    store.put(unsigned(1, ttl=200), address(1), 0.0)
    store.put(unsigned(2, ttl=100), address(2), 0.0)
    assert store.put(unsigned(3, ttl=50), address(3), 0.0) is StoreResult.STORED
    keys = {number: unsigned(number).storage_key for number in (1, 2, 3)}
    assert [bool(store.get(keys[number], 0.0)) for number in (1, 2, 3)] == [True, False, True]
    assert store.get(own.storage_key, 0.0) == [own.encode()]
    assert store.deadline() == 10.0
    full = RecordStore(max_values=1)
    full.put(own, "", 0.0, pinned=True)
    assert full.put(unsigned(1), FAR, 0.0) is StoreResult.STORE_FULL


def test_a_remote_store_never_touches_an_own_value() -> None:
    """A newer number from the network does not replace or hide what we published ourselves."""
    store = RecordStore()
    own, forged = a_record(5), a_record(2**64 - 1, fill=9)
    store.put(own, "", 0.0, pinned=True)
    for source in ("", "own", "127.0.0.1", FAR):
        store.put(forged, source, 0.0)
    assert store.get(own.storage_key, 0.0)[0] == own.encode()


def test_own_values_can_be_withdrawn() -> None:
    """What is not ours any more is not answered any more."""
    store = RecordStore()
    own = a_record(5)
    store.put(own, "", 0.0, pinned=True)
    assert store.remove_own(own.storage_key, RecordType.INBOX)
    assert not store.remove_own(own.storage_key, RecordType.INBOX)
    assert store.get(own.storage_key, 0.0) == []


def test_the_same_octets_from_two_networks_are_answered_once() -> None:
    """A reply does not repeat itself."""
    store = RecordStore()
    record = a_record(1)
    store.put(record, "11.0.0.1", 0.0)
    store.put(record, "12.0.0.1", 0.0)
    assert store.get(record.storage_key, 0.0) == [record.encode()]


def test_replacing_for_ever_does_not_grow_the_queue() -> None:
    """A publisher that renews each second costs one value, also inside."""
    store = RecordStore()
    for seq in range(5000):
        store.put(Record(RecordType.INBOX, bytes(32), seq, 600, bytes(565), bytes(64)), FAR, seq / 100)
    assert len(store) == 1
    assert len(store._heap) < 100


def test_a_source_that_is_no_address_is_counted_as_it_is() -> None:
    """Nothing raises for an odd source text."""
    store = RecordStore()
    assert store.put(a_record(1), "not an address", 0.0) is StoreResult.STORED
    assert store.put(a_record(2), "not an address", 0.0) is StoreResult.REPLACED


@pytest.mark.parametrize("result", list(StoreResult))
def test_kept_tells_the_three_good_results(result: StoreResult) -> None:
    """A node acknowledges a store exactly when the octets are there."""
    assert result.kept == (result in ("stored", "replaced", "unchanged"))
