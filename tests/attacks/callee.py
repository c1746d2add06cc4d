"""A node in a process of its own that notes when it is rung, declines, and tells what it costs.

``python -m tests.attacks.callee HOME BOOTSTRAP...`` prints one JSON object per line: first who and where it
is, then one for each call that rings, and one for each line read (an ID: it becomes a contact; ``stats``: its
figures).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from meshcall.config import Config
from meshcall.node import Node
from meshcall.views import Incoming


def tell(**what: Any) -> None:
    """One line out."""
    print(json.dumps(what), flush=True)


def figures(node: Node) -> dict[str, Any]:
    """CPU seconds, memory and drops of this process, and what it counted."""
    [own] = [
        line.split()
        for line in Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
        if int(line.split()[1].partition(":")[2], 16) == node.port
    ]
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [rss] = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
    return {
        "cpu": time.process_time(),
        "at": time.monotonic(),
        "rss_kib": rss,
        "dropped": int(own[-1]),
        "received": node._udp.statistics().received,
        "counters": node.status().counters,
        "live": sum(not call.ended for call in node._calls),
        "watches": node.status().dht.watches,
    }


async def decline(node: Node) -> None:
    """Every call that rings."""
    async for event in node.events():
        if isinstance(event, Incoming):
            tell(ring=event.peer_id, at=time.monotonic())
            if not event.stranger:
                await node.get_call(event.call).decline()


async def serve(home: Path, bootstrap: tuple[str, ...]) -> None:
    """Until stdin ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    config = Config(home=home, mdns=False, bootstrap=bootstrap, interfaces=("lo",), source="none")
    async with Node(config) as node:
        declining = asyncio.create_task(decline(node))
        tell(id=node.id_text(), port=node.port)
        while line := (await reader.readline()).decode().strip():
            if line == "stats":
                tell(stats=figures(node))
            else:
                node.contacts.add(line, "contact")
                tell(contact=line)
        declining.cancel()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), tuple(sys.argv[2:])))
