"""What an ICE agent tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from meshcall.ice.candidate import Candidate
from meshcall.ice.notes import Note

Why = Literal["first", "better", "nominated", "failover", "named", "revived"]
"""Why a pair was selected: it was the first valid one; it ranks higher; the peer wants it; the old one died;
it is the same, and the peer has told what its end is, or it answers again."""


@dataclass(frozen=True, slots=True)
class Selected:
    """Packets go over this pair from now on."""

    local: Candidate
    remote: Candidate
    why: Why


@dataclass(frozen=True, slots=True)
class Measured:
    """The selected pair answered a check."""

    rtt: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Broken:
    """No pair answers now; all that ever did are tried again and again."""


@dataclass(frozen=True, slots=True)
class Lost:
    """No pair has answered for so long that the peer is given up."""


@dataclass(frozen=True, slots=True)
class NoPath:
    """No pair was ever valid, and none can be expected."""

    reason: str
    """A sentence."""
    cause: str = ""
    """Of :data:`meshcall.ice.verdict.Cause`."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """A STUN server has told of a reflexive candidate of ours."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Noted:
    """The peer is to be told something that is no candidate."""

    note: Note


IceEvent = Selected | Measured | Broken | Lost | NoPath | Gathered | Noted
