"""Sound and pictures across a lossy link in virtual time: real codecs, the receiving parts alone, one seed.

The same packets meet ours and the buffers of stock aiortc. Nothing waits and nothing else runs, so the
figures are the same on every machine; wire, loop and threads are measured by ``receiving`` instead.

Law: the same arguments give the same figures.
"""

from __future__ import annotations

import asyncio
import heapq
import statistics
import struct
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal

import av
from aiortc.codecs import get_decoder
from aiortc.codecs.vpx import Vp8Encoder, vp8_depayload
from aiortc.jitterbuffer import JitterBuffer as StockBuffer
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpreceiver import NackGenerator

from meshcall.address import Address
from meshcall.aio.media.encoders import OpusEncoder
from meshcall.aio.media.readers import octets_of
from meshcall.aio.rtc.pictures import DecoderQueue, Handle, Pictures
from meshcall.aio.rtc.reorder import FrameBatch, Packet, ReorderBuffer
from meshcall.aio.rtc.sound import SoundDecoder, SoundStep
from meshcall.media import opus
from meshcall.media.copies import Copies
from meshcall.media.jitter import JitterBuffer, SoundPacket
from meshcall.media.packing import frames_for, packets_of
from meshcall.media.repair import is_keyframe
from meshcall.testing import FakeClock, Link
from netsim.bench.figure import Figure, Report
from netsim.bench.media.heard import FROZEN_S
from netsim.bench.media.marks import make_pictures, make_sound, read_number, write_number
from netsim.bench.runner import Options

EngineName = Literal["ours", "stock"]

ONE_WAY_S = 0.025
SENDER: Address = ("192.0.2.1", 1)
RECEIVER: Address = ("192.0.2.2", 1)
SOUND_S = 0.02
_FRAME = 960
"""Its samples."""
REPORT_S = 1.0
OPUS = RTCRtpCodecParameters("audio/opus", 48_000, channels=2, payloadType=96)
VP8 = RTCRtpCodecParameters("video/VP8", 90_000, payloadType=97)
CAPACITY = 512
BITS = 1_200_000
HISTORY = 128
"""Packets that aiortc's sender keeps."""
RATE_S = 1 / 30
SIZE = (640, 360)
_HEADER = struct.Struct("!cHIB")


@dataclass(slots=True)
class RtpPacket:
    """What both buffers look at."""

    ssrc: int
    sequence_number: int
    timestamp: int
    marker: int
    payload: bytes
    _data: bytes = b""

    def encode(self) -> bytes:
        """For the link."""
        return _HEADER.pack(b"P", self.sequence_number, self.timestamp, self.marker) + self.payload

    @classmethod
    def decode(cls, data: bytes) -> RtpPacket:
        """From the link."""
        _, sequence, timestamp, marker = _HEADER.unpack_from(data)
        return cls(1, sequence, timestamp, marker, data[_HEADER.size :])


