"""Rooms without a network: a name decides what becomes of a way in."""

from __future__ import annotations

from pathlib import Path

import msgspec

from meshcall.errors import (
    InvalidRoom,
    NoSuchMember,
    NoSuchRoom,
    NotCreator,
    NotInRoom,
    RoomCodeWrong,
    RoomNotFound,
    RoomRefused,
)
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.identity.uri import clean_name
from meshcall.views import (
    KnockView,
    LanRoomView,
    LayerKind,
    MemberView,
    ReceivedView,
    RoomCodeView,
    RoomInviteView,
    RoomsView,
    RoomView,
)


def _peer(number: int) -> PeerId:
    return SigningKey.from_seed(bytes([number]) * 32).peer_id


ME, ANN, BEN = _peer(1), _peer(7), _peer(8)


class FakeRooms:
    """Ann is in every room, and whoever is called Ben knocks at all of them."""

    def __init__(self) -> None:
        self._rooms: dict[str, RoomView] = {}
        self.asked: list[tuple[str, object]] = []
        """What else was wanted, in order."""

    def show(self) -> RoomsView:
        here = [
            LanRoomView(tag="07" * 8, name="Tea", members=3, code=True),
            LanRoomView(tag="08" * 8, name="", members=2, secret=True, locked=True),
        ]
        return RoomsView(rooms=list(self._rooms.values()), here=here)

    def view(self, room: str) -> RoomView:
        for view in self._rooms.values():
            if room.casefold() in (view.id, view.name.casefold()) or (room == "-" and view.state != "known"):
                return view
        raise NoSuchRoom(f"there is no room {room!r} here")

    async def create(
        self,
        name: str,
        *,
        secret: bool = False,
        lan_only: bool = False,
        source: str | None = None,
        record: Path | None = None,
        record_mixed: Path | None = None,
        page: str = "",
        video: bool = True,
    ) -> RoomView:
        self.asked.append(("create", (lan_only, source, record, record_mixed, page, video)))
        if not clean_name(name):
            raise InvalidRoom("a room needs a name")
        return self._put(clean_name(name), mine=True, secret=secret)

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
        self.asked.append(("join", (at, source, record, record_mixed, page, video)))
        match text:
            case "nowhere":
                raise RoomNotFound("no such room is announced on this network")
            case "closed":
                raise RoomRefused("a member of the room said no")
            case "7-apple-river":
                raise RoomCodeWrong
            case "locked":
                view = RoomView(id="a" * 32, name="locked", state="waiting")
                self._rooms[view.id] = view
                return view
        return self._put(clean_name(text) or "room", mine=False)

    def _put(self, name: str, *, mine: bool, secret: bool = False) -> RoomView:
        members = [
            MemberView(peer_id=ME.text, short=ME.short, name="me", me=True, audio=True, video=True),
            MemberView(
                peer_id=ANN.text,
                short=ANN.short,
                name="ann",
                audio=True,
                hand=True,
                path="lan",
                call="c" * 32,
                layer=360,
                received=ReceivedView(video_frames=30, audio_seconds=1.0, height=360),
            ),
        ]
        view = RoomView(
            id=f"{len(self._rooms) + 1:032x}",
            name=name,
            state="joined",
            secret=secret,
            creator=(ME if mine else ANN).text,
            mine=mine,
            members=members,
            knocks=[KnockView(peer_id=BEN.text, name="ben")],
        )
        self._rooms[view.id] = view
        return view

    async def leave(self, room: str) -> RoomView:
        view = self.view(room)
        left = RoomView(id=view.id, name=view.name, state="known", creator=view.creator, mine=view.mine)
        self._rooms[view.id] = left
        return left

    async def forget(self, room: str) -> None:
        del self._rooms[self.view(room).id]

    def _joined(self, room: str) -> RoomView:
        view = self.view(room)
        if view.state != "joined":
            raise NotInRoom(f"this machine is not in {view.name!r} now")
        return view

    def _member(self, room: str, peer: str) -> MemberView:
        for member in self._joined(room).members:
            if peer in (member.peer_id, member.name):
                return member
        raise NoSuchMember(f"nobody in the room is called {peer!r}")

    def invite(self, room: str) -> RoomInviteView:
        return RoomInviteView(uri=f"meshcall:{ME.text}?r={self._joined(room).name.split()[0]}#{'a' * 52}")

    def code(self, room: str) -> RoomCodeView:
        self._joined(room)
        return RoomCodeView(code="7-apple-river", expires_s=600.0)

    def set_state(
        self,
        room: str,
        *,
        audio: bool | None = None,
        video: bool | None = None,
        screen: bool | None = None,
        hand: bool | None = None,
        speaking: bool | None = None,
    ) -> RoomView:
        self.asked.append(("state", (audio, video, screen, hand, speaking)))
        return self._joined(room)

    async def share(self, room: str, source: str) -> RoomView:
        view = self._joined(room)
        self.asked.append(("share", source))
        self._rooms[view.id] = msgspec.structs.replace(view, sharing=source)
        return self._rooms[view.id]

    def unshare(self, room: str) -> RoomView:
        view = self._joined(room)
        self.asked.append(("share", ""))
        self._rooms[view.id] = msgspec.structs.replace(view, sharing="")
        return self._rooms[view.id]

    def say(self, room: str, text: str) -> None:
        self._joined(room)
        self.asked.append(("say", text))

    async def lock(self, room: str, *, locked: bool) -> RoomView:
        self.asked.append(("lock", locked))
        return self._joined(room)

    def admit(self, room: str, peer: str, *, admit: bool) -> RoomView:
        view = self._joined(room)
        if peer not in (BEN.text, "ben"):
            raise NoSuchMember(f"nobody called {peer!r} knocks")
        self.asked.append(("admit", admit))
        return view

    async def remove(self, room: str, peer: str) -> RoomView:
        self._member(room, peer)
        view = self._joined(room)
        if not view.mine:
            raise NotCreator
        self.asked.append(("remove", peer))
        return view

    async def block(self, room: str, peer: str, *, blocked: bool) -> RoomView:
        self._member(room, peer)
        self.asked.append(("block", blocked))
        return self._joined(room)

    def ask_layer(self, room: str, peer: str, kind: LayerKind, height: int, fps: int) -> None:
        self._member(room, peer)
        self.asked.append(("layer", (kind, height, fps)))
