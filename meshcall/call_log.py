"""What the daemon's log says of calls and contacts: who rings, what is connected, how it ended.

Law: one line per event that a person would want to find there; never what was said.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable

from meshcall.reporting import printable
from meshcall.views import (
    Connected,
    ContactRequested,
    Ended,
    Incoming,
    LookingUp,
    MissedCall,
    NodeEvent,
    RecordFailed,
)

logger = logging.getLogger(__name__)


async def log_calls(events: AsyncIterator[NodeEvent], *, by_hand: Callable[[], bool]) -> None:
    """Log ``events`` until they end. ``by_hand``: whether no call is answered without asking, so say what
    answers."""
    try:
        async for event in events:
            line = describe(event, by_hand=by_hand())
            if line is not None:
                level = logging.WARNING if isinstance(event, RecordFailed) else logging.INFO
                logger.log(level, "%s", printable(line))
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


def describe(event: NodeEvent, *, by_hand: bool = False) -> str | None:
    """The line for an event; None: nothing is said of it."""
    match event:
        case Incoming():
            stranger = ", not a contact" if event.stranger else ""
            who = _who(event.name, event.self_name, event.peer_id)
            how = ": `meshcall answer` takes it" if by_hand else ""
            return f"call {event.call[:8]} from {who}{stranger}{how}"
        case LookingUp():
            return f"call {event.call[:8]} to {_who(event.name, '', event.peer_id)}"
        case Connected():
            return f"call {event.call[:8]} is connected ({event.path or 'path unknown'})"
        case RecordFailed():
            return f"call {event.call[:8]} is not recorded any more: {event.message}"
        case Ended():
            return f"call {event.call[:8]} with {_who(event.name, '', event.peer_id)} ended: {event.reason}"
        case MissedCall():
            who = _who(event.missed.name, "", event.missed.peer_id)
            return f"call {event.missed.id[:8]} from {who} was missed"
        case ContactRequested():
            return f"{event.contact.name} ({event.contact.short}) accepted an invite and is a contact now"
        case _:
            return None


def _who(name: str, self_name: str, peer_id: str) -> str:
    """Our name for a peer; else its own in quotes, as nobody has checked it; else the short ID."""
    return name or (f'"{self_name}"' if self_name else peer_id[:7])
