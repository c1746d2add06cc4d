"""What leaves between two packets of sound on a way that carries hardly more than it is sent."""

from __future__ import annotations

import random
from collections import deque
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcall import limits
from meshcall.media.pacer import Pacer
from meshcall.testing.bottleneck import World

SIZE = 830
"""Octets of a full packet, as they are counted."""
RATE = round(limits.BEATS_SHARE * 2_450_000)
ON_WIRE = SIZE + limits.BEAT_HEADERS


class Sender:
    """Sound and pictures of one peer in virtual time, as ``meshcall.aio.rtc.hooks.rtp`` sends them."""

    def __init__(self, seed: int, *, late: float = 0.0, every: float | None = limits.BEAT) -> None:
        """``late``: seconds by which sound leaves late at most; ``every``: between two packets of it."""
        self.world, self.pacer = World(seed), Pacer()
        self.pacer.allow(RATE, close=True)
        self.sounds: list[float] = []
        self.left: list[float] = []
        """When each packet of a picture left."""
        self.waited: list[float] = []
        """Of each picture, until its last packet left."""
        self._late, self._every = late, every
        self._pictures: deque[tuple[float, int]] = deque()
        self._packets = 0
        self._busy = False
        self._speak()
        self.world.after(self.world.random.random() / 30, self._film)

    def _speak(self) -> None:
        if self._every is not None:
            self.world.after(self._every, self._speak)
            self.world.after(self.world.random.uniform(0, self._late), self._sound)

    def _sound(self) -> None:
        self.pacer.sounded(self.world.now)
        self.sounds.append(self.world.now)

    def _film(self) -> None:
        self.world.after(1 / 30, self._film)
        octets = RATE / 30 / 8 * self.world.random.uniform(0.7, 1.3)
        self._pictures.append((self.world.now, max(1, round(octets / limits.BEATS_PAYLOAD))))
        if not self._busy:
            self._send()

    def _send(self) -> None:
        now, self._busy = self.world.now, True
        while self._pictures:
            at, packets = self._pictures[0]
            if not self._packets:
                self._packets = packets
                behind = sum(count for _, count in list(self._pictures)[1:])
                self.pacer.begin(packets * SIZE, behind * SIZE)
            wait = self.pacer.until(now)
            if wait <= 0:
                self.left.append(now)
                self._packets -= 1
                if not self._packets:
                    self._pictures.popleft()
                    self.waited.append(now - at)
                wait = self.pacer.pause(SIZE, now)
            if wait > 0:
                self.world.after(wait, self._send)
                return
        self._busy = False


@pytest.mark.parametrize("late", [0.0, 0.002, 0.004])
@pytest.mark.parametrize("seed", range(5))
def test_a_block_takes_less_than_a_tenth_of_a_second_of_a_fifth_of_the_link(seed: int, late: float) -> None:
    """Of pictures as large as a way of 3 Mbit/s gets, when it was just cut to 0.6; and nothing heaps up."""
    sender = Sender(seed, late=late)
    sender.world.run(20)
    blocks = sorted(
        sum(begin <= at < end for at in sender.left) * 8 * ON_WIRE / 0.6e6
        for begin, end in pairwise(one for one in sender.sounds if one > 1)
    )
    assert blocks[len(blocks) * 97 // 100] < 0.1
    assert blocks[-1] < 0.15
    assert sum(sender.waited) / len(sender.waited) < 0.06
    assert max(sender.waited) < (limits.BEATS_MOST + 1) * limits.BEAT + 3 * late


@pytest.mark.parametrize("seed", range(3))
def test_pictures_leave_right_behind_sound(seed: int) -> None:
    """So that a queue that is full has room for the next one."""
    sender = Sender(seed, late=0.004)
    sender.world.run(10)
    behind = [min(at - sound for sound in sender.sounds if sound <= at) for at in sender.left if at > 1]
    assert max(behind) <= limits.BEAT_LATE + limits.BEAT_LOOK


@pytest.mark.parametrize("every", [None, 0.04, 0.06, 0.4])
def test_beats_go_on_without_sound(every: float | None) -> None:
    """As many a second; so they do between long packets of sound, and in silence."""
    sender = Sender(1, every=every)
    sender.world.run(10)
    assert len(sender.left) * 8 * SIZE >= 0.95 * 10 * RATE
    assert max(sender.waited) < (limits.BEATS_MOST + 1) * limits.BEAT


def test_a_keyframe_has_left_in_a_few_beats() -> None:
    pacer, now = Pacer(), 100.0
    pacer.allow(RATE, close=True)
    pacer.begin(100 * SIZE, 0)
    left = 0
    begun = now
    while left < 100:
        wait = pacer.until(now)
        if wait > 0:
            now += wait
            continue
        left += 1
        pacer.pause(SIZE, now)
    assert now - begun < (limits.BEATS_MOST + 2) * (limits.BEAT + limits.BEAT_PATIENCE)


def test_only_a_close_way_has_them() -> None:
    """Elsewhere nothing waits, and packets are as large as they may be."""
    pacer = Pacer()
    assert (pacer.holds, pacer.payload_most) == (False, limits.RTP_PAYLOAD_MAX)
    pacer.allow(RATE, close=True)
    assert (pacer.holds, pacer.payload_most) == (True, limits.BEATS_PAYLOAD)
    assert pacer.repair(SIZE, 1.0)
    pacer.allow(None, close=True)
    assert (pacer.holds, pacer.payload_most, pacer.until(1.0)) == (False, limits.RTP_PAYLOAD_MAX, 0.0)


@given(st.integers(0, 2**32), st.integers(1, 20_000_000), st.booleans())
def test_nothing_waits_for_ever(seed: int, rate: int, sound: bool) -> None:
    """Whatever the rate is."""
    pacer, now, source = Pacer(), 5.0, random.Random(seed)
    pacer.allow(rate, close=True)
    for _ in range(20):
        packets = source.randint(1, 40)
        pacer.begin(packets * SIZE, source.randint(0, 50_000))
        begun = now
        while packets:
            if sound and source.random() < 0.3:
                pacer.sounded(now)
            wait = pacer.until(now)
            assert 0 <= wait <= limits.BEAT
            if wait > 0:
                now += wait
            else:
                pacer.pause(SIZE, now)
                packets -= 1
        assert now - begun < (limits.BEATS_MOST + 3) * (limits.BEAT + limits.BEAT_PATIENCE)
