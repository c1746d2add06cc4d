"""The calls of a node: those that live, and the last that ended.

Law 1: one peer has one live call.
Law 2: an id names one call, whoever asks for it.
Law 3: what strangers ring leaves places for contacts, and keeps no contact from ringing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from meshcall import limits
from meshcall.aio.clock import Clock
from meshcall.aio.files import CallRow
from meshcall.call.glare import machine_for
from meshcall.config import Config
from meshcall.contacts import ContactBook
from meshcall.dht.limiter import Bucket
from meshcall.errors import NoSuchCall, OwnId, UsageError
from meshcall.finder import Finder
from meshcall.history import History
from meshcall.ice.network import Network
from meshcall.identity.keys import Random, SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.letters import Letter
from meshcall.media.plan import MediaPlan, parse_ice_server
from meshcall.media_paths import check_record
from meshcall.missed import MissedNotes
from meshcall.post import Post
from meshcall.settings import SettingsBook
from meshcall.signaling.messages import Hangup, MissedCall, Offer, Reject, RejectReason
from meshcall.views import CallDirection, CallEvent, CallView

if TYPE_CHECKING:
    from meshcall.call.events import OfferReceived
    from meshcall.driver import MakeEndpoint, Secrets, Spawn
    from meshcall.session import Call


class Switchboard:
    """Which call a letter goes to, who may ring, what a new call is made of. Iterates over its calls."""

    def __init__(
        self,
        me: PeerId,
        config: Config,
        settings: SettingsBook,
        *,
        identity: SigningKey,
        contacts: ContactBook,
        post: Post,
        finder: Finder,
        secrets: Secrets,
        history: History,
        missed: MissedNotes,
        make_endpoint: MakeEndpoint,
        prepare_media: Callable[[], None],
        probe_source: Callable[[str], Awaitable[None]],
        clock: Clock,
        random: Random,
        spawn: Spawn,
        publish: Callable[[CallEvent], None],
        counters: Counter[str],
        network: Callable[[], Network],
    ) -> None:
        """``publish`` tells all listeners; ``network`` says what is known of the one that we are in.

        ``prepare_media`` is called when a call may be answered soon; ``probe_source`` raises unless a source
        can be sent.
        """
        self._me = me
        self._config = config
        self._settings = settings
        self._identity = identity
        self._contacts = contacts
        self._post = post
        self._finder = finder
        self._secrets = secrets
        self._history = history
        self._missed = missed
        self._make_endpoint = make_endpoint
        self._prepare_media = prepare_media
        self._probe_source = probe_source
        self._clock = clock
        self._random = random
        self._spawn = spawn
        self._publish = publish
        self._counters = counters
        self.network = network
        self._calls: list[Call] = []
        self._answers = Bucket(limits.CALLS_BUSY_PER_SECOND, limits.CALLS_BUSY_BURST, clock.now())
        """To contacts for whose calls there is no place."""

    # --- which there are --------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Call]:
        """Oldest first."""
        return iter(self._calls)

    def views(self) -> list[CallView]:
        """Newest first."""
        return [call.view() for call in reversed(self._calls)]

    def get(self, call_id: str | None) -> Call:
        """The call with that ID, or the only live one; raises :class:`NoSuchCall`."""
        if call_id is not None:
            for call in reversed(self._calls):
                if call.id == call_id.lower():
                    return call
            raise NoSuchCall(f"there is no call {call_id}")
        live = [call for call in self._calls if not call.ended]
        if len(live) != 1:
            raise NoSuchCall("there is no call" if not live else "there are several calls: say which")
        return live[0]

    def live(self, peer: PeerId) -> Call | None:
        """The call with ``peer`` that has not ended."""
        return next((call for call in self._calls if call.peer_id == peer and not call.ended), None)

    def live_count(self) -> int:
        """How many have not ended."""
        return sum(not call.ended for call in self._calls)

    def contacts_changed(self) -> None:
        """Somebody was added, removed or blocked."""
        for call in self._calls:
            call.contacts_changed()

    # --- ours -------------------------------------------------------------------------------------

    async def dial(
        self,
        peer_id: PeerId,
        *,
        source: str | None,
        record: Path | None,
        timeout: float,
        wait: float,
        page: str = "",
        video: bool = True,
    ) -> Call:
        """See :meth:`meshcall.node.Node.call`."""
        if peer_id == self._me:
            raise OwnId()
        source = self._config.source if source is None else source
        if not page:
            await self._probe_source(source)
        if record is not None:
            check_record(record)
        live = self.live(peer_id)
        if live is not None and live.state == "incoming":
            live.set_media(source, record, page=page, video=video)
            live.dial(timeout, wait)
            return live
        if live is not None:
            who = self._contacts.name(peer_id) or peer_id.short
            raise UsageError(
                f"there is a call with {who} already", hint=f"end it first: `meshcall hangup {who}`"
            )
        if self.live_count() >= limits.CALLS_LIVE_MAX:
            raise UsageError(f"there are {limits.CALLS_LIVE_MAX} calls already: hang one up first")
        plan = self.plan(source, record)
        plan = replace(plan, page=page, peer=peer_id.text, video=video or bool(page), camera=video)
        call = self._make_call(peer_id, self._random(16), "out", plan)
        call.dial(timeout, wait)
        return call

    def _make_call(self, peer: PeerId, call_id: bytes, direction: CallDirection, plan: MediaPlan) -> Call:
        # Late: what makes calls is 3 MB that a node which only listens can do without
        from meshcall.session import open_call

        call = open_call(
            self,
            peer=peer,
            call_id=call_id,
            direction=direction,
            plan=plan,
            identity=self._identity,
            name=self._settings.now.name,
            post=self._post,
            finder=self._finder,
            secrets=self._secrets,
            make_endpoint=self._make_endpoint,
            clock=self._clock,
            spawn=self._spawn,
            random=self._random,
        )
        self._calls.append(call)
        ended = [old for old in self._calls if old.ended_ms is not None]
        for old in ended[: max(0, len(ended) - limits.CALLS_ENDED_MAX)]:
            self._calls.remove(old)
        return call

    def plan(self, source: str, record: Path | None) -> MediaPlan:
        """What every endpoint of this node is made from."""
        interfaces = self._config.interfaces
        return MediaPlan(
            source=source,
            record=record,
            interfaces=interfaces,
            allow_loopback="lo" in interfaces,
            ice_servers=tuple(parse_ice_server(text) for text in self._config.ice_servers),
        )

    # --- theirs -----------------------------------------------------------------------------------

    def letter(self, letter: Letter) -> None:
        """A message of a call passed all gates."""
        opened = letter.opened
        if letter.late or (letter.is_over and isinstance(opened.message, Offer)):
            if not any(call.peer_id == opened.sender and call.owns(opened.call_id) for call in self._calls):
                self._history.late(letter)
            return
        if any(call.peer_id != opened.sender and call.owns(opened.call_id) for call in self._calls):
            self._counters["letter-foreign-call"] += 1  # an id names one call, whoever asks for it
            return
        call = machine_for(self._calls, opened.sender, opened.call_id)
        if call is None:
            if not isinstance(opened.message, Offer | Hangup):
                self._counters["letter-without-call"] += 1
                return
            if not self._has_room(opened.sender):
                self._turn_away(letter)
                return
            call = self._incoming(letter)
        self._hand_over(call, letter)

    def _has_room(self, sender: PeerId) -> bool:
        """Whether one more call may ring; strangers leave places for contacts.

        A call keeps its place until its media are closed: hanging up at once does not free sockets at once.
        """
        there = [call for call in self._calls if call.ended_ms is None]
        if sum(call.peer_id == sender for call in there) >= limits.CALLS_PER_PEER_MAX:
            return False
        if not self._contacts.is_contact(sender):
            theirs = [call for call in there if not self._contacts.is_contact(call.peer_id)]
            if sum(call.direction == "in" for call in theirs) >= limits.CALLS_STRANGERS_MAX:
                return False
        return len(there) < limits.CALLS_LIVE_MAX

    def _is_busy_for(self, call: Call) -> bool:
        """Whether another call keeps ``call`` from ringing; what strangers ring keeps no contact off."""
        others = [other for other in self._calls if other is not call and not other.ended]
        if self._contacts.is_contact(call.peer_id):
            return any(o.state != "incoming" or self._contacts.is_contact(o.peer_id) for o in others)
        return bool(others)

    def _incoming(self, letter: Letter) -> Call:
        opened = letter.opened
        plan = replace(self.plan(self._config.source, None), peer=opened.sender.text)
        call = self._make_call(opened.sender, opened.call_id, "in", plan)
        if isinstance(opened.message, Offer):
            call.self_name = opened.message.caller_name
            self._prepare_media()
        else:
            call.since_ms = min(call.since_ms, opened.created_ms)  # it was over before we heard of it
        return call

    def _hand_over(self, call: Call, letter: Letter) -> None:
        auto = self._auto_answers(letter.opened.sender)
        busy = not auto and self._is_busy_for(call)
        if auto and isinstance(letter.opened.message, Offer) and not call.ended and call.direction == "in":
            call.record_to(self._record_path(call))
        call.driver.letter(letter, auto_answer=auto, busy=busy)

    def start_incoming(self, event: OfferReceived, letter: Letter) -> None:
        """The peer began anew: its offer gets a call of its own, if there is room."""
        if self._has_room(letter.opened.sender):
            self._hand_over(self._incoming(letter), letter)
        else:
            self._turn_away(letter)

    def _turn_away(self, letter: Letter) -> None:
        """There is no place for its call: a contact is told so, or it would wait for nothing."""
        self._counters["offer-too-many-calls"] += 1
        known = self._contacts.is_contact(letter.opened.sender)
        offers = isinstance(letter.opened.message, Offer)
        if known and offers and self._answers.take(self._clock.now()):
            self._spawn(_tell_busy(self._post, letter))

    def _auto_answers(self, peer: PeerId) -> bool:
        match self._settings.now.auto_answer:
            case "anyone":
                return True
            case "contacts":
                return self._contacts.is_contact(peer)
            case "off":
                return False

    def _record_path(self, call: Call) -> Path | None:
        if self._config.record_dir is None:
            return None
        began = datetime.fromtimestamp(call.since_ms / 1000, UTC)
        return self._config.record_dir / f"{began:%Y%m%dT%H%M%SZ}-{call.peer_id.short}-{call.id[:8]}.mkv"

    # --- what calls tell (session.Surroundings) ---------------------------------------------------

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return self._clock.now_ms()

    def contact_name(self, peer_id: PeerId) -> str:
        """Our name for a peer; empty: none."""
        return self._contacts.name(peer_id)

    def is_contact(self, peer_id: PeerId) -> bool:
        """Whether a peer is in the contact book and not blocked."""
        return self._contacts.is_contact(peer_id)

    def tell(self, event: CallEvent) -> None:
        """Tell an event of a call to all listeners."""
        self._publish(event)

    def spoke(self, call: Call, *, speaking: bool) -> None:
        """Of two people each hears who speaks."""

    def share_failed(self, call: Call, message: str) -> None:
        """Only in rooms anything is shared."""

    def room_message(self, call: Call, body: bytes) -> None:
        """No call of ours is a link of a room."""

    def connected(self, call: Call) -> None:
        """Note it in the history."""
        self._note(call)

    def adopted(self, call: Call) -> None:
        """The history is written under the new id when the call gets further."""

    def over(self, call: Call) -> None:
        """What it was is known when everything is closed."""

    def ended(self, call: Call) -> None:
        """Note it in the history; a contact who could not be reached is told of it later."""
        self._note(call)
        if call.direction == "out" and call.was_unheard:
            cancelled = call.machine.reason == "cancelled"
            missed = MissedCall(call.machine.call_id, call.since_ms, cancelled)
            self._spawn(self._missed.add(call.peer_id, missed))

    def _note(self, call: Call) -> None:
        row = CallRow(
            call_id=call.id,
            peer_id=call.peer_id,
            direction=call.direction,
            started_ms=call.since_ms,
            connected_ms=call.connected_ms,
            ended_ms=call.ended_ms,
            reason=str(call.machine.reason or ""),
            path=call.machine.path,
            missed=call.missed,
        )
        self._history.note(row)


async def _tell_busy(post: Post, letter: Letter) -> None:
    await post.tell_caller(letter, Reject(RejectReason.BUSY))
