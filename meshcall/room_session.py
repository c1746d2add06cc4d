"""One room that we are in: carries out what its machine decides.

Law 1: an event is handled, and every command of it carried out, before the next event is looked at.
Law 2: what a user changes is on the disk when :meth:`RoomSession.saved` returns.
Law 3: whatever happens to a room, its links are ended and its end is told, once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol, cast

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.files import RoomRow, StateDb
from meshcall.aio.lateness import lateness_of_loop
from meshcall.errors import InvalidPeerId, LocalProtocolError, MeshcallError, NoSuchMember, UsageError
from meshcall.finder import Finder, Found
from meshcall.identity.peer_id import PeerId
from meshcall.media.plan import MediaPlan, parse_source
from meshcall.media.strain import Strain
from meshcall.media_paths import free_record
from meshcall.room import commands as c
from meshcall.room import events as e
from meshcall.room.codes import new_code
from meshcall.room.crowd import WHOLE, Shown, shown
from meshcall.room.descriptor import Room
from meshcall.room.machine import Member, RoomMachine
from meshcall.room.uri import RoomInvite
from meshcall.room_letters import RoomLetters
from meshcall.room_links import LinkTools, RoomLinks
from meshcall.room_options import RoomOptions
from meshcall.session import Call
from meshcall.views import (
    BlockedView,
    KnockView,
    LayerKind,
    MemberView,
    NodeEvent,
    ReceivedView,
    RoomChanged,
    RoomChat,
    RoomView,
)

_UNSHARED = "nothing is shared any more: "


class LanFinder:
    """Finds whom the LAN has, and nobody else."""

    def __init__(self, finder: Finder, is_here: Callable[[PeerId], bool]) -> None:
        """``is_here``: whether mDNS shows that peer."""
        self._finder = finder
        self._is_here = is_here

    async def find(self, peer: PeerId, *, by_id: bool = False) -> Found | None:
        """As :meth:`Finder.find`."""
        if not self._is_here(peer):
            return None
        found = await self._finder.find(peer, by_id=by_id)
        return found if found is not None and found.addresses else None

    def forget(self, peer: PeerId) -> None:
        """As :meth:`Finder.forget`."""
        self._finder.forget(peer)


class Surroundings(Protocol):
    """What a room needs of its node."""

    def base_plan(self, source: str) -> MediaPlan:
        """What every endpoint of this node is made from."""

    def is_verified(self, peer: PeerId) -> bool:
        """Whether the words were compared with ``peer``."""

    def announce(self) -> None:
        """What the LAN is told of our rooms is new."""

    def publish(self, event: NodeEvent) -> None:
        """Tell all listeners."""

    def members_changed(self) -> None:
        """Other peers are in a room with us now."""

    def ended(self, session: RoomSession, reason: c.EndReason) -> None:
        """We are not in it any more."""


class RoomSession:
    """Runs one room's machine on real parts."""

    def __init__(
        self,
        me: PeerId,
        room: Room,
        options: RoomOptions,
        *,
        node: Surroundings,
        tools: LinkTools,
        letters: RoomLetters,
        state: StateDb,
        is_here: Callable[[PeerId], bool],
        memory: bytes = b"",
    ) -> None:
        """``is_here``: whether mDNS shows a peer. ``memory``: what was kept of the room."""
        self._me = me
        self.room = room
        self.options = options
        self._node = node
        self._tools = tools
        self._letters = letters
        self._state = state
        lan_finder = cast("Finder", LanFinder(tools.finder, is_here))
        self._finder = lan_finder if options.lan_only else tools.finder
        self.machine = RoomMachine(me, room, tools.identity.sign, tools.name(), tools.random, memory=memory)
        self.links = RoomLinks(self, tools, self._finder)
        self.announcement: c.Announce | None = None
        self.mates: frozenset[PeerId] = frozenset()
        """Who is in it with us."""
        self.trouble = ""
        self.sharing = ""
        """The source that is shown beside our camera; empty: none."""
        self._trouble_with: PeerId | None = None
        self._code_ms = 0
        self._layers: dict[PeerId, dict[LayerKind, Shown]] = {}
        """What was asked of each member: a link that comes up later is told, too."""
        self._strain = Strain(WHOLE)
        """What is asked of all others."""
        self._lateness = lateness_of_loop()
        self._listens = False
        self._expected: frozenset[PeerId] = frozenset()
        """Who is in it, as far as we were told, before any of them tells us."""
        self._events: deque[e.RoomEvent] = deque()
        self._draining = False
        self._timer: asyncio.TimerHandle | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._told = float("-inf")
        self._saving: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._unsaved = True
        self._joined = True
        self._stops = False
        self._over = False

    @property
    def id(self) -> str:
        """32 hexadecimal digits."""
        return self.room.id.hex()

    @property
    def over(self) -> bool:
        """Whether we are not in it any more."""
        return self._over

    def enter(self, members: tuple[PeerId, ...] = ()) -> None:
        """Take part from now on; ``members``: who is there, as far as we were told.

        It is over at once if the creator has removed us.
        """
        self._expected = frozenset(members)
        self._show()
        self.feed(e.Enter(members))
        if self._over:
            return
        kind = parse_source(self.options.source).kind
        sends = bool(self.options.page) or kind != "none"
        self.feed(e.SetState(audio=sends, video=sends and self.options.video))

    # --- events -----------------------------------------------------------------------------------

    def feed(self, event: e.RoomEvent) -> None:
        """Handle ``event`` now, or right after the one that is being handled.

        Raises :class:`UsageError` for a user's event that makes no sense now.
        """
        self._events.append(event)
        if not self._draining:
            self._drain()

    def _drain(self) -> None:
        clock = self._tools.clock
        self._draining = True
        try:
            while self._events:
                event = self._events.popleft()
                self._carry_out_all(self.machine.handle(event, clock.now(), clock.now_ms()))
        except LocalProtocolError as error:
            raise UsageError(str(error)) from None
        finally:
            self._draining = False
            self._arm()
            if self._events:  # a user's event was refused while others waited
                asyncio.get_running_loop().call_soon(self._drain)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.machine.deadline()
        if deadline is not None and not self._over:
            delay = max(0.0, deadline - self._tools.clock.now())
            self._timer = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        clock = self._tools.clock
        self._draining = True
        try:
            self._carry_out_all(self.machine.handle_timer(clock.now(), clock.now_ms()))
        finally:
            self._draining = False
        self._drain()

    def _carry_out_all(self, commands: list[c.RoomCommand]) -> None:
        for command in commands:
            self._carry_out(command)

    def _carry_out(self, command: c.RoomCommand) -> None:
        match command:
            case c.Connect(peer):
                self.links.connect(peer)
            case c.Drop(peer):
                self.links.drop(peer)
            case c.SendLink(peer, data):
                self.links.send(peer, data)
            case c.SendLetter(peer, data):
                self._letters.send(peer, data, self._finder, lan_only=self.options.lan_only)
            case c.Announce():
                self.announcement = command
                self._node.announce()
            case c.RosterChanged():
                self._roster_changed()
            case c.SaveRoom():
                self.save()
            case c.Chatted(peer, text, age):
                self._tell_chat(peer, text, age)
            case c.Knocked():
                self._changed()
            case c.Removed():
                self.trouble = c.REMOVED
            case c.Ended(reason):
                self._finish(reason)

    def _roster_changed(self) -> None:
        mates = frozenset(member.peer for member in self.machine.members() if not member.me)
        if mates != self.mates:
            self.mates = mates
            self._node.members_changed()
            self._show()
            self._listen(bool(mates))
        self._changed()

    def _people(self, more: Collection[PeerId] = ()) -> int:
        """In the room, with ``more`` whom nobody has told us of."""
        return len({self._me, *self.mates, *self._expected, *more})

    def _show(self) -> None:
        """Others come and go: each may be shown larger or smaller."""
        before = self._strain.shown
        self._strain.want(self._wanted())
        if self._strain.shown != before:
            self._ask_all()

    def _ask_all(self) -> None:
        for call in self.links:
            self._ask(call.peer)

    def _ask(self, peer: PeerId) -> None:
        """Unless somebody said how large ``peer`` is shown, or the page does."""
        if not self.options.page and "camera" not in self._layers.get(peer, {}):
            self.links.ask_layer(peer, "camera", *self._strain.shown)

    def _listen(self, wanted: bool) -> None:
        """See whether this machine keeps up, while it receives something. A browser sees to itself."""
        wanted = wanted and not self.options.page and not self._over
        if wanted and not self._listens:
            self._lateness.listen(self._looked)
        elif not wanted:
            self._lateness.forget(self._looked)
            self._strain = Strain(self._wanted())  # who is alone asks nobody
        self._listens = wanted

    def _wanted(self) -> Shown:
        """Of each other, by who keeps up."""
        return shown(self._people(), whole=self.options.record is not None)

    def _looked(self, late: float, at: float) -> None:
        if self._strain.looked(late, at):
            self._ask_all()
            self._changed()

    def _finish(self, reason: c.EndReason) -> None:
        self._over = True
        self._listen(False)
        self.announcement = None
        self.mates = frozenset()
        for handle in (self._timer, self._telling):
            if handle is not None:
                handle.cancel()
        if not self._stops:
            self._joined = False
            self.save()
        self._node.ended(self, reason)

    # --- the end ----------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Go, and say so."""
        if not self._over:
            self.feed(e.Leave())
        await self.saved()

    async def close(self) -> None:
        """The node stops: say goodbye, but come back when it starts again."""
        self._stops = True
        if not self._over:
            self.feed(e.Leave())
        await self.links.close()

    # --- the disk ---------------------------------------------------------------------------------

    def save(self) -> None:
        """Write what is new, soon."""
        self._unsaved = True
        if self._saving is None or self._saving.done():
            self._saving = self._tools.spawn(self._save())

    async def saved(self) -> None:
        """Return when all that is new is on the disk; raises :class:`StateUnwritable`."""
        await self._save()

    async def _save(self) -> None:
        async with self._writing:
            while self._unsaved:
                self._unsaved = False
                try:
                    await self._state.run(self._state.put_room, self.row())
                except MeshcallError:
                    self._unsaved = True
                    raise

    def row(self) -> RoomRow:
        return RoomRow(
            self.room.id,
            self.room.encode(),
            self.room.secret,
            self.machine.memory(),
            joined=self._joined and not self.options.page,
            plan=self.options.encode(),
            last_ms=self._tools.clock.now_ms(),
        )

    # --- what links need and tell (room_links.Room) -----------------------------------------------

    def offer_tag(self, peer: PeerId) -> bytes:
        """See :class:`meshcall.room_links.Room`."""
        return self.machine.offer_tag(peer, self._tools.clock.now_ms())

    def takes(self, peer: PeerId, tag: bytes) -> bool:
        """See :class:`meshcall.room_links.Room`."""
        return self.machine.takes(peer, tag, self._tools.clock.now_ms())

    def plan(self, peer: PeerId) -> MediaPlan:
        """See :class:`meshcall.room_links.Room`."""
        return replace(
            self._node.base_plan(self.options.source),
            peer=peer.text,
            room=self.id,
            page=self.options.page,
            # A page turns its camera on and off by itself, and wants others' pictures without one, too
            video=self.options.video or bool(self.options.page),
            shown=shown(self._people({peer}), whole=False),
        )

    async def recorded(self, plan: MediaPlan, peer: PeerId) -> MediaPlan:
        """See :class:`meshcall.room_links.Room`: a member that comes back is recorded into another file.

        The disk is looked at in a thread: offers and sound of others do not wait for it.
        """
        at = datetime.fromtimestamp(self._tools.clock.now_ms() / 1000, UTC)
        name = f"{at:%Y%m%dT%H%M%SZ}-{self.id[:8]}"
        record, mixed = self.options.record, self.options.record_mixed
        if record is not None:
            plan = replace(plan, record=await asyncio.to_thread(free_record, record, f"{name}-{peer.short}"))
        if mixed is not None:
            plan = replace(plan, mixed=await asyncio.to_thread(free_record, mixed, f"{name}-mixed"))
        return plan

    def link_up(self, peer: PeerId) -> None:
        """See :class:`meshcall.room_links.Room`."""
        if peer == self._trouble_with:
            self.trouble, self._trouble_with = "", None
        self.feed(e.LinkUp(peer))
        for kind, layer in self._layers.get(peer, {}).items():
            self.links.ask_layer(peer, kind, *layer)
        self._ask(peer)

    def link_down(self, peer: PeerId) -> None:
        """See :class:`meshcall.room_links.Room`."""
        self.feed(e.LinkDown(peer))
        self._changed()

    def clock_differs(self, peer: PeerId) -> None:
        """A letter could not be read, there or here: a link with ``peer`` can't come about either."""
        call = self.links.get(peer)
        linked = call is not None and call.connected_ms is not None
        if self._over or linked or self.trouble:
            return
        names = {member.peer: member.name for member in self.machine.members()}
        who = names.get(peer, peer.short)
        self.troubled(f"the clocks of this machine and of {who} differ too much", peer)

    def link_message(self, peer: PeerId, body: bytes) -> None:
        """See :class:`meshcall.room_links.Room`."""
        self.feed(e.LinkMessage(peer, body))
        if self._expected:
            self._expected = frozenset()
            self._show()

    def spoke(self, *, speaking: bool) -> None:
        """See :class:`meshcall.room_links.Room`. All links have one source, so each says the same."""
        if not self._over:
            self.feed(e.SetState(speaking=speaking))

    def share_failed(self, message: str) -> None:
        """See :class:`meshcall.room_links.Room`. All links share one source: the first says it for all."""
        if self.sharing and not self._over:
            self.share("")
            self.troubled(_UNSHARED + message)

    def troubled(self, message: str, peer: PeerId | None = None) -> None:
        """See :class:`meshcall.room_links.Room`."""
        self.trouble, self._trouble_with = message, peer
        self._changed()

    def link_changed(self) -> None:
        """See :class:`meshcall.room_links.Room`."""
        self._changed()

    # --- what a user does -------------------------------------------------------------------------

    def set_state(self, state: e.SetState) -> None:
        """What the others are shown of us; what is not to be heard or seen is not sent either."""
        self.feed(state)
        if state.audio is not None:
            self.links.set_muted("audio", muted=not state.audio)
        if state.video is not None:
            self.links.set_muted("video", muted=not state.video)

    def share(self, source: str) -> None:
        """Show this to all beside our camera, as a screen; empty: no more."""
        self.sharing = source
        if self.trouble.startswith(_UNSHARED):
            self.trouble = ""
        self.links.share(source)
        self.feed(e.SetState(screen=bool(source)))

    def say(self, text: str) -> None:
        """A line to all; raises :class:`UsageError` for one that is too long."""
        size = len(text.encode("utf-8", "replace"))
        if not 0 < size <= limits.CHAT_MAX:
            raise UsageError(f"a chat line has 1 to {limits.CHAT_MAX} octets, this one has {size}")
        self.feed(e.Say(text))
        self._tell_chat(self._me, text)

    def invite(self, nodes: Iterable[Address]) -> str:
        """A link that leads in; ``nodes``: through which the DHT can be joined."""
        others = [member.peer for member in self.machine.members() if not member.me]
        return RoomInvite.of(self.room, self._me, others, nodes).format()

    def new_code(self, taken: Collection[int]) -> str:
        """A code to be spoken, with a number that is not ``taken`` here."""
        try:
            code = new_code(self._tools.random, taken)
        except LocalProtocolError as error:
            raise UsageError(str(error)) from None
        self.feed(e.NewCode(code))
        self._code_ms = self._tools.clock.now_ms() + int(limits.ROOM_CODE_LIFE * 1000)
        return code

    def ask_layer(self, peer: PeerId, kind: LayerKind, height: int, fps: int) -> None:
        """Tell a member how large its pictures are shown here."""
        self._layers.setdefault(peer, {})[kind] = height, fps
        self.links.ask_layer(peer, kind, height, fps)
        self._changed()

    def member(self, text: str) -> PeerId:
        """The member that ``text`` names, one that is blocked last; :class:`NoSuchMember`.

        By its ID, the name that the room shows, or ours for it.
        """
        members = [*self.machine.members(), *self.machine.lost()]
        named = self._called(text, {member.peer: member.name for member in members})
        named = named or self._called(text, self.machine.blocked())
        if named is None:
            raise NoSuchMember(f"nobody in the room is called {text!r}")
        return named

    def blocked(self, text: str) -> PeerId:
        """Who is blocked and is meant by ``text``, as for :meth:`member`; :class:`NoSuchMember`."""
        named = self._called(text, self.machine.blocked())
        if named is None:
            raise NoSuchMember(f"nobody called {text!r} is blocked in the room")
        return named

    def _called(self, text: str, names: Mapping[PeerId, str]) -> PeerId | None:
        with contextlib.suppress(InvalidPeerId):
            peer = PeerId.parse(text)
            if peer in names:
                return peer
        named = [peer for peer, name in names.items() if name.casefold() == text.casefold()]
        named += [peer for peer in names if self._tools.contacts.name(peer) == text]
        return named[0] if named else None

    def knocker(self, text: str) -> PeerId:
        """Who knocks and is meant by ``text``; :class:`NoSuchMember`."""
        knocks = self.machine.knocks()
        named = [knock.peer for knock in knocks if text in (knock.peer.text, knock.peer.short, knock.name)]
        if not named:
            raise NoSuchMember(f"nobody called {text!r} knocks")
        return named[0]

    # --- what is shown ----------------------------------------------------------------------------

    def view(self) -> RoomView:
        """The room as it is now."""
        machine = self.machine
        return RoomView(
            id=self.id,
            name=self.room.name,
            state="known" if self._over else "joined",
            secret=self.room.hidden,
            locked=machine.locked,
            creator=self.room.creator.text,
            mine=self.room.creator == self._me,
            members=[self._member_view(member) for member in (*machine.members(), *machine.lost())],
            knocks=[KnockView(peer_id=knock.peer.text, name=knock.name) for knock in machine.knocks()],
            blocked=[
                BlockedView(
                    peer_id=peer.text,
                    short=peer.short,
                    name=name,
                    contact=self._tools.contacts.name(peer),
                )
                for peer, name in machine.blocked().items()
            ],
            code=machine.code,
            code_ms=self._code_ms if machine.code else 0,
            sharing=self.sharing,
            strained=self._strain.strained,
            trouble=self.trouble,
        )

    def _member_view(self, member: Member) -> MemberView:
        flags, call = member.flags, self.links.get(member.peer)
        unasked = None if member.me or self.options.page else self._strain.shown
        layer = self._layers.get(member.peer, {}).get("camera", unasked)
        return MemberView(
            peer_id=member.peer.text,
            short=member.peer.short,
            name=member.name,
            contact=self._tools.contacts.name(member.peer),
            me=member.me,
            state=member.state,
            audio=flags.audio,
            video=flags.video,
            screen=flags.screen,
            hand=flags.hand,
            speaking=flags.speaking,
            path="" if call is None else call.machine.path,
            call="" if call is None else call.id,
            layer=-1 if layer is None else layer[0],
            received=ReceivedView() if call is None else _received(call),
            verified=self._node.is_verified(member.peer),
        )

    def _changed(self) -> None:
        """Something that is shown is new: tell it, at most ten times a second."""
        if self._telling is not None or self._over:
            return
        wait = self._told + limits.ROOM_TELL_PAUSE - self._tools.clock.now()
        if wait <= 0:
            self._tell()
        else:
            self._telling = asyncio.get_running_loop().call_later(wait, self._tell)

    def _tell(self) -> None:
        self._telling = None
        self._told = self._tools.clock.now()
        self._node.publish(RoomChanged(at_ms=self._tools.clock.now_ms(), room=self.view()))

    def _tell_chat(self, peer: PeerId, text: str, age: float = 0.0) -> None:
        names = {member.peer: member.name for member in self.machine.members()}
        self._node.publish(
            RoomChat(
                at_ms=self._tools.clock.now_ms() - int(age * 1000),
                room=self.id,
                peer_id=peer.text,
                name=names.get(peer, peer.short),
                text=text,
                sender="me" if peer == self._me else "peer",
            )
        )


def _received(call: Call) -> ReceivedView:
    statistics = call.driver.statistics()
    return ReceivedView(
        video_frames=statistics.video.frames_received,
        screen_frames=statistics.screen.frames_received,
        audio_seconds=statistics.audio_seconds_received,
        height=statistics.video.height,
        lag_ms=statistics.audio.lag_ms,
        concealed_ms=statistics.audio.concealed_ms,
        freezes=statistics.video.freezes,
        sync_ms=statistics.sync_ms,
    )
