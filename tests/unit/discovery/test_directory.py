"""Sightings from several sources become one ordered list of addresses per peer."""

from __future__ import annotations

import pytest

from meshcall import limits
from meshcall.address import Address
from meshcall.discovery.directory import Directory, Source
from meshcall.discovery.lan import DAY_MS, LanAnnouncement, LanSeen
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId

ALICE, BOB, CAROL = (PeerId.from_key(SigningKey.from_seed(bytes([n]) * 32).public) for n in (1, 2, 3))
NOON = 20000 * DAY_MS + DAY_MS // 2
LAN_A, LAN_B, FAR, NEAR = ("192.168.1.2", 4), ("192.168.1.3", 4), ("5.0.1.1", 4), ("5.0.1.2", 4)


def seen(
    instance: str, peer: PeerId | None, *addresses: Address, visible: bool = False, name: str = "",
    now_ms: int = NOON,
) -> LanSeen:  # fmt: skip
    if peer is None:
        announcement = LanAnnouncement(instance.encode().rjust(8, b"\0")[:8])
    else:
        announcement = LanAnnouncement.of(peer, now_ms, visible=visible, name=name)
    return LanSeen(instance, announcement, addresses or (LAN_A,))


def test_the_lan_goes_first_then_the_freshest() -> None:
    """A direct address of this room beats a newer one from far away."""
    directory = Directory([ALICE])
    directory.sight(ALICE, "cache", [FAR], now=20.0, life=100)
    directory.sight(ALICE, "dht", [NEAR], now=30.0, life=100)
    directory.sight_lan(seen("a", ALICE, LAN_A, LAN_B), now=10.0, now_ms=NOON)
    assert directory.addresses(ALICE, now=40.0, now_ms=NOON) == [LAN_A, LAN_B, NEAR, FAR]
    assert directory.on_lan(ALICE, now_ms=NOON) == [LAN_A, LAN_B]


def test_one_address_from_two_sources_is_one_address() -> None:
    """It has the better of its places."""
    directory = Directory()
    directory.sight(ALICE, "invite", [FAR], now=1.0, life=100)
    directory.sight(ALICE, "dht", [NEAR], now=2.0, life=100)
    directory.sight(ALICE, "cache", [FAR], now=3.0, life=100)
    assert directory.addresses(ALICE, now=4.0, now_ms=NOON) == [FAR, NEAR]


def test_sightings_expire_and_are_freed() -> None:
    """Each with the life that it came with; a new sighting of the same address renews it."""
    directory = Directory([ALICE])
    directory.sight(ALICE, "dht", [FAR, NEAR], now=0.0, life=10)
    directory.sight(ALICE, "dht", [FAR], now=5.0, life=10)
    assert directory.addresses(ALICE, now=9.9, now_ms=NOON) == [FAR, NEAR]
    assert directory.addresses(ALICE, now=10.0, now_ms=NOON) == [FAR]
    assert directory.addresses(ALICE, now=15.0, now_ms=NOON) == []
    assert directory.entry(ALICE, now=15.0, now_ms=NOON) is None
    directory.expire(15.0)
    assert directory.addresses(ALICE, now=9.0, now_ms=NOON) == []


def test_contacts_are_recognised_strangers_are_not() -> None:
    """By the hint alone; who is no contact is nobody, until somebody asks for that very ID."""
    directory = Directory([ALICE])
    assert directory.sight_lan(seen("a", ALICE), now=1.0, now_ms=NOON) == ALICE
    assert directory.sight_lan(seen("b", BOB, LAN_B), now=1.0, now_ms=NOON) is None
    assert directory.addresses(BOB, now=1.0, now_ms=NOON) == [LAN_B], "who knows the ID finds it"
    assert directory.strangers(now=1.0, now_ms=NOON) == []
    directory.know(BOB)
    assert directory.gone_lan("b", now_ms=NOON) == BOB
    assert directory.gone_lan("b", now_ms=NOON) is None
    assert directory.addresses(BOB, now=1.0, now_ms=NOON) == []


@pytest.mark.parametrize("days", [-1, 1])
def test_a_contact_is_recognised_across_midnight(days: int) -> None:
    """Its hint may be of the day before or after ours, also when the day changes while it is there."""
    directory = Directory([ALICE])
    shown = seen("a", ALICE, now_ms=NOON + days * DAY_MS)
    assert directory.sight_lan(shown, now=1.0, now_ms=NOON) == ALICE
    quiet = Directory([ALICE])
    quiet.sight_lan(seen("a", ALICE), now=1.0, now_ms=NOON)
    assert quiet.addresses(ALICE, now=2.0, now_ms=NOON + DAY_MS) == [LAN_A]
    assert quiet.addresses(ALICE, now=2.0, now_ms=NOON + 2 * DAY_MS) == []
    assert (
        quiet.sight_lan(seen("a", ALICE, now_ms=NOON + 2 * DAY_MS), now=3.0, now_ms=NOON + 2 * DAY_MS)
        == ALICE
    )
    assert quiet.addresses(ALICE, now=3.0, now_ms=NOON + 2 * DAY_MS) == [LAN_A]


