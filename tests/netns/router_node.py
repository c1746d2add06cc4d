"""A DHT router with a bootstrap ladder and nothing else; prints its status as JSON lines.

router_node.py IP PORT FLAGS...    FLAGS: host=HOST:PORT, mainline=HOST:PORT, ephemeral
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from meshcall.aio.clock import SystemClock, system_random
from meshcall.aio.dht import DhtNode
from meshcall.aio.mainline import Mainline
from meshcall.aio.udp import UdpPort
from meshcall.bootstrap_ladder import BootstrapLadder
from meshcall.identity.keys import SigningKey


def values(name: str) -> list[str]:
    """What the flags of that name say."""
    return [flag.partition("=")[2] for flag in sys.argv[3:] if flag.startswith(f"{name}=")]


async def main() -> None:
    """Run until killed."""
    clock = SystemClock()
    udp = await UdpPort.open(int(sys.argv[2]), hosts=(sys.argv[1],))
    dht = DhtNode(
        udp,
        node_key=SigningKey.generate(system_random),
        clock=clock,
        random=system_random,
        router="ephemeral" not in sys.argv,
    )
    await dht.start()
    mainline = Mainline(values("mainline"), clock=clock) if values("mainline") else None
    ladder = BootstrapLadder(dht, clock=clock, hosts=values("host"), mainline=mainline)
    running = asyncio.create_task(ladder.run())
    began = time.monotonic()
    while not running.done():
        said = {
            "at": round(time.monotonic() - began, 2),
            "contacts": len(dht.engine.contacts()),
            "routes": dht.status().routes,
            "announced": ladder.announced,
            "mainline_nodes": mainline.nodes if mainline else 0,
            "rungs": {view.rung: [view.asked, view.answered] for view in ladder.status()},
            "counters": dict(ladder.counters),
        }
        print(json.dumps(said), flush=True)
        await asyncio.sleep(0.25)
    await running


asyncio.run(main())
