"""The receiver's estimate, fed by hand."""

from __future__ import annotations

from itertools import pairwise

from meshcall import limits
from meshcall.media.arrivals import Arrivals

TICKS = 1 << 18
SIZE = 1000


class Path:
    """Sends packets to an estimate; every one waits for the one before it."""

    def __init__(self) -> None:
        self.arrivals = Arrivals()
        self.now = 100.0
        self.free = 0.0
        self.told: list[tuple[float, int]] = []
        self.offset = 1234.5
        """The sender's clock, less ours."""

    def send(self, seconds: float, rate: float, carries: float) -> None:
        """Evenly spaced packets at ``rate`` over a link that carries so much."""
        until = self.now + seconds
        while self.now < until:
            self.free = max(self.now, self.free) + 8 * SIZE / carries
            sent = round((self.now + self.offset) * TICKS) % (1 << 24)
            told = self.arrivals.add_untrusted(sent, self.free, SIZE)
            if told is not None:
                self.told.append((self.free, told - limits.RATE_AUDIO))
            self.now += 8 * SIZE / rate


def test_a_wide_link_is_asked_for_more_than_it_is_sent_and_never_much_more() -> None:
    path = Path()
    path.send(3, 800_000, 10e6)
    assert limits.RATE_START <= path.told[-1][1] <= 1.6 * 800_000


def test_a_full_link_is_found_within_a_fifth_of_a_second_and_told_at_once() -> None:
    path = Path()
    path.send(3, 2e6, 3e6)
    cut = path.now
    path.send(0.3, 2e6, 0.6e6)
    first = next((at, bits) for at, bits in path.told if bits < 1e6)
    assert first[0] - cut < 0.2
    assert 0.3e6 < first[1] <= 0.6e6


def test_reports_are_five_a_second_while_the_estimate_grows_and_one_while_it_stays() -> None:
    """However many packets come: a peer forgets what it is not told again, and knows what it was told."""
    path = Path()
    path.send(9, 2e6, 20e6)
    pauses = [after[0] - before[0] for before, after in pairwise(path.told)]
    assert min(pauses) >= limits.ARRIVALS_REPORT
    assert max(pauses[:4]) < 1.2 * limits.ARRIVALS_REPORT
    assert max(pauses) < 1.2 * limits.ARRIVALS_REPORT_SAME < limits.RATE_REPORT_LIFE / 2
    same = [bits for at, bits in path.told if at >= path.now - 4]
    assert 4 <= len(same) <= 5
    assert max(same) <= (1 + limits.ARRIVALS_REPORT_CHANGE) * min(same)


def test_one_late_packet_is_no_full_link() -> None:
    path = Path()
    path.send(2, 1e6, 10e6)
    path.free += 0.3
    before = path.arrivals.estimate
    path.send(2, 1e6, 10e6)
    assert path.arrivals.estimate >= before


def test_a_heap_after_a_pause_is_no_full_link() -> None:
    path = Path()
    path.send(2, 1.8e6, 10e6)
    before = path.arrivals.estimate
    path.free = path.now + 0.3  # nothing is read for so long; then all at once
    path.send(0.3, 1.8e6, 1e9)
    path.send(1, 1.8e6, 10e6)
    assert path.arrivals.estimate >= before


def test_what_waited_in_this_machine_is_no_full_link() -> None:
    path = Path()
    path.send(2, 1.8e6, 10e6)
    before = path.arrivals.estimate
    for _ in range(20):
        # It gets its turn every 0.15 s, and takes its time to read.
        path.free = path.now + 0.15
        path.arrivals.held_up(0.15, path.free)
        path.send(0.15, 1.8e6, 3e6)
    assert path.arrivals.estimate >= before


def test_a_clock_that_is_set_measures_anew() -> None:
    path = Path()
    path.send(2, 1e6, 10e6)
    before = path.arrivals.estimate
    path.offset -= 20.0  # its clock was put back: every packet seems 20 s late
    path.send(2, 1e6, 10e6)
    assert path.arrivals.estimate >= before
    assert path.arrivals.lateness < 0.05


def test_send_times_wrap() -> None:
    path = Path()
    path.offset = 64.0 - (path.now % 64) - 0.5  # half a second before they begin anew
    path.send(3, 1e6, 10e6)
    assert path.arrivals.lateness < 0.01


def test_lateness_that_stays_for_good_is_borne() -> None:
    path = Path()
    path.send(3, 1e6, 10e6)
    path.offset -= 0.15  # another route, that much longer
    path.send(25, 1e6, 10e6)
    assert path.arrivals.estimate > 1e6


def test_pictures_after_a_pause_are_a_try() -> None:
    """An estimate too low for pictures and older than the pause is not told again; what comes then tells."""
    path = Path()
    path.send(3, 1e6, 10e6)
    path.send(1, 100e3, 30e3)
    assert path.arrivals.estimate < limits.RATE_FLOOR + limits.RATE_AUDIO
    path.now = path.free + 4
    path.send(0.05, 100e3, 10e6)
    assert path.arrivals.estimate >= limits.RATE_FLOOR + limits.RATE_AUDIO
    path.send(1, 200e3, 30e3)
    assert path.arrivals.estimate < limits.RATE_FLOOR + limits.RATE_AUDIO


def test_paused_pictures_leave_the_estimate_as_it_was() -> None:
    path = Path()
    path.send(3, 1e6, 10e6)
    before = path.arrivals.estimate
    path.now += 60
    path.send(0.1, 1e6, 10e6)
    assert abs(path.arrivals.estimate - before) < 0.2 * before


def test_what_leaves_and_arrives_together_is_judged_once_and_counts_whole() -> None:
    """Pictures of four packets are told of as if they were four: how much comes, and when the way is full."""
    path = Path()

    def pictures(seconds: float, carries: float) -> None:
        until = path.now + seconds
        while path.now < until:
            path.free = max(path.now, path.free) + 32 * SIZE / carries
            sent = round((path.now + path.offset) * TICKS) % (1 << 24)
            for index in range(4):
                told = path.arrivals.add_untrusted(sent, path.free + index * 1e-5, SIZE)
                if told is not None:
                    assert index == 0
                    path.told.append((path.free, told - limits.RATE_AUDIO))
            path.now += 1 / 30

    pictures(6, 20e6)
    assert path.told[-1][1] > 32 * SIZE * 30, "more than comes: all of it was counted"
    cut = path.now
    pictures(0.4, 0.6e6)
    first = next((at, bits) for at, bits in path.told if bits < 0.9e6)
    assert first[0] - cut < 0.25
    assert 0.3e6 < first[1] <= 0.6e6
