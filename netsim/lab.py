"""The lab: hosts in network namespaces, joined by links.

::

    async with Lab() as lab:
        lan = await lab.lan(["alice", "bob"], delay_ms=25)
        done = await lan["alice"].run(["ping", "-c", "1", lan["bob"].ipv4])

Law 1: nothing leaves the lab. Its hosts have no route out, and the sandbox has no interface but its own.
Law 2: leaving the ``async with`` block, or dying in it, leaves no process, namespace, mount or device.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from netsim.emulation import ROOT, Emulation, Links, NetemEmulation, SwitchEmulation, choose
from netsim.errors import LabError
from netsim.host import Host
from netsim.internet import CORE, Internet
from netsim.link import LinkConditions
from netsim.namespaces import Sandbox
from netsim.nat import NAT, Filtering, nat
from netsim.servers import TurnServer
from netsim.site import Site, build_carrier, build_site
from netsim.topology import Topology

__all__ = ["ROOT", "Host", "Lab", "Lan"]

MAX_HOSTS_PER_LAN = 200


@dataclass(frozen=True, slots=True)
class AddressPlan:
    """Where a LAN's addresses come from; ``{lan}`` and ``{host}`` are numbers from 1."""

    ipv4: str
    ipv6: str


ADDRESS_PLANS: dict[str, AddressPlan] = {
    "private": AddressPlan("192.168.{lan}.{host}", "fd00:{lan}::{host}"),
    # Allocated, not from the documentation ranges: some programs refuse addresses that are not global.
    "public": AddressPlan("5.0.{lan}.{host}", "2a05:d000:{lan}::{host}"),
}


def _bridge(lan: str) -> str:
    """The device that is a LAN's switch."""
    return f"br-{lan}"[:15]


def _port(host: Host) -> str:
    """The device at the switch's end of a host's wire."""
    return f"v{host.mac[-5:].replace(':', '')}"


class Lan:
    """Hosts on one segment. ``lan["alice"]`` is a host."""

    def __init__(
        self, sandbox: Sandbox, name: str, hosts: dict[str, Host], emulation: Emulation | None
    ) -> None:
        self.name = name
        self.hosts = hosts
        self._sandbox = sandbox
        self._emulation = emulation

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def __iter__(self) -> Iterator[Host]:
        return iter(self.hosts.values())

    async def set_conditions(self, conditions: LinkConditions, *, host: str | None = None) -> None:
        """Change what frames meet that ``host`` sends (None: that any host sends). Raises LabError."""
        if self._emulation is None:
            raise LabError(f"{self.name} is a kernel bridge; make it with lan(..., emulated=True)")
        await self._emulation.set(conditions, host)

    async def split(self, hosts: Sequence[str]) -> None:
        """Put these hosts on a segment of their own until :meth:`unite`. Raises LabError."""
        self._needs_bridge()
        away = f"{_bridge(self.name)[:13]}-2"
        lines = [f"link add {away} type bridge mcast_snooping 0", f"link set {away} up"]
        lines += [f"link set {_port(self.hosts[host])} master {away}" for host in hosts]
        await self._sandbox.ip(lines)

    async def unite(self) -> None:
        """Put all hosts on one segment again. Raises LabError."""
        self._needs_bridge()
        lines = [f"link set {_port(host)} master {_bridge(self.name)}" for host in self]
        await self._sandbox.ip([*lines, f"link del {_bridge(self.name)[:13]}-2"])

    async def power(self, *, on: bool) -> None:
        """Unplug the switch, or plug it in again: every host's link goes down, or up. Raises LabError."""
        self._needs_bridge()
        state = "up" if on else "down"
        await self._sandbox.ip([f"link set {_port(host)} {state}" for host in self])

    def _needs_bridge(self) -> None:
        if self._emulation is not None:
            raise LabError(f"{self.name} is emulated; only a kernel bridge can be taken apart")

    def close(self) -> None:
        """What emulates it, if anything does, ends."""
        if self._emulation is not None:
            self._emulation.close()


