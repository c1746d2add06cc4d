"""What counts as another network."""

from __future__ import annotations

import pytest

from meshcall import limits
from meshcall.discovery.change import ChangeDetector, Snapshot, is_change

HOME = Snapshot(
    frozenset({("eth0", "192.168.1.7/24"), ("eth0", "2a05:d000:1:0:1::7/64"), ("eth0", "fe80::7/64")}),
    frozenset({("eth0", "192.168.1.1")}),
)


def changed(*, gone: str = "", more: tuple[str, str] | None = None, gateway: str = "192.168.1.1") -> Snapshot:
    """``HOME`` with a difference."""
    addresses = frozenset(one for one in HOME.addresses if one[1] != gone) | ({more} if more else set())
    return Snapshot(addresses, frozenset({("eth0", gateway)} if gateway else ()))


@pytest.mark.parametrize(
    "after",
    [
        changed(gone="192.168.1.7/24"),
        changed(gone="192.168.1.7/24", more=("eth0", "192.168.1.8/24")),
        changed(more=("wlan0", "192.168.1.9/24")),
        changed(more=("eth0", "2a05:d000:2::7/64")),
        changed(gateway="192.168.1.254"),
        changed(gateway=""),
        Snapshot(frozenset()),
    ],
)
def test_what_can_move_us_is_a_change(after: Snapshot) -> None:
    """An address gone or another one, a new interface or network, another router, no network at all."""
    assert is_change(HOME, after)


@pytest.mark.parametrize(
    "after",
    [
        HOME,
        changed(more=("eth0", "2a05:d000:1:0:abcd::1/64")),
        changed(more=("docker0", "172.17.0.1/16")),
        changed(more=("br-8a1b2c", "172.18.0.1/16")),
        changed(more=("veth12ab", "fe80::99/64")),
    ],
)
def test_noise_is_no_change(after: Snapshot) -> None:
    """A temporary address beside one of its network, and what containers bring, both as it comes and goes."""
    assert not is_change(HOME, after)


def test_containers_that_go_are_no_change() -> None:
    """Theirs are not addresses of ours."""
    assert not is_change(changed(more=("docker0", "172.17.0.1/16")), HOME)


def test_a_burst_of_news_is_one_look_and_one_change() -> None:
    """After a moment of quiet; a network that never rests is looked at all the same, but not too often."""
    detector = ChangeDetector(HOME, 0.0, 100.0)
    assert detector.look_at() is None
    for step in range(5):
        detector.news(100.0 + step / 10)
    assert detector.look_at() == pytest.approx(100.4 + limits.NETWORK_SETTLE)
    assert detector.looked(changed(gateway=""), 100.7)
    assert detector.look_at() is None
    for step in range(100):
        detector.news(100.8 + step / 10)
    assert detector.look_at() == pytest.approx(
        max(100.8 + limits.NETWORK_SETTLE_MAX, 100.7 + limits.NETWORK_PAUSE)
    )


def test_what_was_added_silently_is_missed_when_it_goes() -> None:
    """A temporary address is no news when it comes, but it may be the one that we use when it goes."""
    detector = ChangeDetector(HOME, 0.0, 0.0)
    more = changed(more=("eth0", "2a05:d000:1:0:abcd::1/64"))
    assert not detector.looked(more, 1.0)
    assert detector.looked(HOME, 2.0)


def test_sleep_is_noticed_once() -> None:
    """A jump of the clock that counts sleep; slips of the wall clock are none."""
    detector = ChangeDetector(HOME, 1000.0, 0.0)
    assert not detector.woke(1000.0 + limits.NETWORK_SLEEP / 2, 2.0)
    assert detector.woke(1600.0, 4.0)
    assert not detector.woke(1600.0, 6.0)
    assert not detector.woke(1000.0, 8.0), "a clock that was set back"
