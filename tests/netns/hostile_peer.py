"""A peer that calls, proves who it is, and then sends what breaks parsers.

``python hostile_peer.py HOME CALLEE`` reads from stdin the name of an attack, and then a line that ends its
call, again and again; what it does it tells as JSON lines. After each attack, its name is said as chat.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiortc.rtcsctptransport as sctp_module
from google_crc32c import value as crc32c

from meshcall.aio.rtc import hooks
from meshcall.aio.rtc.endpoint import RtcEndpoint
from meshcall.aio.rtc.hooks.private import get_private
from meshcall.config import Config
from meshcall.errors import MeshcallError
from meshcall.node import Node
from meshcall.session import Call

CONNECTED_S: Final = 10.0
ZERO_PARAMETER: Final = b"\0\1\0\0"
"""aiortc's own parser never gets past it, and takes 160 MB a second."""


def tell(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, "at": time.monotonic(), **fields}), flush=True)


class Line:
    """What stands behind a call of ours: everything below its messages."""

    def __init__(self, call: Call) -> None:
        endpoint = call.driver._endpoint
        assert isinstance(endpoint, RtcEndpoint)
        assert endpoint._pc is not None
        assert endpoint._pc.sctp is not None
        self.endpoint = endpoint
        self.sctp = endpoint._pc.sctp
        self.dtls = hooks.dtls_transport(endpoint._pc)
        self.audio, self.video = endpoint._pc.getTransceivers()[:2]
        self.random = random.Random(7)
        self.unsent = 0
        self._sequences: dict[int, int] = {}
        self._protect = self.dtls._send_rtp
        self.dtls._send_rtp = self._send_one  # type: ignore[method-assign]
        session = hooks.ice_connection(endpoint._pc).session
        self._transmit = session.send_all
        session.send_all = self._send_all  # type: ignore[method-assign]

    async def _send_one(self, data: bytes) -> None:
        self._note(data)
        await self._protect(data)

    def _send_all(self, datagrams: Sequence[bytes]) -> None:
        for data in datagrams:
            self._note(data)
        self._transmit(datagrams)

    def _note(self, data: bytes) -> None:
        """What is sent here in earnest: SRTP takes no number that was used before."""
        sequence, ssrc = struct.unpack_from("!2xH4xI", data) if len(data) >= 12 else (0, 0)
        if (sequence - self._sequences.get(ssrc, sequence)) % 65536 < 32768:
            self._sequences[ssrc] = sequence

    async def chunk(self, kind: int, body: bytes = b"", *, flags: int = 0, length: int | None = None) -> None:
        """One SCTP chunk, whatever it holds; ``length``: what it says that it has."""
        tag = 0 if kind == sctp_module.InitChunk.type else self.sctp._remote_verification_tag
        head = struct.pack("!BBH", kind, flags, len(body) + 4 if length is None else length)
        packet = struct.pack("!HHII", 5000, 5000, tag, 0) + head + body + bytes(-len(body) % 4)
        await self.data(packet[:8] + struct.pack("<I", crc32c(packet)) + packet[12:])

    async def data(self, data: bytes) -> None:
        """What DTLS carries."""
        await self.dtls._send_data(data)

    async def message(self, stream: int, protocol: int, data: bytes) -> None:
        """On a data channel."""
        await self.sctp._send(stream, protocol, data)

    async def fragment(self, *, flags: int, skip: int = 0, stream: int = 0, size: int = 1000) -> None:
        """A DATA chunk with the next number, or one ``skip`` later."""
        tsn = self.sctp._local_tsn = (self.sctp._local_tsn + 1 + skip) % 2**32
        body = struct.pack("!IHHI", tsn - 1, stream, 0, sctp_module.WEBRTC_BINARY) + bytes(size)
        await self.chunk(sctp_module.DataChunk.type, body, flags=flags)

    async def rtp(self, transceiver: Any, payload: bytes, *, first: int = 0x80, marker: bool = True,
                  payload_type: int | None = None, ssrc: int | None = None) -> None:  # fmt: skip
        """An RTP packet of a stream of ours, or of another one."""
        kind = transceiver._codecs[0].payloadType if payload_type is None else payload_type
        source = transceiver.sender._ssrc if ssrc is None else ssrc
        sequence = self._sequences[source] = (self._sequences.get(source, 0) + 1) % 65536
        moment = self.random.randrange(2**32)
        head = struct.pack("!BBHII", first, kind | (0x80 if marker else 0), sequence, moment, source)
        await self.secured(head + payload)

    async def rtcp(self, kind: int, count: int, payload: bytes, *, words: int | None = None) -> None:
        """An RTCP packet; ``words``: what it says of its length."""
        length = len(payload) // 4 if words is None else words
        await self.secured(struct.pack("!BBH", 0x80 | count, kind, length) + payload)

    async def feedback(self, kind: int, form: int, payload: bytes) -> None:
        """RTCP about the other side's pictures."""
        media = next(iter(self.heard()), 0)
        await self.rtcp(kind, form, struct.pack("!II", self.video.sender._ssrc, media) + payload)

    def heard(self) -> list[int]:
        """SSRCs of the other side's pictures."""
        return list(get_private(self.video.receiver, "_RTCRtpReceiver__remote_streams"))

    async def secured(self, data: bytes) -> None:
        """RTP or RTCP by SRTP; what libsrtp refuses to protect is not sent."""
        try:
            await self._protect(data)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001 - libsrtp's own checks
            self.unsent += 1

    def datagram(self, data: bytes) -> None:
        """As it is, on the path of the call."""
        assert self.endpoint._ice is not None
        self.endpoint._ice.send(data)

    def octets(self, count: int) -> bytes:
        return self.random.randbytes(count)


