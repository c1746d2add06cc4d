"""A site: a router of some kind and the hosts on the segment behind it. A carrier's NAT is one without hosts.

Law 1: everything about a site follows from its kind (:mod:`netsim.nat`) and its number.
Law 2: the router's devices are called ``wan`` and ``lan``; the segment is a bridge, so multicast passes.
Law 3: what a host sends from an interface's address leaves by that interface, also when it has several.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Literal

from netsim.emulation import Emulation
from netsim.errors import LabError
from netsim.host import Attachment, Host
from netsim.internet import CORE, Internet, Wire, namespace_steps
from netsim.link import LinkConditions
from netsim.namespaces import Sandbox
from netsim.nat import NAT, Outbound
from netsim.rules import RouterAddresses, render, sysctls
from netsim.steps import Step, ip_step, nft_step
from netsim.tools import require_tools
from netsim.upnp import PROTOCOLS, Upnp

FIRST_HOST = 2
"""The last number of the first host's address; the router is 1."""
MAX_ADDRESS = 254
METRIC = 100
"""Of the default route by a host's first interface; each further one adds as much."""
FIRST_TABLE = 100
"""Of routes by a host's first interface; each has a table of its own."""


class Site:
    """Made by :meth:`netsim.lab.Lab.site`. ``site["alice"]`` is a host, ``site.host`` the first one."""

    def __init__(
        self,
        internet: Internet,
        name: str,
        router: str,
        nat: NAT,
        *,
        number: int,
        lan: str,
        lan6: str,
        behind: Site | None,
        link: LinkConditions | None = None,
    ) -> None:
        self.internet = internet
        self.name = name
        self.nat = nat
        self.router = Host(internet.sandbox, router)
        self.hosts: dict[str, Host] = {}
        self.lan = ipaddress.IPv4Network(lan)
        """The network behind the router."""
        self.lan6 = ipaddress.IPv6Network(lan6)
        self.behind = behind
        """The carrier's NAT that this one is behind, if any."""
        self.link = link
        """Conditions of its uplink at the start; None: a plain wire."""
        self._emulation: Emulation | None = None
        self.upnp: Upnp | None = None
        self.seed = number
        self._number = number
        self._next_host = FIRST_HOST
        self._next_wan = FIRST_HOST
        self.wan4 = ""
        """The router's external IPv4 address."""
        self.wan6 = ""

    def __repr__(self) -> str:
        return f"<Site {self.name} {self.nat} {self.wan4 or self.wan6}>"

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def __iter__(self) -> Iterator[Host]:
        return iter(self.hosts.values())

    @property
    def host(self) -> Host:
        """Its first host. Raises LabError when it has none."""
        for host in self:
            return host
        raise LabError(f"{self.name} has no hosts")

    @property
    def public_ipv4(self) -> str:
        """The address that the internet sees: the carrier's if the site is behind one."""
        return self.behind.public_ipv4 if self.behind else self.wan4

    @property
    def sandbox(self) -> Sandbox:
        """What its lab runs in."""
        return self.internet.sandbox

    @property
    def uplink(self) -> Attachment:
        """The router's interface to the internet or to the carrier."""
        return self.router.attachments[0]

    async def build(self, hosts: Sequence[Host] = ()) -> None:
        """Make the router, its rules and the hosts. Raises LabError, LabUnavailable."""
        require_tools("nft")
        upper = self.behind.router.name if self.behind else CORE
        port = f"s{self._number}"
        ipv6 = self.nat.ipv6 is not None
        sandbox = self.sandbox
        await sandbox.steps(namespace_steps([self.router.name], ipv6=ipv6))
        connected = self.nat.outbound is not Outbound.NOTHING
        if connected:
            wire = Wire(upper, port, self.router.name, "wan")
            if self.link is None:
                await self.internet.lay([wire])
            else:
                self._emulation = await self.internet.lay_emulated(wire, self.link, seed=self._number)
        steps: list[Step] = [ip_step(self.router.name, self._segment_lines(), sysctls(self.nat))]
        if connected:
            steps += self._uplink_steps(upper, port)
        steps.append(nft_step(self.router.name, self.rules()))
        await sandbox.steps(steps)
        if hosts:
            await sandbox.steps(namespace_steps([host.name for host in hosts], ipv6=ipv6))
            await self.join(*hosts)

    async def set_link(
        self, conditions: LinkConditions, *, direction: Literal["both", "up", "down"] = "both"
    ) -> None:
        """Other conditions on the uplink from now on; ``up``: of what the site sends. Raises LabError."""
        if self._emulation is None:
            raise LabError(f"the uplink of {self.name} is a plain wire; make it with site(..., link=...)")
        upper, _ = self.uplink.far_end
        await self._emulation.set(
            conditions, {"both": None, "up": self.router.name, "down": upper}[direction]
        )

    def _segment_lines(self) -> list[str]:
        lines = [
            "link set lo up",
            # Snooping without a querier forgets multicast members after some minutes, and mDNS with them.
            "link add lan type bridge mcast_snooping 0",
        ]
        if self.nat.ipv4:
            lines.append(f"addr add {self.lan[1]}/{self.lan.prefixlen} dev lan")
        if self.nat.ipv6:
            lines.append(f"addr add {self.lan6[1]}/64 dev lan nodad")
        return lines

    def _uplink_steps(self, upper: str, port: str) -> list[Step]:
        if self.behind:
            address4, address6 = self.behind.next_addresses()
            gateway4, gateway6 = str(self.behind.lan[1]), str(self.behind.lan6[1])
            upper_lines = [f"link set {port} up"]
        else:
            wire4 = ipaddress.IPv4Network(f"5.2.{self._number}.0/24")
            wire6 = ipaddress.IPv6Network(f"2a05:d002:{self._number}::/64")
            address4, address6 = self.next_wan_address(), str(wire6[2])
            gateway4, gateway6 = str(wire4[1]), str(wire6[1])
            upper_lines = [
                *([f"addr add {gateway4}/24 dev {port}"] if self.nat.ipv4 else []),
                *([f"addr add {gateway6}/64 dev {port} nodad"] if self.nat.ipv6 else []),
                f"link set {port} up",
            ]
        lines = []
        if self.nat.ipv4:
            self.wan4 = address4
            lines.append(f"addr add {address4}/24 dev wan")
        if self.nat.ipv6:
            self.wan6 = address6
            lines.append(f"addr add {address6}/64 dev wan nodad")
        lines.append("link set wan up")
        if self.nat.ipv4:
            lines.append(f"route add default via {gateway4}")
        if self.nat.ipv6:
            lines.append(f"route add default via {gateway6}")
        network = self.behind.name if self.behind else CORE
        attachment = Attachment(network, "wan", self.wan4, self.wan6)
        attachment.gateway4, attachment.gateway6 = gateway4, gateway6
        attachment.far_end = (upper, port)
        self.router.attachments.append(attachment)
        self.router.ipv4, self.router.ipv6, self.router.interface = self.wan4, self.wan6, "wan"
        steps = [ip_step(upper, upper_lines), ip_step(self.router.name, lines)]
        if self.behind:
            steps.append(self.behind.plug(port))
        if not self.nat.translates and self.nat.ipv4:
            steps.append(ip_step(upper, [f"route add {self.lan} via {self.wan4}"]))
        if self.nat.ipv6:
            steps.append(ip_step(upper, [f"route add {self.lan6} via {self.wan6}"]))
            if self.behind:
                route = f"route add {self.lan6} via {self.behind.wan6}"
                steps.append(ip_step(CORE, [route]))
        return steps

    def rules(self) -> str:
        """The router's rule set as it is now."""
        return render(self.nat, RouterAddresses(self.wan4, str(self.lan)), seed=self.seed)

    def next_wan_address(self) -> str:
        """An address for the router that it has not had yet. Raises LabError."""
        if self.behind:
            return self.behind.next_addresses()[0]
        self._next_wan += 1
        if self._next_wan > MAX_ADDRESS:
            raise LabError(f"{self.name} has used every address of its uplink")
        return f"5.2.{self._number}.{self._next_wan - 1}"

    def next_addresses(self) -> tuple[str, str]:
        """Addresses for one more host or home on the segment."""
        number = self._next_host
        self._next_host += 1
        if number >= self.lan.num_addresses - 1:
            raise LabError(f"{self.lan} behind {self.name} is full")
        return str(self.lan[number]), str(self.lan6[number])

    def plug(self, port: str) -> Step:
        """Put a device, whose both ends are up, into the segment.

        The bridge comes up with its first port: the kernel takes up to a second to notice that a bridge
        without any has got one, and until then its IPv6 addresses do not work.
        """
        return ip_step(self.router.name, [f"link set {port} master lan", "link set lan up"])

    async def join(self, *hosts: Host) -> None:
        """Give hosts an interface here; a host that has one elsewhere gets a second. Raises LabError."""
        if any(item.network == self.name for host in hosts for item in host.attachments):
            raise LabError(f"a host has an interface at {self.name} already")
        wires, steps = [], []
        for host in hosts:
            port = f"h{self._next_host}"
            address4, address6 = self.next_addresses()
            attachment = Attachment(self.name, f"eth{len(host.attachments)}")
            attachment.prefix_length = self.lan.prefixlen
            attachment.far_end = (self.router.name, port)
            if self.nat.ipv4:
                attachment.ipv4, attachment.gateway4 = address4, str(self.lan[1])
            if self.nat.ipv6:
                attachment.ipv6, attachment.gateway6 = address6, str(self.lan6[1])
            host.attachments.append(attachment)
            wires.append(Wire(self.router.name, port, host.name, attachment.device))
            steps += [
                ip_step(self.router.name, [f"link set {port} up"]),
                ip_step(host.name, ["link set lo up"]),
                *interface_steps(host, attachment),
                self.plug(port),
            ]
            if len(host.attachments) == 1:
                host.ipv4, host.ipv6 = attachment.ipv4, attachment.ipv6
                host.interface = attachment.device
            self.hosts[host.name] = host
        await self.internet.lay(wires)
        await self.sandbox.steps(steps)

    async def start_upnp(self, protocols: Sequence[str] = tuple(PROTOCOLS), min_lifetime: int = 120) -> None:
        """Run miniupnpd in the router: UPnP IGD, NAT-PMP and PCP, or some of them.

        ``min_lifetime``: seconds that PCP mappings have at least. Raises LabError, LabUnavailable.
        """
        if not self.nat.translates:
            raise LabError(f"{self.name} does not translate addresses: there are no ports to map")
        if self.upnp is not None:
            await self.upnp.stop()
        self.upnp = Upnp(self.router, str(self.lan), str(self.lan[1]), protocols, min_lifetime)
        await self.upnp.start()


