"""Who is let in: by the secret, because the room is open, because a member says so, or by a code.

Law 1: who shows the secret is let in; a lock is for those who come without it.
Law 2: knocks are few, short-lived and told once, and who was refused is not asked about again for a while.
Law 3: a code works for ten minutes; five wrong tries burn it. Nobody learns from a run that it does not end.
Law 4: answers can be lost: the same letter again gets the same answer.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum, auto

from meshcall import limits
from meshcall.dht.limiter import Bucket
from meshcall.errors import Rejected
from meshcall.identity.keys import Random
from meshcall.identity.pake import CodeExchange
from meshcall.identity.peer_id import PeerId
from meshcall.room.codes import nameplate_of, parse_code
from meshcall.room.descriptor import Room
from meshcall.room.messages import Join, KnockNote, KnockState, Pake, RefusedReason

JOIN = b"join"
"""Purpose of a proof in a letter that asks to come in."""

_KNOCK_SILENCE = 4 * limits.ROOM_KNOCK_REPEAT


class Verdict(Enum):
    """What becomes of who asks to come in."""

    WELCOME = auto()
    KNOCKS = auto()
    """News: the members are to be asked."""
    WAITS = auto()
    """They have been asked."""


@dataclass(frozen=True, slots=True)
class Knock:
    """Somebody at the door."""

    peer: PeerId
    name: str
    """What it calls itself; empty: nothing."""


@dataclass(slots=True)
class _Waiting:
    knock: Knock
    until: float
    ours: bool
    """Whether it writes to us; else another member told us of it."""
    heard: float
    """When it was last heard of."""

    def ends(self) -> float:
        """Who falls silent waits no more."""
        return min(self.until, self.heard + _KNOCK_SILENCE) if self.ours else self.until


@dataclass(slots=True)
class _Code:
    text: str
    until: float
    begun: Bucket
    wrong: int = 0
    runs: OrderedDict[PeerId, tuple[bytes, CodeExchange]] = field(default_factory=OrderedDict)
    """By joiner: its element, and our side."""


class Door:
    """The door of one room, at one member."""

    def __init__(self, me: PeerId, room: Room, random: Random) -> None:
        self._me = me
        self._room = room
        self._random = random
        self._waiting: OrderedDict[PeerId, _Waiting] = OrderedDict()
        self._refused: OrderedDict[PeerId, float] = OrderedDict()
        self._admitted: OrderedDict[PeerId, float] = OrderedDict()
        self._code: _Code | None = None

    # --- what is shown ----------------------------------------------------------------------------

    def knocks(self) -> tuple[Knock, ...]:
        """Who waits, the first to come first."""
        return tuple(waiting.knock for waiting in self._waiting.values())

    @property
    def code(self) -> str:
        """The code that works now; empty: none."""
        return "" if self._code is None else self._code.text

    @property
    def nameplate(self) -> int:
        """Its number; 0: none."""
        return 0 if self._code is None else nameplate_of(self._code.text)

    # --- who asks ---------------------------------------------------------------------------------

    def asked_untrusted(self, peer: PeerId, join: Join, now: float, *, closed: bool) -> Verdict:
        """What becomes of a letter that asks to come in; ``closed``: the room is locked or secret.

        Raises :class:`Rejected` ("proof", "knocked lately", "too many knock").
        """
        if join.proof:
            if join.proof != self._room.proof(JOIN, peer, self._me):
                raise Rejected("proof")
            return Verdict.WELCOME
        if not closed or self._admitted.get(peer, 0.0) > now:
            return Verdict.WELCOME
        if self._refused.get(peer, 0.0) > now:
            raise Rejected("knocked lately")
        waiting = self._waiting.get(peer)
        if waiting is not None:
            waiting.ours, waiting.heard = True, now
            return Verdict.WAITS
        self._wait(Knock(peer, join.name), now, ours=True)
        return Verdict.KNOCKS

    def told_untrusted(self, note: KnockNote, now: float) -> KnockState | None:
        """What another member says of a knock.

        WAITS: it is a new one; REFUSED: it is one of ours, which hears it from us; None: nothing to do.
        Raises :class:`Rejected`.
        """
        waiting = self._waiting.get(note.peer)
        if note.state is not KnockState.WAITS:
            self.close(note.peer, note.state, now)
            ours = waiting is not None and waiting.ours
            return KnockState.REFUSED if ours and note.state is KnockState.REFUSED else None
        if waiting is not None or self._refused.get(note.peer, 0.0) > now:
            return None
        self._wait(Knock(note.peer, note.name), now, ours=False)
        return KnockState.WAITS

    def close(self, peer: PeerId, state: KnockState, now: float) -> None:
        """A knock was answered, or given up."""
        self._waiting.pop(peer, None)
        if state is KnockState.REFUSED:
            _remember(self._refused, peer, now + limits.ROOM_KNOCK_QUIET)
            self._admitted.pop(peer, None)
        elif state is KnockState.ADMITTED:
            _remember(self._admitted, peer, now + limits.ROOM_KNOCK_LIFE)
            self._refused.pop(peer, None)

    def _wait(self, knock: Knock, now: float, *, ours: bool) -> None:
        if len(self._waiting) >= limits.ROOM_KNOCKS_MAX:
            raise Rejected("too many knock")
        self._waiting[knock.peer] = _Waiting(knock, now + limits.ROOM_KNOCK_LIFE, ours, now)

    # --- by code ----------------------------------------------------------------------------------

    def new_code(self, code: str, now: float) -> None:
        """Let in who knows ``code``; the one before works no more. Raises :class:`InvalidRoom`."""
        bucket = Bucket(limits.ROOM_CODE_RUNS_PER_SECOND, limits.ROOM_CODE_RUNS_BURST, now)
        self._code = _Code(parse_code(code), now + limits.ROOM_CODE_LIFE, bucket)

    def exchange_untrusted(self, peer: PeerId, pake: Pake, now: float) -> Pake | bytes | RefusedReason:
        """Our next step; or, as octets, our confirm: the peer knows the code and is let in; or a refusal.

        Raises :class:`Rejected` ("pake", "code runs").
        """
        code = self._code
        if code is None or pake.nameplate != nameplate_of(code.text):
            return RefusedReason.CODE
        run = code.runs.get(peer)
        if pake.step == 1:
            if run is None or run[0] != pake.data:
                run = self._begin_untrusted(code, peer, pake.data, now)
            return Pake(pake.tag, pake.nameplate, 2, run[1].element)
        if run is None or pake.step != 3:
            raise Rejected("pake")
        try:
            run[1].check_untrusted(pake.data)
        except Rejected:
            del code.runs[peer]
            code.wrong += 1
            if code.wrong >= limits.ROOM_CODE_TRIES:
                self._code = None
            return RefusedReason.CODE
        return run[1].confirm()

    def _begin_untrusted(
        self, code: _Code, peer: PeerId, element: bytes, now: float
    ) -> tuple[bytes, CodeExchange]:
        if not code.begun.take(now):
            raise Rejected("code runs")
        exchange = CodeExchange("member", code.text, peer, self._me, self._random)
        exchange.finish_untrusted(element)
        code.runs.pop(peer, None)
        if len(code.runs) >= limits.ROOM_CODE_RUNS:
            code.runs.popitem(last=False)
        code.runs[peer] = element, exchange
        return code.runs[peer]

    # --- time -------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`expire` has something to do."""
        times = [waiting.ends() for waiting in self._waiting.values()]
        if self._code is not None:
            times.append(self._code.until)
        return min(times, default=None)

    def expire(self, now: float) -> list[PeerId]:
        """Let what is over be over; those of our knocks that are."""
        if self._code is not None and now >= self._code.until:
            self._code = None
        gone = [peer for peer, waiting in self._waiting.items() if now >= waiting.ends()]
        ours = [peer for peer in gone if self._waiting[peer].ours]
        for peer in gone:
            del self._waiting[peer]
        return ours


def _remember(peers: OrderedDict[PeerId, float], peer: PeerId, until: float) -> None:
    peers.pop(peer, None)
    peers[peer] = until
    if len(peers) > limits.ROOM_QUIET_MAX:
        peers.popitem(last=False)
