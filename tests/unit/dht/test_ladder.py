"""The bootstrap ladder's decisions, and where meshcall meets in Mainline."""

from __future__ import annotations

import itertools
from hashlib import sha1

from meshcall import limits
from meshcall.dht.ladder import Ladder, Rung, infohash, infohashes

NOON_MS = 1_795_435_200_000  # 2026-11-23 12:00 UTC
AT_ONCE = [Rung.SAVED, Rung.LAN, Rung.HOSTS]


def test_saved_table_lan_and_hosts_are_asked_at_once_and_mainline_later() -> None:
    """Mainline is due only when the others had their time and brought too few."""
    ladder = Ladder(10.0, mainline=True)
    assert ladder.due(0, 0, 10.0) == AT_ONCE
    assert ladder.due(0, 0, 10.0) == []
    assert ladder.due(
        limits.LADDER_CONTACTS_ENOUGH - 1,
        limits.LADDER_CONTACTS_ENOUGH - 1,
        10.0 + limits.LADDER_MAINLINE_AFTER,
    ) == [Rung.MAINLINE]


def test_mainline_is_left_alone_while_there_are_contacts_enough() -> None:
    """And waits its time again when they are lost."""
    ladder = Ladder(0.0, mainline=True)
    assert ladder.due(0, 0, 0.0) == AT_ONCE
    for now in range(1, 100):
        assert ladder.due(limits.LADDER_CONTACTS_ENOUGH, limits.LADDER_CONTACTS_ENOUGH, float(now)) == []
    assert Rung.MAINLINE not in ladder.due(0, 0, 100.0)
    assert ladder.due(0, 0, 99.0 + limits.LADDER_MAINLINE_AFTER)[-1] == Rung.MAINLINE


def test_neighbours_alone_are_no_way_into_the_internet() -> None:
    """Nobody is asked again, for there are contacts; but they do not keep a node from Mainline."""
    ladder = Ladder(0.0, mainline=True)
    assert ladder.due(0, 0, 0.0) == AT_ONCE
    assert ladder.due(9, 0, limits.LADDER_MAINLINE_AFTER) == [Rung.MAINLINE]


def test_without_mainline_it_is_never_due() -> None:
    """Where libtorrent is not installed, or it was switched off."""
    ladder = Ladder(0.0, mainline=False)
    assert all(Rung.MAINLINE not in ladder.due(0, 0, float(now)) for now in range(1000))


def test_pauses_double_up_to_their_caps() -> None:
    """A node that nobody answers for a day is not a nuisance."""
    ladder = Ladder(0.0, mainline=True)
    hosts, mainline = [], []
    for now in range(24 * 3600):
        due = ladder.due(0, 0, float(now))
        hosts += [now] * (Rung.HOSTS in due)
        mainline += [now] * (Rung.MAINLINE in due)
    gaps = [b - a for a, b in itertools.pairwise(hosts)]
    assert gaps[:4] == [2, 4, 8, 16]
    assert max(gaps) == limits.BOOTSTRAP_RETRY_MAX
    gaps = [b - a for a, b in itertools.pairwise(mainline)]
    assert gaps[0] == limits.LADDER_MAINLINE_RETRY
    assert max(gaps) == limits.LADDER_MAINLINE_RETRY_MAX
    assert len(mainline) < 32


def test_a_change_of_network_asks_everybody_again() -> None:
    """Though there are contacts: they may all be out of reach. The pauses begin anew."""
    ladder = Ladder(0.0, mainline=True)
    for now in range(1000):
        ladder.due(0, 0, float(now))
    ladder.restart(1000.0)
    assert ladder.due(50, 50, 1000.0) == AT_ONCE
    assert ladder.due(0, 0, 1000.0 + limits.BOOTSTRAP_RETRY) == AT_ONCE


def test_lan_peers_are_asked_ever_more_rarely_and_few_at_a_time() -> None:
    """One IPv4 and one IPv6 address of each; a flood of services is not a flood of datagrams from us.

    One that was not up yet is asked again soon.
    """
    ladder = Ladder(0.0, mainline=False)
    one = (("192.168.1.2", 4000), ("192.168.7.2", 4000), ("fd00::2", 4000), ("fe80::2%eth0", 4000))
    assert sorted(ladder.pick_lan([one], 0.0)) == [one[0], one[2]]
    assert ladder.pick_lan([one], 1.0) == []
    asked = [at for at in range(1, 300) if ladder.pick_lan([one], float(at))]
    assert asked[:4] == [2, 6, 14, 30]
    assert [later - at for at, later in itertools.pairwise(asked[4:])] == [limits.LADDER_LAN_AGAIN] * 3
    only_link_local = (("fe80::3%eth0", 4000),)
    assert ladder.pick_lan([only_link_local], 300.0) == [only_link_local[0]]
    flood = [((f"10.0.{n // 250}.{n % 250}", 4000),) for n in range(5000)]
    assert len(ladder.pick_lan(flood, 400.0)) == limits.LADDER_LAN_ASKED_MAX


def test_the_infohash_is_dated() -> None:
    """SHA-1 of the name and the day in UTC."""
    assert infohash("20261123") == sha1(b"meshcall-bootstrap-v1|20261123").digest()
    assert infohashes(NOON_MS, 3600) == [infohash("20261123")]


def test_around_midnight_two_days_are_used() -> None:
    """So that clocks that differ, and announcements of the day before, still meet."""
    midnight = NOON_MS + 12 * 3_600_000
    assert infohashes(midnight - 1_800_000, 3600) == [infohash("20261123"), infohash("20261124")]
    assert infohashes(midnight + 1_800_000, 3600) == [infohash("20261124"), infohash("20261123")]
    assert infohashes(1_709_208_000_000, 0) == [infohash("20240229")]
    assert infohashes(0, 0) == [infohash("19700101")]
