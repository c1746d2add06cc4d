"""A PortMapper on a host of the lab; tells what happens as JSON lines.

port_mapper.py PORT LIFETIME SECRET [tcp]   asks for UDP, with ``tcp`` for TCP too
SIGHUP: it asks as after a change of network. SIGTERM: it gives the mappings back and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time

import aiohttp.web  # noqa: F401 - a daemon has it loaded, for its API

from meshcall.aio.clock import SystemClock
from meshcall.aio.portmap import PortMapper
from meshcall.portmap.mapping import Service


async def main(port: str, lifetime: str, secret: str, *more: str) -> None:
    began = time.monotonic()
    services = [Service("udp", int(port)), *([Service("tcp", int(port))] if "tcp" in more else [])]

    def tell(event: str = "state", **fields: object) -> None:
        after = round((time.monotonic() - began) * 1000, 1)
        print(json.dumps({"event": event, "after_ms": after, **fields}), flush=True)

    def changed() -> None:
        tell(**mapper.view().to_dict(), external_all=[mapper.external(one) for one in services])

    mapper = PortMapper(
        services,
        clock=SystemClock(),
        random=os.urandom,
        secret=secret.encode(),
        lifetime=int(lifetime),
        on_change=changed,
    )
    work = asyncio.create_task(mapper.run())
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, mapper.network_changed)
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    closing = time.monotonic()
    await mapper.close()
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
    left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    tell(
        "closed", took_ms=round((time.monotonic() - closing) * 1000, 1), left=left, counters=mapper.counters()
    )


asyncio.run(main(*sys.argv[1:]))
