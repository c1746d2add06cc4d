"""ChannelData (RFC 8656 section 12.4), and frames out of a stream (RFC 8489 section 6.2.2).

::

     0         2          4                4 + n
    +---------+----------+----------------+---------------------------------+
    | channel | u16 n    | data           | on streams: zeros up to 4       |
    +---------+----------+----------------+---------------------------------+

Law: octets that begin no frame end the stream; there is no way to find the next one.
"""

from __future__ import annotations

from meshcall.errors import Rejected
from meshcall.limits import STUN_SIZE_MAX
from meshcall.stun.message import HEADER, is_stun
from meshcall.turn.allocation import CHANNELS_TAKEN

_HEAD = 4
_CHANNEL_OCTETS = range(CHANNELS_TAKEN.start >> 8, CHANNELS_TAKEN.stop >> 8)
FRAME_MAX = STUN_SIZE_MAX + _HEAD


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
            if not (data[at] < 4 or data[at] in _CHANNEL_OCTETS):
                raise Rejected("stream")
            if len(data) - at < _HEAD:
                break
            size = int.from_bytes(data[at + 2 : at + 4], "big")
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
