"""Pictures from packets: order, holes, keyframes, the queue to the decoder, repair by a timer."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcall import limits
from meshcall.aio.rtc.pictures import DecoderQueue, Pictures
from meshcall.aio.rtc.reorder import FrameBatch, ReorderBuffer


@dataclass
class Packet:
    sequence_number: int
    timestamp: int
    marker: int = 1
    data: bytes = b"."
    ssrc: int = 1
    key: bool = False


def make_buffer(capacity: int = 512, *, waits: bool = False) -> ReorderBuffer:
    buffer = ReorderBuffer(
        capacity,
        payload=lambda packet: packet.data,  # type: ignore[attr-defined]
        begins_keyframe=lambda packet: packet.key,  # type: ignore[attr-defined]
    )
    if not waits:
        buffer.add(Packet(0, 0, key=True))
    return buffer


def times(frame: FrameBatch | None) -> list[int]:
    return [] if frame is None else [frame.timestamp, *(f.timestamp for f in frame.following)]


# --- order ----------------------------------------------------------------------------------------


def test_picture_leaves_with_its_marker() -> None:
    """A whole frame does not wait for the next one's first packet; without marker the next time ends it."""
    buffer = make_buffer()
    assert buffer.add(Packet(1, 10, 0, b"a")) is None
    frame = buffer.add(Packet(2, 10, 1, b"b"))
    assert frame is not None
    assert (frame.data, frame.timestamp) == (b"ab", 10)
    assert buffer.add(Packet(3, 20, 0, b"c")) is None
    assert times(buffer.add(Packet(4, 30, 1, b"d"))) == [20, 30]


def test_pictures_behind_a_hole_leave_together_when_it_is_filled() -> None:
    """Nothing of the delay stays."""
    buffer = make_buffer()
    assert [times(buffer.add(Packet(n, n))) for n in (1, 3, 4, 2, 5)] == [[1], [], [], [2, 3, 4], [5]]


def test_nothing_leaves_before_a_keyframe() -> None:
    """A stream that is met in its middle, and one whose hole is given up."""
    buffer = make_buffer(waits=True)
    assert [times(buffer.add(Packet(n, n, key=n == 12))) for n in range(10, 14)] == [[], [], [12], [13]]
    assert times(buffer.add(Packet(15, 15))) == []
    assert times(buffer.give_up()) == []
    assert buffer.lost
    assert buffer.waits_for_keyframe
    assert times(buffer.add(Packet(14, 14))) == []
    assert [times(buffer.add(Packet(n, n, key=n == 17))) for n in range(16, 19)] == [[], [17], [18]]
    assert not buffer.waits_for_keyframe


def test_a_whole_keyframe_does_not_wait_for_a_hole() -> None:
    """Of those that are whole, the newest; what begins after it follows."""
    buffer = make_buffer()
    assert times(buffer.add(Packet(2, 2))) == []
    assert times(buffer.add(Packet(4, 4, 0, key=True))) == []
    assert times(buffer.add(Packet(6, 6))) == []
    assert times(buffer.add(Packet(5, 4))) == [4, 6]
    assert buffer.keyframe_left
    assert times(buffer.add(Packet(1, 1))) == []


def test_after_giving_up_a_begun_keyframe_is_waited_for() -> None:
    """Its missing packets are still wanted, those before it are not."""
    buffer = make_buffer()
    buffer.add(Packet(2, 2))
    buffer.add(Packet(4, 4, 0, key=True))
    assert buffer.give_up() is None
    assert buffer.next == 4
    buffer.add(Packet(6, 4))
    assert times(buffer.add(Packet(5, 4, 0))) == [4]


def test_another_stream_begins_anew() -> None:
    """Another SSRC, or numbers from elsewhere: at its next keyframe."""
    buffer = make_buffer()
    assert times(buffer.add(Packet(7, 7, ssrc=2))) == []
    assert times(buffer.add(Packet(8, 8, ssrc=2, key=True))) == [8]
    assert times(buffer.add(Packet(30_000, 9, ssrc=2, key=True))) == [9]
    assert times(buffer.add(Packet(20_000, 10, ssrc=2))) == []
    assert buffer.waits_for_keyframe


@given(
    st.lists(
        st.tuples(
            st.integers(0, 0xFFFF),
            st.integers(0, 0xFFFFFFFF),
            st.integers(0, 1),
            st.booleans(),
            st.booleans(),
        ),
        max_size=80,
    )
)
def test_any_packets_leave_bounded_memory(packets: list[tuple[int, int, int, bool, bool]]) -> None:
    """Whatever the peer sends, at most ``capacity`` packets are held."""
    buffer = make_buffer(16)
    for sequence, timestamp, marker, key, gives_up in packets:
        buffer.add(Packet(sequence, timestamp, marker, key=key))
        if gives_up:
            buffer.give_up()
        assert len(buffer._packets) <= buffer.capacity
        assert buffer._keyframes <= buffer._packets.keys()


