"""The small parts: alarms, caches, round-trip estimates, tokens, watches, the saved table."""

from __future__ import annotations

import pytest

from meshcall.address import Address
from meshcall.dht.alarms import Alarms
from meshcall.dht.caches import ExpiringCache
from meshcall.dht.contact import Contact
from meshcall.dht.rtt import RttBook
from meshcall.dht.saved import decode_table_untrusted, encode_table
from meshcall.dht.tokens import TokenMint
from meshcall.dht.watches import WatchBook
from meshcall.errors import Rejected
from meshcall.limits import (
    DHT_RTT_KEPT,
    DHT_SAVED_CONTACTS_MAX,
    DHT_SOFT_TIMEOUT_MAX,
    DHT_SOFT_TIMEOUT_MIN,
    DHT_SOFT_TIMEOUT_UNKNOWN,
    DHT_STATE_MAX,
    DHT_TOKEN_ROTATION,
    DHT_WATCH_LEASE,
    DHT_WATCHERS_PER_KEY,
    DHT_WATCHES_MAX,
    DHT_WATCHES_PER_IP,
)
from meshcall.testing import seeded_random

HERE: Address = ("192.0.2.1", 4000)


def test_alarms_run_in_order_and_not_when_cancelled() -> None:
    """Due alarms run by time, then by age; a cancelled one never; a new one waits for the next run."""
    alarms, ran = Alarms(), list[str]()
    alarms.set(2.0, lambda now: ran.append("two"))
    alarms.set(1.0, lambda now: ran.append("one"))
    alarms.set(1.0, lambda now: ran.append("one more"))
    gone = alarms.set(0.5, lambda now: ran.append("never"))
    gone.cancel()
    assert alarms.deadline() == 1.0
    alarms.run(0.9)
    assert ran == []
    alarms.set(1.5, lambda now: ran.append(f"sets {alarms.set(now, lambda now: ran.append('later')).when}"))
    alarms.run(2.0)
    assert ran == ["one", "one more", "sets 2.0", "two"]
    alarms.run(2.0)
    assert ran[-1] == "later"
    assert alarms.deadline() is None


def test_an_alarm_may_cancel_another_that_is_due() -> None:
    """Both are due: the first one's word counts."""
    alarms, ran = Alarms(), list[str]()
    second = alarms.set(2.0, lambda now: ran.append("second"))
    alarms.set(1.0, lambda now: second.cancel())
    alarms.run(5.0)
    assert ran == []


def test_cache_has_a_cap_and_a_lifetime() -> None:
    """The oldest goes first; nothing outlives its time."""
    cache: ExpiringCache[int, str] = ExpiringCache(2, 10.0)
    cache.put(1, "a", 0.0)
    cache.put(2, "b", 1.0)
    cache.put(1, "c", 2.0)
    cache.put(3, "d", 3.0)
    assert (cache.get(1, 4.0), cache.get(2, 4.0), cache.get(3, 4.0)) == ("c", None, "d")
    assert cache.get(1, 12.0) is None
    assert len(cache) == 1
    cache.discard(3)
    cache.discard(3)
    assert len(cache) == 0
    cache.put(4, "e", 5.0)
    cache.clear()
    assert cache.get(4, 5.0) is None


def test_soft_timeouts_follow_the_round_trip() -> None:
    """Known nodes get what they need within bounds; strangers 200 ms, or more where all others need more."""
    book = RttBook()
    assert book.soft_timeout(HERE) == DHT_SOFT_TIMEOUT_UNKNOWN
    assert book.rtt(HERE) is None
    for _ in range(30):
        book.sample(HERE, 0.05)
    assert book.soft_timeout(HERE) == DHT_SOFT_TIMEOUT_MIN
    assert book.rtt(HERE) == pytest.approx(0.05)
    slow = RttBook()
    slow.sample(("192.0.2.9", 1), 0.6)
    assert slow.soft_timeout(HERE) == DHT_SOFT_TIMEOUT_MAX
    for index in range(3 * DHT_RTT_KEPT):
        book.sample((f"10.0.{index // 256}.{index % 256}", 1), 0.1)
    assert len(book) == DHT_RTT_KEPT


