"""Rooms without a network, in which what is done is shown; who is in them is up to whoever shows a screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from meshcall.errors import NoSuchMember
from meshcall.views import (
    BlockedView,
    KnockView,
    LanRoomView,
    MemberView,
    NodeEvent,
    RoomChanged,
    RoomChat,
    RoomEnded,
    RoomsView,
    RoomView,
)
from tests.unit.control.fake_node import OWN_ID, now_ms, peer_id_of
from tests.unit.control.fake_rooms import FakeRooms


def member(number: int, name: str, **words: Any) -> MemberView:
    """Somebody in a room."""
    peer = peer_id_of(number)
    shown = {"audio": True, "video": True, "path": "lan", "call": f"{number:032x}", **words}
    return msgspec.structs.replace(MemberView(peer_id=peer.text, short=peer.short, name=name), **shown)


SELF = member(1, "Ann", me=True, path="", call="")
PEOPLE = [
    member(2, "alice", contact="alice", verified=True, speaking=True),
    member(41, "Bob", hand=True),
    member(42, "Bob (2)", audio=False, video=False, path="relay"),
    member(43, "Зоя с очень длинным именем из Владивостока", path="direct"),
    member(44, "camera-7", audio=False),
    member(45, "مريم", state="connecting", path=""),
]
"""Whose states, names and paths differ."""
CROWD = [
    *PEOPLE,
    *(
        member(61 + number, name, video=number % 3 != 0, audio=number % 2 == 0, hand=number == 4)
        for number, name in enumerate(("Cem", "Dora", "Emil", "Fay", "Gus", "Hana", "Ian", "Jo", "Kim"))
    ),
]
"""A full room with us."""

OPEN = LanRoomView(tag="01" * 8, name="Field camp", members=6)
LOCKED = LanRoomView(tag="02" * 8, name="Class 7b", members=14, locked=True)
SECRET = LanRoomView(tag="03" * 8, name="", members=2, secret=True, code=True)
ALICE = PEOPLE[0].peer_id


class ShownRooms(FakeRooms):
    """All changes are told."""

    def __init__(self, publish: Callable[[NodeEvent], None]) -> None:
        super().__init__()
        self._publish = publish
        known = (
            RoomView(id="a" * 32, name="Monday round", state="known", creator=ALICE),
            RoomView(id="b" * 32, name="Board", state="known", secret=True, creator=OWN_ID.text, mine=True),
        )
        self._rooms = {view.id: view for view in known}

    def show(self) -> RoomsView:
        """One that is open, one that is locked, one that is secret."""
        return RoomsView(rooms=list(self._rooms.values()), here=[OPEN, LOCKED, SECRET])

    def change(self, room: str, **words: Any) -> RoomView:
        """A room is another one now."""
        view = msgspec.structs.replace(self.view(room), **words)
        self._rooms[view.id] = view
        self._publish(RoomChanged(at_ms=now_ms(), room=view))
        return view

    async def join(
        self,
        text: str,
        *,
        at: str = "",
        source: str | None = None,
        record: Path | None = None,
        record_mixed: Path | None = None,
        page: str = "",
        video: bool = True,
    ) -> RoomView:
        """Those that are shown on the LAN have their own people."""
        if text == LOCKED.name:
            view = RoomView(id="7", name=text, state="waiting", locked=True)
        elif text == OPEN.name:
            people = [SELF, *PEOPLE]
            view = RoomView(id="d" * 32, name=text, state="joined", creator=ALICE, members=people)
        else:
            view = await super().join(
                text, at=at, source=source, record=record, record_mixed=record_mixed, page=page, video=video
            )
        self._rooms[view.id] = view
        return view

    async def leave(self, room: str) -> RoomView:
        """And say so."""
        view = await super().leave(room)
        self.change(view.id)
        self._publish(RoomEnded(at_ms=now_ms(), room=view.id, reason="left"))
        return view

    async def leave_all(self) -> None:
        """Out of every room."""
        for view in list(self._rooms.values()):
            if view.state != "known":
                await self.leave(view.id)

    def set_state(self, room: str, **said: bool | None) -> RoomView:
        """Our own tile is told, as the others'."""
        view = super().set_state(room, **said)
        words = {name: value for name, value in said.items() if value is not None}
        return self.change(
            view.id,
            members=[msgspec.structs.replace(one, **words) if one.me else one for one in view.members],
        )

    def say(self, room: str, text: str) -> None:
        """We see it ourselves."""
        super().say(room, text)
        self.line(room, SELF, text)

    def line(self, room: str, who: MemberView, text: str) -> None:
        """A line of chat of somebody."""
        sender = "me" if who.me else "peer"
        self._publish(
            RoomChat(
                at_ms=now_ms(),
                room=self.view(room).id,
                peer_id=who.peer_id,
                name=who.name,
                text=text,
                sender=sender,  # type: ignore[arg-type]
            )
        )

    async def lock(self, room: str, *, locked: bool) -> RoomView:
        """All see it."""
        return self.change((await super().lock(room, locked=locked)).id, locked=locked)

    async def block(self, room: str, peer: str, *, blocked: bool) -> RoomView:
        """Somebody of the crowd is seen no more, or again."""
        view = self.view(room)
        one = next((one for one in CROWD if one.peer_id == peer), None)
        if one is None:
            raise NoSuchMember(f"nobody in {view.name} is called {peer!r}")
        members = [other for other in view.members if other.peer_id != peer]
        whom = [other for other in view.blocked if other.peer_id != peer]
        if blocked:
            whom.append(BlockedView(peer_id=peer, short=one.short, name=one.name, contact=one.contact))
        else:
            members.append(one)
        return self.change(room, members=members, blocked=whom)

    def knock(self, room: str, name: str) -> None:
        """Somebody wants to come in."""
        self.change(room, knocks=[KnockView(peer_id=peer_id_of(60).text, name=name)])

    def admit(self, room: str, peer: str, *, admit: bool) -> RoomView:
        """Nobody knocks any more."""
        if peer not in [knock.peer_id for knock in self.view(room).knocks]:
            return super().admit(room, peer, admit=admit)
        return self.change(room, knocks=[])