class Lab:
    """An isolated network. Use it as an async context manager."""

    def __init__(self, *, directory: Path | None = None, keep: bool = False, links: Links = "auto") -> None:
        """``directory`` takes logs and files (None: a temporary one); ``keep`` leaves that one behind.

        ``links``: what emulates them (:data:`netsim.emulation.Links`).
        """
        self.links: Links = links
        self._given_directory = directory
        self._keep = keep or directory is not None
        self._sandbox: Sandbox | None = None
        self.hosts: dict[str, Host] = {}
        self.lans: dict[str, Lan] = {}
        self.sites: dict[str, Site] = {}
        """Sites and carriers by name."""
        self.servers: dict[str, TurnServer] = {}
        self._internet: Internet | None = None

    @property
    def sandbox(self) -> Sandbox:
        """What the lab runs in. Raises LabError outside of the ``async with`` block."""
        if self._sandbox is None:
            raise LabError("the lab is not open")
        return self._sandbox

    @property
    def directory(self) -> Path:
        """Logs and files of the lab."""
        return self.sandbox.directory

    async def __aenter__(self) -> Lab:
        if self._given_directory is None:
            directory = Path(tempfile.mkdtemp(prefix="netsim-"))
        else:
            directory = self._given_directory
            directory.mkdir(parents=True, exist_ok=True)
        try:
            self._sandbox = await Sandbox.open(directory)
        except BaseException:
            if not self._keep:
                shutil.rmtree(directory, ignore_errors=True)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for lan in self.lans.values():
            lan.close()
        if self._internet is not None:
            self._internet.close()
        directory = self.directory
        await self.sandbox.close()
        if not self._keep:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    def host(self, name: str) -> Host:
        """The host of that name. Raises KeyError."""
        return self.hosts[name]

    async def lan(
        self,
        hosts: Sequence[str],
        *,
        name: str | None = None,
        delay_ms: float = 0.0,
        jitter_ms: float = 0.0,
        loss: float = 0.0,
        seed: int = 1,
        emulated: bool | None = None,
        ipv4: bool = True,
        ipv6: bool = True,
        addresses: Literal["private", "public"] = "private",
        neighbours: Literal["learned", "static"] = "learned",
    ) -> Lan:
        """Join new hosts to one segment without any route out.

        ``delay_ms``, ``jitter_ms`` and ``loss`` hold for each crossing in one direction. Without any of them
        the segment is a kernel bridge, with any (or with ``emulated=True``) an emulated one.
        ``neighbours="static"`` tells every host all link addresses, so that the first packet to a host costs
        no extra round trip for ARP or neighbour discovery, as between hosts that are routers apart.
        """
        conditions = LinkConditions(delay_ms, jitter_ms, loss)
        number = len(self.lans) + 1
        name = name or f"lan{number}"
        if name in self.lans or len(set(hosts)) < len(hosts) or set(hosts) & set(self.hosts):
            raise LabError(f"the name of {name} or of one of its hosts is taken")
        if len(hosts) > MAX_HOSTS_PER_LAN:
            raise LabError(f"a LAN takes at most {MAX_HOSTS_PER_LAN} hosts")
        members = [Host(self.sandbox, host) for host in hosts]
        plan = ADDRESS_PLANS[addresses]
        for index, host in enumerate(members, start=1):
            host.mac = f"02:00:00:00:{number:02x}:{index:02x}"
            host.ipv4 = plan.ipv4.format(lan=number, host=index + 1) if ipv4 else ""
            # The host part is written in decimal digits, so that it reads the same as in IPv4.
            host.ipv6 = plan.ipv6.format(lan=number, host=index + 1) if ipv6 else ""
        await self.sandbox.ip([f"netns add {host.name}" for host in members])
        emulation: Emulation | None = None
        if emulated or (emulated is None and not conditions.perfect):
            emulation = await self._emulate(name, members, conditions, seed)
        else:
            await self._make_bridge(name, members)
        lan = Lan(self.sandbox, name, {host.name: host for host in members}, emulation)
        self.lans[name] = lan
        self.hosts.update(lan.hosts)
        await asyncio.gather(*(self._configure(host, members, neighbours == "static") for host in members))
        return lan

    async def _make_bridge(self, name: str, members: Sequence[Host]) -> None:
        bridge = _bridge(name)
        await self.sandbox.ip(
            [
                # Snooping without a querier forgets multicast members after some minutes, and mDNS with them.
                f"link add {bridge} type bridge mcast_snooping 0",
                f"link set {bridge} up",
                *(
                    f"link add name {_port(host)} type veth peer name {host.interface} netns {host.name}"
                    for host in members
                ),
                *(f"link set {_port(host)} master {bridge} up" for host in members),
            ]
        )

    async def _emulate(
        self, name: str, members: Sequence[Host], conditions: LinkConditions, seed: int
    ) -> Emulation:
        devices = {host.name: host.interface for host in members}
        if await choose(self.sandbox, self.links, conditions) == "userspace":
            return await SwitchEmulation.start(self.sandbox, devices, conditions, seed)
        await self._make_bridge(name, members)
        netem = NetemEmulation(self.sandbox, devices)
        await netem.set(conditions)
        return netem

    async def _configure(self, host: Host, members: Sequence[Host], static_neighbours: bool) -> None:
        others = [other for other in members if other is not host] if static_neighbours else []
        device = host.interface
        lines = [
            "link set lo up",
            f"link set {device} address {host.mac}",
            f"link set {device} up",
            *([f"addr add {host.ipv4}/24 brd + dev {device}"] if host.ipv4 else []),
            *([f"addr add {host.ipv6}/64 dev {device} nodad"] if host.ipv6 else []),
            *(
                f"neigh replace {address} lladdr {other.mac} dev {device} nud permanent"
                for other in others
                for address in (other.ipv4, other.ipv6)
                if address
            ),
        ]
        # Duplicate address detection would keep the link-local address unusable for a second or two.
        quiet = "for f in default all {0}; do echo 0 > /proc/sys/net/ipv6/conf/$f/accept_dad; done"
        stop = "echo 1 > /proc/sys/net/ipv6/conf/{0}/disable_ipv6"
        script = (quiet if host.ipv6 else stop).format(device)
        # A read-only /proc/sys is an error: a lab without these settings is not what was asked for.
        (await self.sandbox.run(["sh", "-ec", script], namespace=host.name)).check()
        await self.sandbox.ip(lines, namespace=host.name)

    async def internet(self) -> Internet:
        """The core router, made when it is first asked for. Raises LabError."""
        if self._internet is None:
            self._claim(CORE)
            self._internet = Internet(self.sandbox, self.links)
            self.hosts[CORE] = self._internet.core
            await self._internet.build()
        return self._internet

    async def public_host(self, name: str, *, addresses: int = 1, ipv6: bool = True, blocks: int = 0) -> Host:
        """A host on the internet itself, with that many addresses. Raises LabError.

        ``blocks``: so many more, each in a /16 (and /32 of IPv6) that no other address of the lab is in.
        """
        internet = await self.internet()
        self._claim(name)
        host = self.hosts[name] = Host(self.sandbox, name)
        await internet.attach_public(host, addresses=addresses, ipv6=ipv6, blocks=blocks)
        return host

    async def server(self, name: str = "server") -> TurnServer:
        """A public host that runs coturn: STUN and TURN over UDP, TCP and TLS. Raises LabError."""
        server = self.servers[name] = TurnServer(await self.public_host(name, addresses=2))
        await server.start()
        return server

    async def carrier(self, name: str, kind: str | NAT = "port_restricted") -> Site:
        """A carrier's NAT, for ``site(..., behind=carrier)``. Raises LabError, Impossible.

        IPv6 it routes without a firewall, for homes that have it, unless ``kind`` says otherwise.
        """
        value = nat(kind)
        if not value.translates or value.carrier is not None:
            raise LabError(f"{name}: a carrier's NAT translates, and has no carrier itself")
        if value.ipv6 is None:
            value = value.but(ipv6=Filtering.EIF)
        internet = await self.internet()
        self._claim(name)
        site = self.sites[name] = build_carrier(internet, name, value)
        self.hosts[name] = site.router
        await site.build()
        return site

    async def site(
        self,
        name: str,
        kind: str | NAT = "port_restricted",
        *,
        hosts: Sequence[str] | None = None,
        behind: Site | None = None,
        ipv6: bool = False,
        lan: str | None = None,
        upnp: bool = False,
        link: LinkConditions | None = None,
    ) -> Site:
        """Hosts behind a router on the internet, or behind a carrier's NAT.

        ``kind`` is a preset of :mod:`netsim.nat` or a value; ``hosts`` (None: one, called like the site) are
        their names; ``ipv6`` adds IPv6 to a kind that has none; ``lan`` is the private network, which other
        sites may use too; ``upnp`` runs miniupnpd in the router; ``link``: conditions of the uplink, in each
        direction, which :meth:`Site.set_link` changes (None: a plain wire). Raises LabError, Impossible.
        """
        value = nat(kind).with_ipv6() if ipv6 else nat(kind)
        internet = await self.internet()
        names = [name] if hosts is None else list(hosts)
        if len(names) > MAX_HOSTS_PER_LAN:
            raise LabError(f"a site takes at most {MAX_HOSTS_PER_LAN} hosts")
        router = f"{name}-router"
        self._claim(router, *names)
        if value.carrier is not None:
            if behind is not None:
                raise LabError(f"{name} is behind {behind.name} already; its kind has a carrier of its own")
            behind = await self.carrier(f"{name}-carrier", value.carrier)
        site = self.sites[name] = build_site(internet, name, value, behind=behind, lan=lan, link=link)
        self.hosts[router] = site.router
        members = [Host(self.sandbox, member) for member in names]
        self.hosts |= {host.name: host for host in members}
        await site.build(members)
        if upnp:
            await site.start_upnp()
        return site

    async def build(self, topology: Topology) -> None:
        """Make everything that a description holds. Raises LabError, Impossible."""
        for name in topology.servers:
            await self.server(name)
        for name, carrier in topology.carriers.items():
            await self.carrier(name, carrier.nat)
        for name, plan in topology.sites.items():
            behind = self.sites[plan.behind] if plan.behind else None
            await self.site(
                name,
                plan.nat,
                hosts=plan.hosts,
                behind=behind,
                ipv6=plan.ipv6,
                lan=plan.lan,
                upnp=plan.upnp,
                link=plan.link,
            )
        for name, plan in topology.sites.items():
            for guest in plan.guests:
                if guest not in self.hosts:
                    raise LabError(f"{guest}, a guest of {name}, is a host of no site")
                await self.sites[name].join(self.hosts[guest])
        for name, segment in topology.lans.items():
            await self.lan(segment.hosts, name=name)

    def _claim(self, *names: str) -> None:
        if len(set(names)) < len(names) or set(names) & (set(self.hosts) | set(self.sites)):
            raise LabError(f"one of these names is taken: {', '.join(names)}")

    async def stop_all(self) -> None:
        """Stop every program that was started on a host."""
        await asyncio.gather(*(host.stop_all() for host in self.hosts.values()))
