"""The links of one room: calls that never ring, each with one other member.

Law 1: one member has one link that counts. What becomes of another one is told to nobody.
Law 2: an offer of a link is answered at once if the room takes it, and refused otherwise. It never rings, is
in no history and in no list of calls.
Law 3: that a link came up, what came on it, and that it ended is told in that order; its end is told once.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from meshcall import limits
from meshcall.aio.clock import Clock
from meshcall.call.glare import machine_for
from meshcall.contacts import ContactBook
from meshcall.dht.limiter import Bucket
from meshcall.finder import Finder
from meshcall.ice.network import Network
from meshcall.identity.keys import Random, SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.letters import Letter
from meshcall.media.plan import MediaKind, MediaPlan
from meshcall.post import Post
from meshcall.signaling.messages import Offer, Reject, RejectReason
from meshcall.views import CallDirection, CallEvent, Ended, RecordFailed

if TYPE_CHECKING:
    from meshcall.call.events import OfferReceived
    from meshcall.driver import MakeEndpoint, Secrets
    from meshcall.media.endpoint import MediaEndpoint
    from meshcall.session import Call
    from meshcall.views import LayerKind

_FOR_PEOPLE: Final = frozenset({"unsupported", "clock"})
"""Why a link ended that will not come up by trying again."""


@dataclass(frozen=True, slots=True)
class LinkTools:
    """What links are made with, the same for all rooms of a node."""

    identity: SigningKey
    name: Callable[[], str]
    """What we call ourselves."""
    contacts: ContactBook
    post: Post
    finder: Finder
    secrets: Secrets
    make_endpoint: MakeEndpoint
    prepare_media: Callable[[], None]
    """Called when a link is about to be made."""
    clock: Clock
    random: Random
    spawn: Callable[[Coroutine[Any, Any, None]], Any]
    counters: Counter[str]
    network: Callable[[], Network]


class Room(Protocol):
    """Whose links they are."""

    def offer_tag(self, peer: PeerId) -> bytes:
        """What says in an offer to ``peer`` that it is of this room."""

    def takes(self, peer: PeerId, tag: bytes) -> bool:
        """Whether an offer of ``peer`` with ``tag`` is answered."""

    def plan(self, peer: PeerId) -> MediaPlan:
        """What is sent to ``peer``."""

    async def recorded(self, plan: MediaPlan, peer: PeerId) -> MediaPlan:
        """``plan``, with files for what comes of ``peer`` if it is recorded: ones that no link had."""

    def link_up(self, peer: PeerId) -> None:
        """Both ends of the link with ``peer`` have proved who they are."""

    def link_down(self, peer: PeerId) -> None:
        """There is none any more, or it did not come up."""

    def link_message(self, peer: PeerId, body: bytes) -> None:
        """``peer`` says this."""

    def share_failed(self, message: str) -> None:
        """What we share can't be opened."""

    def spoke(self, *, speaking: bool) -> None:
        """Somebody begins to speak into our source, or ends to."""

    def troubled(self, message: str, peer: PeerId | None = None) -> None:
        """A recording broke off, or there can be no link with ``peer`` before people change something."""

    def link_changed(self) -> None:
        """Something that is shown of a link is new."""


