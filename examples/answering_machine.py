"""Answer every call, play a message, record the caller, hang up.

python examples/answering_machine.py --message hello.mkv --folder recordings --seconds 30
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from meshcall.config import Config
from meshcall.errors import MeshcallError
from meshcall.node import Node
from meshcall.session import Call
from meshcall.views import Incoming


async def take_message(call: Call, message: str, folder: Path, seconds: float) -> None:
    """One caller."""
    target = folder / f"{call.peer_id.short}-{call.id[:8]}.mkv"
    try:
        await call.answer(source=message, record=target)
        await call.wait_connected()
    except MeshcallError as error:
        print(f"{call.peer_id.short}: {error}", flush=True)
        return
    try:
        async with asyncio.timeout(seconds):
            await call.wait_ended()
    except TimeoutError:
        await call.hangup()
    summary = await call.wait_ended()
    print(f"{call.peer_id.short}: {summary.received.audio_seconds} s of sound in {target}", flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description="Answer every call and record it.")
    parser.add_argument("--home", type=Path, default=Path("example-home"))
    parser.add_argument("--bootstrap", action="append", default=[], metavar="HOST:PORT")
    parser.add_argument("--interface", action="append", default=[], metavar="NAME")
    parser.add_argument("--message", default="testsrc", help="what the caller hears: FILE, testsrc or none")
    parser.add_argument("--folder", type=Path, default=Path("recordings"))
    parser.add_argument("--seconds", type=float, default=30, help="longest message taken")
    parser.add_argument("--calls", type=int, help="stop after so many calls")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    config = Config(
        home=arguments.home,
        bootstrap=tuple(arguments.bootstrap),
        interfaces=tuple(arguments.interface),
    )
    left = arguments.calls
    async with Node(config) as node, asyncio.TaskGroup() as machines:
        print(f"waiting; my ID is {node.peer_id}", flush=True)
        async for event in node.events():
            if isinstance(event, Incoming):
                call = node.get_call(event.call)
                machines.create_task(
                    take_message(call, arguments.message, arguments.folder, arguments.seconds)
                )
                left = None if left is None else left - 1
                if left == 0:
                    break


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except MeshcallError as error:
        sys.exit(f"error: {error}")
