"""Measures a path: ``send`` paces datagrams, ``receive`` reports what arrived and how long each one took.

All hosts of a lab share one monotonic clock, so the one-way delay is a plain difference.
Runs as a plain script on a host: ``python -I -S probe.py receive ADDRESS PORT COUNT`` prints one JSON object.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__)
HEADER = struct.Struct("!Qd")
"""Number and send time (monotonic seconds)."""
IDLE_S = 2.0
"""The receiver stops when nothing came for so long."""


def open_socket(address: str) -> socket.socket:
    """A UDP socket of the address's family."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.socket(family, socket.SOCK_DGRAM)


def send(address: str, port: int, count: int, rate: float, size: int) -> dict[str, float]:
    """Send ``count`` datagrams of ``size`` octets, ``rate`` per second."""
    padding = bytes(max(0, size - HEADER.size))
    with open_socket(address) as sock:
        start = time.monotonic()
        for number in range(count):
            wait = start + number / rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            sock.sendto(HEADER.pack(number, time.monotonic()) + padding, (address, port))
        return {"sent": count, "seconds": time.monotonic() - start}


def receive(address: str, port: int, count: int) -> dict[str, object]:
    """Take up to ``count`` datagrams; stops when none came for two seconds after the first."""
    numbers: list[int] = []
    delays: list[float] = []
    with open_socket(address) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sock.bind((address, port))
        print("ready", file=sys.stderr, flush=True)
        sock.settimeout(20)
        first = last = 0.0
        while len(numbers) < count:
            try:
                data = sock.recv(2048)
            except TimeoutError:
                break
            last = time.monotonic()
            first = first or last
            number, sent_at = HEADER.unpack_from(data)
            numbers.append(number)
            delays.append((last - sent_at) * 1000)
            sock.settimeout(IDLE_S)
    return {
        "received": len(numbers),
        "seconds": last - first,
        "in_order": numbers == sorted(numbers),
        "numbers": numbers,
        "delays_ms": delays,
    }


def main() -> None:
    """``send ADDRESS PORT COUNT RATE SIZE`` or ``receive ADDRESS PORT COUNT``."""
    if sys.argv[1] == "send":
        address, port, count, rate, size = sys.argv[2:]
        print(json.dumps(send(address, int(port), int(count), float(rate), int(size))))
    else:
        address, port, count = sys.argv[2:]
        print(json.dumps(receive(address, int(port), int(count))))


if __name__ == "__main__":
    main()
