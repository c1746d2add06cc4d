"""What an Opus packet tells before it is decoded, and several of them in one (RFC 6716 section 3). Pure.

Law: any octets give an answer; what no Opus packet looks like has no length and carries nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

RATE: Final = 48_000
"""RTP clock and samples per second, whatever was sent (RFC 7587 section 4.1)."""

_PACKET_MAX: Final = RATE * 120 // 1000
"""Samples of one packet at most (RFC 6716 section 3.1)."""


def length(data: bytes) -> int:
    """Samples in a packet; 0: it is no Opus packet."""
    if not data:
        return 0
    samples = _frame_length(data[0]) * _frames(data)
    return samples if samples <= _PACKET_MAX else 0


def carries_previous(data: bytes) -> bool:
    """Whether a packet holds a second copy of the one before it (LBRR: RFC 6716 section 2.1.7)."""
    first = _first_octet(data) if data and data[0] >> 3 < 16 else None
    if first is None:
        return False
    parts = max(1, _frame_length(data[0]) // 960)
    mono = bool(first >> (7 - parts) & 1)
    return mono or (bool(data[0] & 4) and bool(first >> max(0, 6 - 2 * parts) & 1))


def copied(data: bytes) -> int:
    """Samples at the end of the packet before that a packet holds a second copy of: one frame of them."""
    return _frame_length(data[0]) if carries_previous(data) else 0


def joins(one: bytes, other: bytes) -> bool:
    """Whether packets of one frame each can be one packet: their first octets are equal, and say so."""
    return bool(one and other) and one[0] == other[0] and one[0] & 3 == 0


def join(packets: Sequence[bytes]) -> bytes:
    """One packet with the frames of several, each of which :func:`joins` the first (RFC 6716 section 3.2.5).

    At least one, of 120 ms together at most.
    """
    if len(packets) == 1:
        return packets[0]
    lengths = b"".join(_encode_length(len(packet) - 1) for packet in packets[:-1])
    head = bytes([packets[0][0] | 3, 0x80 | len(packets)])
    return head + lengths + b"".join(packet[1:] for packet in packets)


def _encode_length(octets: int) -> bytes:
    """Of a frame, 0 to 1275 (RFC 6716 section 3.2.1)."""
    if octets < 252:
        return bytes([octets])
    first = 252 + (octets & 3)
    return bytes([first, (octets - first) >> 2])


def _frame_length(head: int) -> int:
    """Samples of one frame, by the configuration in the first octet."""
    configuration = head >> 3
    if configuration < 12:  # SILK
        return (480, 960, 1920, 2880)[configuration & 3]
    if configuration < 16:  # hybrid
        return (480, 960)[configuration & 1]
    return 120 << (configuration & 3)  # CELT


def _frames(data: bytes) -> int:
    code = data[0] & 3
    if code < 3:
        return (1, 2, 2)[code]
    return data[1] & 63 if len(data) > 1 else 0


def _first_octet(data: bytes) -> int | None:
    """The first octet of the first frame; None: there is none, or it is not worth the search."""
    code = data[0] & 3
    if code < 2:
        at = 1
    elif code == 2:
        if len(data) < 2 or data[1] == 0:
            return None
        at = 3 if data[1] >= 252 else 2
    else:
        if len(data) < 2:
            return None
        at = 2
        if data[1] & 0x40:  # padding: its length takes one octet, and another for each 254
            while at < len(data) and data[at] == 255:
                at += 1
            at += 1
        if data[1] & 0x80:  # each frame but the last has its own length
            for number in range((data[1] & 63) - 1):
                if at >= len(data) or (number == 0 and data[at] == 0):
                    return None
                at += 2 if data[at] >= 252 else 1
    return data[at] if at < len(data) else None
