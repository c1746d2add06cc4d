"""Datagrams on which parsers of other libraries fail: ``python hostile_datagrams.py ADDRESS PORT``.

STUN attributes of the wrong size (aioice), signed DNS messages (aioice's mDNS), Kademlia's own messages with
identities that are none (kademlia, rpcudp): to the port of a node, and to that of mDNS, also by multicast.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections.abc import Iterator

COPIES = 20
MDNS = 5353
MDNS_GROUP = "224.0.0.251"
SERVICE = b"\x09_meshcall\x04_udp\x05local\x00"


def stun() -> Iterator[bytes]:
    """Each attribute that has a size, with another one."""
    for kind in (0x0001, 0x0101, 0x0111, 0x0011, 0x0003, 0x0103):
        for attribute in (
            0x0001,
            0x0006,
            0x0008,
            0x0009,
            0x000C,
            0x000D,
            0x0020,
            0x0024,
            0x0025,
            0x8028,
            0x802A,
        ):
            for size in (0, 1, 2, 3, 65535):
                body = struct.pack("!HH", attribute, size) + bytes(4)
                yield struct.pack("!HHI", kind, len(body), 0x2112A442) + os.urandom(12) + body


def dns() -> Iterator[bytes]:
    """A TSIG record, names that point to themselves, counts of what is not there, cut records."""
    head = struct.pack("!HHHHHH", 0, 0x8400, 0, 0, 0, 1)
    tsig = b"\x08hmac-md5\x00" + bytes(6) + struct.pack("!HHHH", 300, 0, 0, 0)
    yield head + b"\x03key\x00" + struct.pack("!HHIH", 250, 255, 0, len(tsig)) + tsig
    yield struct.pack("!HHHHHH", 0, 0, 1, 0, 0, 0) + b"\xc0\x0c" + struct.pack("!HH", 12, 1)
    yield struct.pack("!HHHHHH", 0, 0x8400, 0, 65535, 65535, 65535)
    for size in (0, 1, 65535):
        for kind in (1, 12, 16, 28, 33, 47):
            answer = SERVICE + struct.pack("!HHIH", kind, 0x8001, 120, size) + b"\xff" * min(size, 9)
            yield struct.pack("!HHHHHH", 0, 0x8400, 0, 1, 0, 0) + answer


def kademlia() -> Iterator[bytes]:
    """Requests of rpcudp: a byte, 20 octets, MessagePack; ids that are too long, padded, or no octets."""
    for identity in (
        b"\xc4\x15\0" + b"x" * 20,
        b"\xc4\x20" + b"\xff" * 32,
        b"\xc0",
        b"\xa4text",
        b"\x91" * 500,
    ):
        for name in (b"\xa4ping", b"\xa9find_node", b"\xa5store", b"\xaafind_value"):
            yield b"\0" + os.urandom(20) + b"\x92" + name + b"\x93" + identity + b"\xc0\xc0"
            yield b"\1" + os.urandom(20) + identity


def main(address: str, port: int) -> None:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, port))
        here = probe.getsockname()[0]
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(here))
    count = 0
    for _ in range(COPIES):
        for data in (*stun(), *dns(), *kademlia()):
            sender.sendto(data, (address, port))
            count += 1
            if count % 20 == 0:
                time.sleep(0.004)  # no faster than a receiver that also works can read
        for data in dns():
            for place in (address, MDNS_GROUP):
                sender.sendto(data, (place, MDNS))
                count += 1
    print(f"{count} datagrams")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
