"""ICE sessions for checks alone: what a ping needs, and no media.

Law: they have the servers and interfaces that calls of this node use, so what they find calls find, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from meshcall.aio.ice.addresses import HostPolicy
from meshcall.aio.ice.port import IcePort
from meshcall.aio.ice.servers import read_servers
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
        counters=counters,
        on_event=on_event,
        carries_media=False,
    )
