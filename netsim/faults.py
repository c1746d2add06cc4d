"""What goes wrong in networks, done to a running lab.

::

    await faults.cut(alice)                     silence on the uplink; nobody is told
    await faults.heal(alice)
    await faults.change_wan_address(alice)      what a provider does at night

Law 1: a fault acts on the kernel alone; programs on hosts learn of it as they would elsewhere.
Law 2: each fault that lasts has its opposite. Faults that happen at once are over when the call returns.

Servers are stopped with :meth:`netsim.servers.TurnServer.stop`; programs are killed and stopped with
:class:`netsim.process.LabProcess`; a program whose clock is wrong is started with :mod:`netsim.clock`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from netsim.conntrack import SCRIPT
from netsim.errors import LabError
from netsim.host import Attachment, Host
from netsim.internet import CORE
from netsim.nat import NAT, Outbound, nat
from netsim.rules import forget, sysctls
from netsim.site import FIRST_TABLE, Site, interface_steps
from netsim.steps import Step, ip_step, nft_step

Target = Host | Site
"""A site stands for its router's uplink, a host for its interface."""


_NEIGHBOURS = "ether type arp accept; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept;"


def _attachment(target: Target, network: str | None = None) -> tuple[Host, Attachment]:
    host = target.router if isinstance(target, Site) else target
    for attachment in host.attachments:
        if network is None or attachment.network == network:
            return host, attachment
    raise LabError(f"{target!r} has no interface to {network or 'anything'}")


async def cut(target: Target, *, network: str | None = None) -> None:
    """Let everything vanish on the wire, both ways. ``network`` names one of several interfaces' sites.

    ARP and neighbour discovery pass, as if the wire broke further away: else a host would go on waiting for a
    neighbour for up to a second after the wire has healed. Raises LabError.
    """
    await _set_silence(target, network, silent=True)


async def heal(target: Target, *, network: str | None = None) -> None:
    """The opposite of :func:`cut`. Raises LabError."""
    await _set_silence(target, network, silent=False)


async def _set_silence(target: Target, network: str | None, *, silent: bool) -> None:
    host, attachment = _attachment(target, network)
    steps = []
    for namespace, device in ((host.name, attachment.device), attachment.far_end):
        table = f"netdev cut_{device}"
        rules = f"add table {table}\ndelete table {table}\n"
        if silent:
            chain = f'type filter hook ingress device "{device}" priority -500; policy drop; {_NEIGHBOURS}'
            rules += f"table {table} {{\n  chain silence {{ {chain} }}\n}}\n"
        steps.append(nft_step(namespace, rules))
    await host.sandbox.steps(steps)


async def partition(one: Sequence[Target], other: Sequence[Target]) -> None:
    """Let nothing pass through the internet between two groups; :func:`unite` ends it. Raises LabError."""
    if not one or not other:
        raise LabError("a partition has two sides")
    sides = [", ".join(sorted(f'"{_core_port(target)}"' for target in side)) for side in (one, other)]
    rules = "".join(
        f"iifname {{ {here} }} oifname {{ {there} }} drop; " for here, there in (sides, sides[::-1])
    )
    chain = f"chain forward {{ type filter hook forward priority -500; {rules}}}"
    await one[0].sandbox.steps([nft_step(CORE, f"table inet partition {{\n  {chain}\n}}\n")])


async def unite(target: Target) -> None:
    """End every partition of the lab that ``target`` is in. Raises LabError."""
    rules = "add table inet partition\ndelete table inet partition\n"
    await target.sandbox.steps([nft_step(CORE, rules)])


def _core_port(target: Target) -> str:
    """The core router's device that leads to the target."""
    while isinstance(target, Site) and target.behind is not None:
        target = target.behind
    _, attachment = _attachment(target)
    namespace, device = attachment.far_end
    if namespace != CORE:
        raise LabError(f"{target!r} is not on the internet itself; name its site")
    return device


async def expire_mappings(site: Site) -> None:
    """Forget every flow and mapping, as if all had been idle for too long. Raises LabError."""
    await site.sandbox.steps(_forget_steps(site))


def _forget_steps(site: Site) -> list[Step]:
    steps = [Step(site.router.name, (sys.executable, "-I", "-S", str(SCRIPT)))]
    if site.nat.outbound is not Outbound.NOTHING:
        steps.append(nft_step(site.router.name, forget(site.nat)))
    return steps


