"""Pictures from packets: order, holes, keyframes, the queue to the decoder, repair by a timer."""

from __future__ import annotations

import asyncio
import queue
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

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
    with pytest.raises(queue.Empty):
        decoder_queue._queue.get_nowait()


# --- repair ---------------------------------------------------------------------------------------


@dataclass
class Asked:
    packets: list[list[int]]
    keyframes: int = 0


def make_pictures() -> tuple[Pictures, Asked, DecoderQueue]:
    asked = Asked([])

    def ask_packets(ssrc: int, lost: list[int]) -> None:
        asked.packets.append(lost)

    def ask_keyframe(ssrc: int) -> None:
        asked.keyframes += 1

    decoder_queue = DecoderQueue("video", Counter())
    decoder_queue.open = True
    pictures = Pictures(
        make_buffer(waits=True), decoder_queue, ask_packets=ask_packets, ask_keyframe=ask_keyframe
    )
    return pictures, asked, decoder_queue


async def test_a_lost_packet_is_asked_for_until_it_comes() -> None:
    """By the timer, without another packet; then no more."""
    pictures, asked, _ = make_pictures()
    pictures.measured(0.01)
    pictures.add(Packet(0, 0, key=True))
    pictures.add(Packet(2, 2))
    await asyncio.sleep(0.07)
    assert asked.packets[:2] == [[1], [1]]
    assert times(pictures.add(Packet(1, 1))[1]) == [1, 2]
    count = len(asked.packets)
    await asyncio.sleep(0.05)
    assert len(asked.packets) == count
    assert asked.keyframes == 0
    assert pictures.repaired == 1
    pictures.close()


async def test_what_does_not_come_is_given_up_and_a_keyframe_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And what waited behind the hole goes on with the keyframe, without another packet."""
    monkeypatch.setattr(limits, "NACK_LIFE", 0.05)
    monkeypatch.setattr(limits, "NACK_RTT_FIRST", 0.01)
    pictures, asked, decoder_queue = make_pictures()
    pictures.measured(0.01)
    codec: Any = object()
    decoder_queue.put((codec, pictures.add(Packet(0, 0, key=True))[1] or FrameBatch(b"", 0)))
    pictures.add(Packet(2, 2))
    await asyncio.sleep(0.1)
    assert asked.keyframes == 1
    assert times(pictures.add(Packet(3, 3))[1]) == []
    assert times(pictures.add(Packet(4, 4, key=True))[1]) == [4]
    await asyncio.sleep(0.02)
    assert asked.keyframes == 1
    pictures.close()


async def test_wishes_for_keyframes_are_few() -> None:
    """However often the decoder fails; and a stream that is met in its middle asks by itself."""
    pictures, asked, _ = make_pictures()
    for number in range(10, 60):
        pictures.add(Packet(number, number))
        pictures.want_keyframe()
        await asyncio.sleep(0)
    assert asked.keyframes == 1
    pictures.close()
    assert pictures.add(Packet(60, 60)) == (False, None)


async def test_a_codec_whose_keyframes_we_do_not_know_is_left_to_the_decoder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a while."""
    monkeypatch.setattr(limits, "KEYFRAME_PATIENCE", 0.02)
    pictures, _, _ = make_pictures()
    assert times(pictures.add(Packet(1, 1))[1]) == []
    await asyncio.sleep(0.03)
    pictures.add(Packet(2, 2))
    assert times(pictures.add(Packet(3, 3))[1]) == [3]
    pictures.close()
