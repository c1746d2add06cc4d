"""The sender's controller, fed by hand."""

from __future__ import annotations

from itertools import pairwise

from meshcall import limits
from meshcall.media.rate import Allotment, RateControl


class Sender:
    """A controller, and a second of its life at a time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.control = RateControl(self.now)

    def live(self, seconds: float, *, lost: float = 0.0, bits: int | None = None, rtt: float = 0.05) -> int:
        """Reports every second; returns the pictures' bits at the end."""
        pictures = 0
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            tenth = round(self.now * 10)
            pictures = self.control.allotment(self.now).pictures
            self.control.sent(max(1, pictures // 92_000), pictures // 80, self.now)
            if tenth % 2 == 0 and bits is not None:
                self.control.estimated(bits, self.now)
            if tenth % 10 == 0:
                self.control.measured(rtt, self.now)
                self.control.reported(lost, self.now)
        return pictures


def test_sound_is_taken_off_first() -> None:
    assert RateControl(0.0).allotment(0.1) == Allotment(limits.RATE_START - limits.RATE_AUDIO)


def test_the_peers_estimate_is_a_bound_that_counts_at_once() -> None:
    sender = Sender()
    sender.live(3, bits=2_000_000)
    sender.control.estimated(1_500_000, sender.now)
    assert sender.control.allotment(sender.now) == Allotment(1_500_000 - limits.RATE_AUDIO)


def test_after_a_deep_cut_the_queue_drains_first() -> None:
    """What fits is half of what the link carries then; the floor stays, for pictures are not to be paused."""
    sender = Sender()
    sender.live(3, bits=2_000_000)
    assert not sender.control.narrow(sender.now)
    sender.control.estimated(500_000, sender.now)
    whole = 500_000 - limits.RATE_AUDIO
    assert sender.control.allotment(sender.now) == Allotment(whole // 2, "delay")
    sender.control.estimated(480_000, sender.now + 0.2)
    assert sender.control.allotment(sender.now + limits.RATE_DRAIN + 0.01) == Allotment(
        480_000 - limits.RATE_AUDIO, "delay"
    )
    assert sender.control.narrow(sender.now + limits.PACE_LIFE - 1)
    assert not sender.control.narrow(sender.now + limits.PACE_LIFE + 1)
    sender.control.estimated(limits.RATE_FLOOR + limits.RATE_AUDIO, sender.now + 1)
    assert sender.control.allotment(sender.now + 1).pictures == limits.RATE_FLOOR


def test_little_loss_lets_it_grow_to_what_the_peer_takes() -> None:
    assert Sender().live(10, lost=0.01, bits=3_000_000) == 3_000_000 - limits.RATE_AUDIO


def test_no_peer_makes_us_send_more_than_the_limit() -> None:
    assert Sender().live(60, bits=10**12) <= limits.RATE_MAX


def test_loss_of_a_link_that_is_too_narrow_brings_it_down() -> None:
    sender = Sender()
    before = sender.live(5, bits=2_000_000)
    sender.live(2, lost=0.3, bits=2_000_000)
    assert sender.live(1, lost=0.12, bits=2_000_000) < 0.8 * before


def test_loss_that_stays_when_we_give_way_is_the_links_own() -> None:
    sender = Sender()
    before = sender.live(10, bits=2_000_000)
    assert sender.live(25, lost=0.15, bits=2_000_000) > 0.8 * before


def test_nobody_understands_a_word_at_half_the_packets() -> None:
    sender = Sender()
    sender.live(20, lost=0.5, bits=2_000_000)
    paused = sum(not sender.live(0.1, lost=0.5, bits=2_000_000) for _ in range(600))
    assert paused > 500


def test_many_packets_asked_for_again_count_at_once() -> None:
    sender = Sender()
    before = sender.live(5, bits=2_000_000)
    sender.control.requested(40, sender.now)
    assert sender.control.allotment(sender.now).pictures < 0.85 * before


def test_a_few_packets_asked_for_again_do_not() -> None:
    sender = Sender()
    before = sender.live(5, bits=2_000_000)
    sender.control.requested(3, sender.now)
    assert sender.control.allotment(sender.now).pictures == before


def test_who_is_silent_gets_less_and_less() -> None:
    sender = Sender()
    before = sender.live(5, bits=2_000_000)
    for _ in range(60):
        sender.now += 0.1
        sender.control.allotment(sender.now)
    allotted = sender.control.allotment(sender.now)
    assert allotted.reason == "silence"
    assert allotted.pictures < before / 4


def test_without_estimates_a_long_round_trip_brings_it_down() -> None:
    sender = Sender()
    before = sender.live(10, rtt=0.05)
    assert sender.live(6, rtt=0.5) < before / 2


def test_no_room_pauses_pictures_and_tries_again_later_and_later() -> None:
    sender = Sender()
    sender.live(5, bits=2_000_000)
    tries, paused = [], False
    for _ in range(600):
        bits = limits.RATE_FLOOR // 2 + limits.RATE_AUDIO
        pictures = sender.live(0.1, bits=None if paused else bits)
        if pictures and paused:
            tries.append(sender.now)
        paused = not pictures
    pauses = [after - before for before, after in pairwise(tries)]
    assert len(pauses) >= 3
    assert all(after > before - 0.3 for before, after in pairwise(pauses))
    assert pauses[-1] > limits.RATE_RESUME_MAX
    assert pauses[0] > limits.RATE_RESUME_AFTER


def test_paused_pictures_come_back_when_there_is_room() -> None:
    sender = Sender()
    sender.live(5, bits=2_000_000)
    while sender.live(0.1, bits=limits.RATE_AUDIO):
        pass
    assert sender.live(3, bits=2_000_000) > 500_000


def test_a_try_begins_with_what_pictures_need() -> None:
    """Though loss had brought the link to less before the pause; what is lost in the try ends it."""
    sender = Sender()
    sender.live(20, lost=0.5, bits=limits.RATE_AUDIO)
    while sender.live(0.1, lost=0.5, bits=limits.RATE_AUDIO):
        pass
    while not (pictures := sender.live(0.1, lost=0.5)):
        pass
    assert pictures == limits.RATE_RESUME
    assert sender.live(2.0, lost=0.5, bits=limits.RATE_AUDIO) == 0


def test_a_try_that_sees_no_room_is_over_in_a_second() -> None:
    """One dip in pictures that flow is borne as long; a try has nothing to lose but the sound's room."""
    sender = Sender()
    sender.live(5, bits=2_000_000)
    while sender.live(0.1, bits=limits.RATE_AUDIO):
        pass
    while not sender.live(0.1):
        pass
    sender.live(0.8, bits=2_000_000)
    assert sender.live(0.4, bits=limits.RATE_AUDIO) == 0


def test_one_dip_pauses_nothing() -> None:
    sender = Sender()
    sender.live(5, bits=2_000_000)
    assert sender.live(0.6, bits=limits.RATE_AUDIO) == limits.RATE_FLOOR
    assert sender.live(1, bits=2_000_000) > 1_000_000


def test_our_uplinks_share_is_a_bound_that_names_itself() -> None:
    sender = Sender()
    sender.live(5, bits=2_000_000)
    sender.control.share(300_000)
    assert sender.control.allotment(sender.now) == Allotment(300_000 - limits.RATE_AUDIO, "share")
    sender.control.share(None)
    assert sender.control.allotment(sender.now).pictures > 1_000_000


def test_a_way_is_close_when_its_estimate_has_settled_little_above_what_is_useful() -> None:
    """Not while it grows, not one that was found full, and not one whose peer tells nothing."""
    control, now = RateControl(0.0), 0.0
    useful = 2_000_000
    assert not control.close(useful, 5.0)
    while now < 4.0:
        now += 0.2
        control.estimated(round(1_000_000 * (1 + now / 3)), now)
        assert not control.close(10 * useful, now)
    for _ in range(4):
        now += 0.2
        control.estimated(2_500_000, now)
        assert not control.close(useful, now)
    now += limits.RATE_SETTLED_AFTER
    control.estimated(2_500_000, now)
    assert control.close(useful, now)
    assert not control.close(useful // 2, now)
    control.estimated(600_000, now)
    assert control.narrow(now)
    assert not control.close(useful, now)