Attack = Callable[[Line], Awaitable[None]]
ATTACKS: dict[str, Attack] = {}


def attack(made: Attack) -> Attack:
    """Name it as it is written here."""
    ATTACKS[made.__name__.replace("_", "-")] = made
    return made


@dataclass(frozen=True)
class Chunk:
    """An attack that is one chunk."""

    kind: int
    body: bytes = b""
    length: int | None = None

    async def __call__(self, line: Line) -> None:
        await line.chunk(self.kind, self.body, length=self.length)


def _gaps(*gaps: tuple[int, int], blocks: int | None = None) -> bytes:
    counts = struct.pack("!HH", len(gaps) if blocks is None else blocks, 0)
    return struct.pack("!II", 0, 65536) + counts + b"".join(struct.pack("!HH", *gap) for gap in gaps)


ATTACKS |= {
    "zero-parameter-heartbeat": Chunk(4, ZERO_PARAMETER),
    "zero-parameter-heartbeat-ack": Chunk(5, ZERO_PARAMETER),
    "zero-parameter-abort": Chunk(6, ZERO_PARAMETER),
    "zero-parameter-error": Chunk(9, ZERO_PARAMETER),
    "zero-parameter-reconfig": Chunk(130, ZERO_PARAMETER),
    "zero-parameter-init": Chunk(1, bytes(16) + ZERO_PARAMETER),
    "zero-parameter-init-ack": Chunk(2, bytes(16) + ZERO_PARAMETER),
    "short-data": Chunk(0, b"\0"),
    "short-init": Chunk(1, b"\0\0"),
    "short-sack": Chunk(3, b"\0\0"),
    "short-forward-tsn": Chunk(192, b"\0"),
    "short-shutdown": Chunk(7, b"\0"),
    "zero-length-chunk": Chunk(0, b"", length=0),
    "chunk-longer-than-its-packet": Chunk(4, b"\0\1\0\4", length=60_000),
    "cookie-garbage": Chunk(10, b"\xff" * 24),
    "unknown-chunk": Chunk(0x77, b"\xff" * 24),
    "abort": Chunk(6),
    "sack-of-65535-blocks": Chunk(3, _gaps((1, 1), blocks=65535)),
    "sack-that-names-all-packets-300-times": Chunk(3, _gaps(*[(0, 65535)] * 300)),
    "sack-backwards": Chunk(3, _gaps((9, 2))),
    "reconfig-garbage": Chunk(130, struct.pack("!HH", 13, 6) + b"\xff\xff"),
}
"""SCTP, behind a finished handshake."""


