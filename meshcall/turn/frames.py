"""ChannelData (RFC 8656 section 12.4), and frames out of a stream (RFC 8489 section 6.2.2).

::

     0         2          4                4 + n
    +---------+----------+----------------+---------------------------------+
    | channel | u16 n    | data           | on streams: zeros up to 4       |
    +---------+----------+----------------+---------------------------------+

A stream also carries bare frames of the DHT, between a client and the relay's own node, in the same form with
the number 0x0400; their data begins with 0x04, as their datagrams do.

Law: octets that begin no frame end the stream; there is no way to find the next one.
"""

from __future__ import annotations

from meshcall.dht.messages import FIRST_OCTETS
from meshcall.errors import Rejected
from meshcall.limits import DATAGRAM_MAX, STUN_SIZE_MAX
from meshcall.stun.message import HEADER, is_stun
from meshcall.turn.allocation import CHANNELS_TAKEN

_HEAD = 4
_CHANNEL_OCTETS = range(CHANNELS_TAKEN.start >> 8, CHANNELS_TAKEN.stop >> 8)
FRAME_MAX = STUN_SIZE_MAX + _HEAD

BARE = 0x0400
"""The number of bare frames: RFC 8656 leaves it unused, RFC 7983 gives its first octet to nobody."""
_BARE_HEAD = BARE.to_bytes(2, "big")


def is_dht_frame(data: bytes) -> bool:
    """Whether a datagram is one of the DHT's (its content is not looked at)."""
    return bool(data) and data[0] in FIRST_OCTETS and len(data) <= DATAGRAM_MAX


def is_bare(frame: bytes) -> bool:
    """Whether a frame of a stream is a bare frame of the DHT; :func:`bare_data` takes it out."""
    return frame[:2] == _BARE_HEAD


def bare_frame(data: bytes) -> bytes:
    """A frame of the DHT for a stream."""
    return channel_data(BARE, data, stream=True)


def bare_data(frame: bytes) -> bytes:
    """What a bare frame holds."""
    return frame[_HEAD:]


def channel_data(channel: int, data: bytes, *, stream: bool) -> bytes:
    """A frame; padded on a ``stream``."""
    frame = channel.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data
    return frame + bytes(-len(data) % 4) if stream else frame


def decode_channel_data_untrusted(frame: bytes) -> tuple[int, bytes]:
    """(channel, data); what follows the data is padding. Raises :class:`Rejected` (``channel-data``)."""
    size = int.from_bytes(frame[2:4], "big")
    if len(frame) < _HEAD + size or size > STUN_SIZE_MAX:
        raise Rejected("channel-data")
    return int.from_bytes(frame[:2], "big"), frame[_HEAD : _HEAD + size]


class Frames:
    """Cuts a stream of octets into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed_untrusted(self, octets: bytes) -> list[bytes]:
        """The frames that are whole now; raises :class:`Rejected` (``stream``)."""
        data = self._rest + octets if self._rest else octets
        frames: list[bytes] = []
        at = 0
        while at < len(data):
            if not (data[at] < 4 or data[at] in _CHANNEL_OCTETS or data[at] == _BARE_HEAD[0]):
                raise Rejected("stream")
            if len(data) - at < _HEAD:
                break
            size = int.from_bytes(data[at + 2 : at + 4], "big")
            bare = data[at] == _BARE_HEAD[0]
            if bare and (data[at + 1] != _BARE_HEAD[1] or size > DATAGRAM_MAX):
                raise Rejected("stream")
            if data[at] < 4:
                size += HEADER.size
                if len(data) - at >= HEADER.size and not is_stun(data[at : at + HEADER.size]):
                    raise Rejected("stream")
            else:
                size += _HEAD
            if size > FRAME_MAX:
                raise Rejected("stream")
            end = at + size + -size % 4
            if end > len(data):
                break
            frames.append(data[at : at + size])
            at = end
        self._rest = data[at:]
        return frames
