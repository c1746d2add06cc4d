"""A host's side of a hole punch, for tests of the lab: learn the mapped address, then talk to the other's.

Runs as a plain script in a host's namespace::

    punch.py LOCAL STUN_SERVER [PORT]     STUN_SERVER "-": no mapping is asked for

It prints ``{"local": [ip, port], "mapped": [ip, port]}``. For each line of stdin, ``{"targets": [[ip, port],
...], "seconds": 1.0}``, it sends to these for so long at most and prints ``{"received": [[ip, port], ...]}``:
where datagrams of the other side came from. It ends when stdin ends.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__).resolve()
MAGIC = 0x2112A442
STUN_PORT = 3478
EVERY_S = 0.05
MOMENT_S = 0.15
"""Long enough to tell the other side that we have heard it."""
PUNCH = b"punch"
HEARD = b"heard punch"
"""Sent by a side that has received something."""


def mapped_address(sock: socket.socket, server: str) -> tuple[str, int] | None:
    """Ask a STUN server (RFC 8489 §5, §14.2). None if it does not answer."""
    transaction = os.urandom(12)
    request = struct.pack("!HHI", 1, 0, MAGIC) + transaction
    for _ in range(3):
        sock.sendto(request, (server, STUN_PORT))
        sock.settimeout(0.3)
        try:
            answer = sock.recvfrom(2048)[0]
        except OSError:
            continue
        at = 20
        while at + 4 <= len(answer):
            kind, length = struct.unpack_from("!HH", answer, at)
            if kind == 0x0020 and answer[at + 5] == 1:
                port, address = struct.unpack_from("!HI", answer, at + 6)
                return socket.inet_ntoa(struct.pack("!I", address ^ MAGIC)), port ^ (MAGIC >> 16)
            if kind == 0x0020:
                port = struct.unpack_from("!H", answer, at + 6)[0] ^ (MAGIC >> 16)
                mask = struct.pack("!I", MAGIC) + transaction
                octets = bytes(a ^ b for a, b in zip(answer[at + 8 : at + 24], mask, strict=True))
                return socket.inet_ntop(socket.AF_INET6, octets), port
            at += 4 + length + -length % 4
    return None


def exchange(sock: socket.socket, targets: list[tuple[str, int]], seconds: float) -> list[tuple[str, int]]:
    """Send to all targets for so long, or until a moment after both sides have heard each other.

    Returns where datagrams came from, each source once.
    """
    drain(sock)
    seen: list[tuple[str, int]] = []
    both = False
    now = time.monotonic()
    end, next_send = now + seconds, now
    while (now := time.monotonic()) < end:
        if now >= next_send:
            for target in targets:
                try:
                    sock.sendto(HEARD if seen else PUNCH, target)
                except OSError:
                    continue  # no route; or an ICMP error about an earlier one
            next_send = now + EVERY_S
        sock.settimeout(max(0.001, min(next_send, end) - now))
        try:
            data, source = sock.recvfrom(2048)
        except OSError:
            continue
        if data == HEARD and not both:
            both = True
            end = min(end, time.monotonic() + MOMENT_S)
        if data in (PUNCH, HEARD) and source[:2] not in seen:
            seen.append((source[0], source[1]))
        if data == PUNCH and source[:2] not in targets:
            # A source that nobody told of is answered, as ICE does (RFC 8445 §7.3.1.4).
            sock.sendto(HEARD, source)
    return seen


def drain(sock: socket.socket) -> None:
    """Forget what came before."""
    sock.setblocking(False)
    while True:
        try:
            sock.recv(2048)
        except BlockingIOError:
            return
        except OSError:
            continue  # an ICMP error


def main() -> None:
    """See the module's docstring."""
    local, server = sys.argv[1:3]
    port = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    with socket.socket(socket.AF_INET6 if ":" in local else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((local, port))
        mapped = None if server == "-" else mapped_address(sock, server)
        print(json.dumps({"local": sock.getsockname()[:2], "mapped": mapped}), flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            targets = [(address, number) for address, number in request["targets"]]
            print(json.dumps({"received": exchange(sock, targets, request["seconds"])}), flush=True)


if __name__ == "__main__":
    main()