@given(st.randoms(use_true_random=False), st.integers(0, 0xFFFF))
def test_shuffled_pictures_within_the_capacity_leave_in_order(chance: random.Random, start: int) -> None:
    """Packets displaced by fewer than the capacity all arrive, in order."""
    order = sorted(range(1, 60), key=lambda n: n + chance.uniform(0, 2.9))
    buffer = make_buffer(waits=True)
    got = times(buffer.add(Packet(start, 0, key=True)))
    for index in order:
        got += times(buffer.add(Packet((start + index) & 0xFFFF, index)))
    assert got == list(range(60))


# --- the queue ------------------------------------------------------------------------------------


def test_the_queue_drops_before_the_gate_and_is_bounded_after() -> None:
    """Times are counted from the first frame, across wraps; the end overtakes what waits."""
    counters: Counter[str] = Counter()
    decoder_queue = DecoderQueue("video", counters)
    first = FrameBatch(b"x", 2**32 - 3000)
    first.following = [FrameBatch(b"y", 0), FrameBatch(b"z", 3000)]
    decoder_queue.put_late(first)
    decoder_queue.put(("codec", first))
    assert decoder_queue.dropped == 3
    assert counters == {"video-before-gate": 3}
    decoder_queue.open = True
    decoder_queue.put(("codec", first))
    taken = [decoder_queue.get() for _ in range(3)]
    assert [item[1].timestamp for item in taken if item is not None] == [0, 3000, 6000]
    assert decoder_queue.rtp_timestamp(3000) == 0
    for _ in range(limits.DECODE_QUEUE_MAX + 5):
        decoder_queue.put(("codec", FrameBatch(b"x", 1)))
    assert counters["video-decoder-behind"] == 5
    decoder_queue.put(None)
    assert decoder_queue.get() is None
    decoder_queue.put(("codec", FrameBatch(b"x", 1)))
    assert decoder_queue.get() is None


class Sleep:
    """In the place of the lock in which a decoder's thread sleeps: a test decides what happens meanwhile."""

    def __init__(self, decoder_queue: DecoderQueue, *naps: Callable[[], None]) -> None:
        decoder_queue._sleep = cast("Any", self)
        self.naps = list(naps)
        self.timeouts: list[float] = []
        self.roused = 0

    def acquire(self, timeout: float = -1) -> bool:
        self.timeouts.append(timeout)
        self.naps.pop(0)()
        return True

    def release(self) -> None:
        self.roused += 1


def test_what_nobody_sees_is_decoded_several_at_a_time() -> None:
    """The first at once; then the thread is not roused for each; the last of a stream, too, is decoded."""
    now = [7.0]
    waiting = DecoderQueue("video", Counter(), lambda: now[0])
    waiting.open = True

    def come(*times: int) -> None:
        for time in times:
            now[0] += 1.0
            waiting.put(("codec", FrameBatch(b"x", time)))

    sleep = Sleep(
        waiting,
        lambda: come(0),
        lambda: come(3000, 6000),
        lambda: None,
        lambda: come(9000),
        lambda: waiting.put(None),
    )
    got = []
    while (item := waiting.get()) is not None:
        got.append((item[1].timestamp, waiting.came))
    assert got == [(0, 8.0), (3000, 9.0), (6000, 10.0), (9000, 11.0)]
    assert sleep.timeouts == [-1, limits.UNTAKEN_WAIT, limits.UNTAKEN_WAIT, -1, limits.UNTAKEN_WAIT]
    assert sleep.roused == 3, "for the first, for the one after a pause, and for the end"


def test_what_somebody_sees_is_decoded_when_it_comes() -> None:
    """The thread waits for nothing but frames."""
    waiting = DecoderQueue("video", Counter())
    waiting.open = waiting.seen = True
    frames = [lambda at=at: waiting.put(("codec", FrameBatch(b"x", at))) for at in range(3)]
    sleep = Sleep(waiting, *frames, lambda: waiting.put(None))
    while waiting.get() is not None:
        pass
    assert sleep.timeouts == [-1] * 4
    assert sleep.roused == 4


# --- repair ---------------------------------------------------------------------------------------


