"""Sends prepared datagrams to one address, from a process of its own.

``python -m tests.attacks.flooder FILE HOST PORT RATE SECONDS SENDERS [tokens]``: FILE holds datagrams, each
behind its length (u16). They go out in turn, RATE a second, from SENDERS sockets at as many addresses of
127.9/16, in bursts of a millisecond. With ``tokens`` each sender asks for a write token first and shows it in
every other write, as who really is where it says it is can. Prints one JSON object: how many were sent in how
many seconds. Next to nothing is made while it sends: the flood is to cost the receiver, not us.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

from meshcall.dht.messages import FindNode, Nodes, decode_frame_untrusted, encode_frame

WRITES = {4, 5}
"""Kinds of store and deliver: the octet after the array's head."""
TOKEN = slice(38, 46)
"""Where their token is: behind 0x04, array head, kind, tid (2 + 8), sender (2 + 20), flags, its head (2)."""


def read_datagrams(path: Path) -> list[bytes]:
    """The datagrams in ``path``."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        found.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return found


def write_datagrams(path: Path, datagrams: list[bytes]) -> None:
    """What :func:`read_datagrams` reads."""
    path.write_bytes(b"".join(len(data).to_bytes(2, "big") + data for data in datagrams))


def open_senders(count: int, target: tuple[str, int]) -> list[socket.socket]:
    """One socket on each of 127.9.x.y, connected to ``target``."""
    sockets = []
    for number in range(count):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((f"127.9.{number // 250}.{number % 250 + 1}", 0))
        sock.connect(target)
        sock.setblocking(False)
        sockets.append(sock)
    return sockets


def ask_token(sock: socket.socket) -> bytes:
    """The write token that the target gives to this socket's address."""
    request = encode_frame(FindNode(os.urandom(8), os.urandom(20), 1, os.urandom(20), bytes(300)))
    sock.settimeout(0.5)
    for _ in range(10):
        sock.send(request)
        try:
            reply = decode_frame_untrusted(sock.recv(2048))
        except TimeoutError:
            continue
        if isinstance(reply, Nodes):
            break
    else:
        raise TimeoutError("no token")
    sock.setblocking(False)
    return reply.token


def main() -> None:
    """Flood and report."""
    path, host, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    rate, seconds, senders = float(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6])
    datagrams = read_datagrams(path)
    sockets = open_senders(senders, (host, port))
    tokens = [ask_token(sock) for sock in sockets] if sys.argv[7:] == ["tokens"] else []
    sent = number = 0
    start = time.monotonic()
    while (passed := time.monotonic() - start) < seconds:
        due = int(passed * rate)
        for _ in range(due - number):
            number += 1
            data = datagrams[number % len(datagrams)]
            if tokens and number & 1 and len(data) > TOKEN.stop and data[2] in WRITES:
                data = data[: TOKEN.start] + tokens[number % senders] + data[TOKEN.stop :]
            try:
                sockets[number % senders].send(data)
            except OSError:  # nobody listens any more, or our own buffer is full
                continue
            sent += 1
        time.sleep(0.001)
    print(json.dumps({"sent": sent, "seconds": round(time.monotonic() - start, 3)}))


if __name__ == "__main__":
    main()
