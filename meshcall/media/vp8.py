"""VP8 in RTP: a picture cut into payloads, and a payload without what is around it (RFC 7741). Pure.

Every payload begins with a descriptor; ours has four octets, always::

    |X R N S R PID|I 0 0 0 0 0 0 0|1 picture (15)                 |
      1 0 0 S 0 0

S is set in the first one of a picture; ``picture`` counts them.
"""

from __future__ import annotations

from typing import Final

PICTURES: Final = 1 << 15
"""Numbers of pictures that there are."""
_DESCRIPTOR: Final = 4


def cut(data: bytes, picture: int, size: int) -> list[bytes]:
    """The payloads of ``data``, of ``size`` octets at most; ``picture``: its number, 0 to 32767."""
    number = (PICTURES | picture).to_bytes(2, "big")
    room = size - _DESCRIPTOR
    later = b"\x80\x80" + number
    return [
        b"\x90\x80" + number + data[:room],
        *(later + data[begin : begin + room] for begin in range(room, len(data), room)),
    ]


def uncut(payload: bytes) -> bytes | None:
    """What of a picture is in a payload, if its descriptor has the form of ours; None: another form."""
    if len(payload) >= _DESCRIPTOR and payload[0] & 0x80 and payload[1] & 0xF0 == 0x80 and payload[2] & 0x80:
        return payload[_DESCRIPTOR:]
    return None