def test_the_list_has_contacts_and_visible_strangers() -> None:
    """With where they were seen and what they call themselves."""
    directory = Directory([ALICE, CAROL])
    directory.sight_lan(seen("a", ALICE, visible=True, name="Alice"), now=1.0, now_ms=NOON)
    directory.sight_lan(seen("b", BOB, LAN_B, visible=True, name="Bob"), now=2.0, now_ms=NOON)
    directory.sight_lan(seen("x", None), now=3.0, now_ms=NOON)
    directory.sight(ALICE, "dht", [FAR], now=4.0, life=10)
    alice, bob = directory.entries(now=5.0, now_ms=NOON)
    assert (alice.peer_id, alice.known, alice.name, alice.sources) == (ALICE, True, "Alice", ("lan", "dht"))
    assert (alice.addresses, alice.seen) == ((LAN_A, FAR), 4.0)
    assert (bob.peer_id, bob.known, bob.name, bob.addresses) == (BOB, False, "Bob", (LAN_B,))
    assert len(directory.lan_services()) == 3
    assert directory.strangers(now=5.0, now_ms=NOON) == [bob]


def test_a_service_that_moves_replaces_itself() -> None:
    """The last announcement counts."""
    directory = Directory([ALICE])
    directory.sight_lan(seen("a", ALICE, LAN_A), now=1.0, now_ms=NOON)
    directory.sight_lan(seen("a", ALICE, LAN_B), now=2.0, now_ms=NOON)
    assert directory.on_lan(ALICE, now_ms=NOON) == [LAN_B]


def test_a_flood_of_strangers_drives_no_contact_out() -> None:
    """Not on the LAN, and not from other sources' room."""
    directory = Directory([ALICE])
    directory.sight_lan(seen("a", ALICE), now=0.0, now_ms=NOON)
    directory.sight(ALICE, "cache", [FAR], now=0.0, life=1e6)
    for n in range(1000):
        directory.sight_lan(seen(f"f{n}", None), now=1.0 + n, now_ms=NOON)
    assert len(directory.lan_services()) == limits.LAN_SERVICES_MAX
    assert directory.addresses(ALICE, now=2000.0, now_ms=NOON) == [LAN_A, FAR]
    assert directory.counters["full: lan"] > 0


def test_a_contact_that_comes_during_a_flood_finds_room() -> None:
    """A stranger goes for it."""
    directory = Directory([ALICE])
    for n in range(1000):
        directory.sight_lan(seen(f"f{n}", None), now=1.0, now_ms=NOON)
    assert directory.sight_lan(seen("a", ALICE), now=2.0, now_ms=NOON) == ALICE
    assert directory.on_lan(ALICE, now_ms=NOON) == [LAN_A]


def test_copies_of_a_hint_neither_hide_the_peer_nor_grow() -> None:
    """Who was there first stays, and the last who came is heard."""
    directory = Directory([ALICE])
    directory.sight_lan(seen("true", ALICE, LAN_A), now=1.0, now_ms=NOON)
    for n in range(100):
        directory.sight_lan(seen(f"copy{n}", ALICE, ("10.0.0.9", 5 + n)), now=2.0 + n, now_ms=NOON)
    found = directory.on_lan(ALICE, now_ms=NOON)
    assert len(found) == limits.LAN_CLAIMS_MAX
    assert LAN_A in found
    directory.sight_lan(seen("again", ALICE, LAN_B), now=200.0, now_ms=NOON)
    assert directory.on_lan(ALICE, now_ms=NOON)[0] == LAN_B
    assert directory.counters["claims"] > 0


def test_copies_of_the_hint_of_somebody_unknown_are_capped_too() -> None:
    """Who is called by ID alone: a few of those that show its hint are asked, the latest first."""
    directory = Directory()
    for n in range(100):
        directory.sight_lan(seen(f"copy{n}", ALICE, ("10.0.0.9", 5 + n)), now=2.0 + n, now_ms=NOON)
    found = directory.on_lan(ALICE, now_ms=NOON)
    assert found == [("10.0.0.9", 104 - n) for n in range(limits.LAN_CLAIMS_MAX)]


@pytest.mark.parametrize("source", ["dht", "cache", "invite"])
def test_every_source_is_capped(source: Source) -> None:
    """Peers and addresses: the oldest go."""
    directory = Directory()
    directory.sight(ALICE, source, [("10.0.0.1", n) for n in range(1, 100)], now=1.0, life=9)
    directory.sight(ALICE, source, [FAR], now=2.0, life=9)
    found = directory.addresses(ALICE, now=3.0, now_ms=NOON)
    assert len(found) == limits.DIRECTORY_ADDRESSES_MAX
    assert found[0] == FAR


def test_a_full_source_forgets_who_was_seen_longest_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other sources are not touched."""
    monkeypatch.setattr(limits, "DIRECTORY_PEERS_MAX", 2)
    directory = Directory()
    directory.sight(ALICE, "cache", [FAR], now=0.0, life=99)
    for at, peer in enumerate((ALICE, BOB, ALICE, CAROL)):
        directory.sight(peer, "dht", [NEAR], now=float(at), life=99)
    assert directory.addresses(BOB, now=5.0, now_ms=NOON) == []
    assert directory.addresses(ALICE, now=5.0, now_ms=NOON) == [NEAR, FAR]
    assert directory.counters["full: dht"] == 1


def test_a_forgotten_contact_is_a_stranger_again() -> None:
    """What was remembered of it goes; what it says on the LAN itself stays."""
    directory = Directory([ALICE])
    directory.sight(ALICE, "cache", [FAR], now=0.0, life=99)
    directory.sight_lan(seen("a", ALICE), now=0.0, now_ms=NOON)
    directory.forget(ALICE)
    assert directory.who(seen("a", ALICE), NOON) is None
    assert directory.addresses(ALICE, now=1.0, now_ms=NOON) == [LAN_A]
    assert directory.entries(now=1.0, now_ms=NOON) == []
