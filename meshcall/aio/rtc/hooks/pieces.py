"""The packets of one sender: frames in pieces, and what is kept of them for repairs.

Law 1: a packet is, octet for octet, what aiortc makes of the same values.
Law 2: aiortc's form of a packet is made when it is asked for, which few are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from aiortc.rtp import RTP_HISTORY_SIZE, RtpPacket

from meshcall.aio.rtc.hooks.extensions import Extensions

_HEADER: Final = struct.Struct("!BBHLL")
_PLAIN: Final = 0x80
"""The first octet of a header (RFC 3550 section 5.1): version 2."""
_EXTENDED: Final = 0x90
"""And with header extensions (RFC 8285)."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What all packets of a sender have in common."""

    payload_type: int
    ssrc: int
    extensions: Extensions

    @property
    def overhead(self) -> int:
        """Octets around each payload of pictures."""
        return _HEADER.size + len(self.extensions.block(0, None))


@dataclass(frozen=True, slots=True)
class Piece:
    """Packets in a row of one frame that leave together."""

    stream: Stream
    sequence: int
    """Of the first one."""
    timestamp: int
    payloads: list[bytes]
    ends: bool
    """The last one is the frame's last."""
    time: int
    """When they leave, as abs-send-time."""
    level: int | None
    """Of sound, see :class:`meshcall.aio.media.encoded.Encoded`."""

    def packets(self) -> list[bytes]:
        """As they are sent."""
        stream, pack = self.stream, _HEADER.pack
        block = stream.extensions.block(self.time, self.level)
        first = _EXTENDED if block else _PLAIN
        kind, sequence, timestamp, ssrc = stream.payload_type, self.sequence, self.timestamp, stream.ssrc
        last = len(self.payloads) - 1 if self.ends else -1
        return [
            pack(first, kind | (index == last) << 7, sequence + index & 0xFFFF, timestamp, ssrc)
            + block
            + payload
            for index, payload in enumerate(self.payloads)
        ]

    def packet(self, index: int) -> RtpPacket:
        """One of them, as aiortc has it."""
        packet = RtpPacket(
            payload_type=self.stream.payload_type,
            marker=int(self.ends and index == len(self.payloads) - 1),
            sequence_number=self.sequence + index & 0xFFFF,
            timestamp=self.timestamp,
            ssrc=self.stream.ssrc,
            payload=self.payloads[index],
        )
        packet.extensions = self.stream.extensions.values(self.time, self.level)
        return packet


class History:
    """The last ``RTP_HISTORY_SIZE`` packets, each in the place where aiortc looks for it."""

    def __init__(self) -> None:
        self._places: dict[int, tuple[Piece, int]] = {}

    def keep(self, piece: Piece) -> None:
        """These leave."""
        places, sequence = self._places, piece.sequence
        for index in range(len(piece.payloads)):
            places[(sequence + index) % RTP_HISTORY_SIZE] = piece, index

    def get(self, place: int) -> RtpPacket | None:
        """The last packet whose number is this one, modulo the size."""
        kept = self._places.get(place)
        return None if kept is None else kept[0].packet(kept[1])
