"""Packet capture without tcpdump: a pcapng file per host or router, which Wireshark opens.

Debian's tcpdump can't drop its privileges inside a user namespace and fails. One AF_PACKET socket sees all
devices of a namespace; each becomes an interface of the file when its first frame comes.

Runs as a plain script in a namespace, ``capture.py FILE``, until SIGTERM; then it prints what it took.

Blocks of a file (draft-ietf-opsawg-pcapng), host order, padded to 4 octets::

    section header    0x0A0D0D0A  length  0x1A2B3C4D  version 1.0  section length -1  length
    interface         0x00000001  length  link type  0  snap length 0  options: name, resolution 10^-9  length
    packet            0x00000006  length  interface  time high, low  captured  original  octets  length
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO, NoReturn

SCRIPT = Path(__file__).resolve()
ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_TIMESTAMPNS = 35
BUFFER = 8 << 20
"""Asked for; the kernel gives as much as its net.core.rmem_max allows."""
MAX_FRAME = 1 << 16
SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
BYTE_ORDER = 0x1A2B3C4D
LINK_ETHERNET, LINK_RAW = 1, 101
ARPHRD_NONE = 65534
"""Hardware type of TUN devices, whose frames begin with the IP header."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured frame."""

    device: str
    time: float
    """Unix time in seconds."""
    link_type: int
    octets: bytes


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("=I", 12 + len(body))
    return struct.pack("=I", kind) + length + body + length


def _padded(octets: bytes) -> bytes:
    return octets + b"\0" * (-len(octets) % 4)


def section_block() -> bytes:
    """The head of a file."""
    return _block(SECTION, struct.pack("=IHHq", BYTE_ORDER, 1, 0, -1))


def interface_block(device: str, link_type: int) -> bytes:
    """Declares the next interface; times are nanoseconds."""
    name = device.encode()
    options = struct.pack("=HH", 2, len(name)) + _padded(name)
    options += struct.pack("=HH", 9, 1) + _padded(b"\x09") + struct.pack("=HH", 0, 0)
    return _block(INTERFACE, struct.pack("=HHI", link_type, 0, 0) + options)


def packet_block(interface: int, nanoseconds: int, octets: bytes) -> bytes:
    """One frame of the interface with that number."""
    high, low = divmod(nanoseconds, 1 << 32)
    head = struct.pack("=IIIII", interface, high, low, len(octets), len(octets))
    return _block(PACKET, head + _padded(octets))


def read_capture(path: Path) -> Iterator[Frame]:
    """The frames of a file that was written here. Raises ValueError."""
    data = path.read_bytes()
    interfaces: list[tuple[str, int]] = []
    at = 0
    while at + 12 <= len(data):
        kind, length = struct.unpack_from("=II", data, at)
        if length < 12 or at + length > len(data):
            break  # the last block is still being written
        body = data[at + 8 : at + length - 4]
        if kind == SECTION and struct.unpack_from("=I", body)[0] != BYTE_ORDER:
            raise ValueError(f"{path} was written on another kind of machine")
        if kind == INTERFACE:
            size = struct.unpack_from("=H", body, 10)[0]
            interfaces.append((body[12 : 12 + size].decode(), struct.unpack_from("=H", body)[0]))
        elif kind == PACKET:
            number, high, low, size, _ = struct.unpack_from("=IIIII", body)
            device, link_type = interfaces[number]
            seconds, nanoseconds = divmod((high << 32) + low, 1_000_000_000)
            yield Frame(device, seconds + nanoseconds / 1e9, link_type, body[20 : 20 + size])
        at += length


class Recorder:
    """Writes what a namespace's devices see."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._interfaces: dict[str, int] = {}
        self.frames = 0
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        file.write(section_block())
        file.flush()

    def dropped(self) -> int:
        """Frames that came faster than they could be written."""
        statistics = self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        return int(struct.unpack("=II", statistics)[1])

    def run(self) -> NoReturn:
        """Record until the process is ended."""
        while True:
            octets, ancillary, _, address = self.socket.recvmsg(MAX_FRAME, 64)
            seconds, nanoseconds = struct.unpack("=qq", ancillary[0][2])
            device, hardware = address[0], address[3]
            number = self._interfaces.get(device)
            if number is None:
                number = self._interfaces[device] = len(self._interfaces)
                link_type = LINK_RAW if hardware == ARPHRD_NONE else LINK_ETHERNET
                self._file.write(interface_block(device, link_type))
            # Written at once, so that a file is complete whenever somebody looks at it.
            self._file.write(packet_block(number, seconds * 1_000_000_000 + nanoseconds, octets))
            self._file.flush()
            self.frames += 1


def main() -> None:
    """See the module's docstring."""
    with Path(sys.argv[1]).open("wb") as file:
        recorder = Recorder(file)

        def finish(number: int, frame: FrameType | None) -> None:
            print(json.dumps({"frames": recorder.frames, "dropped": recorder.dropped()}), flush=True)
            sys.exit(0)

        signal.signal(signal.SIGTERM, finish)
        print("ready", flush=True)
        recorder.run()


if __name__ == "__main__":
    main()