@attack
async def fragments_without_end(line: Line) -> None:
    for _ in range(400):
        await line.fragment(flags=0)


@attack
async def gaps_without_end(line: Line) -> None:
    for _ in range(5000):
        await line.fragment(flags=3, skip=1, size=1)


@attack
async def streams_without_end(line: Line) -> None:
    for stream in range(2000):
        await line.fragment(flags=2, stream=stream, size=1)


@attack
async def heartbeats_2000(line: Line) -> None:
    for _ in range(2000):
        await line.chunk(4, struct.pack("!HH", 1, 504) + bytes(500))


@attack
async def text_that_is_not_utf8(line: Line) -> None:
    await line.message(0, sctp_module.WEBRTC_STRING, b"\xff\xfe")


@attack
async def dcep_garbage(line: Line) -> None:
    for body in (b"\x03", b"\x03" + bytes(5), b"\x03\0\0\0\0\0\0\0\xff\xff\xff\xff", b"\x99", b"\x02" * 40):
        for stream in (0, 3):
            await line.message(stream, sctp_module.WEBRTC_DCEP, body)


@attack
async def control_garbage(line: Line) -> None:
    for body in (b"\x07\xff", b"\x0a", b"\x0b" + b"\xff" * 900, b"\x10\xff\xff", b"\x11", b"\xee" * 40):
        await line.message(0, sctp_module.WEBRTC_BINARY, body)


@attack
async def control_flood(line: Line) -> None:
    for _ in range(5000):
        await line.fragment(flags=3, size=3)


@attack
async def rtp_garbage(line: Line) -> None:
    for _ in range(200):
        for one in (line.audio, line.video):
            await line.rtp(one, line.octets(line.random.randrange(1, 1100)))
            await line.rtp(one, b"")


@attack
async def rtp_headers(line: Line) -> None:
    for first in (0x8F, 0x90, 0xA0, 0xBF, 0x40):  # CSRCs, extension, padding, all of it, version 1
        for payload in (b"", b"\0", b"\xbe\xde\xff\xff", b"\xff" * 40, b"\xbe\xde\0\1\x1f\xff\xff\xff"):
            await line.rtp(line.video, payload, first=first)


@attack
async def rtp_of_5000_sources(line: Line) -> None:
    for ssrc in range(5000):
        await line.rtp(line.video, b"\x10\0", ssrc=0x4000_0000 + ssrc)


@attack
async def rtp_of_unknown_types(line: Line) -> None:
    for kind in range(128):
        await line.rtp(line.video, b"\xff" * 8, payload_type=kind, marker=False)


@attack
async def vp8_of_16383_by_16383(line: Line) -> None:
    for _ in range(20):
        picture = b"\x50\x01\0\x9d\x01\x2a\xff\x3f\xff\x3f" + line.octets(900)
        await line.rtp(line.video, b"\x10" + picture)


@attack
async def short_remb(line: Line) -> None:
    await line.feedback(206, 15, b"REMB\x05\0\0\0")
    await line.feedback(206, 15, b"REMB\xff\xff\xff\xff")
    await line.feedback(206, 15, b"REM")
    await line.rtcp(206, 15, b"\0" * 4)


@attack
async def rtcp_garbage(line: Line) -> None:
    for kind in range(192, 224):
        for count in (0, 1, 31):
            await line.rtcp(kind, count, line.octets(4 * line.random.randrange(0, 20)))
            await line.rtcp(kind, count, line.octets(8), words=65535)


