"""One member of one room: who is here, with whom it keeps links, what it says and shows.

Law 1: three things wake it: its user, the network, its timer. Time and randomness are arguments.
Law 2: only a user's event can raise (:class:`meshcall.errors.LocalProtocolError`), and then nothing has
changed. What peers send never raises; what is refused is counted by reason.
Law 3: there is no host. Every member does the same, and any of them may leave, die or be cut off.
Law 4: nothing is believed because of who passed it on: lines, settings, removals and chat carry signatures.

A member is *here* while its line in the roster grows newer. A line is told on every link once a second and
with every change; who has no link with somebody gets its lines through those who have, or by letter.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Literal

from meshcall import limits
from meshcall.dht.limiter import Bucket
from meshcall.discovery.rooms import TAG
from meshcall.errors import LocalProtocolError, Rejected
from meshcall.identity.keys import Random
from meshcall.identity.peer_id import PeerId
from meshcall.identity.uri import clean_name
from meshcall.room import commands as c
from meshcall.room import events as e
from meshcall.room.chat import Chat, Line
from meshcall.room.descriptor import Room, Sign
from meshcall.room.door import Door, Knock, Verdict
from meshcall.room.entry import MediaFlags, peek_entry_untrusted, sign_entry
from meshcall.room.memory import Memory, decode_memory_untrusted
from meshcall.room.messages import (
    SHORT_KEY,
    Beat,
    Has,
    Here,
    Join,
    KnockNote,
    KnockState,
    Letter,
    LineId,
    Missed,
    Out,
    Pake,
    Refused,
    RefusedReason,
    SaidLine,
    Sayable,
    Sync,
    Waiting,
    Wants,
    Welcome,
    decode_letter_untrusted,
    decode_message_untrusted,
    encode_letter,
    encode_message,
    missed,
    short_key,
    syncs,
)
from meshcall.room.names import shown_names
from meshcall.room.peering import Link, Peering
from meshcall.room.roster import Known, Merged, Roster
from meshcall.room.senders import Senders
from meshcall.room.statements import (
    chat_octets,
    peek_said_untrusted,
    read_said_untrusted,
    sign_removal,
    sign_said,
    sign_setting,
)

MemberState = Literal["here", "connecting", "lost"]
"""here: with a link (or we ourselves); connecting: here, without one yet; lost: it fell silent."""

_NEVER: Final = float("inf")
_TOLD: Final = {"knocked lately": RefusedReason.DECLINED, "too many knock": RefusedReason.BUSY}
"""What who asks to come in is told of a refusal."""
_LINK: Final = b"link"


def _purse(now: float) -> Bucket:
    """Of octets of chat lines that a member may have of us."""
    return Bucket(limits.ROOM_CHAT_GIVEN, limits.ROOM_CHAT_GIVEN_BURST, now)


@dataclass(frozen=True, slots=True)
class Member:
    """A member as it is shown."""

    peer: PeerId
    name: str
    """Different for each who is here."""
    state: MemberState
    me: bool
    flags: MediaFlags


class RoomMachine:
    """One room that we are in. Feed it events, run what it returns, and wake it at ``deadline()``."""

    def __init__(
        self, me: PeerId, room: Room, sign: Sign, name: str, random: Random, *, memory: bytes = b""
    ) -> None:
        """``sign``: with our identity; ``name``: what we call ourselves; ``memory``: of last time."""
        self._me = me
        self._room = room
        self._sign = sign
        self._name = clean_name(name)
        self._roster = Roster(room, me)
        self._peers: dict[PeerId, Peering] = {}
        self._door = Door(me, room, random)
        self._blocked: set[PeerId] = set()
        self._remembered: tuple[PeerId, ...] = ()
        self._flags = MediaFlags()
        self._incarnation = self._seq = self._said = 0
        self._chat = Chat()
        self._asked: dict[LineId, tuple[PeerId, float]] = {}
        self._senders: Senders | None = None
        self._seeks = Bucket(limits.ROOM_SEEKS_PER_SECOND, limits.ROOM_SEEKS_BURST, 0.0)
        self._outdone = -_NEVER
        self._in = False
        self._ended = False
        self._entered = 0.0
        self._beat_at = _NEVER
        self._beaten = -_NEVER
        self._out: list[c.RoomCommand] = []
        self._shown: object = None
        self._announced: object = None
        self._now, self._now_ms = 0.0, 0
        self._counters: Counter[str] = Counter()
        self._remember(decode_memory_untrusted(memory))

    # --- the three that wake it -------------------------------------------------------------------

    def handle(self, event: e.RoomEvent, now: float, now_ms: int) -> list[c.RoomCommand]:
        """What to do about ``event`` at ``now`` (monotonic seconds), ``now_ms`` (unix milliseconds).

        Raises :class:`LocalProtocolError` for a user's event that makes no sense now. Nothing else raises.
        """
        self._now, self._now_ms = now, now_ms
        try:
            self._dispatch(event)
        except Rejected as error:
            self._counters[error.reason] += 1
        return self._finish()

    def handle_timer(self, now: float, now_ms: int) -> list[c.RoomCommand]:
        """Do what is due at ``now``; too early a call does nothing."""
        self._now, self._now_ms = now, now_ms
        if self._in:
            for peering in list(self._peers.values()):
                self._work_on(peering)
            if now >= self._beat_at:
                self._beat()
            for peer in self._door.expire(now):
                self._tell_all(KnockNote(peer, KnockState.GONE))
        return self._finish()

    def deadline(self) -> float | None:
        """When ``handle_timer`` is to be called next; None: the timer need not run."""
        if not self._in:
            return None
        silent = self._roster.falls_silent(self._now)
        hidden = [k.heard + limits.ROOM_LOST_SHOWN for k in self._shown_lost()]
        due = min(
            [self._beat_at, *hidden, *(p.due() for p in self._peers.values())]
            + [at for at in (silent, self._door.deadline()) if at is not None]
        )
        return None if due == _NEVER else due

    # --- what is seen from outside ----------------------------------------------------------------

    @property
    def room(self) -> Room:
        """Which room."""
        return self._room

    @property
    def inside(self) -> bool:
        """Whether we take part."""
        return self._in

    @property
    def locked(self) -> bool:
        """Whether who comes without the secret knocks."""
        return self._roster.locked

    @property
    def code(self) -> str:
        """The code of ours that lets people in now; empty: none."""
        return self._door.code

    def knocks(self) -> tuple[Knock, ...]:
        """Who waits at the door, the first to come first."""
        return self._door.knocks()

    def memory(self) -> bytes:
        """What is worth keeping over a restart, for the next machine of this room."""
        roster = self._roster
        members = [k.entry.peer for k in sorted(roster.all(), key=lambda k: -k.heard)]
        return Memory(
            roster.settings,
            tuple(roster.removed.values()),
            tuple(sorted(self._blocked)),
            tuple(peer for peer in members if peer != self._me),
        ).encode()

    @property
    def removed(self) -> frozenset[PeerId]:
        """Whom the creator has removed."""
        return frozenset(self._roster.removed)

    def blocked(self) -> dict[PeerId, str]:
        """Whom we have blocked, by ID, and what each calls itself; empty: not heard of since we came."""
        known = {peer: self._roster.known(peer) for peer in sorted(self._blocked)}
        return {peer: entry.entry.name if entry else "" for peer, entry in known.items()}

    def members(self) -> tuple[Member, ...]:
        """All who are here but whom we blocked, by ID, we included; none when we are not in."""
        if not self._in:
            return ()
        here = [entry for entry in self._roster.here(self._now) if entry.peer not in self._blocked]
        names = shown_names({entry.peer: entry.name for entry in here})
        return tuple(
            Member(
                entry.peer,
                names[entry.peer],
                self._state_of(entry.peer),
                entry.peer == self._me,
                entry.flags,
            )
            for entry in here
        )  # fmt: skip

    def lost(self) -> tuple[Member, ...]:
        """Those who fell silent within the last ``ROOM_LOST_SHOWN`` seconds without leaving, by ID."""
        if not self._in:
            return ()
        return tuple(
            Member(k.entry.peer, k.entry.name or k.entry.peer.short, "lost", me=False, flags=MediaFlags())
            for k in self._shown_lost()
        )

    def offer_tag(self, peer: PeerId, now_ms: int) -> bytes:
        """16 octets that go with our offer of a link: which room, and that we have its secret."""
        return self._room.tag(now_ms) + self._room.proof(_LINK, self._me, peer)[:TAG]

    def takes(self, peer: PeerId, tag: bytes, now_ms: int) -> bool:
        """Whether an offer of a link by ``peer`` with ``tag`` is answered at once. (Else it is refused.)"""
        if not self._in or peer in self._roster.removed or peer in self._blocked:
            return False
        proof = self._room.proof(_LINK, peer, self._me)[:TAG]
        if tag[:TAG] not in self._room.tags_near(now_ms) or tag[TAG:] != proof:
            return False
        return not self._full(peer)

    def statistics(self) -> dict[str, int]:
        """How often what was refused, by reason."""
        return dict(self._counters)

    def __repr__(self) -> str:
        state = "in" if self._in else "ended" if self._ended else "out"
        return f"<RoomMachine {self._room.id.hex()[:8]} {self._me.short} {state} {len(self._peers)} peers>"

    # --- events -----------------------------------------------------------------------------------

    def _dispatch(self, event: e.RoomEvent) -> None:
        if isinstance(event, e.Enter):
            self._enter(event.vouchers)
            return
        if not self._in:
            if isinstance(event, e.NetworkEvent):
                self._counters["not in"] += 1
                return
            raise LocalProtocolError("we are not in that room")
        match event:
            case e.Leave():
                self._leave()
            case e.SetState():
                self._set_state(event)
            case e.Say(text):
                self._say(text)
            case e.Lock(locked):
                self._lock(locked=locked)
            case e.Remove(peer):
                self._remove(peer)
            case e.Admit(peer):
                self._admit(peer)
            case e.Refuse(peer):
                self._refuse(peer)
            case e.NewCode(code):
                self._door.new_code(code, self._now)
            case e.Block(peer, blocked):
                self._block(peer, blocked=blocked)
            case e.LinkUp(peer):
                self._link_up(peer)
            case e.LinkDown(peer):
                self._link_down(peer)
            case e.LinkMessage(peer, data):
                self._link_message_untrusted(peer, data)
            case e.LetterReceived(peer, data):
                self._letter_untrusted(peer, data)
            case e.Sighted(peer):
                self._sighted(peer)

    # --- coming and going -------------------------------------------------------------------------

    def _enter(self, vouchers: tuple[PeerId, ...]) -> None:
        if self._in or self._ended:
            raise LocalProtocolError("we have entered that room before")
        now = self._now
        self._in, self._entered = True, now
        self._senders = Senders(now)
        self._seeks = Bucket(limits.ROOM_SEEKS_PER_SECOND, limits.ROOM_SEEKS_BURST, now)
        self._incarnation, self._seq = max(0, self._now_ms), 0
        self._put_own()
        if self._me in self._roster.removed:
            self._out.append(c.Removed())
            self._end("removed")
            return
        remembered = self._remembered[: limits.ROOM_REMEMBERED]
        for peer in dict.fromkeys((*vouchers[: limits.ROOM_MEMBERS_MAX], *remembered)):
            if not self._shut_out(peer):
                peering = self._peering(peer)
                peering.named = True
                peering.remembered = peer not in vouchers
                peering.connect_at = _NEVER if peering.remembered else now
                peering.seek_at = peering.missing = now

    def _remember(self, memory: Memory) -> None:
        """What was kept, once it is checked."""
        for removal in memory.removals:
            with suppress(Rejected):
                self._roster.merge_removal_untrusted(removal)
        for setting in memory.settings:
            with suppress(Rejected):
                self._roster.merge_setting_untrusted(setting)
        self._blocked.update(memory.blocked)
        self._remembered = memory.members

    def _leave(self) -> None:
        self._put_own(left=True)
        entry = self._own_octets()
        for peering in self._peers.values():
            if peering.link is Link.UP:
                self._send(peering.peer, Sync(entries=((0, entry),)))
            # By letter, too: a link may have broken a moment ago, or end before it has carried this
            if self._roster.is_here(peering.peer, self._now):
                self._write(peering.peer, Here(self._tag(), entry))
        self._end("left")

    def _end(self, reason: c.EndReason) -> None:
        for peering in self._peers.values():
            if peering.link is not Link.NONE:
                self._out.append(c.Drop(peering.peer))
        self._peers.clear()
        self._in, self._ended = False, True
        self._out.append(c.Ended(reason))

    def _set_state(self, event: e.SetState) -> None:
        wanted = {
            name: value
            for name in ("audio", "video", "screen", "hand", "speaking")
            if (value := getattr(event, name)) is not None
        }
        flags = replace(self._flags, **wanted)
        if flags != self._flags:
            self._flags = flags
            self._tell_soon()

    # --- our own line -----------------------------------------------------------------------------

    def _put_own(self, *, left: bool = False) -> None:
        """Sign our line anew."""
        self._seq += 1
        entry = sign_entry(
            self._me, self._sign, self._room.roster_key,
            incarnation=self._incarnation, seq=self._seq, left=left, flags=self._flags, name=self._name,
        )  # fmt: skip
        self._roster.put_own(entry, self._now)

    def _own_octets(self) -> bytes:
        known = self._roster.known(self._me)
        assert known is not None  # put when we entered
        return known.entry.octets

    def _tell_soon(self) -> None:
        """Our line has changed: tell it, but not too often."""
        self._beat_at = min(self._beat_at, max(self._now, self._beaten + limits.ROOM_PUSH))
        if self._now >= self._beat_at:
            self._beat()

    def _beat(self) -> None:
        """A sign of life on every link."""
        self._put_own()
        self._beaten = self._now
        entry, digest = self._own_octets(), self._roster.digest()
        linked = frozenset(short_key(p.peer) for p in self._peers.values() if p.healthy(self._now))
        data = encode_message(Beat(entry, linked, digest), int(self._now * 1000))
        for peering in self._peers.values():
            if peering.link is Link.UP:
                self._out.append(c.SendLink(peering.peer, data))
        self._tell_lines()
        self._beat_at = self._now + limits.ROOM_BEAT if self._peers else _NEVER

    # --- links ------------------------------------------------------------------------------------

    def _peering(self, peer: PeerId) -> Peering:
        peering = self._peers.get(peer)
        if peering is None:
            bucket = Bucket(limits.ROOM_MESSAGES_PER_SECOND, limits.ROOM_MESSAGES_BURST, self._now)
            peering = self._peers[peer] = Peering(peer, bucket, _purse(self._now))
            self._beat_at = min(self._beat_at, self._now + limits.ROOM_BEAT)
        return peering

    def _shut_out(self, peer: PeerId) -> bool:
        return peer in self._roster.removed or peer in self._blocked or peer == self._me

    def _link_up(self, peer: PeerId) -> None:
        if self._shut_out(peer):
            self._out.append(c.Drop(peer))
            return
        peering = self._peering(peer)
        peering.up(self._now)
        self._put_own()
        for sync in self._everything():
            self._send(peer, sync)
        self._tell_has(peering, self._chat.kept())

    def _link_down(self, peer: PeerId) -> None:
        peering = self._peers.get(peer)
        if peering is not None and peering.link is not Link.NONE:
            peering.down(self._now)

    def _everything(self) -> list[Sync]:
        roster, now = self._roster, self._now
        entries = [
            (0 if k.entry.peer == self._me else int(1000 * (now - k.heard)), k.entry.octets)
            for k in roster.all()
        ]
        return syncs(entries, roster.settings, roster.removed.values())

    def _sighted(self, peer: PeerId) -> None:
        if self._shut_out(peer):
            return
        peering = self._peers.get(peer)
        if peering is None:
            unknown = [p for p in self._peers.values() if self._roster.known(p.peer) is None and not p.named]
            if len(unknown) >= limits.ROOM_SIGHTED_MAX:
                raise Rejected("too many sighted")
            peering = self._peering(peer)
        peering.sighted = True
        if not peering.healthy(self._now):
            peering.missing = self._now if peering.missing is None else peering.missing
            peering.seek_at = self._now
            peering.tries = 0
            peering.pause = limits.ROOM_CONNECT_RETRY

    # --- what is due ------------------------------------------------------------------------------

    def _plan(self, peering: Peering) -> None:
        """See what is to be done about a member, and when."""
        now, peer = self._now, peering.peer
        if peering.healthy(now):
            peering.rest()
            return
        here = self._roster.is_here(peer, now)
        known = self._roster.known(peer)
        if known is not None and known.entry.left and not here:
            self._forget(peering)
            return
        stranger = known is None and not peering.named and peering.link is Link.NONE
        if stranger and (not peering.sighted or peering.tries >= limits.ROOM_SIGHTED_TRIES):
            self._forget(peering)
            return
        peering.miss(now, here=here)
        if here:
            peering.want(now, self._wait_for_offer(peering))
        elif known is not None or not peering.named:
            peering.connect_at = _NEVER  # there is nobody to offer to

    def _wait_for_offer(self, peering: Peering) -> float:
        """Seconds that we leave it to a member to offer us a link."""
        if self._now < self._entered + limits.ROOM_NEWCOMER:
            return 0.0
        if self._me < peering.peer:
            return max(0.0, peering.arrived + limits.ROOM_FIRST_WAIT - self._now)
        return limits.ROOM_OFFER_WAIT

    def _forget(self, peering: Peering) -> None:
        if peering.link is not Link.NONE:
            self._out.append(c.Drop(peering.peer))
        self._peers.pop(peering.peer, None)

    def _work_on(self, peering: Peering) -> None:
        """Do what is due about a member."""
        now = self._now
        self._plan(peering)
        if peering.peer not in self._peers or peering.healthy(now):
            return
        if now >= peering.revived + limits.ROOM_LINK_PATIENCE:
            self._out.append(c.Drop(peering.peer))
            peering.down(now)
            peering.want(now, 0.0 if self._me < peering.peer else limits.ROOM_OFFER_WAIT)
        if peering.link is Link.CONNECTING and now >= peering.changed + limits.ROOM_CONNECT_PATIENCE:
            self._out.append(c.Drop(peering.peer))
            peering.down(now)
        if now >= peering.connect_at and peering.link is Link.NONE:
            under_way = sum(other.link is Link.CONNECTING for other in self._peers.values())
            if under_way < limits.ROOM_CONNECTING_MAX:
                peering.connecting(now)
                self._out.append(c.Connect(peering.peer))
            else:
                peering.connect_at = now + limits.ROOM_CONNECT_RETRY
        if now >= peering.seek_at:
            if not self._seeks.take(now):
                peering.seek_at = now + limits.ROOM_SEEK
                return
            peering.sought(now, here=self._roster.is_here(peering.peer, now))
            self._put_own()
            self._write(peering.peer, Here(self._tag(), self._own_octets(), asks=True))

    # --- what peers say ---------------------------------------------------------------------------

    def _link_message_untrusted(self, peer: PeerId, data: bytes) -> None:
        peering = self._peers.get(peer)
        if peering is None or peering.link is not Link.UP:
            raise Rejected("no link")
        if not peering.messages.take(self._now):
            raise Rejected("link flood")
        said, message = decode_message_untrusted(data)
        late = peering.held_back(said, self._now)
        peering.heard = self._now
        match message:
            case Beat(entry, linked, digest):
                peering.linked = linked
                self._merge_entries_untrusted(((0, entry),), peering, late)
                if digest != self._roster.digest():
                    self._settle(peering)
            case Sync(entries, settings, removals):
                self._merge_lasting_untrusted(settings, removals, peering)
                self._merge_entries_untrusted(entries, peering, late)
            case SaidLine(octets):
                self._said_untrusted(octets, peering, late)
            case Has(ids):
                self._has_untrusted(ids, peering)
            case Wants(ids):
                self._wants_untrusted(ids, peering)
            case Missed(lines):
                self._missed_untrusted(lines, peering, late)
            case KnockNote():
                self._knock_untrusted(message)
            case _:
                self._counters["message kind"] += 1

    def _settle(self, peering: Peering) -> None:
        """What lasts is not the same at the other end: say ours, now and then."""
        if self._now >= peering.synced + limits.ROOM_DIGEST_PAUSE:
            peering.synced = self._now
            for sync in syncs((), self._roster.settings, self._roster.removed.values()):
                self._send(peering.peer, sync)

    def _merge_entries_untrusted(
        self, entries: tuple[tuple[int, bytes], ...], source: Peering, late: float, *, by_letter: bool = False
    ) -> None:
        """Lines, each with its age in ms when it was said, ``late`` seconds ago."""
        for age_ms, octets in entries:
            try:
                merged, peer = self._roster.merge_entry_untrusted(octets, late + age_ms / 1000, self._now)
            except Rejected as error:
                self._counters[error.reason] += 1
                continue
            if merged is Merged.OURS:
                self._outdo(octets)
            else:
                self._merged(merged, peer, source, by_letter=by_letter)

    def _merged(self, merged: Merged, peer: PeerId, source: Peering, *, by_letter: bool) -> None:
        known = self._roster.known(peer)
        if merged is Merged.STALE and peer == source.peer and known is not None:
            # It does not know what it said before: tell it, so that it outdoes that
            self._pass_to(source, known.entry.octets, known.heard, by_letter=by_letter)
        elif merged in (Merged.NEWER, Merged.ARRIVED) and known is not None:
            peering = None if self._shut_out(peer) else self._peering(peer)
            if merged is Merged.ARRIVED:
                self._out.append(c.SaveRoom())
            if peering is not None:
                peering.arrived = self._now if merged is Merged.ARRIVED else peering.arrived
                peering.by_letter = by_letter
                peering.named = peering.remembered = False
                peering.tries = 0
            everybody = merged is Merged.ARRIVED or known.entry.left
            for other in self._peers.values():
                concerned = other.link is Link.UP and other.peer not in (peer, source.peer)
                if concerned and (everybody or short_key(peer) not in other.linked):
                    self._pass_to(other, known.entry.octets, known.heard)

    def _outdo(self, octets: bytes) -> None:
        """An older self of ours, with a clock that ran ahead, said more than we: begin a stay after that."""
        _, (incarnation, _, _) = peek_entry_untrusted(octets)
        self._incarnation = max(self._incarnation, incarnation) + 1
        self._seq = 0
        self._put_own()
        if self._now >= self._outdone + limits.ROOM_BEAT:
            # Else the next beat tells it: a twin with our key would outdo us as fast as we it
            self._outdone = self._now
            self._beat()

    def _merge_lasting_untrusted(
        self, settings: tuple[bytes, ...], removals: tuple[bytes, ...], source: Peering
    ) -> None:
        """Words about the lock, and removals; what is news goes on to all others."""
        news = Sync()
        for octets in removals:
            try:
                target = self._roster.merge_removal_untrusted(octets)
            except (Rejected, LocalProtocolError) as error:
                self._counters[error.reason if isinstance(error, Rejected) else "removals"] += 1
                continue
            if target is not None:
                news = replace(news, removals=(*news.removals, octets))
                self._put_out(target, octets)
        for octets in settings:
            try:
                if self._roster.merge_setting_untrusted(octets):
                    news = replace(news, settings=(*news.settings, octets))
            except Rejected as error:
                self._counters[error.reason] += 1
        if news != Sync():
            self._tell_all(news, but=source.peer)

    def _tell_all(self, message: Sayable, *, but: PeerId | None = None) -> None:
        for peering in self._peers.values():
            if peering.link is Link.UP and peering.peer != but:
                self._send(peering.peer, message)

    def _put_out(self, target: PeerId, removal: bytes) -> None:
        """The creator has removed somebody, perhaps us."""
        self._out.append(c.SaveRoom())
        self._chat.forget(target)
        if target == self._me:
            self._out.append(c.Removed())
            self._end("removed")
            return
        peering = self._peers.get(target)
        if peering is not None:
            if peering.link is Link.UP:
                self._send(target, Sync(removals=(removal,)))
            self._write(target, Out(self._tag(), removal))
            self._forget(peering)

    # --- what the room agrees on ------------------------------------------------------------------

    def _lock(self, *, locked: bool) -> None:
        if locked == self._roster.locked:
            return
        count = 1 + (self._roster.setting.count if self._roster.setting is not None else 0)
        if count > limits.ROOM_COUNTER_MAX:
            raise LocalProtocolError("somebody has locked this room for good: its creator may remove them")
        setting = sign_setting(self._me, self._sign, self._room, count, locked=locked)
        self._roster.set(setting)
        self._tell_all(Sync(settings=(setting.octets,)))
        self._out.append(c.SaveRoom())

    def _remove(self, peer: PeerId) -> None:
        if self._me != self._room.creator:
            raise LocalProtocolError("only who made the room can remove somebody; you can block")
        if peer == self._me:
            raise LocalProtocolError("nobody removes themselves: leave")
        if peer in self._roster.removed:
            return
        removal = sign_removal(self._sign, self._room, peer)
        self._roster.remove(peer, removal)
        self._put_out(peer, removal)
        self._tell_all(Sync(removals=(removal,)))

    def _block(self, peer: PeerId, *, blocked: bool) -> None:
        if peer == self._me:
            raise LocalProtocolError("nobody blocks themselves")
        if blocked == (peer in self._blocked):
            return
        if not blocked:
            self._blocked.discard(peer)
            if self._roster.known(peer) is not None:
                self._peering(peer)
        elif len(self._blocked) >= limits.ROOM_BLOCKED_MAX:
            raise LocalProtocolError("you have blocked too many in this room")
        else:
            self._blocked.add(peer)
            peering = self._peers.get(peer)
            if peering is not None:
                self._forget(peering)
        self._out.append(c.SaveRoom())

    # --- chat -------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        try:
            chat_octets(text)
        except ValueError as error:
            raise LocalProtocolError(str(error)) from None
        me = short_key(self._me)
        if not self._chat.may_speak(me, self._now):
            raise LocalProtocolError("you say too much at once: the others would not see it")
        self._said += 1
        line = sign_said(self._me, self._sign, self._room, self._incarnation, self._said, text)
        self._chat.keep((me, self._incarnation, self._said), line, self._me, self._now, 0.0)
        self._tell_all(SaidLine(line))

    def _said_untrusted(self, octets: bytes, source: Peering, age: float) -> None:
        """A member's line as it is said: passed on to who has no link with its author."""
        line = self._show_untrusted(octets, source, age)
        for other in self._peers.values():
            concerned = other.link is Link.UP and other.peer != source.peer
            if not concerned or line.id[0] in (short_key(other.peer), *other.linked):
                continue
            if age < limits.ROOM_CHAT_FRESH:
                self._send(other.peer, SaidLine(octets))
            else:
                self._tell_has(other, [line])  # what it asks for comes with its age

    def _show_untrusted(self, octets: bytes, source: Peering, age: float, *, late: bool = False) -> Line:
        """A member's line, which is shown once; ``late``: it was missed at first."""
        key, incarnation, number = peek_said_untrusted(octets)
        line = (key[:SHORT_KEY], incarnation, number)
        if late:
            if self._asked.get(line, (None, 0.0))[0] != source.peer:
                raise Rejected("said unasked")
            del self._asked[line]
        if not self._chat.lacks(line):
            raise Rejected("said twice")
        author = PeerId.from_key_untrusted(key)
        known = self._roster.known(author)
        if author == self._me or known is None:
            raise Rejected("said by nobody")
        if incarnation > known.entry.incarnation:
            raise Rejected("said too early")
        if incarnation < known.first or self._now - age < self._entered:
            raise Rejected("said before we came")
        if not self._chat.may_speak(line[0], self._now, late=late):
            raise Rejected("chat flood")
        said = read_said_untrusted(octets, self._room)
        if author not in self._blocked:
            self._out.append(c.Chatted(author, said.text, age))
        return self._chat.keep(line, octets, source.peer, self._now, age, late=late)

    # --- chat that somebody missed ----------------------------------------------------------------

    def _tell_lines(self) -> None:
        """With each beat: who has no link with an author may have missed what it said."""
        news = self._chat.untold(self._now)
        for peering in self._peers.values():
            if peering.link is Link.UP:
                missed = [line for line in news if line.late or line.id[0] not in peering.linked]
                self._tell_has(peering, [line for line in missed if line.source != peering.peer])
            if peering.offered:
                self._ask_for_lines(peering)

    def _tell_has(self, peering: Peering, lines: list[Line]) -> None:
        """That we have these, as far as they are meant for that member."""
        me = short_key(peering.peer)
        ids = [line.id for line in lines if line.id[0] != me and self._may_have(peering.peer, line)]
        for start in range(0, len(ids), limits.ROOM_CHAT_IDS):
            self._send(peering.peer, Has(tuple(ids[start : start + limits.ROOM_CHAT_IDS])))

    def _may_have(self, peer: PeerId, line: Line) -> bool:
        """Who comes later is not told what was said before."""
        known = self._roster.known(peer)
        return known is not None and known.since <= line.said

    def _has_untrusted(self, ids: tuple[LineId, ...], source: Peering) -> None:
        for line in ids:
            if line[0] == short_key(self._me) or not self._chat.lacks(line):
                continue
            if len(source.offered) >= limits.ROOM_CHAT_OFFERED:
                raise Rejected("too many lines")
            source.offered[line] = None
        self._ask_for_lines(source)

    def _ask_for_lines(self, peering: Peering) -> None:
        """A few lines at a time, and each of one member at a time."""
        now = self._now
        self._asked = {line: asked for line, asked in self._asked.items() if self._may_come(*asked)}
        peering.offered = {line: None for line in peering.offered if self._chat.lacks(line)}
        under_way = sum(peer == peering.peer for peer, _ in self._asked.values())
        free = [line for line in peering.offered if line not in self._asked]
        lines = free[: max(0, limits.ROOM_CHAT_ASKED - under_way)]
        if lines and peering.link is Link.UP:
            for line in lines:
                del peering.offered[line]
                self._asked[line] = peering.peer, now
            self._send(peering.peer, Wants(tuple(lines)))

    def _may_come(self, peer: PeerId, asked: float) -> bool:
        """Whether what that member was asked for may still come: not if its link has ended since."""
        peering = self._peers.get(peer)
        up = peering is not None and peering.link is Link.UP and asked >= peering.changed
        return up and self._now < asked + limits.ROOM_CHAT_PATIENCE

    def _wants_untrusted(self, ids: tuple[LineId, ...], source: Peering) -> None:
        given: list[tuple[int, bytes]] = []
        for one in ids:
            line = self._chat.get(one)
            if line is None or not self._may_have(source.peer, line):
                self._counters["line not kept"] += 1
            elif not source.given.take(self._now, len(line.octets)):
                self._counters["wants flood"] += 1
            else:
                given.append((int(1000 * (self._now - line.said)), line.octets))
        for message in missed(given):
            self._send(source.peer, message)

    def _missed_untrusted(self, lines: tuple[tuple[int, bytes], ...], source: Peering, late: float) -> None:
        for age_ms, octets in lines:
            try:
                self._show_untrusted(octets, source, late + age_ms / 1000, late=True)
            except Rejected as error:
                self._counters[error.reason] += 1
        self._ask_for_lines(source)

    # --- letters ----------------------------------------------------------------------------------

    def _letter_untrusted(self, peer: PeerId, data: bytes) -> None:
        assert self._senders is not None  # made when we entered
        if peer == self._me or not self._senders.may_write(peer, self._now):
            raise Rejected("letter flood")
        letter = decode_letter_untrusted(data)
        if letter.tag not in self._room.tags_near(self._now_ms):
            raise Rejected("room-tag")
        if peer in self._roster.removed:
            self._answer(peer, Out(self._tag(), self._roster.removed[peer]))
            return
        if peer in self._blocked:
            raise Rejected("blocked")
        match letter:
            case Here(_, entry, asks):
                self._here_untrusted(peer, entry, asks=asks)
            case Out(_, removal):
                target = self._roster.merge_removal_untrusted(removal)
                if target is not None:
                    self._put_out(target, removal)
                    self._tell_all(Sync(removals=(removal,)))
            case Join():
                self._join_untrusted(peer, letter)
            case Pake():
                self._pake_untrusted(peer, letter)
            case _:
                self._counters["letter kind"] += 1

    # --- the door ---------------------------------------------------------------------------------

    def _full(self, peer: PeerId) -> bool:
        here = self._roster.here(self._now)
        return len(here) >= limits.ROOM_MEMBERS_MAX and all(entry.peer != peer for entry in here)

    def _join_untrusted(self, peer: PeerId, join: Join) -> None:
        if self._full(peer):
            self._answer(peer, Refused(self._tag(), RefusedReason.FULL))
            return
        closed = self.locked or self._room.hidden
        try:
            verdict = self._door.asked_untrusted(peer, join, self._now, closed=closed)
        except Rejected as error:
            reason = _TOLD.get(error.reason)
            if reason is not None:
                self._answer(peer, Refused(self._tag(), reason))
            raise
        if verdict is Verdict.WELCOME:
            self._welcome(peer)
            return
        self._answer(peer, Waiting(self._tag()))
        if verdict is Verdict.KNOCKS:
            self._out.append(c.Knocked(peer, join.name))
            self._tell_all(KnockNote(peer, KnockState.WAITS, join.name))

    def _knock_untrusted(self, note: KnockNote) -> None:
        """What another member says of a knock."""
        match self._door.told_untrusted(note, self._now):
            case KnockState.WAITS:
                self._out.append(c.Knocked(note.peer, note.name))
            case KnockState.REFUSED:
                self._answer(note.peer, Refused(self._tag(), RefusedReason.DECLINED))
            case _:
                pass

    def _pake_untrusted(self, peer: PeerId, pake: Pake) -> None:
        if self._full(peer):
            self._answer(peer, Refused(self._tag(), RefusedReason.FULL))
            return
        match self._door.exchange_untrusted(peer, pake, self._now):
            case RefusedReason() as reason:
                self._answer(peer, Refused(self._tag(), reason))
            case Pake() as step:
                self._answer(peer, replace(step, tag=self._tag()))
            case bytes() as confirm:
                self._welcome(peer, confirm)

    def _welcome(self, peer: PeerId, confirm: bytes = b"") -> None:
        """Let somebody in, and name those who tell it the rest, who have a link first."""
        others = [
            entry.peer
            for entry in self._roster.here(self._now)
            if entry.peer not in (self._me, peer) and entry.peer not in self._blocked
        ]
        others.sort(key=lambda other: self._state_of(other) != "here")
        members = tuple(others[: limits.ROOM_WELCOME_MEMBERS])
        room = self._room
        self._answer(peer, Welcome(self._tag(), room.encode(), room.secret, members, confirm))

    def _admit(self, peer: PeerId) -> None:
        self._close_knock(peer, KnockState.ADMITTED)
        self._welcome(peer)

    def _refuse(self, peer: PeerId) -> None:
        self._close_knock(peer, KnockState.REFUSED)
        self._answer(peer, Refused(self._tag(), RefusedReason.DECLINED))

    def _close_knock(self, peer: PeerId, state: KnockState) -> None:
        if all(knock.peer != peer for knock in self._door.knocks()):
            raise LocalProtocolError("nobody of that ID is waiting to be let in")
        self._door.close(peer, state, self._now)
        self._tell_all(KnockNote(peer, state))

    def _here_untrusted(self, peer: PeerId, entry: bytes, *, asks: bool) -> None:
        known_before = self._peers.get(peer)
        source = known_before or Peering(peer, Bucket(0, 0, self._now), Bucket(0, 0, self._now))
        self._merge_entries_untrusted(((0, entry),), source, 0.0, by_letter=True)
        peering = self._peers.get(peer)
        if peering is None:
            return
        if peering.link is Link.UP and not peering.healthy(self._now) and peering.revived == _NEVER:
            # One of both makes the link anew, or the other would end the new one
            more = 0.0 if self._me < peer else limits.ROOM_LINK_PATIENCE_MORE
            silent_enough = peering.heard + limits.ROOM_LINK_SILENCE - limits.ROOM_LINK_PATIENCE
            peering.revived = max(self._now, silent_enough) + more
        if asks:
            self._put_own()
            self._answer(peer, Here(self._tag(), self._own_octets()))

    def _answer(self, peer: PeerId, letter: Letter) -> None:
        """A letter in answer to one, so seldom that nobody has us write for them."""
        assert self._senders is not None  # made when we entered
        if self._senders.may_be_answered(peer, self._now):
            self._write(peer, letter)

    def _pass_to(self, to: Peering, octets: bytes, heard: float, *, by_letter: bool = False) -> None:
        if by_letter:
            self._write(to.peer, Here(self._tag(), octets))
        else:
            self._send(to.peer, Sync(entries=((int(1000 * (self._now - heard)), octets),)))

    # --- output -----------------------------------------------------------------------------------

    def _tag(self) -> bytes:
        return self._room.tag(self._now_ms)

    def _send(self, peer: PeerId, message: Sayable) -> None:
        self._out.append(c.SendLink(peer, encode_message(message, int(self._now * 1000))))

    def _write(self, peer: PeerId, letter: Letter) -> None:
        self._out.append(c.SendLetter(peer, encode_letter(letter)))

    def _state_of(self, peer: PeerId) -> MemberState:
        if peer == self._me:
            return "here"
        peering = self._peers.get(peer)
        return "here" if peering is not None and peering.link is Link.UP else "connecting"

    def _shown_lost(self) -> list[Known]:
        return [
            known
            for known in self._roster.lost(self._now)
            if self._now < known.heard + limits.ROOM_LOST_SHOWN and known.entry.peer not in self._blocked
        ]

    def _finish(self) -> list[c.RoomCommand]:
        """All output, once what is shown and what is due are up to date."""
        if self._in:
            for peering in list(self._peers.values()):
                self._plan(peering)
            shown = (self.members(), self.lost(), self.locked, self.knocks(), self.code, self.blocked())
            if shown != self._shown:
                self._shown = shown
                self._out.append(c.RosterChanged())
            announced = c.Announce(len(self._roster.here(self._now)), self._door.nameplate, self.locked)
            if announced != self._announced:
                self._announced = announced
                self._out.append(announced)
        output, self._out = self._out, []
        return output
