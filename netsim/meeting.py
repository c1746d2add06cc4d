"""A meeting in the lab: daemons in one room, what each of them shows of the others, and what it gets of them.

Law: meshcall is used by its local API, as its page does; what is told here is what it shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from netsim.errors import NeverHappened
from netsim.peer import Peer

View = dict[str, Any]

LOOK_S = 0.02
"""Between two looks at what a daemon shows."""


class Attendee:
    """A daemon and the room that it is in."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.room = ""
        """The room's ID, once it is in one."""

    def __repr__(self) -> str:
        return f"<Attendee {self.name}>"

    @property
    def name(self) -> str:
        """Of its host."""
        return self.peer.host.name

    async def create(self, name: str, **options: object) -> View:
        """Make a room and go in. Raises OSError."""
        return self._is_in(await self.peer.post("rooms", name=name, **options))

    async def join(self, room: str, **options: object) -> View:
        """Go into a room by its name, a code or a link. Raises OSError."""
        return self._is_in(await self.peer.post("rooms/join", room=room, **options))

    def _is_in(self, view: View) -> View:
        self.room = view["id"]
        return view

    async def do(self, what: str, **fields: object) -> View:
        """``leave``, ``invite``, ``code``, ``state``, ``chat``, ``lock``, ... Raises OSError."""
        return dict(await self.peer.post(f"rooms/{self.room}/{what}", **fields))

    async def view(self) -> View:
        """What it shows of its room. Raises OSError."""
        return dict(await self.peer.get(f"rooms/{self.room}"))

    async def wait_for(self, what: str, test: Callable[[View], object], timeout: float = 20.0) -> float:
        """Wait until ``test`` accepts the view; the moment, monotonic. Raises NeverHappened."""
        view: View = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while True:
                    view = await self.view()
                    if test(view):
                        return time.monotonic()
                    await asyncio.sleep(LOOK_S)
        logs = self.peer.daemon.tail() if self.peer.daemon else ""
        raise NeverHappened(f"{self.name} did not get to: {what}; it shows {view}", logs)


def here(view: View) -> set[str]:
    """IDs of those whom a view shows as here, itself among them."""
    return {member["peer_id"] for member in view["members"] if member["state"] == "here"}


def others(view: View) -> list[View]:
    """The other members."""
    return [member for member in view["members"] if not member["me"]]


def has_media_from(view: View, peers: set[str], *, video: bool = True) -> bool:
    """Whether sound, and pictures unless they are not wanted, came from all of ``peers``."""
    heard = {
        member["peer_id"]
        for member in others(view)
        if member["received"]["audio_seconds"] > 0 and (member["received"]["video_frames"] > 0 or not video)
    }
    return peers <= heard


async def agree(attendees: Sequence[Attendee], timeout: float = 20.0) -> float:
    """Wait until all show exactly each other as here; the moment. Raises NeverHappened."""
    wanted = {one.peer.id for one in attendees}
    moments = await asyncio.gather(
        *(
            one.wait_for(f"a room of these {len(wanted)}", lambda view: here(view) == wanted, timeout)
            for one in attendees
        )
    )
    return max(moments)


async def all_media(attendees: Sequence[Attendee], timeout: float = 30.0, *, video: bool = True) -> float:
    """Wait until each has sound and pictures of every other; the moment. Raises NeverHappened."""
    ids = {one.peer.id for one in attendees}

    def test(one: Attendee) -> Callable[[View], bool]:
        return lambda view: has_media_from(view, ids - {one.peer.id}, video=video)

    moments = await asyncio.gather(
        *(one.wait_for("sound and pictures of all", test(one), timeout) for one in attendees)
    )
    return max(moments)


async def ask_for_tiles(attendees: Sequence[Attendee], height: int, fps: int) -> None:
    """Each asks each other for pictures as a page does that shows so many. Raises OSError."""
    for one in attendees:
        for other in attendees:
            if other is not one:
                await one.do("layer", peer=other.peer.id, height=height, fps=fps)
