"""The way into a room: by its name on a LAN, by a code that was said, or by a link.

Law 1: it ends, with Admitted or with NotAdmitted and the reason.
Law 2: a welcome is believed when it proves that its sender is in the room that was asked for: its secret
gives the tag that was announced, and it is the link's secret, or its sender has shown that it knows the code.
Law 3: whoever else answers can only refuse for itself; the others are asked, too.
Law 4: time and randomness are arguments; what peers send never raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from meshcall import limits
from meshcall.discovery.rooms import name_key, room_tag, tags_near
from meshcall.errors import LocalProtocolError, Rejected
from meshcall.identity.keys import Random
from meshcall.identity.pake import CodeExchange
from meshcall.identity.peer_id import PeerId
from meshcall.identity.uri import clean_name
from meshcall.room import commands as c
from meshcall.room import events as e
from meshcall.room.codes import nameplate_of, parse_code
from meshcall.room.descriptor import Room, room_id, secret_proof
from meshcall.room.door import JOIN
from meshcall.room.messages import (
    Join,
    Letter,
    Out,
    Pake,
    Refused,
    RefusedReason,
    Waiting,
    Welcome,
    decode_letter_untrusted,
    encode_letter,
)
from meshcall.room.uri import RoomInvite

_NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class ByName:
    """The room of that name on this LAN; if it is closed, its members are asked."""

    name: str


@dataclass(frozen=True, slots=True)
class ByCode:
    """The room whose member said this code."""

    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ByInvite:
    """The room of this link."""

    invite: RoomInvite


Way = ByName | ByCode | ByInvite


@dataclass(slots=True)
class _Asked:
    """A member that is asked, or somebody who says to be one."""

    tag: bytes
    ask_at: float
    pause: float = limits.ROOM_JOIN_RETRY
    exchange: CodeExchange | None = None
    refused: c.JoinReason | None = None
    sent: bool = False
    """Whether it was asked once at least."""


_REASONS: Final[dict[RefusedReason, c.JoinReason]] = {
    RefusedReason.DECLINED: "declined",
    RefusedReason.FULL: "full",
    RefusedReason.REMOVED: "removed",
    RefusedReason.CODE: "code",
    RefusedReason.BUSY: "busy",
    RefusedReason.GONE: "gone",
}
_WORST_FIRST: Final[tuple[c.JoinReason, ...]] = (
    "removed", "declined", "code", "full", "busy", "clock", "gone",
)  # fmt: skip
"""Which refusal of several is told."""


class Joiner:
    """One try to come into one room."""

    def __init__(self, me: PeerId, way: Way, name: str, random: Random) -> None:
        """``name``: what we call ourselves. Raises :class:`InvalidRoom` for a code that is none."""
        self._me = me
        self._way = ByCode(parse_code(way.code)) if isinstance(way, ByCode) else way
        self._name = clean_name(name)
        self._random = random
        self._asked: dict[PeerId, _Asked] = {}
        self._claims: dict[PeerId, bytes] = {}
        """Who else announces a room of that name, with its tag: they are asked in turns."""
        self._until = _NEVER
        self._knocked = False
        self._begun = self._ended = False
        self._out: list[c.JoinerCommand] = []
        self._now, self._now_ms = 0.0, 0
        self._counters: Counter[str] = Counter()

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self._ended

    @property
    def way(self) -> Way:
        """By what."""
        return self._way

    def statistics(self) -> dict[str, int]:
        """How often what was refused, by reason."""
        return dict(self._counters)

    # --- what wakes it ----------------------------------------------------------------------------

    def start(self, now: float, now_ms: int, found: Iterable[e.Found] = ()) -> list[c.JoinerCommand]:
        """Begin. By a link its members are asked; else those who are ``found`` already, all there are."""
        if self._begun:
            raise LocalProtocolError("that has begun")
        self._begun = True
        self._now, self._now_ms = now, now_ms
        self._until = now + limits.ROOM_JOIN_PATIENCE
        if isinstance(self._way, ByInvite):
            tag = room_tag(room_id(self._way.invite.secret), now_ms)
            for peer in self._way.invite.members:
                self._add(peer, tag)
            if not self._asked:
                self._end("not-found")  # the link is our own, and names nobody else
        else:
            for one in found:
                self._add(one.peer, one.tag)
        return self._drain()

    def handle(self, event: e.JoinerEvent, now: float, now_ms: int) -> list[c.JoinerCommand]:
        """What to do about ``event``. Nothing raises."""
        self._now, self._now_ms = now, now_ms
        if self._begun and not self._ended:
            try:
                self._dispatch(event)
            except Rejected as error:
                self._counters[error.reason] += 1
        return self._drain()

    def handle_timer(self, now: float, now_ms: int) -> list[c.JoinerCommand]:
        """Do what is due at ``now``; too early a call does nothing."""
        self._now, self._now_ms = now, now_ms
        if self._begun and not self._ended:
            if now >= self._until:
                self._time_is_up()
            else:
                self._ask_due()
        return self._drain()

    def deadline(self) -> float | None:
        """When ``handle_timer`` is to be called next; None: never."""
        if self._ended or not self._begun:
            return None
        return min(self._until, *(asked.ask_at for asked in self._asked.values()), _NEVER)

    def _drain(self) -> list[c.JoinerCommand]:
        if self._begun and not self._ended:
            self._ask_due()
        output, self._out = self._out, []
        return output

    # --- asking -----------------------------------------------------------------------------------

    def _dispatch(self, event: e.JoinerEvent) -> None:
        match event:
            case e.Found(peer, tag):
                if not isinstance(self._way, ByInvite):
                    self._add(peer, tag)
            case e.LetterReceived(peer, data):
                self._letter_untrusted(peer, data)
            case e.ClockDiffers(peer):
                asked = self._asked_once(peer)
                if asked is None:
                    raise Rejected("not asked")
                self._refused(asked, "clock")
            case e.GiveUp():
                self._end("given-up")

    def _add(self, peer: PeerId, tag: bytes) -> None:
        """One more to be asked, a moment after the one before."""
        most = limits.ROOM_CODE_MEMBERS if isinstance(self._way, ByCode) else limits.ROOM_JOIN_ASKED
        if peer == self._me or peer in self._asked or peer in self._claims:
            return
        if len(self._asked) >= most:
            if isinstance(self._way, ByName) and len(self._claims) < limits.ROOM_JOIN_CLAIMS:
                self._claims[peer] = tag
            return
        waiting = [asked.ask_at for asked in self._asked.values() if asked.pause == limits.ROOM_JOIN_RETRY]
        after = max(waiting, default=self._now - limits.ROOM_JOIN_STAGGER)
        self._asked[peer] = _Asked(tag, max(self._now, after + limits.ROOM_JOIN_STAGGER))

    def _ask_due(self) -> None:
        for peer, asked in list(self._asked.items()):
            if self._now < asked.ask_at:
                continue
            if asked.sent and self._claims and not self._knocked:
                # It has not answered, and may be invented: the next one's turn
                del self._asked[peer]
                self._ask_next()
                self._claims[peer] = asked.tag
            else:
                self._ask(peer, asked)

    def _ask_next(self) -> None:
        """Somebody else who announces that name."""
        peer = next(iter(self._claims))
        asked = self._asked[peer] = _Asked(self._claims.pop(peer), self._now)
        self._ask(peer, asked)

    def _ask(self, peer: PeerId, asked: _Asked) -> None:
        asked.sent = True
        if self._knocked:
            asked.ask_at = self._now + limits.ROOM_KNOCK_REPEAT
        else:
            asked.ask_at = self._now + asked.pause
            asked.pause = min(2 * asked.pause, limits.ROOM_JOIN_RETRY_MAX)
        self._write(peer, self._question(peer, asked))

    def _question(self, peer: PeerId, asked: _Asked) -> Letter:
        match self._way:
            case ByCode(code):
                nameplate = nameplate_of(code)
                if asked.exchange is None:
                    asked.exchange = CodeExchange("joiner", code, self._me, peer, self._random)
                if asked.exchange.done:
                    return Pake(asked.tag, nameplate, 3, asked.exchange.confirm())
                return Pake(asked.tag, nameplate, 1, asked.exchange.element)
            case ByInvite(invite):
                return Join(asked.tag, self._name, secret_proof(invite.secret, JOIN, self._me, peer))
            case _:
                return Join(asked.tag, self._name)

    # --- answers ----------------------------------------------------------------------------------

    def _letter_untrusted(self, peer: PeerId, data: bytes) -> None:
        letter = decode_letter_untrusted(data)
        asked = self._asked_once(peer)
        if isinstance(letter, Welcome):
            self._welcome_untrusted(peer, letter)
        elif asked is None:
            raise Rejected("not asked")
        else:
            match letter:
                case Refused(_, reason):
                    self._refused(asked, _REASONS[reason])
                case Out():
                    self._refused(asked, "removed")
                case Waiting() if isinstance(self._way, ByName):
                    self._wait(asked)
                case Pake(_, _, 2, element) if asked.exchange is not None:
                    self._step_untrusted(peer, asked, element)
                case _:
                    raise Rejected("letter kind")

    def _asked_once(self, peer: PeerId) -> _Asked | None:
        """That peer, if we asked it; it may answer late."""
        if peer in self._claims:
            tag = self._claims.pop(peer)
            self._asked[peer] = _Asked(tag, self._now + limits.ROOM_JOIN_RETRY, sent=True)
        return self._asked.get(peer)

    def _wait(self, asked: _Asked) -> None:
        """The members are being asked."""
        asked.ask_at = self._now + limits.ROOM_KNOCK_REPEAT
        if not self._knocked:
            self._knocked = True
            self._until = self._now + limits.ROOM_KNOCK_LIFE
            self._out.append(c.KnockWaits())

    def _step_untrusted(self, peer: PeerId, asked: _Asked, element: bytes) -> None:
        assert asked.exchange is not None  # its first step was answered
        if asked.exchange.done:
            return  # a copy; our confirm is sent again by the timer
        asked.exchange.finish_untrusted(element)
        asked.pause = limits.ROOM_JOIN_RETRY
        self._ask(peer, asked)

    def _welcome_untrusted(self, peer: PeerId, welcome: Welcome) -> None:
        room = Room.decode_untrusted(welcome.descriptor, welcome.secret)
        asked = self._asked.get(peer)
        match self._way:
            case ByInvite(invite):
                if room.secret != invite.secret:
                    raise Rejected("another room")
            case ByCode():
                if asked is None or asked.exchange is None:
                    raise Rejected("not asked")
                asked.exchange.check_untrusted(welcome.confirm)
            case ByName(name):
                # Whoever lets us in may be another member than those who were asked
                tags = tags_near(room.id, self._now_ms)
                if tags.isdisjoint({*(one.tag for one in self._asked.values()), *self._claims.values()}):
                    raise Rejected("another room")
                if name_key(room.name) != name_key(name):
                    raise Rejected("another room")
        others = (other for other in welcome.members if other not in (self._me, peer))
        self._ended = True
        self._out.append(c.Admitted(room, (peer, *others)))

    def _refused(self, asked: _Asked, reason: c.JoinReason) -> None:
        asked.refused, asked.ask_at = reason, _NEVER
        if self._claims:
            self._ask_next()
        reasons = [one.refused for one in self._asked.values()]
        if all(reasons):
            self._end(next(worst for worst in _WORST_FIRST if worst in reasons))

    def _time_is_up(self) -> None:
        reasons = [one.refused for one in self._asked.values() if one.refused]
        told = next((worst for worst in _WORST_FIRST if worst in reasons), None)
        self._end(told or ("no-answer" if self._asked else "not-found"))

    def _end(self, reason: c.JoinReason) -> None:
        self._ended = True
        self._out.append(c.NotAdmitted(reason))

    def _write(self, peer: PeerId, letter: Letter) -> None:
        self._out.append(c.SendLetter(peer, encode_letter(letter)))
