"""Announces rooms that are not there, with raw packets, as any host on a LAN can.

fake_rooms.py COUNT ADDRESS NAME      every other one is called NAME; whoever announces it, nobody knows
"""

from __future__ import annotations

import socket
import struct
import sys
import time

from meshcall.aio.clock import system_random
from meshcall.discovery.lan import LanAnnouncement, encode_txt
from meshcall.discovery.rooms import RoomAnnouncement
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId

SERVICE = b"\x09_meshcall\x04_udp\x05local\x00"


def packet(number: int, address: str, name: str) -> bytes:
    """PTR, SRV, TXT and A of a machine that says it is in a room of its own."""
    instance = bytes([10]) + b"f%09d" % number + SERVICE
    host = bytes([10]) + b"h%09d" % number + b"\x05local\x00"
    peer = PeerId.from_key(SigningKey.generate(system_random).public)
    now_ms = time.time_ns() // 1_000_000
    called = name if number % 2 else f"fake {number}"
    room = RoomAnnouncement.of(system_random(16), called, peer, now_ms, members=number % 250 + 1)
    records = [
        (SERVICE, 12, 1, instance),
        (instance, 33, 0x8001, struct.pack("!HHH", 0, 0, 4000) + host),
        (instance, 16, 0x8001, encode_txt(LanAnnouncement.of(peer, now_ms, rooms=(room,)))),
        (host, 1, 0x8001, socket.inet_aton(address)),
    ]
    octets = struct.pack("!HHHHHH", 0, 0x8400, 0, len(records), 0, 0)
    for owner, kind, class_, data in records:
        octets += owner + struct.pack("!HHIH", kind, class_, 4500, len(data)) + data
    return octets


def main(count: int, address: str, name: str) -> None:
    """Send them all, no faster than a receiver that also works can read."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
    sender.bind((address, 0))
    for number in range(count):
        sender.sendto(packet(number, address, name), ("224.0.0.251", 5353))
        time.sleep(0.002)
    print("flooded", flush=True)


main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
