"""An Ethernet switch in userspace whose ports are links with conditions: delay, loss, a rate and more.

It stands in for ``tc netem``, which many kernels lack. Each port is a TAP device that this process
opens inside a host's network namespace, so IPv4, IPv6, ARP, neighbour discovery and multicast all pass.

Law 1: a frame's fate is decided by the link it enters on (:mod:`netsim.link`), once, also when it is flooded.
Law 2: it never blocks on a port: a frame that a full device does not take is lost, as in any switch.
Law 3: it ends when its stdin ends.

Stdin carries JSON lines: first the set-up, then any number of changes::

    {"ports": [{"namespace": "alice", "device": "eth0"}, ...], "conditions": {"delay_ms": 25}, "seed": 1}
    {"port": "alice", "conditions": {"delay_ms": 80, "loss": 0.02}}      (no "port": every port)

It prints ``ready`` once the devices exist, and ``changed`` after each change.
"""

from __future__ import annotations

import fcntl
import gc
import heapq
import json
import os
import select
import struct
import sys
import time
from typing import Any

from netsim.agent import enter_network
from netsim.link import Link, LinkConditions

TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
MAX_FRAME = 2048
"""Octets read at once; devices have an MTU of 1,500."""
BURST = 64
"""Frames taken from one port before the others get their turn."""
MAX_QUEUED = 20_000
"""Frames in flight; beyond that new ones are lost. At 1,500 octets that is 30 MB."""


TUN = "/dev/net/tun"
"""Gives TAP devices to whoever may open it (udev(7): everybody)."""


def open_tap(namespace: str, device: str) -> int:
    """Make a TAP device inside a namespace and return its descriptor. Raises OSError."""
    enter_network(namespace)
    descriptor = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TAP | IFF_NO_PI))
    return descriptor


class Switch:
    """Learns which address is behind which port and forwards frames when their time has come."""

    def __init__(self, ports: dict[str, int], conditions: LinkConditions, seed: int) -> None:
        self._descriptors = dict(ports)
        self._links = {port: Link(conditions, f"{seed}/{port}") for port in ports}
        self._port_of_descriptor = {descriptor: port for port, descriptor in ports.items()}
        self._port_of_mac: dict[bytes, str] = {}  # at most one per host of the lab, and hosts are ours
        self._queue: list[tuple[float, int, str, bytes]] = []
        self._count = 0

    def change(self, port: str | None, conditions: LinkConditions) -> None:
        """From now on frames that enter on ``port`` (None: any port) meet these conditions."""
        for link in self._links.values() if port is None else [self._links[port]]:
            link.conditions = conditions

    def run(self) -> None:
        """Forward until stdin ends."""
        control = sys.stdin.fileno()
        os.set_blocking(control, False)
        pending = b""
        watched = [control, *self._port_of_descriptor]
        while True:
            # select() takes microseconds; poll() and epoll() round up to milliseconds.
            timeout = max(0.0, self._queue[0][0] - time.monotonic()) if self._queue else None
            for descriptor in select.select(watched, [], [], timeout)[0]:
                if descriptor == control:
                    data = os.read(control, 65536)
                    if not data:
                        return
                    *lines, pending = (pending + data).split(b"\n")
                    for line in lines:
                        self._control(json.loads(line))
                else:
                    self._take(descriptor)
                self._forward()
            self._forward()

    def _control(self, message: dict[str, Any]) -> None:
        self.change(message.get("port"), LinkConditions(**message["conditions"]))
        print("changed", flush=True)

    def _take(self, descriptor: int) -> None:
        port = self._port_of_descriptor[descriptor]
        link = self._links[port]
        for _ in range(BURST):
            try:
                frame = os.read(descriptor, MAX_FRAME)
            except BlockingIOError:
                return
            except OSError:  # the device is down
                return
            self._port_of_mac[frame[6:12]] = port
            for due in link.due(time.monotonic(), len(frame)):
                if len(self._queue) < MAX_QUEUED:
                    self._count += 1  # keeps the order of frames that are due together
                    heapq.heappush(self._queue, (due, self._count, port, frame))

    def _forward(self) -> None:
        queue = self._queue
        while queue and queue[0][0] <= time.monotonic():
            _, _, source, frame = heapq.heappop(queue)
            target = None if frame[0] & 1 else self._port_of_mac.get(frame[0:6])
            for port in self._descriptors if target is None else (target,):
                if port == source:
                    continue
                try:
                    os.write(self._descriptors[port], frame)
                except OSError:
                    continue  # full or down: the frame is lost


def main() -> None:
    """Read the set-up from stdin, then forward."""
    line = b""
    while not line.endswith(b"\n"):
        octet = os.read(sys.stdin.fileno(), 1)
        if not octet:
            return
        line += octet
    setup = json.loads(line)
    ports = {port["namespace"]: open_tap(port["namespace"], port["device"]) for port in setup["ports"]}
    switch = Switch(ports, LinkConditions(**setup["conditions"]), setup["seed"])
    gc.disable()  # no cycles are made, and a collection would delay frames
    print("ready", flush=True)
    switch.run()


if __name__ == "__main__":
    main()
