"""Relays that peers lend: public hosts of the lab whose plain daemons are DHT nodes and lend."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from netsim.host import Host
from netsim.lab import Lab
from netsim.peer import Peer
from netsim.servers import TLS_PORT

BUSY_S = 0.5
"""How long traffic is counted to see which relay carries most."""


@dataclass(frozen=True, slots=True)
class LentRelay:
    """One peer that lends."""

    peer: Peer
    flags: tuple[str, ...]

    @property
    def host(self) -> Host:
        """Where it runs."""
        return self.peer.host

    @property
    def join_flags(self) -> tuple[str, ...]:
        """How others join the DHT through it, also where UDP is blocked."""
        return "--bootstrap", f"tls:{self.host.ipv4}:{TLS_PORT}"

    @property
    def running(self) -> bool:
        """Whether it lends now."""
        return self.peer.daemon is not None and self.peer.daemon.running

    async def start(self) -> None:
        """Start its daemon, with the identity that it had. Raises LabError."""
        await self.peer.start(*self.flags)

    async def kill(self) -> None:
        """As a power cut would."""
        assert self.peer.daemon is not None, "it was started"
        await self.peer.daemon.kill()


async def lend_relays(lab: Lab, join: Sequence[str], count: int, *, ipv6: bool = False) -> list[LentRelay]:
    """``count`` public hosts whose daemons join the DHT by the flags ``join`` and lend. Raises LabError."""
    hosts = [await lab.public_host(f"relay{number + 1}", ipv6=ipv6) for number in range(count)]
    # `--relay`: a lab does not live long enough for a node to prove by itself that it is reachable.
    relays = [LentRelay(Peer(host), (*join, "--relay")) for host in hosts]
    await asyncio.gather(*(relay.start() for relay in relays))
    return relays


async def busiest(relays: Sequence[LentRelay]) -> LentRelay:
    """The one that carries most now."""
    before = [await _octets(relay.host) for relay in relays]
    await asyncio.sleep(BUSY_S)
    after = [await _octets(relay.host) for relay in relays]
    moved = [now - then for then, now in zip(before, after, strict=True)]
    return relays[moved.index(max(moved))]


async def _octets(host: Host) -> int:
    """Received on all interfaces so far (proc(5))."""
    lines = (await host.run(["cat", "/proc/net/dev"])).check().stdout.splitlines()[2:]
    return sum(int(line.partition(":")[2].split()[0]) for line in lines if "lo:" not in line)