def interface_steps(host: Host, attachment: Attachment) -> list[Step]:
    """Bring an interface up: addresses, default routes, and the rules that its traffic leaves by it."""
    device = attachment.device
    lines = [f"link set {device} up"]
    # A host that was made on a network without IPv6 has it switched off.
    on = {f"net/ipv6/conf/{name}/disable_ipv6": "0" for name in ("all", device)} if attachment.ipv6 else {}
    if attachment.ipv4:
        lines.append(f"addr replace {attachment.ipv4}/{attachment.prefix_length} brd + dev {device}")
    if attachment.ipv6:
        lines.append(f"addr replace {attachment.ipv6}/64 dev {device} nodad")
    return [ip_step(host.name, lines, on), *_route_steps(host, attachment)]


def _route_steps(host: Host, attachment: Attachment) -> list[Step]:
    index = host.attachments.index(attachment)
    metric, table = METRIC * (index + 1), FIRST_TABLE + index
    steps = []
    if attachment.ipv4:
        lines = _route_lines(attachment.device, attachment.ipv4, attachment.gateway4, metric, table)
        steps.append(ip_step(host.name, lines, family="-4"))
    if attachment.ipv6:
        lines = _route_lines(attachment.device, attachment.ipv6, attachment.gateway6, metric, table)
        steps.append(ip_step(host.name, lines, family="-6"))
    return steps


