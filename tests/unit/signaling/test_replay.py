"""The replay cache: nothing twice, nothing forgotten early, bounded, persistent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshcall.errors import Rejected, StateCorrupt
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.signaling.messages import MessageKind
from meshcall.signaling.replay import ReplayCache

NOW_MS = 1_800_000_000_000
CALL = b"c" * 16
OFFER, CANDIDATES = MessageKind.OFFER, MessageKind.CANDIDATES


def peer(number: int) -> PeerId:
    """A peer of its own."""
    return SigningKey.from_seed(number.to_bytes(32, "big")).peer_id


ALICE, BOB = peer(1), peer(2)


def digest(number: int) -> bytes:
    """A hash of its own."""
    return number.to_bytes(32, "big")


def verdict(
    cache: ReplayCache,
    sender: PeerId,
    call_id: bytes,
    kind: int,
    number: int,
    *,
    expires_ms: int = NOW_MS + 200_000,
    now_ms: int = NOW_MS,
) -> str:
    """The reason of the refusal, or nothing when the message passed; then it is remembered."""
    try:
        cache.check_untrusted(sender, call_id, kind, digest(number), expires_ms, now_ms)
    except Rejected as error:
        return error.reason
    cache.add(sender, call_id, kind, digest(number), expires_ms)
    return ""


def test_the_same_message_passes_once() -> None:
    """Per sender, call, kind and content."""
    cache = ReplayCache()
    assert verdict(cache, ALICE, CALL, OFFER, 1) == ""
    assert verdict(cache, ALICE, CALL, OFFER, 1) == "replay"
    assert verdict(cache, BOB, CALL, OFFER, 1) == ""
    assert verdict(cache, ALICE, bytes(16), OFFER, 1) == ""
    assert verdict(cache, ALICE, CALL, CANDIDATES, 1) == ""
    assert len(cache) == 4


def test_candidates_may_come_several_times_an_offer_may_not() -> None:
    """Different candidates of one call pass; a second, different offer of one call is refused."""
    cache = ReplayCache()
    assert [verdict(cache, ALICE, CALL, CANDIDATES, number) for number in (1, 2, 3, 2)] == [
        "",
        "",
        "",
        "replay",
    ]
    assert verdict(cache, ALICE, CALL, OFFER, 1) == ""
    assert verdict(cache, ALICE, CALL, OFFER, 2) == "replay"


def test_the_state_survives_a_restart() -> None:
    """Through JSON and back, a replay is still a replay."""
    cache = ReplayCache()
    verdict(cache, ALICE, CALL, OFFER, 1)
    verdict(cache, BOB, CALL, CANDIDATES, 2)
    restarted = ReplayCache.from_state(json.loads(json.dumps(cache.to_state())))
    assert restarted.to_state() == cache.to_state()
    assert len(restarted) == 2
    assert verdict(restarted, ALICE, CALL, OFFER, 1) == "replay"
    assert verdict(restarted, ALICE, CALL, OFFER, 9) == "replay"
    assert verdict(restarted, BOB, CALL, CANDIDATES, 2) == "replay"
    assert verdict(restarted, BOB, CALL, CANDIDATES, 3) == ""


def test_entries_go_only_when_their_window_is_over() -> None:
    """An entry is kept up to and including its last millisecond."""
    cache = ReplayCache()
    verdict(cache, ALICE, CALL, OFFER, 1, expires_ms=NOW_MS + 10)
    assert cache.expire(NOW_MS + 10) == 0
    assert cache.expire(NOW_MS + 11) == 1
    assert len(cache) == 0


def test_a_clock_that_goes_back_reopens_nothing() -> None:
    """What was forgotten because its time was over stays refused when the clock is set back."""
    cache = ReplayCache()
    verdict(cache, ALICE, CALL, OFFER, 1, expires_ms=NOW_MS + 10)
    cache.expire(NOW_MS + 11)
    for held in (cache, ReplayCache.from_state(cache.to_state())):
        assert verdict(held, ALICE, CALL, OFFER, 1, expires_ms=NOW_MS + 10, now_ms=NOW_MS) == "replay"
        assert verdict(held, ALICE, CALL, OFFER, 2, expires_ms=NOW_MS + 11, now_ms=NOW_MS) == ""


def test_a_clock_that_jumped_ahead_blocks_nobody_for_long() -> None:
    """After a jump of years and back, messages that outlive the entries pass."""
    cache = ReplayCache()
    verdict(cache, ALICE, CALL, OFFER, 1, expires_ms=NOW_MS + 200_000)
    cache.expire(NOW_MS + 10**12)
    assert verdict(cache, ALICE, bytes(16), OFFER, 2, expires_ms=NOW_MS + 200_001) == ""


def test_one_sender_can_not_fill_the_cache() -> None:
    """So many messages of one sender, then refused until one expires; others are not touched."""
    cache = ReplayCache(per_sender=64)
    results = [
        verdict(cache, ALICE, CALL, CANDIDATES, number, expires_ms=NOW_MS + number) for number in range(1, 71)
    ]
    assert results == [""] * 64 + ["replay-full"] * 6
    assert verdict(cache, BOB, CALL, OFFER, 1) == ""
    assert verdict(cache, ALICE, CALL, CANDIDATES, 1) == "replay", "what is in there is still known"
    assert verdict(cache, ALICE, CALL, CANDIDATES, 99, now_ms=NOW_MS + 1) == "replay-full"
    assert verdict(cache, ALICE, CALL, CANDIDATES, 99, now_ms=NOW_MS + 2) == ""


def test_a_flood_of_senders_forgets_nothing() -> None:
    """When the cache is full it refuses; the replay that the flood was for stays a replay."""
    cache = ReplayCache(per_sender=2, total=10)
    assert verdict(cache, ALICE, CALL, OFFER, 1) == ""
    results = [verdict(cache, peer(number), CALL, OFFER, number) for number in range(10, 30)]
    assert results == [""] * 9 + ["replay-full"] * 11
    assert len(cache) == 10
    assert verdict(cache, ALICE, CALL, OFFER, 1) == "replay"
    assert verdict(cache, peer(99), CALL, OFFER, 1, now_ms=NOW_MS + 200_001, expires_ms=NOW_MS + 10**6) == ""
    assert len(cache) == 1


def test_revision_tells_when_to_persist() -> None:
    """It moves with each entry and with nothing else."""
    cache = ReplayCache()
    verdict(cache, ALICE, CALL, OFFER, 1)
    assert cache.revision == 1
    verdict(cache, ALICE, CALL, OFFER, 1)
    assert cache.revision == 1


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"forgotten_ms": -1},
        {"forgotten_ms": "0"},
        {"entries": None},
        {"entries": [["zz", "", 1, "", 1]]},
        {"entries": [["", "", 1]]},
        {"entries": [["", "", True, "", 1]]},
        {"entries": [["", "", 1, "", -1]]},
        {"entries": [[1, "", 1, "", 1]]},
    ],
)
def test_damaged_state_is_told(change: dict[str, Any]) -> None:
    """A damaged cache is never taken for an empty one."""
    with pytest.raises(StateCorrupt):
        ReplayCache.from_state(ReplayCache().to_state() | change)


@pytest.mark.parametrize("state", [None, [], "x", 5, {}])
def test_what_is_no_state_is_told(state: object) -> None:
    """Neither is anything else."""
    with pytest.raises(StateCorrupt):
        ReplayCache.from_state(state)
