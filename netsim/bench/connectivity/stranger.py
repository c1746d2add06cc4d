"""A stranger's program: it calls somebody, and its offer names addresses that are not its own.

Runs on a host of the lab, until its call ends: ``python -m netsim.bench.connectivity.stranger HOME PEER
ADDRESS,PORT... -- HOST:PORT...``, with the candidates, and behind the dashes nodes of the DHT.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from meshcall.aio.ice.session import IceSession
from meshcall.config import Config
from meshcall.ice.candidate import Candidate
from meshcall.ice.pair import candidate_priority
from meshcall.node import Node

JOIN_S = 20.0


async def main(home: Path, peer: str, named: list[tuple[str, int]], bootstrap: tuple[str, ...]) -> None:
    """Call once."""
    gather = IceSession.gather

    async def lie(self: IceSession) -> None:
        await gather(self)
        self.candidates = [
            Candidate("host", "udp", address, port, candidate_priority("host", address, number))
            for number, (address, port) in enumerate(named)
        ]

    IceSession.gather = lie  # type: ignore[method-assign]
    config = Config.internet(home, bootstrap=bootstrap).with_(mdns=False, source="none", mainline=False)
    async with Node(config) as node:
        async with asyncio.timeout(JOIN_S):
            while not node.status().dht.nodes:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.05)
        call = await node.call(peer)
        async for event in call.events():
            print(event.to_dict(), flush=True)


if __name__ == "__main__":
    dashes = sys.argv.index("--")
    places = [(address, int(port)) for address, _, port in (w.rpartition(",") for w in sys.argv[3:dashes])]
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], places, tuple(sys.argv[dashes + 1 :])))
