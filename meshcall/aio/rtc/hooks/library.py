"""What is replaced for every user of aiortc and aioice in this process."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import aioice
import aioice.stun
import aiortc
import aiortc.codecs.h264
import aiortc.codecs.vpx
import aiortc.rtcicetransport
import aiortc.rtcrtpreceiver
import aiortc.rtcsctptransport

from meshcall import limits
from meshcall.aio.rtc.connection import Connection
from meshcall.aio.rtc.hooks.decoding import decode

AIORTC: Final = "1.16."
AIOICE: Final = "0.13."
"""The versions that the contract tests passed on."""

_make_ice: ContextVar[Callable[[], Connection] | None] = ContextVar("make_ice", default=None)
original_parse_message = aioice.stun.parse_message
original_decoder_worker = aiortc.rtcrtpreceiver.decoder_worker


def install() -> None:
    """Replace what is wrong for every user of the libraries in this process; may be called again."""
    for library, tested in ((aiortc, AIORTC), (aioice, AIOICE)):
        if not library.__version__.startswith(tested):
            raise ImportError(f"{library.__name__} {library.__version__} was not tested; {tested}x is needed")
    aiortc.rtcsctptransport.decode_params = decode_params
    aioice.stun.parse_message = parse_message
    aiortc.rtcrtpreceiver.decoder_worker = decode  # type: ignore[assignment]
    aiortc.rtcicetransport.Connection = _connection  # type: ignore[attr-defined, assignment]
    # 1,300 is more than paths of 1,280 octets carry; of a tunnel or an IPv6 link no picture would arrive.
    aiortc.codecs.h264.PACKET_MAX = aiortc.codecs.vpx.PACKET_MAX = limits.RTP_PAYLOAD_MAX
    # One warning for each frame of a peer that does not decode would flood the log.
    logging.getLogger("aiortc").setLevel(logging.ERROR)


def decode_params(body: bytes) -> list[tuple[int, bytes]]:
    """SCTP parameters; raises ValueError.

    aiortc's own never ends at a parameter of length 0: one 20-octet packet froze the process for ever.
    """
    params = []
    position = 0
    while position <= len(body) - 4:
        kind, length = struct.unpack_from("!HH", body, position)
        if length < 4:
            raise ValueError("SCTP parameter is shorter than its header")
        params.append((kind, body[position + 4 : position + length]))
        position += length + -length % 4
    return params


def parse_message(data: bytes) -> aioice.stun.Message:
    """A STUN message; raises ValueError.

    aioice's own lets struct.error out, which its caller does not catch.
    """
    try:
        return original_parse_message(data)
    except struct.error as error:
        raise ValueError("STUN attribute has the wrong size") from error


@contextmanager
def ice_by(make: Callable[[], Connection]) -> Iterator[None]:
    """Peer connections that get their transports inside have the ICE that ``make`` makes, not aioice's."""
    token = _make_ice.set(make)
    try:
        yield
    finally:
        _make_ice.reset(token)


def _connection(**settings: Any) -> Connection | aioice.Connection:
    """In the place of aioice's class, which aiortc looks up when a transport is made."""
    make = _make_ice.get()
    return aioice.Connection(**settings) if make is None else make()
