"""What an uplink carries, shared."""

from __future__ import annotations

from meshcall import limits
from meshcall.media.rate import RateControl
from meshcall.media.uplink import Uplink, fair_parts


def test_equal_parts_for_equal_wants() -> None:
    assert fair_parts(90, {"a": 50, "b": 50, "c": 50}) == {"a": 30, "b": 30, "c": 30}


def test_who_wants_less_leaves_the_rest_to_the_others() -> None:
    assert fair_parts(90, {"a": 10, "b": 50, "c": 100}) == {"a": 10, "b": 40, "c": 40}


def test_nobody_gets_more_than_he_wants() -> None:
    assert fair_parts(1000, {"a": 10, "b": 20}) == {"a": 10, "b": 20}
    assert fair_parts(0, {"a": 10}) == {"a": 0}
    assert fair_parts(5, {}) == {}


class Member:
    """One uplink and its links, whose estimates the test decides on."""

    def __init__(self, links: int) -> None:
        self.uplink = Uplink()
        self.controls = [RateControl(0.0) for _ in range(links)]
        for number, control in enumerate(self.controls):
            self.uplink.add(number, control)
        self.now = 0.0

    def hear(self, *estimates: int) -> list[int]:
        """All peers report; returns what each may be sent, sound included."""
        self.now += 0.1
        for control, bits in zip(self.controls, estimates, strict=True):
            control.estimated(bits, self.now)
        self.uplink.look(self.now)
        return [control.allotment(self.now).pictures + limits.RATE_AUDIO for control in self.controls]


def test_links_that_are_cut_together_share_what_they_carry() -> None:
    member = Member(3)
    member.hear(800_000, 800_000, 800_000)
    assert member.hear(700_000, 300_000, 200_000) == [400_000, 400_000, 300_000]
    assert member.uplink.shared


def test_a_link_that_is_cut_alone_is_held_down_alone() -> None:
    member = Member(3)
    member.hear(800_000, 800_000, 800_000)
    assert member.hear(800_000, 800_000, 350_000) == [800_000, 800_000, 350_000]
    assert not member.uplink.shared


def test_cuts_long_after_each_other_have_nothing_to_do_with_each_other() -> None:
    member = Member(2)
    member.hear(800_000, 800_000)
    member.hear(700_000, 800_000)
    for _ in range(10):
        member.hear(700_000, 800_000)
    member.hear(700_000, 700_000)
    assert not member.uplink.shared


def test_what_one_link_does_not_want_is_for_the_others() -> None:
    member = Member(2)
    member.uplink.want(0, 150_000)
    member.hear(900_000, 900_000)
    assert member.hear(800_000, 800_000) == [150_000, 1_200_000]


def test_nothing_is_shared_a_while_after_the_last_sign() -> None:
    member = Member(2)
    member.hear(800_000, 800_000)
    assert member.hear(700_000, 300_000) == [500_000, 450_000]
    for _ in range(round(limits.UPLINK_LIFE * 10) + 2):
        last = member.hear(700_000, 300_000)
    assert last == [700_000, 300_000]
    assert not member.uplink.shared


def test_who_left_leaves_its_share() -> None:
    member = Member(2)
    member.hear(800_000, 800_000)
    member.hear(700_000, 300_000)
    member.uplink.remove(1)
    member.uplink.remove(1)
    member.uplink.look(member.now)
    assert member.controls[0].allotment(member.now).pictures == 700_000 - limits.RATE_AUDIO
