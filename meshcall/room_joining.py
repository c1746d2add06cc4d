"""One way into a room: carries out what a joiner decides.

Law: it ends once, with the room or with the reason why not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from meshcall import limits
from meshcall.address import format_address
from meshcall.discovery.rooms import RoomsSeen, name_key, nameplate_key
from meshcall.errors import ClockWrong, MeshcallError, RoomCodeWrong, RoomNotFound, RoomRefused, RoomSilent
from meshcall.identity.peer_id import PeerId
from meshcall.room import commands as c
from meshcall.room import events as e
from meshcall.room.codes import is_code, nameplate_of
from meshcall.room.descriptor import Room
from meshcall.room.joiner import ByCode, ByInvite, ByName, Joiner, Way
from meshcall.room.uri import RoomInvite, is_room_uri
from meshcall.room_letters import RoomLetters
from meshcall.room_links import LinkTools
from meshcall.room_options import RoomOptions
from meshcall.views import RoomView

_ENDS: Final[dict[c.JoinReason, tuple[type[MeshcallError], str]]] = {
    "no-answer": (RoomSilent, "nobody in that room answers"),
    "gone": (RoomSilent, "who was asked has left that room"),
    "not-found": (RoomNotFound, "no such room is announced on this network"),
    "declined": (RoomRefused, "a member of the room said no"),
    "removed": (RoomRefused, c.REMOVED),
    "full": (RoomRefused, f"the room is full: it takes {limits.ROOM_MEMBERS_MAX}"),
    "busy": (RoomRefused, "too many wait to be let into that room: try again in a moment"),
    "given-up": (RoomRefused, "given up"),
    "code": (RoomCodeWrong, "that code is wrong, or works no more"),
    "clock": (ClockWrong, "the clock of this machine and those of the room's members differ too much"),
}


def way_of(text: str) -> Way:
    """What ``text`` is: a link, a code or a name; raises :class:`InvalidRoom` for one with an error."""
    if is_room_uri(text):
        return ByInvite(RoomInvite.parse(text))
    return ByCode(text) if is_code(text) else ByName(text)


class Joining:
    """Asks to be let in, and waits."""

    def __init__(
        self,
        me: PeerId,
        text: str,
        options: RoomOptions,
        *,
        tools: LinkTools,
        letters: RoomLetters,
        reach: Callable[[], None],
        on_admitted: Callable[[Joining, Room, tuple[PeerId, ...]], None],
        on_changed: Callable[[Joining], None],
        on_over: Callable[[Joining, c.JoinReason], None],
    ) -> None:
        """``reach``: ask those who were named by address who they are; called until somebody is found.

        Raises :class:`InvalidRoom`.
        """
        self._way = way_of(text)
        self._machine = Joiner(me, self._way, tools.name(), tools.random)
        self.options = options
        self._tools = tools
        self._letters = letters
        self._reach = reach
        self._on_admitted = on_admitted
        self._on_changed = on_changed
        self._on_over = on_over
        self.id = tools.random(16).hex()
        """What it is called until the room is known."""
        self.room_id: bytes | None = None
        """The room's, once we are in."""
        self._waits = False
        self._reason: c.JoinReason | None = None
        self._settled = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.TimerHandle | None = None

    @property
    def nodes(self) -> tuple[str, ...]:
        """HOST:PORT of what the link names."""
        if not isinstance(self._way, ByInvite):
            return ()
        return tuple(format_address(node) for node in self._way.invite.nodes)

    @property
    def key(self) -> bytes:
        """By which a machine that was named by its address is asked; empty: the members are known."""
        match self._way:
            case ByName(name):
                return name_key(name)
            case ByCode(code):
                return nameplate_key(nameplate_of(code))
            case _:
                return b""

    def start(self, rooms: RoomsSeen) -> None:
        """Begin; ``rooms``: those on the LAN now."""
        clock = self._tools.clock
        self._carry_out(self._machine.start(clock.now(), clock.now_ms()))
        self.look(rooms)
        self._ask_again()

    def look(self, rooms: RoomsSeen) -> None:
        """The rooms on the LAN are others now."""
        for peer, tag in _found(self._way, rooms):
            self.feed(e.Found(peer, tag))

    def feed(self, event: e.JoinerEvent) -> None:
        """Handle ``event``."""
        clock = self._tools.clock
        self._carry_out(self._machine.handle(event, clock.now(), clock.now_ms()))

    def give_up(self) -> None:
        """Do not come in after all."""
        self.feed(e.GiveUp())

    async def settled(self) -> None:
        """Return when we are in, have knocked, or it is over."""
        await self._settled.wait()

    def raise_for_end(self) -> None:
        """Raise what it ended with, if it did not end in the room."""
        if self._reason is not None:
            kind, message = _ENDS[self._reason]
            raise kind(message)

    def view(self) -> RoomView:
        """What is shown of it."""
        match self._way:
            case ByName(name):
                shown = name
            case ByInvite(invite):
                shown = invite.name
            case _:
                shown = ""
        return RoomView(id=self.id, name=shown, state="waiting" if self._waits else "joining")

    def _carry_out(self, commands: list[c.JoinerCommand]) -> None:
        for command in commands:
            match command:
                case c.SendLetter(peer, data):
                    self._letters.send(peer, data, self._tools.finder)
                case c.KnockWaits():
                    self._waits = True
                    self._settled.set()
                    self._on_changed(self)
                case c.Admitted(room, members):
                    self.room_id = room.id
                    self._end()
                    self._on_admitted(self, room, members)
                case c.NotAdmitted(reason):
                    self._reason = reason
                    self._end()
                    self._on_over(self, reason)
        self._arm()

    def _end(self) -> None:
        self._settled.set()
        if self._asking is not None:
            self._asking.cancel()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._machine.deadline()
        if deadline is not None:
            delay = max(0.0, deadline - self._tools.clock.now())
            self._timer = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        clock = self._tools.clock
        self._carry_out(self._machine.handle_timer(clock.now(), clock.now_ms()))

    def _ask_again(self) -> None:
        self._reach()
        self._asking = asyncio.get_running_loop().call_later(limits.ROOM_REACH_PAUSE, self._ask_again)


def _found(way: Way, rooms: RoomsSeen) -> list[tuple[PeerId, bytes]]:
    """Who of the LAN may be asked, with the tag of its room."""
    match way:
        case ByName(name):
            return [
                (peer, room.tag) for room in rooms.called(name) for peer in rooms.announcers(room.tag, name)
            ]
        case ByCode(code):
            return [(peer, tag) for tag, peer in rooms.with_nameplate(nameplate_of(code))]
        case _:
            return []
