"""The internet of a lab: one core router that everything public hangs on.

Law 1: public things have public-looking addresses. The ranges are allocated to somebody and not reserved for
       documentation, because programs refuse addresses that are not global; nothing leaves the sandbox.
Law 2: private destinations vanish in the core, as they do in a provider's network.
Law 3: every wire is laid by :meth:`Internet.lay` or, with conditions, by :meth:`Internet.lay_emulated`.

::

    5.1.n.0/24    2a05:d001:n::/64    public host n: .2, .3, ...
    5.b.n.2       2a05:d1bb:n::2      public host n in block b (10 to 254), another provider's
    5.2.n.0/24    2a05:d002:n::/64    uplink of site n: router .2
    5.3.n.0/24    2a05:d003:n::/64    behind the router of site n, where it has global addresses
    100.64.n.0/24                     behind carrier n (RFC 6598)
    192.168.n.0/24                    behind the NAT of site n
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netsim.emulation import Emulation, Links, NetemEmulation, SwitchEmulation, choose
from netsim.errors import LabError
from netsim.host import Attachment, Host
from netsim.link import LinkConditions
from netsim.namespaces import Sandbox
from netsim.steps import Step, ip_step

CORE = "internet"
MAX_NETWORKS = 250
BLOCKS = range(10, 255)
"""Of an internet of many providers, as programs see it that count networks by /16 (/32 of IPv6)."""
FIRST_INDEX = 1000
"""Interface numbers of upper ends; those of lower ends are small."""
QUIET: Mapping[str, str] = {
    # Addresses are ours, so nobody else has them; detection would hold each one back for a second.
    "net/ipv6/conf/all/accept_dad": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    # With two uplinks a reply may come in by another interface than the kernel would have guessed.
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
}
NO_IPV6: Mapping[str, str] = {
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
}
_VANISHING = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16")


@dataclass(frozen=True, slots=True)
class Wire:
    """A cable between two namespaces."""

    upper: str
    """Namespace of the end that is nearer to the internet's core."""
    upper_device: str
    lower: str
    lower_device: str


def namespace_steps(names: Sequence[str], *, ipv6: bool = True) -> list[Step]:
    """Make namespaces, before anything is put into them."""
    settings = dict(QUIET) if ipv6 else {**QUIET, **NO_IPV6}
    return [
        ip_step(None, [f"netns add {name}" for name in names]),
        *(Step(name, sysctls=settings) for name in names),
    ]


class Internet:
    """The core router."""

    def __init__(self, sandbox: Sandbox, links: Links = "auto") -> None:
        self.sandbox = sandbox
        self.links: Links = links
        self._emulations: list[Emulation] = []
        self.core = Host(sandbox, CORE)
        self._counts: dict[str, int] = {}
        self._index = FIRST_INDEX

    def number(self, kind: str) -> int:
        """The next number for public hosts, sites or carriers. Raises LabError."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if self._counts[kind] > MAX_NETWORKS:
            raise LabError(f"the lab has addresses for {MAX_NETWORKS} networks of a kind")
        return self._counts[kind]

    async def build(self) -> None:
        """Make the core."""
        vanish = [f"route add blackhole {network}" for network in _VANISHING]
        forwarding = {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"}
        await self.sandbox.steps(
            [*namespace_steps([CORE]), ip_step(CORE, ["link set lo up", *vanish], forwarding)]
        )

    async def lay(self, wires: Sequence[Wire]) -> None:
        """Make the devices at both ends of each wire; they are down. Raises LabError."""
        lines = []
        for wire in wires:
            # The kernel notices at once that a veth is connected, unless both ends happen to have one number:
            # it then takes the end for a device without any other, and IPv6 begins up to a second later.
            self._index += 1
            lines.append(
                f"link add name {wire.upper_device} index {self._index} netns {wire.upper} type veth"
                f" peer name {wire.lower_device} netns {wire.lower}"
            )
        await self.sandbox.steps([ip_step(None, lines)])

    async def lay_emulated(self, wire: Wire, conditions: LinkConditions, *, seed: int) -> Emulation:
        """A wire with conditions, both ways, which can be changed. Raises LabError, NeverHappened."""
        devices = {wire.upper: wire.upper_device, wire.lower: wire.lower_device}
        emulation: Emulation
        if await choose(self.sandbox, self.links, conditions) == "userspace":
            emulation = await SwitchEmulation.start(self.sandbox, devices, conditions, f"wire {seed}")
        else:
            await self.lay([wire])
            emulation = NetemEmulation(self.sandbox, devices)
            await emulation.set(conditions)
        self._emulations.append(emulation)
        return emulation

    def close(self) -> None:
        """What emulates wires ends. Idempotent."""
        for emulation in self._emulations:
            emulation.close()

    async def attach_public(self, host: Host, *, addresses: int, ipv6: bool, blocks: int) -> None:
        """Put a new host on the internet with that many addresses per family. Raises LabError.

        ``blocks``: how many more it has, each in a network of its own.
        """
        if blocks > len(BLOCKS):
            raise LabError(f"{host.name}: there are {len(BLOCKS)} blocks, not {blocks}")
        number = self.number("public")
        device, port = "eth0", f"p{number}"
        await self.sandbox.steps(namespace_steps([host.name], ipv6=ipv6))
        await self.lay([Wire(CORE, port, host.name, device)])
        last = 2 + addresses
        v4 = [f"5.1.{number}.{index}" for index in range(2, last)]
        v6 = [f"2a05:d001:{number}::{index}" for index in range(2, last)] if ipv6 else []
        far4 = [f"5.{block}.{number}.2" for block in BLOCKS[:blocks]]
        far6 = [f"2a05:{0xD100 + block:x}:{number}::2" for block in BLOCKS[:blocks]] if ipv6 else []
        attachment = Attachment(
            CORE, device, v4[0], v6[0] if v6 else "", more=(*v4[1:], *v6[1:], *far4, *far6)
        )
        attachment.gateway4 = f"5.1.{number}.1"
        attachment.gateway6 = f"2a05:d001:{number}::1" if ipv6 else ""
        attachment.far_end = (CORE, port)
        host.attachments.append(attachment)
        host.ipv4, host.ipv6 = attachment.ipv4, attachment.ipv6
        await self.sandbox.steps(
            [
                ip_step(
                    CORE,
                    [
                        f"addr add 5.1.{number}.1/24 dev {port}",
                        *([f"addr add 2a05:d001:{number}::1/64 dev {port} nodad"] if ipv6 else []),
                        f"link set {port} up",
                        *(f"route add {address}/32 dev {port}" for address in far4),
                        *(f"route add {address}/128 dev {port}" for address in far6),
                    ],
                ),
                ip_step(
                    host.name,
                    [
                        "link set lo up",
                        *(f"addr add {address}/24 dev {device}" for address in v4),
                        *(f"addr add {address}/64 dev {device} nodad" for address in v6),
                        *(f"addr add {address}/32 dev {device}" for address in far4),
                        *(f"addr add {address}/128 dev {device} nodad" for address in far6),
                        f"link set {device} up",
                        f"route add default via {attachment.gateway4}",
                        *([f"route add default via {attachment.gateway6}"] if ipv6 else []),
                    ],
                ),
            ]
        )
