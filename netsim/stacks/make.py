"""Programs for a lab: each of its hosts gets one that is ready to call and to be called."""

from __future__ import annotations

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

StackName = Literal["meshcall", "aiortc"]

DHT_NODES = 12


async def make_stack(name: StackName, lab: Lab) -> Stack:
    """The stack, with the DHT that it needs on the lab's internet, if there is one. Raises LabError."""
    if name == "aiortc":
        return AiortcStack()
    if not lab.sites:
        return MeshcallStack(["--lan-only"])
    net = await lab.public_host("net", ipv6=False)
    return MeshcallStack(["--no-mdns", *await start_testnet(net, DHT_NODES)])


async def start_program(
    stack: Stack, host: Host, site: Site | None, server: TurnServer | None, servers: tuple[IceServer, ...]
) -> None:
    """Start the program on ``host`` of ``site``, and wait until it can be called if it ever will be."""
    if server is not None:
        host.environment["SSL_CERT_FILE"] = str(server.ca_file)
    await stack.start(host, servers)
    if site is not None and site.nat.outbound is Outbound.ALL:
        await stack.ready(host)


def ice_servers(server: TurnServer, site: Site, *, relay: bool) -> tuple[IceServer, ...]:
    """What people behind such a network would configure: STUN, and TURN by the transport that passes."""
    if site.nat.outbound is not Outbound.ALL:
        return (IceServer(server.turn("tls"), server.user, server.password),) if relay else ()
    turn = (IceServer(server.turn(), server.user, server.password),) if relay else ()
    return (IceServer(server.stun), *turn)