class RoomLinks:
    """Makes, takes and ends the links of one room. Iterates over those that live."""

    def __init__(self, room: Room, tools: LinkTools, finder: Finder) -> None:
        """``finder``: who finds the members of this room."""
        self._room = room
        self._tools = tools
        self._finder = finder
        self._calls: list[Call] = []
        self._current: dict[PeerId, Call] = {}
        self._muted: set[MediaKind] = set()
        self._share = ""
        self._begun: OrderedDict[PeerId, Bucket] = OrderedDict()

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._current.values()))

    def get(self, peer: PeerId) -> Call | None:
        """The link with ``peer`` that counts."""
        return self._current.get(peer)

    def owns(self, sender: PeerId, call_id: bytes) -> bool:
        """Whether a message of ``sender`` about ``call_id`` belongs here."""
        return any(call.peer == sender and call.owns(call_id) for call in self._calls)

    def names(self, call_id: bytes) -> bool:
        """Whether ``call_id`` is that of a link here, whoever says so."""
        return any(call.owns(call_id) for call in self._calls)

    # --- what the room wants ----------------------------------------------------------------------

    def connect(self, peer: PeerId) -> None:
        """Offer a link to ``peer``, unless there is one."""
        if peer in self._current:
            return
        tag = self._room.offer_tag(peer)
        call = self._make(peer, self._tools.random(16), "out", tag)
        call.dial(limits.ROOM_LINK_RING, 0)

    def drop(self, peer: PeerId) -> None:
        """End the link with ``peer``; nothing more is told of it."""
        call = self._current.pop(peer, None)
        if call is not None and not call.ended:
            self._tools.spawn(call.hangup())
            self._room.link_changed()

    def send(self, peer: PeerId, body: bytes) -> None:
        """Say ``body`` on the link with ``peer``."""
        call = self._current.get(peer)
        if call is not None:
            call.tell_room(body)

    def set_muted(self, kind: MediaKind, *, muted: bool) -> None:
        """Send nothing of this kind to anybody, or send it again."""
        (self._muted.add if muted else self._muted.discard)(kind)
        for call in self._current.values():
            call.set_muted(kind, muted=muted)

    def share(self, source: str) -> None:
        """Show this to all, and to those who come later, beside our camera; empty: no more."""
        self._share = source
        for call in self._current.values():
            call.share(source)

    def ask_layer(self, peer: PeerId, kind: LayerKind, height: int, fps: int) -> bool:
        """Tell ``peer`` how large its pictures are shown; whether there is a link to say it on."""
        call = self._current.get(peer)
        if call is None:
            return False
        call.ask_layer(kind, height, fps)
        return True

    async def close(self) -> None:
        """End all, and wait until they have."""
        calls = [call for call in self._calls if call.ended_ms is None]
        for call in calls:
            await call.shut_down()
        for call in calls:
            await call.wait_ended()

    # --- what comes -------------------------------------------------------------------------------

    def letter(self, letter: Letter) -> None:
        """A message of a link, or the offer of one with the tag of this room."""
        opened = letter.opened
        if letter.is_over:
            return
        call = machine_for(self._calls, opened.sender, opened.call_id)
        if isinstance(opened.message, Offer) and (call is None or not call.owns(opened.call_id)):
            takes = self._room.takes(opened.sender, opened.message.room)
            # One that crosses ours costs no endpoint more, and to refuse it would end both
            if not takes or (call is None and not self._may_begin(opened.sender)):
                self.refuse(letter)
                return
            if call is None:
                call = self._incoming(letter)
        if call is None:
            self._tools.counters["room-letter-without-link"] += 1
        else:
            call.driver.letter(letter, auto_answer=True)

    def refuse(self, letter: Letter) -> None:
        """Say no to an offer of a link."""
        self._tools.counters["room-link-refused"] += 1
        self._tools.spawn(_refuse(self._tools.post, letter))

    def _may_begin(self, peer: PeerId) -> bool:
        """Whether ``peer`` may begin one more link: each costs us an endpoint."""
        now = self._tools.clock.now()
        bucket = self._begun.pop(peer, None)
        if bucket is None:
            bucket = Bucket(limits.ROOM_LINKS_PER_SECOND, limits.ROOM_LINKS_BURST, now)
        self._begun[peer] = bucket
        while len(self._begun) > limits.ROOM_ENTRIES_MAX:
            self._begun.popitem(last=False)
        return bucket.take(now)

    def _incoming(self, letter: Letter) -> Call:
        opened = letter.opened
        assert isinstance(opened.message, Offer), "only an offer begins a link"
        call = self._make(opened.sender, opened.call_id, "in", opened.message.room)
        call.self_name = opened.message.caller_name
        return call

    def _make(self, peer: PeerId, call_id: bytes, direction: CallDirection, tag: bytes) -> Call:
        # Late: what makes calls is 3 MB that a node without any can do without
        from meshcall.session import open_call

        tools = self._tools
        tools.prepare_media()
        call = open_call(
            self,
            peer=peer,
            call_id=call_id,
            direction=direction,
            plan=self._room.plan(peer),
            identity=tools.identity,
            name=tools.name(),
            post=tools.post,
            finder=self._finder,
            secrets=tools.secrets,
            make_endpoint=partial(self._make_endpoint, peer),
            clock=tools.clock,
            spawn=tools.spawn,
            random=tools.random,
            room=tag,
        )
        for kind in self._muted:
            call.set_muted(kind, muted=True)
        call.share(self._share)
        self._calls.append(call)
        self._current[peer] = call
        ended = [old for old in self._calls if old.ended_ms is not None]
        for old in ended[: max(0, len(ended) - limits.ROOM_LINKS_ENDED_MAX)]:
            self._calls.remove(old)
        return call

    async def _make_endpoint(self, peer: PeerId, plan: MediaPlan) -> MediaEndpoint:
        return await self._tools.make_endpoint(await self._room.recorded(plan, peer))

    # --- what links tell (session.Surroundings) ---------------------------------------------------

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return self._tools.clock.now_ms()

    def contact_name(self, peer_id: PeerId) -> str:
        """Our name for a peer; empty: none."""
        return self._tools.contacts.name(peer_id)

    def is_contact(self, peer_id: PeerId) -> bool:
        """Whether a peer is in the contact book and not blocked."""
        return self._tools.contacts.is_contact(peer_id)

    def network(self) -> Network:
        """What is known of the network that we are in."""
        return self._tools.network()

    def tell(self, event: CallEvent) -> None:
        """A link's events are the room's: its view is told, not they."""
        match event:
            case RecordFailed():
                self._room.troubled(event.message)
            case Ended() if event.reason in _FOR_PEOPLE and event.error is not None:
                self._room.troubled(event.error.message, PeerId.parse(event.peer_id))
            case _:
                self._room.link_changed()

    def room_message(self, call: Call, body: bytes) -> None:
        """The member says something to the room."""
        if self._counts(call):
            self._room.link_message(call.peer, body)

    def spoke(self, call: Call, *, speaking: bool) -> None:
        """Somebody speaks here."""
        if self._counts(call):
            self._room.spoke(speaking=speaking)

    def share_failed(self, call: Call, message: str) -> None:
        """What we share can't be opened."""
        if self._counts(call):
            self._room.share_failed(message)

    def connected(self, call: Call) -> None:
        """It is up."""
        if self._counts(call):
            self._room.link_up(call.peer)

    def adopted(self, call: Call) -> None:
        """Both offered at once: the link goes on under the member's id."""

    def over(self, call: Call) -> None:
        """It is down, or did not come up."""
        if self._counts(call):
            del self._current[call.peer]
            self._room.link_down(call.peer)

    def ended(self, call: Call) -> None:
        """All that it held open is closed."""

    def start_incoming(self, event: OfferReceived, letter: Letter) -> None:
        """The member began anew: its offer gets a link of its own."""
        self.letter(letter)

    def _counts(self, call: Call) -> bool:
        return self._current.get(call.peer) is call


async def _refuse(post: Post, letter: Letter) -> None:
    await post.tell_caller(letter, Reject(RejectReason.DECLINED))
