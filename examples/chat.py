"""Chat with a peer by its ID, with no sound and no picture.

python examples/chat.py                # waits for somebody, prints the ID to give them
python examples/chat.py ID             # talks to them; lines from standard input
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
from meshcall.views import Chat, Incoming


async def wait_for_call(node: Node) -> Call:
    """The next call, answered."""
    async for event in node.events():
        if isinstance(event, Incoming):
            call = node.get_call(event.call)
            await call.answer(source="none")
            return call
    raise MeshcallError("the node stopped")


async def print_lines(call: Call) -> None:
    """What the peer writes, until the call ends."""
    async for event in call.events():
        if isinstance(event, Chat) and event.sender == "peer":
            # A peer's text may hold anything: no control characters to the terminal
            print("".join(c for c in event.text if c.isprintable()), flush=True)


async def send_lines(call: Call) -> None:
    """Standard input, line by line; its end hangs up."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await reader.readline():
        if text := line.decode(errors="replace").strip():
            await call.chat(text)
    await call.hangup()


async def main() -> None:
    parser = argparse.ArgumentParser(description="Chat with a peer by its 56-character ID.")
    parser.add_argument("peer", nargs="?", help="the ID; without one: wait to be called")
    parser.add_argument("--home", type=Path, default=Path("example-home"))
    parser.add_argument("--bootstrap", action="append", default=[], metavar="HOST:PORT")
    parser.add_argument("--interface", action="append", default=[], metavar="NAME")
    arguments = parser.parse_args()
    config = Config(
        home=arguments.home,
        bootstrap=tuple(arguments.bootstrap),
        interfaces=tuple(arguments.interface),
    )
    async with Node(config) as node:
        if arguments.peer:
            call = await node.call(arguments.peer, source="none", wait=10)
        else:
            print(f"waiting; my ID is {node.peer_id}", flush=True)
            call = await wait_for_call(node)
        await call.wait_connected()
        print("connected", flush=True)
        reading = asyncio.create_task(send_lines(call))
        await print_lines(call)
        reading.cancel()
        print(f"ended: {(await call.wait_ended()).reason}")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except MeshcallError as error:
        sys.exit(f"error: {error}")