def test_tokens_are_bound_to_address_and_time() -> None:
    """Good for the address it was given to, through one rotation, and for nobody else."""
    mint = TokenMint(seeded_random(1), 0.0)
    token = mint.token(HERE, 1.0)
    assert len(token) == 8
    assert mint.check(token, HERE, 2.0)
    for other in (("192.0.2.2", 4000), ("192.0.2.1", 4001), ("2001:db8::1", 4000)):
        assert not mint.check(token, other, 2.0)
    for wrong in (b"", b"\0" * 8, token[:-1], token + b"\0"):
        assert not mint.check(wrong, HERE, 2.0)
    assert mint.check(token, HERE, DHT_TOKEN_ROTATION + 1)
    assert not mint.check(token, HERE, 2 * DHT_TOKEN_ROTATION + 2)
    fresh = mint.token(HERE, 1000.0)
    assert not mint.check(fresh, HERE, 1000.0 + 5 * DHT_TOKEN_ROTATION)


def test_watches_end_with_their_lease() -> None:
    """A watch that is not renewed is forgotten, and leaves no trace in the counts."""
    book = WatchBook()
    key = b"k" * 20
    assert book.add(key, HERE, 30, 0.0) is True
    assert book.add(key, HERE, 30, 10.0) is False
    assert book.watchers(key, 39.0) == [HERE]
    assert book.watchers(key, 40.0) == []
    assert book.add(key, HERE, 30, 41.0) is True
    assert len(book) == 1
    book.add(key, ("192.0.2.2", 1), 9999, 41.0)
    assert book.watchers(key, 41.0 + DHT_WATCH_LEASE - 1) == [HERE, ("192.0.2.2", 1)]
    book.expire(41.0 + DHT_WATCH_LEASE)
    assert len(book) == 0
    book.remove(key, HERE)
    assert len(book) == 0


def test_watches_have_caps() -> None:
    """Per key, per IP address, in all; a full book refuses and evicts nobody."""
    book = WatchBook()
    key = b"k" * 20
    for index in range(DHT_WATCHERS_PER_KEY):
        assert book.add(key, ("192.0.2.1", 1000 + index), 30, 0.0)
    assert book.add(key, ("192.0.2.1", 1), 30, 0.0) is None
    assert book.add(key, ("192.0.2.1", 1000), 30, 5.0) is False
    for index in range(2 * DHT_WATCHES_PER_IP):
        book.add(index.to_bytes(20, "big"), ("192.0.2.1", 1), 30, 0.0)
    assert len(book) == DHT_WATCHES_PER_IP
    for index in range(2 * DHT_WATCHES_MAX):
        book.add(
            index.to_bytes(20, "big"), (f"10.{index >> 16}.{index >> 8 & 255}.{index & 255}", 1), 30, 0.0
        )
    assert len(book) == DHT_WATCHES_MAX
    book.expire(31.0)
    assert book.add(key, ("192.0.2.1", 1), 30, 31.0) is True


def test_saved_table_comes_back() -> None:
    """The best contacts, at most as many as fit, with both families."""
    contacts = [
        Contact(index.to_bytes(20, "big"), (f"192.0.2.{index % 250}", index + 1), last_seen=index)
        for index in range(DHT_SAVED_CONTACTS_MAX + 50)
    ]
    contacts.append(Contact(b"\xff" * 20, ("2001:db8::1", 9), last_seen=9999))
    contacts[0].failures = 1
    restored = decode_table_untrusted(encode_table(contacts))
    assert len(restored) == DHT_SAVED_CONTACTS_MAX
    assert restored[0] == (b"\xff" * 20, ("2001:db8::1", 9))
    assert contacts[0].id not in [node_id for node_id, _ in restored]


@pytest.mark.parametrize(
    "data", [b"", b"junk", b"\x80", b"\x93" * 3000, bytes(DHT_STATE_MAX + 1), encode_table([])[:-1]]
)
def test_damaged_state_is_rejected(data: bytes) -> None:
    """Whatever the file holds, there is one exception."""
    with pytest.raises(Rejected):
        decode_table_untrusted(data)


def test_what_one_cache_holds_no_other_does() -> None:
    """Empty caches share one dict: it must never be written to, not after a clear either."""
    one, other = ExpiringCache[str, int](2, 10.0), ExpiringCache[str, int](2, 10.0)
    one.put("a", 1, 0.0)
    assert one.get("a", 1.0) == 1
    assert not len(other)
    one.clear()
    other.put("b", 2, 0.0)
    one.discard("b")
    assert not len(one)
    assert other.items(1.0) == [("b", 2)]
