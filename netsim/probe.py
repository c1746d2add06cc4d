"""Measures a path: ``send`` paces datagrams, ``receive`` reports what arrived and how long each one took.

All hosts of a lab share one monotonic clock, so the one-way delay is a plain difference.
Runs as a plain script on a host: ``python -I -S probe.py receive ADDRESS PORT COUNT`` prints one JSON object.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from types import FrameType

SCRIPT = Path(__file__)
HEADER = struct.Struct("!Qd")
"""Number and send time (monotonic seconds)."""
BEGIN_S = 20.0
"""The receiver waits so long for the first datagram, unless SIGTERM says that all are sent."""
IDLE_S = 2.0
"""The receiver stops when nothing came for so long after one."""
SENT_IDLE_S = 0.5
"""The same once all are sent."""


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
    """Take up to ``count`` datagrams; stops when none came for a while."""
    numbers: list[int] = []
    delays: list[float] = []
    sent_at_last = float("inf")

    def all_sent(number: int, frame: FrameType | None) -> None:
        nonlocal sent_at_last
        sent_at_last = time.monotonic()

    signal.signal(signal.SIGTERM, all_sent)
    with open_socket(address) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sock.bind((address, port))
        print("ready", file=sys.stderr, flush=True)
        sock.settimeout(0.05)
        begin, first, last = time.monotonic(), 0.0, 0.0
        while len(numbers) < count:
            try:
                data = sock.recv(2048)
            except TimeoutError:
                now = time.monotonic()
                if now > min(
                    last + IDLE_S if first else begin + BEGIN_S, max(last, sent_at_last) + SENT_IDLE_S
                ):
                    break
                continue
            last = time.monotonic()
            first = first or last
            number, sent_at = HEADER.unpack_from(data)
            numbers.append(number)
            delays.append((last - sent_at) * 1000)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it may come when all is over
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