class Timers:
    """The timers of one machine."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, list[Callable[[], None]]]] = []
        self._count = 0

    def time(self) -> float:
        """Seconds."""
        return self._clock.now()

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        """Call at that time."""
        self._count += 1
        work = [callback]
        heapq.heappush(self._due, (max(when, self._clock.now()), self._count, work))
        return _Timer(work)

    def run(self) -> None:
        """Call what is due."""
        while self._due and self._due[0][0] <= self._clock.now():
            for callback in heapq.heappop(self._due)[2]:
                callback()

    def deadline(self) -> float | None:
        """When the next one is."""
        while self._due and not self._due[0][2]:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None


class _Timer:
    def __init__(self, work: list[Callable[[], None]]) -> None:
        self._work = work

    def cancel(self) -> None:
        self._work.clear()


class Machine:
    """One end of the link; what it does is set from outside."""

    def __init__(self, clock: FakeClock, peer: Address) -> None:
        self.timers = Timers(clock)
        self.on_data: Callable[[bytes], None] = lambda data: None
        self._peer = peer
        self._output: list[tuple[bytes, Address]] = []

    def send(self, data: bytes) -> None:
        """To the other end."""
        self._output.append((data, self._peer))

    def receive(self, data: bytes, address: Address, now: float) -> None:
        """A datagram came."""
        self.on_data(data)

    def handle_timer(self, now: float) -> None:
        """The deadline has come."""
        self.timers.run()

    def deadline(self) -> float | None:
        """When it wants to be woken."""
        return self.timers.deadline()

    def transmits(self) -> list[tuple[bytes, Address]]:
        """What it sends now."""
        output, self._output = self._output, []
        return output


def every(machine: Machine, seconds: float, count: int, work: Callable[[int], None]) -> None:
    """Do ``work(number)`` each so many seconds, from now on."""
    begin = machine.timers.time()

    def step(number: int) -> None:
        work(number)
        if number + 1 < count:
            machine.timers.call_at(begin + (number + 1) * seconds, lambda: step(number + 1))

    machine.timers.call_at(begin, lambda: step(0))


def joined(loss: float, seed: int, jitter: float) -> tuple[Link, Machine, Machine]:
    """A sender and a receiver, and the link between them."""
    clock = FakeClock()
    link = Link(clock, seed=seed, delay=ONE_WAY_S, jitter=jitter, loss=loss)
    sender, receiver = Machine(clock, RECEIVER), Machine(clock, SENDER)
    return link, sender, receiver


def run(link: Link, sender: Machine, receiver: Machine, seconds: float) -> None:
    """Let it happen."""
    link.attach(SENDER, sender)
    link.attach(RECEIVER, receiver)
    link.run(seconds)


# --- sound ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class SoundRun:
    """What was heard of one run."""

    played: float
    """Percent of the sound, by 20 ms, that was played itself."""
    from_copies: float
    """Percent that was played from the copy inside the next packet."""
    concealed: float
    """Percent of the time that was made up."""
    lag: float
    """Median in ms, from the moment that 20 ms were there to playing, the way itself left out."""
    lag_p95: float
    packets: int
    octets: int
    """Sent, copies included."""


def sound_run(
    engine: EngineName,
    loss: float,
    seed: int,
    *,
    seconds: float = 30.0,
    jitter: float = 0.005,
    copies: bool = True,
    peers: int = 1,
) -> SoundRun:
    """``copies``: our sender sends packets twice while its peer loses some; stock aiortc never does.

    ``peers``: of our sender, by which a packet holds more than 20 ms.
    """
    link, sender, receiver = joined(loss, seed, jitter)
    count = round(seconds / SOUND_S)
    send = _SoundSender(sender, doubles=copies and engine == "ours", peers=peers)
    every(sender, SOUND_S, count, send.next)
    sender.on_data = send.reported
    hear = _OurEar(receiver) if engine == "ours" else _StockEar(receiver)
    receiver.on_data = hear.take
    expected = [0]

    def report(number: int) -> None:
        sent = hear.newest + 1 - expected[0]
        lost = 1 - hear.fresh / sent if sent else 0.0
        expected[0], hear.fresh = hear.newest + 1, 0
        receiver.send(struct.pack("!d", max(0.0, lost)))

    every(receiver, REPORT_S, int(seconds / REPORT_S), report)
    run(link, sender, receiver, seconds + 2)
    lags = sorted(1000 * (at - send.times[number] - ONE_WAY_S) for number, at in hear.played.items())
    return SoundRun(
        100 * len(hear.played) / count,
        100 * hear.repaired / count,
        100 * hear.concealed / seconds,
        statistics.median(lags),
        lags[int(0.95 * (len(lags) - 1))],
        send.sent,
        send.octets,
    )


class _SoundSender:
    def __init__(self, machine: Machine, *, doubles: bool, peers: int) -> None:
        self._machine = machine
        self._doubles = doubles
        self._peers = peers
        self._waiting: list[bytes] = []
        self._encoder = OpusEncoder(2)
        self._copies = Copies()
        self._last: bytes | None = None
        self._packets = 0
        self._loss = 0.0
        self.times: list[float] = []
        self.sent = self.octets = 0

    def next(self, number: int) -> None:
        self.times.append(self._machine.timers.time())
        self._waiting += self._encoder.encode(octets_of(make_sound(number)))
        if len(self._waiting) < frames_for(self._peers, self._loss):
            return
        time = (number + 1 - len(self._waiting)) * _FRAME
        for frames in packets_of(self._waiting, opus.joins):
            if self._doubles and self._copies.wanted and self._last is not None:
                self._send(self._last)
            packet = RtpPacket(1, self._packets & 0xFFFF, time, 1, opus.join(frames))
            time += len(frames) * _FRAME
            self._packets += 1
            self._last = packet.encode()
            self._send(self._last)
        self._waiting = []

    def _send(self, data: bytes) -> None:
        self.sent += 1
        self.octets += len(data)
        self._machine.send(data)

    def reported(self, data: bytes) -> None:
        (lost,) = struct.unpack("!d", data)
        self._loss = max(lost, 0.9 * self._loss + 0.1 * lost)  # as meshcall.media.feedback does
        self._copies.reported(self._loss)
        self._encoder.expect_loss(self._loss)


class _Ear(ABC):
    """What both have in common."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._seen: set[int] = set()
        self.newest = -1
        self.fresh = 0
        """Packets since the last report that had not been seen: SRTP lets each in once."""
        self.played: dict[int, float] = {}
        self.repaired = 0
        self.concealed = 0.0

    def take(self, data: bytes) -> None:
        packet = RtpPacket.decode(data)
        number = packet.sequence_number
        if number in self._seen:
            return
        self._seen.add(number)
        self.newest = max(self.newest, number)
        self.fresh += 1
        self.hear(packet)

    @abstractmethod
    def hear(self, packet: RtpPacket) -> None:
        """One that was not there before."""


