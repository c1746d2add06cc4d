"""A node that prints what it knows of its NAT as JSON lines: nat_node.py HOME BOOTSTRAP."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

from meshcall.config import Config
from meshcall.node import Node


async def main() -> None:
    """Run until killed."""
    config = Config.internet(Path(sys.argv[1]), bootstrap=(sys.argv[2],))
    config = replace(config, mainline=False, mdns=False)
    async with Node(config) as node:
        while True:
            view = asdict(node.nat())
            names = {name: view[name].name for name in ("mapping", "filtering", "ports")}
            print(json.dumps(view | names), flush=True)
            await asyncio.sleep(0.25)


asyncio.run(main())
