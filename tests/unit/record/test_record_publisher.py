"""Our own records: numbers only grow, times of republishing, retries, state."""

from __future__ import annotations

import pytest

from meshcall.errors import StateCorrupt
from meshcall.identity.keys import SigningKey
from meshcall.record.codec import Record, RecordType, sign_record
from meshcall.record.publisher import Build, Publisher
from meshcall.record.sequence import next_seq

SIGNER = SigningKey.from_seed(bytes(32))


def presence(ttl: int = 7200) -> Build:
    """Builds presences of ``ttl``."""

    def build(seq: int) -> Record:
        return sign_record(SIGNER, RecordType.PRESENCE, seq, ttl, bytes(196))

    return build


@pytest.mark.parametrize(
    ("last", "now_ms", "expected"), [(0, 50, 50), (49, 50, 50), (50, 50, 51), (99, 50, 100), (5, -3, 6)]
)
def test_numbers_follow_the_clock_and_never_fall(last: int, now_ms: int, expected: int) -> None:
    """The next number is above the last one, also when the clock goes back or did not move."""
    assert next_seq(last, now_ms) == expected


def test_a_new_publication_is_due_at_once_then_each_ten_minutes() -> None:
    """A presence of two hours is stored again after ten minutes."""
    publisher = Publisher()
    assert publisher.deadline() is None
    publisher.want({"a": presence()}, 100.0)
    assert publisher.due(100.0) == ["a"]
    publisher.next_record("a", 100.0, 5000)
    assert publisher.due(699.9) == []
    assert publisher.deadline() == 700.0
    assert publisher.due(700.0) == ["a"]


def test_a_short_life_is_renewed_at_its_half() -> None:
    """A record that lives 60 s is stored again after 30 s."""
    publisher = Publisher()
    publisher.want({"a": presence(ttl=60)}, 0.0)
    publisher.next_record("a", 0.0, 5000)
    assert publisher.deadline() == 30.0


def test_numbers_grow_across_names_restarts_and_a_clock_that_goes_back() -> None:
    """No number is ever used twice, as long as the state is kept."""
    publisher = Publisher()
    publisher.want({"a": presence(), "b": presence()}, 0.0)
    seqs = [publisher.next_record(name, 0.0, 1000).seq for name in ("a", "b", "a")]
    restarted = Publisher.from_state(publisher.to_state())
    restarted.want({"a": presence()}, 0.0)
    seqs += [restarted.next_record("a", 0.0, now_ms).seq for now_ms in (10, 10, 5000)]
    assert seqs == [1000, 1001, 1002, 1003, 1004, 5000]


def test_what_is_wanted_no_more_is_forgotten_and_what_stays_keeps_its_time() -> None:
    """Each epoch brings a new name; the others are not stored again because of it."""
    publisher = Publisher()
    publisher.want({"a": presence(), "b": presence()}, 0.0)
    publisher.next_record("a", 0.0, 1)
    publisher.next_record("b", 0.0, 1)
    publisher.want({"b": presence(ttl=30), "c": presence()}, 5.0)
    assert publisher.names() == ["b", "c"]
    assert publisher.due(5.0) == ["c"]
    assert publisher.next_record("b", 6.0, 1).ttl == 30, "the new function is used"
    with pytest.raises(KeyError):
        publisher.next_record("a", 6.0, 1)


def test_a_record_that_no_node_took_is_tried_again_soon_then_less_often() -> None:
    """10, 20, 40 .. seconds, never more than the interval; one success resets it."""
    publisher = Publisher()
    publisher.want({"a": presence()}, 0.0)
    now, waits = 0.0, []
    for _ in range(9):
        publisher.next_record("a", now, 1)
        publisher.report("a", 0, now)
        deadline = publisher.deadline()
        assert deadline is not None
        waits.append(deadline - now)
        now = deadline
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600, 600]
    publisher.next_record("a", now, 1)
    publisher.report("a", 3, now)
    assert publisher.deadline() == now + 600
    publisher.next_record("a", now, 1)
    publisher.report("a", 0, now)
    assert publisher.deadline() == now + 10
    publisher.report("unknown", 0, now)
    assert publisher.names() == ["a"]


def test_hasten_makes_everything_due() -> None:
    """After a change of network nothing waits for its turn."""
    publisher = Publisher()
    publisher.want({"a": presence(), "b": presence()}, 0.0)
    publisher.next_record("a", 0.0, 1)
    publisher.next_record("b", 1.0, 1)
    publisher.hasten(2.0)
    assert publisher.due(2.0) == ["a", "b"]


@pytest.mark.parametrize("state", [None, [], {}, {"last_seq": "1"}, {"last_seq": -1}, {"last_seq": True}, 5])
def test_damaged_state_is_told(state: object) -> None:
    """Anything but a whole number is refused with the one error for state."""
    with pytest.raises(StateCorrupt):
        Publisher.from_state(state)
