"""Programs for a lab: each of its hosts gets one that is ready to call and to be called."""

from __future__ import annotations

import asyncio
from typing import Literal

from netsim.host import Host
from netsim.lab import Lab
from netsim.nat import Outbound
from netsim.peer import start_testnet
from netsim.servers import TurnServer
from netsim.site import Site
from netsim.stacks.aiortc import AiortcStack
from netsim.stacks.attempt import IceServer, Stack
from netsim.stacks.meshcall import MeshcallStack
from netsim.stacks.relays import lend_relays

StackName = Literal["meshcall", "aiortc"]

DHT_HOSTS = 4
"""On networks of their own: what a NAT does is learned from nodes of several."""
DHT_NODES_PER_HOST = 3
RELAYS = 2


async def make_stack(name: StackName, lab: Lab, *, relays: int = 0) -> Stack:
    """The stack, with the DHT that it needs on the lab's internet, if there is one. Raises LabError.

    ``relays``: how many peers lend one; plain aiortc knows of coturn alone.
    """
    if name == "aiortc":
        return AiortcStack()
    if not lab.sites:
        return MeshcallStack(["--lan-only"])
    return await make_meshcall(lab, relays=relays)


async def make_meshcall(lab: Lab, *, relays: int = 0, source: str = "") -> MeshcallStack:
    """meshcall on the internet. Raises LabError. ``source``: what all calls send."""
    ipv6 = any(site.nat.ipv6 is not None for site in lab.sites.values())
    join = ["--no-mdns", *await start_dht(lab, ipv6=ipv6)]
    lenders = await lend_relays(lab, join, relays, ipv6=ipv6)
    ways = [word for lender in lenders for word in lender.join_flags]
    return MeshcallStack([*join, *ways], source=source, relays=lenders)


async def start_dht(lab: Lab, *, ipv6: bool = False) -> list[str]:
    """Nodes on several public networks; returns the flags that make a daemon join them. Raises LabError.

    ``ipv6``: each network has as many nodes that speak IPv6 alone.
    """
    first, *others = [await lab.public_host(f"net{n + 1}", ipv6=ipv6) for n in range(DHT_HOSTS)]
    join: list[str] = []
    for family in (False, True) if ipv6 else (False,):
        flags = await start_testnet(first, DHT_NODES_PER_HOST, ipv6=family)
        await asyncio.gather(
            *(start_testnet(host, DHT_NODES_PER_HOST, join=flags, ipv6=family) for host in others)
        )
        join += flags
    return join


def needs_server(name: StackName) -> bool:
    """Whether coturn has to be there: meshcall has STUN and relays from its peers."""
    return name == "aiortc"


async def start_program(
    stack: Stack, host: Host, site: Site | None, server: TurnServer | None, servers: tuple[IceServer, ...]
) -> None:
    """Start the program on ``host`` of ``site``, and wait until it can be called if it ever will be."""
    if server is not None:
        host.environment["SSL_CERT_FILE"] = str(server.ca_file)
    await stack.start(host, servers)
    gateways = isinstance(stack, MeshcallStack) and stack.relays
    if site is not None and (site.nat.outbound is Outbound.ALL or gateways):
        await stack.ready(host)


def ice_servers(server: TurnServer | None, site: Site, *, relay: bool) -> tuple[IceServer, ...]:
    """What people behind such a network would configure: STUN, and TURN by the transport that passes."""
    if server is None:
        return ()
    if site.nat.outbound is not Outbound.ALL:
        return (IceServer(server.turn("tls"), server.user, server.password),) if relay else ()
    turn = (IceServer(server.turn(), server.user, server.password),) if relay else ()
    return (IceServer(server.stun), *turn)
