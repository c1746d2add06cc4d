"""Call a peer by its ID, send a picture and a tone (or a file), record what comes back.

python examples/call_by_id.py ID --bootstrap HOST:PORT --record answer.mkv
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from meshcall.config import Config
from meshcall.errors import MeshcallError
from meshcall.node import Node


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Call a peer by its 56-character ID.")
    parser.add_argument("peer", help="the ID, or a meshcall: link")
    parser.add_argument("--home", type=Path, default=Path("example-home"), help="keys and state of this end")
    parser.add_argument("--bootstrap", action="append", default=[], metavar="HOST:PORT")
    parser.add_argument("--interface", action="append", default=[], metavar="NAME")
    parser.add_argument("--source", default="testsrc", help="FILE, testsrc, camera[:N] or none")
    parser.add_argument("--record", type=Path, metavar="FILE.mkv")
    parser.add_argument("--duration", type=float, default=5, help="seconds of call")
    return parser.parse_args()


async def main() -> None:
    arguments = parse_arguments()
    config = Config(
        home=arguments.home,
        bootstrap=tuple(arguments.bootstrap),
        interfaces=tuple(arguments.interface),
    )
    async with Node(config) as node:
        print(f"calling {arguments.peer} as {node.peer_id}")
        call = await node.call(arguments.peer, source=arguments.source, record=arguments.record, wait=10)
        await call.wait_connected()
        print(f"connected, path: {call.view().path}")
        await asyncio.sleep(arguments.duration)
        await call.hangup()
        summary = await call.wait_ended()
        print(
            f"{summary.received.video_frames} pictures and {summary.received.audio_seconds} s of sound came"
        )
        for mark, at in summary.timeline.items():
            print(f"{at:9.1f} ms  {mark}")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except MeshcallError as error:
        sys.exit(f"error: {error}\nhint: {error.hint}" if error.hint else f"error: {error}")
