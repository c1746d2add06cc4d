"""Sends random and mutated datagrams to whoever sends it a datagram first.

``python flood.py ADDRESS PORT COUNT [SEED]`` binds, prints ``ready``, keeps the genuine datagrams that come
while it waits, and then floods. Prints one JSON object. Half is random with every first octet (DHT, STUN,
DTLS, TURN, RTP share the port), half are genuine datagrams with octets flipped, cut, added or swapped.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import time

LISTEN_S = 3.0
RATE = 5000.0
MAX_DATAGRAM = 1472
STUN_BINDING = bytes.fromhex("000100002112a442") + bytes(12)
"""A Binding request without attributes (RFC 8489 section 5), for when nobody sent one."""


def listen(sock: socket.socket) -> tuple[tuple[str, int], list[bytes]]:
    """Who spoke first, and what came from there for some seconds."""
    sock.settimeout(60)
    data, sender = sock.recvfrom(2048)
    genuine = [data]
    deadline = time.monotonic() + LISTEN_S
    while (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            data, other = sock.recvfrom(2048)
        except TimeoutError:
            break
        if other == sender:
            genuine.append(data)
    return sender[:2], genuine


def mutate(rng: random.Random, corpus: list[bytes]) -> bytes:
    """One genuine datagram, damaged."""
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.randint(1, 4)):
        kind = rng.randrange(6)
        at = rng.randrange(len(data)) if data else 0
        if kind == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = rng.randbytes(rng.randint(1, 40))
        elif kind == 3:
            data += rng.choice(corpus)
        elif kind == 4 and data:
            data[at : at + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"])
        else:
            other = rng.choice(corpus)
            data[at:] = other[at:]
    return bytes(data[:MAX_DATAGRAM])


def noise(rng: random.Random) -> bytes:
    """Random octets of any length a datagram can have."""
    size = rng.choice([rng.randrange(0, 64), rng.randrange(0, MAX_DATAGRAM + 1)])
    data = bytearray(rng.randbytes(size))
    if data and rng.random() < 0.6:
        data[0] = rng.randrange(0, 24)  # the ranges that are parsed most
    return bytes(data)


def main() -> None:
    """Listen, flood, report."""
    address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else 20250
    rng = random.Random(seed)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((address, port))
        print("ready", file=sys.stderr, flush=True)
        target, genuine = listen(sock)
        sock.setblocking(False)
        corpus = [*genuine, STUN_BINDING]
        start = time.monotonic()
        for number in range(count):
            wait = start + number / RATE - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            data = noise(rng) if number % 2 else mutate(rng, corpus)
            try:
                sock.sendto(data, target)
            except (BlockingIOError, ConnectionRefusedError):
                continue
        print(
            json.dumps(
                {
                    "seed": seed,
                    "sent": count,
                    "genuine": len(genuine),
                    "target": target,
                    "seconds": round(time.monotonic() - start, 2),
                }
            )
        )


if __name__ == "__main__":
    main()