def _route_lines(device: str, address: str, gateway: str, metric: int, table: int) -> list[str]:
    return [
        f"route replace default via {gateway} dev {device} metric {metric}",
        f"route replace default via {gateway} dev {device} table {table}",
        f"rule add from {address} lookup {table} priority {table}",
    ]


def build_carrier(internet: Internet, name: str, nat: NAT) -> Site:
    """A carrier's NAT, not yet in the kernel."""
    number = internet.number("site")
    return Site(
        internet,
        name,
        name,
        nat,
        number=number,
        lan=f"100.64.{number}.0/24",
        lan6=f"2a05:d003:{number}::/64",
        behind=None,
    )


def build_site(
    internet: Internet,
    name: str,
    nat: NAT,
    *,
    behind: Site | None,
    lan: str | None,
    link: LinkConditions | None,
) -> Site:
    """A site, not yet in the kernel. Raises LabError."""
    if behind is not None and not nat.translates and nat.ipv4:
        raise LabError(f"{name} is behind a carrier's NAT, so its own router must translate")
    if lan is not None and not nat.translates:
        raise LabError(f"{name} has global addresses; only a site behind a NAT has a private network")
    number = internet.number("site")
    network = lan or (f"192.168.{number}.0/24" if nat.translates else f"5.3.{number}.0/24")
    return Site(
        internet,
        name,
        f"{name}-router",
        nat,
        number=number,
        lan=network,
        lan6=f"2a05:d003:{number}::/64",
        behind=behind,
        link=link,
    )
