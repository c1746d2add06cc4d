"""Meet on a LAN that leads nowhere: go into the room of that name, or make it, and say who comes and goes.

python examples/lan_meeting.py --name ann --room tea          # on the first machine
python examples/lan_meeting.py --name bob --room tea          # on the others
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from pathlib import Path

from meshcall.config import Config
from meshcall.errors import MeshcallError, RoomNotFound
from meshcall.node import Node
from meshcall.views import RoomChanged, RoomChat, RoomEnded, RoomView


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Meet on a LAN without internet.")
    parser.add_argument("--room", default="meeting", help="its name, a code or a link")
    parser.add_argument("--name", default="", help="what the others call you")
    parser.add_argument("--home", type=Path, default=Path("example-home"), help="keys and state of this end")
    parser.add_argument("--interface", action="append", default=[], metavar="NAME")
    parser.add_argument("--source", default="testsrc", help="FILE, testsrc, camera[:N] or none")
    parser.add_argument("--duration", type=float, help="leave after so many seconds")
    return parser.parse_args()


async def enter(node: Node, room: str, source: str) -> RoomView:
    """Go in; if there is no such room yet, make it."""
    try:
        return await node.rooms.join(room, source=source)
    except RoomNotFound:
        return await node.rooms.create(room, lan_only=True, source=source)


async def tell(node: Node, room: str) -> None:
    """Print who comes, goes and says what, until we are out."""
    there: dict[str, str] = {}
    async for event in node.events():
        if isinstance(event, RoomChanged) and event.room.id == room:
            now = {m.peer_id: m.name for m in event.room.members if m.state == "here" and not m.me}
            for peer_id in now.keys() - there.keys():
                print(f"{now[peer_id]} is here", flush=True)
            for peer_id in there.keys() - now.keys():
                print(f"{there[peer_id]} is gone", flush=True)
            there = now
        elif isinstance(event, RoomChat) and event.room == room:
            print(f"{event.name}: {event.text}", flush=True)
        elif isinstance(event, RoomEnded) and event.room == room:
            return


async def main() -> None:
    arguments = parse_arguments()
    config = Config.lan(arguments.home).with_(name=arguments.name, interfaces=tuple(arguments.interface))
    async with Node(config) as node:
        room = await enter(node, arguments.room, arguments.source)
        print(f"in {room.name}", flush=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(arguments.duration):
                await tell(node, room.id)
        for member in node.rooms.view(room.id).members:
            if not member.me:
                got = member.received
                print(f"from {member.name}: {got.video_frames} pictures, {got.audio_seconds} s of sound")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except MeshcallError as error:
        sys.exit(f"error: {error}\nhint: {error.hint}" if error.hint else f"error: {error}")