async def reboot_nat(site: Site, *, seconds: float = 0.0) -> None:
    """The router is gone for so long, and comes back without memory: other random ports, no UPnP mappings.

    Raises LabError.
    """
    if seconds:
        await cut(site)
        await asyncio.sleep(seconds)
        await heal(site)
    site.seed += 1000
    await _reload(site)
    if site.upnp is not None:
        await site.upnp.start()


async def set_nat(site: Site, kind: str | NAT) -> None:
    """Another kind from now on; flows and mappings are forgotten. Raises LabError, Impossible."""
    value = nat(kind)
    old = site.nat
    if (value.translates, value.ipv4, value.ipv6 is None) != (old.translates, old.ipv4, old.ipv6 is None):
        raise LabError(f"{site.name}: hosts would need other addresses to be behind {value}")
    if value.carrier is not None:
        raise LabError(f"{site.name} can't get a carrier now; change the kind of the carrier that it has")
    if (value.outbound is Outbound.NOTHING) != (old.outbound is Outbound.NOTHING):
        raise LabError(f"{site.name}: a wire is not laid or torn out by a kind; cut() and heal() do that")
    site.nat = value
    await _reload(site)


async def set_mapping_timeout(site: Site, seconds: int) -> None:
    """Another mapping timeout; flows and mappings are forgotten. Raises LabError, Impossible."""
    site.nat = site.nat.but(timeout=seconds)
    await _reload(site)


async def _reload(site: Site) -> None:
    await site.sandbox.steps(
        [
            Step(site.router.name, sysctls=sysctls(site.nat)),
            nft_step(site.router.name, site.rules()),
            *_forget_steps(site),
        ]
    )


async def change_wan_address(site: Site) -> str:
    """The provider gives the router another address; returns it. Raises LabError."""
    if not site.nat.translates:
        raise LabError(f"{site.name} does not translate: its hosts would be renumbered; use roam() for them")
    uplink = site.uplink
    old, new = site.wan4, site.next_wan_address()
    site.wan4 = site.router.ipv4 = uplink.ipv4 = new
    lines = [
        f"addr del {old}/24 dev wan",
        f"addr add {new}/24 dev wan",
        f"route replace default via {uplink.gateway4}",
    ]
    await site.sandbox.steps([ip_step(site.router.name, lines)])
    await _reload(site)
    if site.upnp is not None:
        await site.upnp.start()
    return new


async def interface_down(host: Host, *, network: str | None = None) -> None:
    """Switch a host's interface off: its addresses and routes go. Raises LabError."""
    _, attachment = _attachment(host, network)
    if not attachment.up:
        return
    attachment.up = False
    table = FIRST_TABLE + host.attachments.index(attachment)
    lines = [f"addr flush dev {attachment.device}", f"link set {attachment.device} down"]
    steps = [ip_step(host.name, lines)]
    if attachment.ipv4:
        steps.append(ip_step(host.name, [f"rule del priority {table}"], family="-4"))
    if attachment.ipv6:
        steps.append(ip_step(host.name, [f"rule del priority {table}"], family="-6"))
    await host.sandbox.steps(steps)


async def interface_up(host: Host, *, network: str | None = None) -> None:
    """The opposite of :func:`interface_down`: the same addresses again. Raises LabError."""
    _, attachment = _attachment(host, network)
    if attachment.up:
        return
    attachment.up = True
    await host.sandbox.steps(interface_steps(host, attachment))


async def flap(host: Host, *, seconds: float = 0.5, network: str | None = None) -> None:
    """Off for so long, then on again. Raises LabError."""
    await interface_down(host, network=network)
    await asyncio.sleep(seconds)
    await interface_up(host, network=network)


async def roam(host: Host, site: Site) -> None:
    """Leave every other network and use this one; the host joins it if it was not there. Raises LabError."""
    if not any(attachment.network == site.name for attachment in host.attachments):
        await site.join(host)
    await interface_up(host, network=site.name)
    for attachment in host.attachments:
        if attachment.network != site.name:
            await interface_down(host, network=attachment.network)
    _, attachment = _attachment(host, site.name)
    host.interface, host.ipv4, host.ipv6 = attachment.device, attachment.ipv4, attachment.ipv6