@attack
async def rtcp_asks_for_everything(line: Line) -> None:
    for first in range(0, 65536, 17 * 250):
        lost = b"".join(struct.pack("!HH", (first + 17 * n) % 65536, 0xFFFF) for n in range(250))
        await line.feedback(205, 1, lost)
    for sequence in range(1000):
        await line.feedback(206, 1, b"")
        await line.feedback(206, 4, struct.pack("!IBBBB", line.video.sender._ssrc, sequence % 256, 0, 0, 0))


@attack
async def rtcp_says_nothing_arrives(line: Line) -> None:
    for ssrc in [*line.heard(), 0, 1]:
        block = struct.pack("!IIIIII", ssrc, 0xFFFFFFFF, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
        await line.rtcp(201, 1, struct.pack("!I", line.video.sender._ssrc) + block)


@attack
async def rtcp_bye(line: Line) -> None:
    await line.rtcp(203, 1, struct.pack("!I", line.video.sender._ssrc))
    await line.rtcp(203, 31, line.octets(124))


@attack
async def datagrams_of_garbage(line: Line) -> None:
    for first in (0, 1, 3, 20, 21, 22, 23, 25, 63, 64, 79, 128, 144, 191, 192, 255):
        for size in (0, 1, 12, 13, 100, 1400):
            line.datagram(bytes([first]) + line.octets(size))
    # DTLS records: an alert, a handshake cut off, application data, a record longer than its datagram
    for kind, body, length in (
        (21, b"\2\x28", 2),
        (22, b"\1\0\0", 3),
        (23, bytes(40), 40),
        (22, bytes(9), 60_000),
    ):
        for version in (0xFEFD, 0xFEFF, 0x0304):
            line.datagram(struct.pack("!BHHIHH", kind, version, 1, 0, 7, length) + body)


@attack
async def stun_attributes_of_wrong_size(line: Line) -> None:
    for kind in (0x0001, 0x0101, 0x0111, 0x0011):
        for attribute in (0x0006, 0x0008, 0x0009, 0x0020, 0x0024, 0x0025, 0x8028, 0x8029, 0x802A):
            for size in (0, 2, 3, 65535):
                body = struct.pack("!HH", attribute, size) + bytes(4)
                line.datagram(struct.pack("!HHI", kind, len(body), 0x2112A442) + line.octets(12) + body)


async def main(home: Path, callee: str) -> None:
    async with Node(Config(home=home, lan_only=True, page_port=None)) as node:
        tell("ready", peer_id=node.peer_id.text)
        while name := await read():
            try:
                await run(node, callee, name)
            except (MeshcallError, ConnectionError) as error:
                tell("failed", attack=name, error=str(error))


async def read() -> str:
    """The next line that we are told."""
    line: str = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    return line.strip()


async def run(node: Node, callee: str, name: str) -> None:
    call = await node.call(callee, source="testsrc")
    tell("calling", call=call.id)
    try:
        async with asyncio.timeout(CONNECTED_S):
            await call.wait_connected()
    except TimeoutError:
        raise ConnectionError(f"not connected: {call.view()}") from None
    line = Line(call)
    await asyncio.sleep(0.3)  # some media pass both ways
    with contextlib.suppress(ConnectionError):  # the other end may have had enough before all is sent
        await ATTACKS[name](line)
    tell("attacked", attack=name, call=call.id, unsent=line.unsent)
    saying = asyncio.create_task(say(call, name))
    watching = asyncio.create_task(tell_end(call, name))
    await read()
    saying.cancel()
    await call.hangup()
    await watching


async def say(call: Call, name: str) -> None:
    """Again and again: who floods loses messages."""
    with contextlib.suppress(MeshcallError, ConnectionError):
        while True:
            await call.chat(name)
            await asyncio.sleep(0.3)


async def tell_end(call: Call, name: str) -> None:
    ended = await call.wait_ended()
    tell("over", attack=name, reason=ended.reason)


if __name__ == "__main__":
    os.umask(0o077)
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
