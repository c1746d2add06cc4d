"""The sound of a call as packets, read from a capture: gaps, losses, and who carried it. Pure.

SRTP leaves the RTP header readable (RFC 3711 section 3.1), so sequence numbers tell what was lost, whatever
program calls. What travels to or from a TURN server over UDP is unpacked (RFC 8656); what travels inside TCP
or TLS is not seen.

Law: a packet counts when its sequence number is seen for the first time; duplicates fill no gap.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from netsim.capture import LINK_ETHERNET, Frame

STEP = 960
"""RTP timestamp from one packet of sound to the next: 20 ms of Opus (RFC 7587)."""
PACKET_S = 0.02
_ETHERTYPES = {0x0800: 4, 0x86DD: 6}
_UDP = 17
_COOKIE = 0x2112A442
_SEND, _DATA_INDICATION = 0x0016, 0x0017
_DATA = 0x0013


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP datagram on a wire."""

    time: float
    """Unix time in seconds."""
    source: str
    source_port: int
    destination: str
    destination_port: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet at one host."""

    time: float
    sent: bool
    """By the host, else received."""
    remote: str
    """IP address of the machine at the other end: the peer's network, or a relay."""
    framed: bool
    """It travelled in TURN's framing: this host has the relay."""
    ssrc: int
    sequence: int
    timestamp: int


def datagrams(frames: Iterable[Frame]) -> Iterator[Datagram]:
    """The UDP datagrams of a capture; fragments are left out."""
    for frame in frames:
        octets = frame.octets
        if frame.link_type == LINK_ETHERNET:
            version = _ETHERTYPES.get(int.from_bytes(octets[12:14]), 0)
            octets = octets[14:]
        else:
            version = octets[0] >> 4 if octets else 0
        if version == 4 and len(octets) >= 28:
            head = 4 * (octets[0] & 15)
            if octets[9] != _UDP or int.from_bytes(octets[6:8]) & 0x3FFF:
                continue
            ends, udp = (octets[12:16], octets[16:20]), octets[head : int.from_bytes(octets[2:4])]
        elif version == 6 and len(octets) >= 48 and octets[6] == _UDP:
            ends, udp = (octets[8:24], octets[24:40]), octets[40 : 40 + int.from_bytes(octets[4:6])]
        else:
            continue
        if len(udp) < 8:
            continue
        source, destination = (str(ipaddress.ip_address(end)) for end in ends)
        ports = struct.unpack_from("!HH", udp)
        yield Datagram(frame.time, source, ports[0], destination, ports[1], udp[8:])


def unwrap(payload: bytes) -> tuple[bytes, bool]:
    """What a datagram carries, and whether it did so in ChannelData or a TURN indication."""
    if len(payload) >= 4 and 0x40 <= payload[0] <= 0x4F:
        return payload[4 : 4 + int.from_bytes(payload[2:4])], True
    if len(payload) >= 20 and payload[0] == 0:
        kind, length, cookie = struct.unpack_from("!HHI", payload)
        if kind in (_SEND, _DATA_INDICATION) and cookie == _COOKIE:
            at = 20
            while at + 4 <= min(len(payload), 20 + length):
                attribute, size = struct.unpack_from("!HH", payload, at)
                if attribute == _DATA:
                    return payload[at + 4 : at + 4 + size], True
                at += 4 + size + (-size % 4)
    return payload, False


def rtp_packets(frames: Iterable[Frame], addresses: Collection[str]) -> list[Packet]:
    """The RTP packets of a capture at the host with these addresses."""
    packets: list[Packet] = []
    for one in datagrams(frames):
        data, framed = unwrap(one.payload)
        # RFC 7983 and RFC 5761: version 2, and no packet type of RTCP.
        if len(data) < 12 or data[0] >> 6 != 2 or 64 <= data[1] & 0x7F <= 95:
            continue
        sent = one.source in addresses
        sequence, timestamp, ssrc = struct.unpack_from("!HII", data, 2)
        remote = one.destination if sent else one.source
        packets.append(Packet(one.time, sent, remote, framed, ssrc, sequence, timestamp))
    return packets


@dataclass(frozen=True, slots=True)
class Sound:
    """One direction of a call's sound at one host: each sequence number's first packet, in order of time."""

    packets: tuple[Packet, ...]
    numbers: tuple[int, ...]
    """Their sequence numbers without wrapping."""

    def gap(self, begin: float, end: float) -> float:
        """The longest time without a new packet that overlaps with a stretch of time, in seconds.

        Before the first packet and after the last one nothing is known; silence until ``end`` counts.
        """
        longest, last = 0.0, None
        for packet in self.packets:
            if packet.time > end:
                break
            if last is not None and packet.time >= begin:
                longest = max(longest, packet.time - last)
            last = packet.time
        return longest if last is None else max(longest, end - last)

    def first_after(self, moment: float) -> float | None:
        """How many seconds after ``moment`` the next packet came; None: there was none."""
        return next((p.time - moment for p in self.packets if p.time >= moment), None)

    def between(self, begin: float, end: float) -> set[int]:
        """Sequence numbers of a stretch of time."""
        return {n for p, n in zip(self.packets, self.numbers, strict=True) if begin <= p.time <= end}


def lost(sent: Sound, received: Sound, begin: float, end: float) -> int:
    """How many packets that were sent in a stretch of time never arrived."""
    return len(sent.between(begin, end) - set(received.numbers))


def sounds(packets: Sequence[Packet], *, sent: bool) -> dict[int, Sound]:
    """By SSRC: the streams of one direction whose timestamps advance as those of sound do."""
    streams: dict[int, list[Packet]] = {}
    for packet in packets:
        if packet.sent == sent:
            streams.setdefault(packet.ssrc, []).append(packet)
    return {
        ssrc: sound
        for ssrc, stream in streams.items()
        if (sound := _first_copies(stream)) is not None and _is_sound(sound)
    }


def _first_copies(stream: Sequence[Packet]) -> Sound | None:
    seen: set[int] = set()
    kept: list[Packet] = []
    numbers: list[int] = []
    last: int | None = None
    for packet in stream:
        number = packet.sequence
        if last is not None:  # the nearest number to the last one that has these 16 bits
            number = last + (packet.sequence - last + 0x8000) % 0x10000 - 0x8000
        last = number if last is None else max(last, number)
        if number not in seen:
            seen.add(number)
            kept.append(packet)
            numbers.append(number)
    return Sound(tuple(kept), tuple(numbers)) if kept else None


def _is_sound(sound: Sound) -> bool:
    steps = Counter(
        (later.timestamp - packet.timestamp) % (1 << 32)
        for (packet, number), (later, next_number) in _neighbours(sound)
        if next_number == number + 1
    )
    return bool(steps) and steps.most_common(1)[0][0] == STEP


def _neighbours(sound: Sound) -> Iterator[tuple[tuple[Packet, int], tuple[Packet, int]]]:
    return pairwise(zip(sound.packets, sound.numbers, strict=True))