class _OurEar(_Ear):
    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._buffer = JitterBuffer(opus.RATE)
        self._decoder = SoundDecoder(OPUS, get_decoder)
        self._timer: Handle | None = None

    def hear(self, packet: RtpPacket) -> None:
        data = packet.payload
        length, copied = opus.length(data), opus.copied(data)
        sound = SoundPacket(1, packet.sequence_number, packet.timestamp, data, length, copied)
        self._buffer.put(sound, self._machine.timers.time())
        self._wait()

    def _wait(self) -> None:
        due = self._buffer.deadline()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = self._machine.timers.call_at(due, self._play)

    def _play(self) -> None:
        self._timer = None
        step = self._buffer.take(self._machine.timers.time())
        if step is not None:
            own = step.kind in ("packet", "repaired")
            for index in range(round(step.seconds / SOUND_S) if own else 0):
                self.played[step.timestamp // _FRAME + index] = step.at + index * SOUND_S
            self.repaired += step.kind == "repaired"
            nominal = step.seconds
            self._decoder.decode(SoundStep(step, 0.0, lambda got: self._buffer.played(got, nominal)))
        self.concealed = self._buffer.counts.concealed
        self._wait()


class _StockEar(_Ear):
    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._buffer = StockBuffer(capacity=16, prefetch=4)

    def hear(self, packet: RtpPacket) -> None:
        packet._data = packet.payload
        _, frame = self._buffer.add(packet)  # type: ignore[arg-type]  # it looks at four attributes
        if frame is not None:
            self.played[frame.timestamp // _FRAME] = self._machine.timers.time()


# --- pictures -------------------------------------------------------------------------------------


@dataclass(slots=True)
class PictureRun:
    """What was seen of one run."""

    shown: float
    """Percent of the pictures sent that were shown as they were sent."""
    longest_freeze: float
    """In ms."""
    frozen: float
    """Percent of the time spent in freezes of more than 0.2 s."""
    reports: int
    """Packets asked for again."""
    keyframes: int
    """Asked for."""


def picture_run(engine: EngineName, loss: float, seed: int, *, seconds: float = 20.0) -> PictureRun:
    """640x360 at 30 a second in VP8, over 50 ms of round trip."""
    link, sender, receiver = joined(loss, seed, 0.002)
    count = round(seconds / RATE_S)
    send = _PictureSender(sender)
    every(sender, RATE_S, count, send.next)
    sender.on_data = send.asked
    see = _OurEye(receiver) if engine == "ours" else _StockEye(receiver)
    receiver.on_data = see.take
    run(link, sender, receiver, seconds + 2)
    moments = [at for at, _ in see.shown]
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    right = sum(1 for _, number in see.shown if number is not None)
    return PictureRun(
        100 * right / count,
        1000 * max(gaps, default=seconds),
        100 * sum(gap for gap in gaps if gap > FROZEN_S) / seconds,
        see.asked["packets"],
        see.asked["keyframes"],
    )


class _PictureSender:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._encoder = Vp8Encoder()
        self._encoder.target_bitrate = BITS
        self._pictures = make_pictures(*SIZE, 60)
        self._history: dict[int, bytes] = {}
        self._packets = 0
        self._key = True

    def next(self, number: int) -> None:
        frame = self._pictures[number % len(self._pictures)]
        write_number(frame, number)
        frame.pts, frame.time_base = number * 3000, Fraction(1, 90_000)
        frame.pict_type = av.video.frame.PictureType.NONE
        payloads, timestamp = self._encoder.encode(frame, self._key)
        self._key = False
        for index, payload in enumerate(payloads):
            sequence = self._packets & 0xFFFF
            data = RtpPacket(1, sequence, timestamp, index == len(payloads) - 1, payload).encode()
            self._packets += 1
            self._history[sequence] = data
            self._history.pop((sequence - HISTORY) & 0xFFFF, None)
            self._machine.send(data)

    def asked(self, data: bytes) -> None:
        if data == b"K":
            self._key = True
            return
        for (sequence,) in struct.iter_unpack("!H", data[1:]):
            if sequence in self._history:
                self._machine.send(self._history[sequence])


@dataclass(slots=True)
class _Eye:
    """What both have in common."""

    machine: Machine
    shown: list[tuple[float, int | None]] = field(default_factory=list)
    """When, and the number, as far as it can be read."""
    asked: Counter[str] = field(default_factory=Counter)
    decoder: Any = field(default_factory=lambda: get_decoder(VP8))

    def ask_packets(self, lost: list[int]) -> None:
        self.asked["packets"] += len(lost)
        self.machine.send(b"N" + struct.pack(f"!{len(lost)}H", *lost))

    def ask_keyframe(self) -> None:
        self.asked["keyframes"] += 1
        self.machine.send(b"K")

    def show(self, frame: Any) -> bool:
        try:
            pictures = self.decoder.decode(frame)
        except av.FFmpegError:
            return False
        self.shown += [(self.machine.timers.time(), read_number(picture)) for picture in pictures]
        return True


class _OurEye(_Eye):
    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._queue = DecoderQueue("video", Counter())
        self._queue.open = True
        self._pictures = Pictures(
            ReorderBuffer(
                CAPACITY, payload=_data, begins_keyframe=lambda one: is_keyframe("VP8", _data(one))
            ),
            self._queue,
            ask_packets=lambda _, lost: self.ask_packets(lost),
            ask_keyframe=lambda _: self.ask_keyframe(),
            loop=machine.timers,
        )
        self._pictures.measured(2 * ONE_WAY_S)

    def take(self, data: bytes) -> None:
        packet = RtpPacket.decode(data)
        packet._data = vp8_depayload(packet.payload)
        _, batch = self._pictures.add(packet)
        if batch is not None:
            self._show_all(batch)

    def _show_all(self, batch: FrameBatch) -> None:
        for frame in (batch, *batch.following):
            if not self.show(frame):
                self._pictures.want_keyframe()


class _StockEye(_Eye):
    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._buffer = StockBuffer(capacity=512, is_video=True)
        self._nacks = NackGenerator()
        self._failed = False

    def take(self, data: bytes) -> None:
        packet = RtpPacket.decode(data)
        if self._nacks.add(packet):  # type: ignore[arg-type]  # it looks at the number
            self.ask_packets(sorted(self._nacks.missing))
        packet._data = vp8_depayload(packet.payload)
        keyframe, frame = self._buffer.add(packet)  # type: ignore[arg-type]  # likewise
        if keyframe or self._failed:
            self._failed = False
            self.ask_keyframe()
        if frame is not None and not self.show(frame):
            self._failed = True


def _data(packet: Packet) -> bytes:
    assert isinstance(packet, RtpPacket), "these are all that there are"
    return packet._data


# --- figures --------------------------------------------------------------------------------------


LOSSES = {0.0: 99.5, 0.01: 99.0, 0.05: 97.0, 0.10: 93.0}
"""Percent of the sound that is to be played, by loss."""
LAG_MS = 80.0
FREEZE_MS, FROZEN = 400.0, 2.0
PICTURE_LOSS = 0.05
SEEDS, QUICK_SEEDS = 10, 3
ENGINES: tuple[EngineName, ...] = ("ours", "stock")


async def measure(options: Options) -> Report:
    """Both engines, the same links."""
    seeds = range(QUICK_SEEDS if options.quick else SEEDS)
    figures: list[Figure] = []
    for engine in ENGINES:
        prefix = "virtual time: " if engine == "ours" else "virtual time, stock aiortc: "
        judged = engine == "ours"
        for loss, least in LOSSES.items():
            heard = [await asyncio.to_thread(sound_run, engine, loss, seed) for seed in seeds]
            at = f"at {100 * loss:.0f} % loss"
            played = tuple(one.played for one in heard)
            figures += [
                Figure(f"{prefix}sound played {at}", "%", played, least, at_least=True, judged=judged),
                Figure(
                    f"{prefix}lag of sound {at}", "ms", tuple(one.lag for one in heard), LAG_MS, judged=judged
                ),
            ]
            options.log(f"{engine}, sound {at}: {played}")
        seen = [await asyncio.to_thread(picture_run, engine, PICTURE_LOSS, seed) for seed in seeds]
        longest, frozen = tuple(one.longest_freeze for one in seen), tuple(one.frozen for one in seen)
        figures += [
            Figure(f"{prefix}longest freeze at 5 % loss", "ms", longest, FREEZE_MS, judged=judged),
            Figure(f"{prefix}time frozen at 5 % loss", "%", frozen, FROZEN, judged=judged),
            Figure(f"{prefix}packets asked for again", "", tuple(float(one.reports) for one in seen)),
        ]
        options.log(f"{engine}, pictures: {longest}")
    return Report("Receiving in virtual time", tuple(figures))
