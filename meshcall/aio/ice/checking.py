"""ICE sessions for checks alone: what a ping needs, and no media.

Law: they have the servers and interfaces that calls of this node use, so what they find calls find, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from meshcall.address import Address
from meshcall.aio.ice.addresses import HostPolicy
from meshcall.aio.ice.port import IcePort
from meshcall.aio.ice.relays import Relay
from meshcall.aio.ice.servers import TurnServer, read_servers
from meshcall.aio.ice.session import IceSession
from meshcall.config import Config
from meshcall.ice.events import IceEvent
from meshcall.media.plan import parse_ice_server


def make_ice(
    config: Config, port: IcePort, counters: Counter[str], on_event: Callable[[IceEvent], None]
) -> IceSession:
    """A session on the node's ``port``; ``on_event`` is told what happens in it."""
    return IceSession(
        policy=HostPolicy(config.interfaces, "lo" in config.interfaces),
        shared=port,
        servers=read_servers(map(parse_ice_server, config.ice_servers)),
        open_relay=_open_relay,
        counters=counters,
        on_event=on_event,
        carries_media=False,
    )


async def _open_relay(
    server: TurnServer, on_datagram: Callable[[bytes, Address], None], on_lost: Callable[[], None]
) -> Relay:
    from meshcall.aio.rtc.turn import open_relay  # late: an idle node does without aioice

    return await open_relay(server, on_datagram, on_lost)
