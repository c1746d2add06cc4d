"""A LanService on a host of the lab; tells what happens as JSON lines with monotonic times.

lan_node.py announce HOME_SEED ROUNDS PAUSE   starts and closes a service ROUNDS times
lan_node.py stay HOME_SEED [visible]          one service until stdin ends, or is killed
lan_node.py flood COUNT                       announces COUNT services with raw packets
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import struct
import sys
import time

from meshcall.aio.mdns import LanService
from meshcall.discovery.lan import DAY_MS, LanAnnouncement, LanSeen, hints_near
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId


def tell(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, "at": time.monotonic(), **fields}), flush=True)


def seen(service: LanSeen) -> bool:
    """Tell it; the peer with seed 1 is a friend of everybody here."""
    visible = service.announcement.visible
    tell(
        "seen",
        instance=service.instance,
        hint=service.announcement.hint.hex(),
        visible=visible.text if visible else None,
        name=service.announcement.name,
        addresses=[ip for ip, _ in service.addresses],
        ports=sorted({port for _, port in service.addresses}),
    )
    return service.announcement.hint in hints_near(peer("1"), time.time_ns() // 1_000_000)


def gone(instance: str) -> None:
    tell("gone", instance=instance)


def peer(seed: str) -> PeerId:
    return PeerId.from_key(SigningKey.from_seed(bytes([int(seed)]) * 32).public)


async def announce(seed: str, rounds: int, pause: float) -> None:
    said = LanAnnouncement.of(peer(seed), time.time_ns() // 1_000_000)
    for _ in range(rounds):
        service = LanService(4000, lambda: said, seen, gone, nonce=os.urandom(16))
        tell("start", instance=service.instance)
        await service.start()
        tell("started", instance=service.instance)
        await asyncio.sleep(pause)
        tell("close", instance=service.instance)
        await service.close()


async def stay(seed: str, *flags: str) -> None:
    days = 0

    def say() -> LanAnnouncement:
        now_ms = time.time_ns() // 1_000_000 + days * DAY_MS
        return LanAnnouncement.of(peer(seed), now_ms, visible="visible" in flags, name="Zoë's robot")

    names = [flag.removeprefix("only=") for flag in flags if flag.startswith("only=")]
    service = LanService(4001, say, seen, gone, nonce=os.urandom(16), interfaces=names, poll=0.2)
    await service.start()
    tell("ready", instance=service.instance, fault=service.statistics().fault)
    loop = asyncio.get_running_loop()
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        if line == "tomorrow":
            days += 1
            await service.update()
        statistics = service.statistics()
        tell(
            "status",
            services=statistics.services,
            interfaces=statistics.interfaces,
            fault=statistics.fault,
            counters=statistics.counters,
            rss_kb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        )
    await service.close()


def flood(count: int) -> None:
    """Packets as any host on the LAN can send them: PTR, SRV, TXT and A of services that are not there."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[3]))
    sender.bind((sys.argv[3], 0))
    for number in range(count):
        service = b"\x09_meshcall\x04_udp\x05local\x00"
        instance = bytes([10]) + b"f%09d" % number + service
        host = bytes([10]) + b"h%09d" % number + b"\x05local\x00"
        texts = [b"v=1", b"h=%016x" % number] if number % 2 else [b"\xff" * 40]
        txt = b"".join(bytes([len(text)]) + text for text in texts)
        records = [
            (service, 12, 1, instance),
            (instance, 33, 0x8001, struct.pack("!HHH", 0, 0, 4000) + host),
            (instance, 16, 0x8001, txt),
            (host, 1, 0x8001, socket.inet_aton(f"192.168.1.{number % 250 + 2}")),
        ]
        packet = struct.pack("!HHHHHH", 0, 0x8400, 0, len(records), 0, 0)
        for name, kind, class_, data in records:
            packet += name + struct.pack("!HHIH", kind, class_, 4500, len(data)) + data
        sender.sendto(packet, ("224.0.0.251", 5353))
        if number % 20 == 0:
            time.sleep(0.004)  # no faster than a receiver that also works can read
    tell("flooded")


match sys.argv[1]:
    case "announce":
        asyncio.run(announce(sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
    case "stay":
        asyncio.run(stay(*sys.argv[2:]))
    case _:
        flood(int(sys.argv[2]))