class Timer:
    """One of a :class:`FakeLoop`."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when, self.callback, self.cancelled = when, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """Time that a test decides."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(when, callback)
        self.timers.append(timer)
        return timer

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self.timers = [timer for timer in self.timers if not timer.cancelled]
            due = min(self.timers, key=lambda timer: timer.when, default=None)
            if due is None or due.when > end:
                break
            self.timers.remove(due)
            self.now = max(self.now, due.when)
            due.callback()
        self.now = end


@dataclass
class World:
    """A stream, and what was asked for."""

    pictures: Pictures
    queue: DecoderQueue
    loop: FakeLoop
    packets: list[list[int]]
    keyframes: list[float]

    def add(self, packet: Packet) -> list[int]:
        return times(self.pictures.add(packet)[1])


@pytest.fixture
def world() -> World:
    loop, decoder_queue = FakeLoop(), DecoderQueue("video", Counter())
    decoder_queue.open = True
    packets: list[list[int]] = []
    keyframes: list[float] = []
    pictures = Pictures(
        make_buffer(waits=True),
        decoder_queue,
        ask_packets=lambda ssrc, lost: packets.append(lost),
        ask_keyframe=lambda ssrc: keyframes.append(loop.now),
        loop=loop,
    )
    pictures.measured(0.05)
    return World(pictures, decoder_queue, loop, packets, keyframes)


def test_a_lost_packet_is_asked_for_until_it_comes(world: World) -> None:
    """By the timer, without another packet; then no more."""
    world.add(Packet(0, 0, key=True))
    world.add(Packet(2, 2))
    world.loop.pass_time(0.1)
    assert world.packets == [[1], [1], [1]]
    assert world.add(Packet(1, 1)) == [1, 2]
    world.loop.pass_time(10)
    assert len(world.packets) == 3
    assert world.keyframes == []
    assert world.pictures.repaired == 1
    assert world.loop.timers == []


def test_what_does_not_come_is_given_up_and_a_keyframe_asked_for(world: World) -> None:
    """After a while both are; what is whole behind it leaves without another packet, or is waited for."""
    codec: Any = object()
    world.queue.put((codec, world.pictures.add(Packet(0, 0, key=True))[1] or FrameBatch(b"", 0)))
    world.queue.get()
    world.add(Packet(2, 2))
    world.loop.pass_time(0.19)
    assert world.keyframes == []
    world.loop.pass_time(0.2)
    assert len(world.keyframes) == 1
    world.loop.pass_time(0.3)
    asked = len(world.packets)
    assert world.add(Packet(3, 3)) == []
    assert world.add(Packet(1, 1)) == []
    assert world.add(Packet(4, 4, key=True)) == [4]
    world.loop.pass_time(5)
    assert len(world.packets) == asked
    assert len(world.keyframes) == 2
    assert world.pictures.freezes.freezes == 1


def test_frames_that_become_whole_by_giving_up_reach_the_decoder(world: World) -> None:
    """A keyframe without its last packets, then one whole: neither waits for another packet."""
    codec: Any = object()
    world.queue.put((codec, world.pictures.add(Packet(0, 0, key=True))[1] or FrameBatch(b"", 0)))
    world.queue.get()
    world.pictures.begin_again()
    assert len(world.keyframes) == 1
    assert world.add(Packet(1, 1)) == []
    assert world.add(Packet(2, 2, key=True)) == [2]
    assert world.pictures.keyframes_asked == 1


def test_wishes_for_keyframes_are_few(world: World) -> None:
    """However often the decoder fails; a stream that is met in its middle asks by itself."""
    for number in range(10, 110):
        world.add(Packet(number, number))
        world.pictures.want_keyframe()
        world.loop.pass_time(0.01)
    assert len(world.keyframes) == 3
    world.pictures.close()
    assert world.pictures.add(Packet(110, 110)) == (False, None)
    assert world.loop.timers == [] or all(timer.cancelled for timer in world.loop.timers)


def test_whoever_sends_nothing_is_not_asked_without_end(world: World) -> None:
    """The wish stays, and is told when something comes."""
    world.add(Packet(1, 1))
    world.loop.pass_time(60)
    asked = len(world.keyframes)
    assert asked <= 1 + limits.KEYFRAME_PAUSE_MAX / limits.KEYFRAME_PAUSE
    world.add(Packet(2, 2))
    assert len(world.keyframes) == asked + 1


def test_a_codec_whose_keyframes_we_do_not_know_is_left_to_the_decoder(world: World) -> None:
    """After a while."""
    assert world.add(Packet(1, 1)) == []
    world.loop.pass_time(limits.KEYFRAME_PATIENCE + 0.1)
    world.add(Packet(2, 2))
    assert world.add(Packet(3, 3)) == [3]
