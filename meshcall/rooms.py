"""The rooms of a node: those that we are in, those that we know, and those on the LAN.

Law 1: what was acknowledged survives ``kill -9``: a room that we were in is gone into again at the start.
Law 2: a letter goes to the room whose tag it has, an offer of a link to the room that takes it.
Law 3: what strangers can make us do here is bounded: rooms that we know, ways in at once, what is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from meshcall import limits
from meshcall.address import Address, format_address
from meshcall.aio.files import RoomRow, StateDb
from meshcall.aio.lan import Lan
from meshcall.config import Config
from meshcall.dht.limiter import Bucket
from meshcall.discovery.rooms import RoomAnnouncement, SeenRoom, tags_near
from meshcall.errors import (
    InvalidPeerId,
    MeshcallError,
    NoSuchMember,
    NoSuchRoom,
    NotCreator,
    NotInRoom,
    RecordTargetExists,
    Rejected,
    RoomRefused,
    UsageError,
)
from meshcall.identity.peer_id import PeerId
from meshcall.letters import Letter
from meshcall.media.plan import MediaPlan
from meshcall.media_loader import probe_pictures, probe_source
from meshcall.media_paths import check_record_dir
from meshcall.room import commands as c
from meshcall.room import events as e
from meshcall.room.descriptor import Room
from meshcall.room_board import RoomBoard
from meshcall.room_letters import RoomLetters
from meshcall.room_links import LinkTools
from meshcall.room_options import RoomOptions
from meshcall.signaling.messages import Offer, RoomLetter
from meshcall.views import (
    LanRoomsChanged,
    LanRoomView,
    LayerKind,
    NodeEvent,
    RoomChanged,
    RoomCodeView,
    RoomEnded,
    RoomInviteView,
    RoomsView,
    RoomView,
)

if TYPE_CHECKING:  # a node that is in no room can do without them, and without what calls are made of
    from meshcall.room_joining import Joining
    from meshcall.room_session import RoomSession

_TAG: Final = slice(1, 9)
"""Where a letter has the tag of its room (:mod:`meshcall.room.messages`)."""


_ANY: Final = "-"
"""In place of a room: the only one that can be meant."""


class Rooms:
    """All rooms of one node."""

    def __init__(
        self,
        me: PeerId,
        config: Config,
        *,
        tools: LinkTools,
        state: StateDb,
        lan: Lan,
        base_plan: Callable[[str, Path | None], MediaPlan],
        is_verified: Callable[[PeerId], bool],
        publish: Callable[[NodeEvent], None],
        board: RoomBoard,
        reach: Callable[[str], Awaitable[list[Address]]],
        nodes: Callable[[], list[Address]],
    ) -> None:
        """``reach``: make what is at HOST or HOST:PORT known to discovery and the DHT; tells its addresses.

        ``nodes``: through which others can join the DHT, for links.
        """
        self._me = me
        self._config = config
        self._tools = tools
        self._state = state
        self._lan = lan
        self._base_plan = base_plan
        self._is_verified = is_verified
        self._publish = publish
        self._board = board
        self._reach = reach
        self._reached: OrderedDict[PeerId, Address] = OrderedDict()
        self._nodes = nodes
        self._letters = RoomLetters(
            tools.post,
            clock=tools.clock,
            spawn=tools.spawn,
            counters=tools.counters,
            on_clock=self._clock_differs,
        )
        self._sessions: dict[bytes, RoomSession] = {}
        self._joining: dict[str, Joining] = {}
        self._known: dict[bytes, RoomRow] = {}
        self._pages_told: dict[str, float] = {}
        """When the pages that had a room's media know that it is over."""
        self._mates: frozenset[PeerId] = frozenset()
        self._sighted: set[tuple[bytes, PeerId]] = set()
        self._announcing: asyncio.TimerHandle | None = None
        self._showing: asyncio.TimerHandle | None = None
        self._announcements = Bucket(
            1 / limits.ROOM_ANNOUNCE_PAUSE, limits.ROOM_ANNOUNCE_BURST, tools.clock.now()
        )
        self._telling: asyncio.TimerHandle | None = None
        self._told = float("-inf")
        self._stops = False

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Go into those again that we were in."""
        for row in self._state.rooms():
            self._known[row.room_id] = row
            if row.joined:
                with contextlib.suppress(Rejected):  # damage costs a room, never the start
                    self._go_in(Room.decode_untrusted(row.descriptor, row.secret), row=row)
        self._know_tags()

    async def close(self) -> None:
        """Say goodbye in each; they are gone into again when the node starts."""
        self._stops = True
        for joining in list(self._joining.values()):
            joining.give_up()
        await asyncio.gather(*(session.close() for session in list(self._sessions.values())))
        for handle in (self._announcing, self._telling, self._showing):
            if handle is not None:
                handle.cancel()

    # --- what others ask about them ---------------------------------------------------------------

    def is_mate(self, peer: PeerId) -> bool:
        """Whether ``peer`` is in a room with us."""
        return peer in self._mates

    def has_any(self) -> bool:
        """Whether we are in a room, so that others may ask to be let in."""
        return bool(self._sessions)

    def count(self) -> int:
        """How many rooms we are in."""
        return len(self._sessions)

    def has_link(self, peer: PeerId) -> bool:
        """Whether there is a link with ``peer``, up or on its way."""
        return any(session.links.get(peer) is not None for session in self._sessions.values())

    def announcements(self) -> tuple[RoomAnnouncement, ...]:
        """What the LAN is told."""
        now_ms = self._tools.clock.now_ms()
        return tuple(
            RoomAnnouncement.of(
                session.room.id,
                session.room.name,
                self._me,
                now_ms,
                members=session.announcement.count,
                secret=session.room.hidden,
                locked=session.announcement.locked,
                nameplate=session.announcement.nameplate,
            )
            for session in self._sessions.values()
            if session.announcement is not None
        )

    # --- letters ----------------------------------------------------------------------------------

    def letter(self, letter: Letter) -> None:
        """A letter about a room passed all gates."""
        message, sender = letter.opened.message, letter.opened.sender
        assert isinstance(message, RoomLetter), "that is what comes here"
        if letter.is_over:
            return
        self._letters.came(letter)
        tag, now_ms = message.data[_TAG], self._tools.clock.now_ms()
        event = e.LetterReceived(sender, message.data)
        for session in list(self._sessions.values()):
            if tag in session.room.tags_near(now_ms):
                session.feed(event)
                return
        for joining in list(self._joining.values()):
            joining.feed(event)

    def _clock_differs(self, peer: PeerId) -> None:
        for session in list(self._sessions.values()):
            session.clock_differs(peer)
        for joining in list(self._joining.values()):
            joining.feed(e.ClockDiffers(peer))

    def link_letter(self, letter: Letter) -> bool:
        """Whether a message is of a link or refuses a letter of ours, and was taken as such."""
        opened = letter.opened
        if self._letters.refused(letter):
            return True
        for session in self._sessions.values():
            if session.links.owns(opened.sender, opened.call_id):
                session.links.letter(letter)
                return True
            if session.links.names(opened.call_id):
                self._tools.counters["letter-foreign-call"] += 1
                return True
        if not isinstance(opened.message, Offer) or not opened.message.room:
            return False
        if letter.is_over:
            return True
        for session in self._sessions.values():
            if session.takes(opened.sender, opened.message.room):
                session.links.letter(letter)
                return True
        if self._sessions:
            next(iter(self._sessions.values())).links.refuse(letter)
        return True

    # --- the LAN ----------------------------------------------------------------------------------

    def lan_changed(self) -> None:
        """Something that is announced of rooms is new."""
        for session in list(self._sessions.values()):
            self._look_for_members(session)
        for joining in list(self._joining.values()):
            joining.look(self._lan.rooms)
        if self._telling is None and not self._stops:
            wait = self._told + limits.ROOM_TELL_PAUSE - self._tools.clock.now()
            if wait <= 0:
                self._tell_lan()
            else:
                self._telling = asyncio.get_running_loop().call_later(wait, self._tell_lan)

    def _announcers(self, room: Room) -> tuple[PeerId, ...]:
        """Who announces that room on the LAN now."""
        tags = room.tags_near(self._tools.clock.now_ms())
        peers = (peer for tag in tags for peer in self._lan.rooms.announcers(tag, room.name))
        return tuple(dict.fromkeys(peer for peer in peers if peer != self._me))

    def _look_for_members(self, session: RoomSession) -> None:
        seen = {(session.room.id, peer) for peer in self._announcers(session.room)}
        before = {one for one in self._sighted if one[0] == session.room.id}
        self._sighted = (self._sighted - before) | seen
        for _, peer in seen - before:
            session.feed(e.Sighted(peer))

    def _tell_lan(self) -> None:
        self._telling = None
        self._told = self._tools.clock.now()
        self._publish(LanRoomsChanged(at_ms=self._tools.clock.now_ms(), here=self._here()))

    def _here(self) -> list[LanRoomView]:
        now_ms = self._tools.clock.now_ms()
        ours = {tag: session for session in self._sessions.values() for tag in session.room.tags_near(now_ms)}
        return [self._lan_view(room, ours.get(room.tag)) for room in self._lan.rooms.rooms()]

    def _lan_view(self, seen: SeenRoom, session: RoomSession | None) -> LanRoomView:
        return LanRoomView(
            tag=seen.tag.hex(),
            name=seen.name if session is None else session.room.name,
            members=seen.members,
            locked=seen.locked,
            secret=seen.secret,
            joined=session is not None,
            code=seen.code,
        )

    def _know_tags(self) -> None:
        """Which of the LAN's rooms matter to us."""
        now_ms = self._tools.clock.now_ms()
        ids = {*self._known, *self._sessions}
        self._lan.rooms.know(tag for one in ids for tag in tags_near(one, now_ms))

    def network_changed(self) -> None:
        """Whom we saw on the LAN may be elsewhere: all are sighted anew."""
        self._sighted.clear()

    # --- what people want -------------------------------------------------------------------------

    def show(self) -> RoomsView:
        """See :class:`meshcall.control.node_api.RoomsApi`."""
        rooms = [session.view() for session in self._sessions.values()]
        rooms += [joining.view() for joining in self._joining.values()]
        known = [row for row in self._known.values() if row.room_id not in self._sessions]
        rooms += [view for row in known if (view := self._known_view(row)) is not None]
        return RoomsView(rooms=rooms, here=self._here())

    def view(self, room: str) -> RoomView:
        """See :class:`meshcall.control.node_api.RoomsApi`."""
        if room == _ANY:
            return self._only()
        for view in self._named(room):
            return view
        raise NoSuchRoom(f"there is no room {room!r} here")

    def _only(self) -> RoomView:
        """The one that we are in, or wait for."""
        views = [view for view in self.show().rooms if view.state != "known"]
        if len(views) != 1:
            raise NoSuchRoom(
                "this machine is in no room" if not views else "this machine is in several rooms: say which",
                hint="`meshcall room join NAME` goes into one" if not views else None,
            )
        return views[0]

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
        """See :class:`meshcall.control.node_api.RoomsApi`."""
        options = await self._options(source, (record, record_mixed), page, lan_only=lan_only, video=video)
        self._check_room_for_one()
        clock = self._tools.clock
        room = Room.create(
            self._me,
            self._tools.identity.sign,
            name,
            now_ms=clock.now_ms(),
            random=self._tools.random,
            hidden=secret,
        )
        session = self._go_in(room, options=options)
        await session.saved()
        return session.view()

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
        """See :class:`meshcall.control.node_api.RoomsApi`."""
        options = await self._options(source, (record, record_mixed), page, lan_only=False, video=video)
        self._tools.prepare_media()  # it takes longer than to be let in
        if at:
            await self._reach(at)
        joined = self._session_called(text)
        if joined is not None:
            return (await self._with_media(joined, options)).view()
        row = self._known_called(text)
        if row is not None:
            self._check_room_for_one()
            room = Room.decode_untrusted(row.descriptor, row.secret)
            return await self._entered(
                self._go_in(room, row=row, options=options, members=self._announcers(room))
            )
        self._check_room_for_one()
        joining = self._begin(text, at, options)
        await joining.settled()
        if joining.room_id is None:
            joining.raise_for_end()
            return joining.view()
        entered = self._sessions.get(joining.room_id)
        if entered is None:
            raise RoomRefused(c.REMOVED)
        return await self._entered(await self._with_media(entered, options))

    async def _entered(self, session: RoomSession) -> RoomView:
        """The room, once it is on the disk that we are in; raises :class:`RoomRefused` if we are not."""
        await session.saved()
        if session.over:
            raise RoomRefused(c.REMOVED)
        return session.view()

    async def _with_media(self, session: RoomSession, options: RoomOptions) -> RoomSession:
        """A room that we are in already: a page that goes in has its media from now on, whoever had them."""
        if not options.page or session.options.page == options.page:
            return session
        await session.leave()
        room = session.room
        return self._go_in(
            room, row=self._known.get(room.id), options=options, members=self._announcers(room)
        )

    def _begin(self, text: str, at: str, options: RoomOptions) -> Joining:
        """Ask to be let in."""
        from meshcall.room_joining import Joining

        joining = Joining(
            self._me,
            text,
            options,
            tools=self._tools,
            letters=self._letters,
            reach=lambda: self._reach_all([*([at] if at else ()), *joining.nodes], joining.key),
            on_admitted=self._admitted,
            on_changed=self._joining_changed,
            on_over=self._joining_over,
        )
        self._joining[joining.id] = joining
        joining.start(self._lan.rooms)
        return joining

    def _reach_all(self, places: Iterable[str], key: bytes) -> None:
        for place in places:
            self._tools.spawn(self._reach_quietly(place, key))

    async def _reach_quietly(self, place: str, key: bytes) -> None:
        with contextlib.suppress(MeshcallError):  # it was said when it was named, or stands in a link
            for address in await self._reach(place):
                await self._ask_board(address, key)

    async def _ask_board(self, address: Address, key: bytes) -> None:
        """Ask who is there for its room: it may be one that no mDNS shows."""
        announcement = await self._board.ask(address, key) if key else None
        if announcement is None:
            return
        with contextlib.suppress(Rejected):
            peer = announcement.announcer_untrusted(key)
            self._reached[peer] = address
            while len(self._reached) > limits.ROOM_REACHED_MAX:
                self._reached.popitem(last=False)
        instance = f"at {format_address(address)}"
        if self._lan.rooms.seen(instance, [announcement]):
            self.lan_changed()
        asyncio.get_running_loop().call_later(limits.ROOM_REACHED_LIFE, self._lan.rooms.gone, instance)

    def reached(self, peer: PeerId) -> list[Address]:
        """Where a member was found by its address."""
        address = self._reached.get(peer)
        return [] if address is None else [address]

    async def leave(self, room: str) -> RoomView:
        """See :class:`meshcall.control.node_api.RoomsApi`."""
        view = self.view(room)
        joining = self._joining.get(view.id)
        if joining is not None:
            joining.give_up()
            return joining.view()
        session = self._sessions.get(bytes.fromhex(view.id))
        if session is not None:
            await session.leave()
        return self.view(view.id)

    async def forget(self, room: str) -> None:
        """See :class:`meshcall.control.node_api.RoomsApi`."""
        view = await self.leave(room)
        room_id = bytes.fromhex(view.id)
        self._known.pop(room_id, None)
        await self._state.run(self._state.remove_room, room_id)
        self._know_tags()

    def invite(self, room: str) -> RoomInviteView:
        """See :class:`meshcall.control.node_api.RoomsApi`."""
        return RoomInviteView(uri=self._session(room).invite(self._nodes()))

    def code(self, room: str) -> RoomCodeView:
        """See :class:`meshcall.control.node_api.RoomsApi`."""
        code = self._session(room).new_code(self._lan.rooms.nameplates())
        return RoomCodeView(code=code, expires_s=limits.ROOM_CODE_LIFE)

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
        """See :class:`meshcall.control.node_api.RoomsApi`."""
        view = self.view(room)
        if self._tools.clock.now() < self._pages_told.get(view.id, 0.0) and view.state == "known":
            return view  # it is over, and the page that says so was not told yet
        session = self._session(room)
        session.set_state(e.SetState(audio=audio, video=video, screen=screen, hand=hand, speaking=speaking))
        return session.view()

    async def share(self, room: str, source: str) -> RoomView:
        """See :class:`meshcall.control.node_api.RoomsApi`."""
        session = self._session(room)
        if session.options.page:
            raise UsageError("this machine is in the room by its page", hint="share a screen there")
        if not session.options.video:
            raise UsageError("this machine is in the room without pictures, so it shares none")
        if self._config.media_workers:
            raise UsageError(
                "a daemon with --media-workers shares no screen",
                hint="a worker reads what it was made for, and nothing more; start the daemon without",
            )
        await probe_pictures(source)
        if not session.over:
            session.share(source)
        return session.view()

    def unshare(self, room: str) -> RoomView:
        """See :class:`meshcall.control.node_api.RoomsApi`."""
        session = self._session(room)
        if session.sharing:
            session.share("")
        return session.view()

    def say(self, room: str, text: str) -> None:
        """See :class:`meshcall.control.node_api.RoomsApi`."""
        self._session(room).say(text)

    async def lock(self, room: str, *, locked: bool) -> RoomView:
        """See :class:`meshcall.control.node_api.RoomsApi`."""
        session = self._session(room)
        session.feed(e.Lock(locked))
        await session.saved()
        return session.view()

    def admit(self, room: str, peer: str, *, admit: bool) -> RoomView:
        """See :class:`meshcall.control.node_api.RoomsApi`."""
        session = self._session(room)
        who = session.knocker(peer)
        session.feed(e.Admit(who) if admit else e.Refuse(who))
        return session.view()

    async def remove(self, room: str, peer: str) -> RoomView:
        """See :class:`meshcall.control.node_api.RoomsApi`."""
        session = self._session(room)
        who = session.member(peer)
        if session.room.creator != self._me:
            raise NotCreator
        if who == self._me:
            raise UsageError("nobody removes oneself", hint="`meshcall room leave` goes")
        session.feed(e.Remove(who))
        await session.saved()
        return session.view()

    async def block(self, room: str, peer: str, *, blocked: bool) -> RoomView:
        """See :class:`meshcall.control.node_api.RoomsApi`."""
        session = self._session(room)
        who = session.member(peer) if blocked else session.blocked(peer)
        if who == self._me:
            raise UsageError("nobody blocks oneself")
        if not blocked and self._tools.contacts.is_blocked(who):
            raise UsageError(
                "this contact is blocked altogether", hint="`meshcall contact unblock NAME` comes first"
            )
        session.feed(e.Block(who, blocked))
        await session.saved()
        return session.view()

    def ask_layer(self, room: str, peer: str, kind: LayerKind, height: int, fps: int) -> None:
        """See :class:`meshcall.control.node_api.RoomsApi`."""
        session = self._session(room)
        try:
            session.ask_layer(session.member(peer), kind, height, fps)
        except NoSuchMember:
            with contextlib.suppress(InvalidPeerId):
                PeerId.parse(peer)
                return  # it went, and who asks was not told yet
            raise

    def page_gone(self, page: str) -> None:
        """The page that had a room's media is gone, and we with it."""
        for session in [one for one in self._sessions.values() if one.options.page == page]:
            self._tools.spawn(session.leave())
        for joining in [one for one in self._joining.values() if one.options.page == page]:
            joining.give_up()

    def contacts_changed(self) -> None:
        """Who is blocked as a contact is blocked in rooms, too."""
        for session in list(self._sessions.values()):
            for peer in [one for one in session.mates if self._tools.contacts.is_blocked(one)]:
                session.feed(e.Block(peer))

    # --- which is meant ---------------------------------------------------------------------------

    def _named(self, text: str) -> list[RoomView]:
        """Rooms by ID, by its first digits, or by name."""
        folded, views = text.casefold(), self.show().rooms
        exact = [view for view in views if view.id == folded]
        short = [view for view in views if len(text) >= limits.ROOM_ID_SHORT and view.id.startswith(folded)]
        named = [view for view in views if view.name.casefold() == folded]
        return exact or named or short

    def _session(self, text: str) -> RoomSession:
        view = self.view(text)
        session = None if view.id in self._joining else self._sessions.get(bytes.fromhex(view.id))
        if session is None:
            raise NotInRoom(f"this machine is not in {view.name!r} now")
        return session

    def _session_called(self, text: str) -> RoomSession | None:
        views = [view for view in self._named(text) if view.state == "joined"]
        return self._sessions[bytes.fromhex(views[0].id)] if views else None

    def _known_called(self, text: str) -> RoomRow | None:
        """A room whose secret we hold; of several with one name the one that the LAN has now."""
        rows = [self._known[bytes.fromhex(view.id)] for view in self._named(text) if view.state == "known"]
        now_ms = self._tools.clock.now_ms()
        called = {seen.tag for seen in self._lan.rooms.called(text)}
        for row in rows:
            if called & tags_near(row.room_id, now_ms):
                return row
        return None if called or not rows else rows[0]

    def _known_view(self, row: RoomRow) -> RoomView | None:
        try:
            room = Room.decode_untrusted(row.descriptor, row.secret)
        except Rejected:
            return None
        return RoomView(
            id=room.id.hex(),
            name=room.name,
            state="known",
            secret=room.hidden,
            creator=room.creator.text,
            mine=room.creator == self._me,
        )

    # --- going in ---------------------------------------------------------------------------------

    async def _options(
        self,
        source: str | None,
        records: tuple[Path | None, Path | None],
        page: str,
        *,
        lan_only: bool,
        video: bool,
    ) -> RoomOptions:
        """``records``: each member, and all of them together."""
        source = self._config.source if source is None else source
        if not page:
            await probe_source(source)
        for folder in records:
            if folder is None:
                continue
            if page:
                raise UsageError("what a browser sends and receives is not recorded here")
            await asyncio.get_running_loop().run_in_executor(None, _make_folder, folder)
        each, mixed = records
        return RoomOptions(source, each, mixed, page=page, video=video, lan_only=lan_only)

    def _check_room_for_one(self) -> None:
        if len(self._sessions) + len(self._joining) >= limits.ROOMS_JOINED_MAX:
            raise UsageError(f"this machine is in {limits.ROOMS_JOINED_MAX} rooms already: leave one first")

    def _go_in(
        self,
        room: Room,
        *,
        row: RoomRow | None = None,
        options: RoomOptions | None = None,
        members: tuple[PeerId, ...] = (),
    ) -> RoomSession:
        if options is None:
            options = RoomOptions() if row is None else RoomOptions.decode(row.plan)
        elif row is not None:
            options = replace(options, lan_only=RoomOptions.decode(row.plan).lan_only)
        self._tools.prepare_media()
        from meshcall.room_session import RoomSession

        session = RoomSession(
            self._me,
            room,
            options,
            node=self,
            tools=self._tools,
            letters=self._letters,
            state=self._state,
            is_here=lambda peer: bool(self._lan.addresses(peer)),
            memory=b"" if row is None else row.memory,
        )
        self._sessions[room.id] = session
        self._know_tags()
        session.enter(members)
        self._look_for_members(session)
        return session

    def _admitted(self, joining: Joining, room: Room, members: tuple[PeerId, ...]) -> None:
        """We are let in."""
        self._joining.pop(joining.id, None)
        if room.id not in self._sessions:
            row = self._known.get(room.id)
            session = self._go_in(room, row=row, options=joining.options, members=members)
            session.save()
        self._publish(RoomEnded(at_ms=self._tools.clock.now_ms(), room=joining.id, reason="admitted"))

    def _joining_changed(self, joining: Joining) -> None:
        self._publish(RoomChanged(at_ms=self._tools.clock.now_ms(), room=joining.view()))

    def _joining_over(self, joining: Joining, reason: c.JoinReason) -> None:
        self._joining.pop(joining.id, None)
        self._publish(RoomEnded(at_ms=self._tools.clock.now_ms(), room=joining.id, reason=reason))

    # --- what sessions tell (room_session.Surroundings) -------------------------------------------

    def base_plan(self, source: str) -> MediaPlan:
        """What every endpoint of this node is made from."""
        return self._base_plan(source, None)

    def is_verified(self, peer: PeerId) -> bool:
        """Whether the words were compared with ``peer``."""
        return self._is_verified(peer)

    def publish(self, event: NodeEvent) -> None:
        """Tell all listeners."""
        self._publish(event)

    def members_changed(self) -> None:
        """Other peers are in a room with us now."""
        self._mates = frozenset(peer for session in self._sessions.values() for peer in session.mates)
        if any(self._tools.contacts.is_blocked(peer) for peer in self._mates):
            asyncio.get_running_loop().call_soon(self.contacts_changed)  # past the change that is being told

    def announce(self) -> None:
        """Tell the LAN what is new: at once, but not ten times in a row."""
        if self._announcing is not None:
            return
        if self._announcements.take(self._tools.clock.now()):
            self._announce()
        else:
            pause = limits.ROOM_ANNOUNCE_PAUSE
            self._announcing = asyncio.get_running_loop().call_later(pause, self._announce_late)

    def _announce_late(self) -> None:
        self._announcing = None
        self.announce()

    def _announce(self) -> None:
        self._know_tags()
        self._show_board()
        self._tools.spawn(self._lan.announce())

    def _show_board(self) -> None:
        """Tell who asks us directly; again before the epoch ends."""
        if self._showing is not None:
            self._showing.cancel()
        if self._sessions:
            self._showing = asyncio.get_running_loop().call_later(limits.EPOCH_OVERLAP, self._show_board)
        self._know_tags()  # which change each day
        names = [one.room.name for one in self._sessions.values() if one.announcement is not None]
        self._board.show(zip(names, self.announcements(), strict=True))

    def ended(self, session: RoomSession, reason: c.EndReason) -> None:
        """We are not in it any more."""
        self._sessions.pop(session.room.id, None)
        now = self._tools.clock.now()
        self._pages_told = {room: at for room, at in self._pages_told.items() if now < at}
        if session.options.page:
            self._pages_told[session.id] = now + limits.ROOM_TOLD_WITHIN
        self.members_changed()
        self.announce()
        self._tools.spawn(session.links.close())
        if not self._stops:
            self._known[session.room.id] = session.row()
            self._publish(RoomEnded(at_ms=self._tools.clock.now_ms(), room=session.id, reason=reason))


def _make_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise RecordTargetExists(f"{folder} is a file", hint="a room is recorded into a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MeshcallError(f"can't make the folder {folder}: {error.strerror}") from None
    check_record_dir(folder)
