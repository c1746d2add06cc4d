"""The media engine, loaded when the first call needs it; and ICE sessions without it.

Law: an idle node does not hold aiortc and av: together they cost 50 MB and a quarter of a second.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from meshcall.address import Address
from meshcall.aio.ice.addresses import HostPolicy
from meshcall.aio.ice.port import IcePort
from meshcall.aio.ice.servers import TurnServer, read_servers
from meshcall.aio.ice.session import IceSession, Relay
from meshcall.config import Config
from meshcall.ice.events import IceEvent
from meshcall.media.endpoint import MediaEndpoint
from meshcall.media.plan import MediaPlan, parse_ice_server, parse_source
from meshcall.media_paths import check_source


def prepare_media() -> None:
    """Load the media engine before it is needed, off the loop."""
    asyncio.get_running_loop().run_in_executor(None, _load_media)


def _load_media() -> Callable[..., MediaEndpoint]:
    from meshcall.aio.rtc.endpoint import make_endpoint as make

    return make


async def probe_source(source: str) -> None:
    """Raise :class:`SourceUnusable` unless ``source`` can be sent; before anybody's phone rings."""
    check_source(source)
    if parse_source(source).kind in ("file", "camera"):
        await asyncio.get_running_loop().run_in_executor(None, _load_media)
        from meshcall.aio.media.sources import check_source as open_source

        await open_source(MediaPlan(source=source))


async def make_endpoint(plan: MediaPlan, port: IcePort | None = None) -> MediaEndpoint:
    """An endpoint for one call on the node's ``port``; the first one loads the media engine."""
    make = await asyncio.get_running_loop().run_in_executor(None, _load_media)
    return make(plan, port=port)


def make_ice(
    config: Config, port: IcePort, counters: Counter[str], on_event: Callable[[IceEvent], None]
) -> IceSession:
    """An ICE session for checks alone, with the servers and interfaces that calls of this node use."""
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
    from meshcall.aio.rtc.turn import open_relay

    return await open_relay(server, on_datagram, on_lost)
