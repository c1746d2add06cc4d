"""Calls on the desktop while no call page is open: who calls, and who has called.

Law 1: contacts are shown and nobody else, as they alone ring: no stranger writes on anybody's screen.
Law 2: showing takes as long as it takes, and keeps no event waiting.
Law 3: so many in a row, then one each pause; what is more than that is dropped, for the history has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from meshcall import limits
from meshcall.identity.uri import clean_name
from meshcall.views import Incoming, MissedCall, NodeEvent


@dataclass(frozen=True, slots=True)
class Notification:
    """What is to be shown. Plain text: whoever shows it sees to its markup."""

    title: str
    """Ours alone; nothing of a peer is in it."""
    text: str
    icon: str
    """A name of the freedesktop Icon Naming Specification."""
    seconds: float
    """How long it means something."""


def describe(event: NodeEvent) -> Notification | None:
    """What is shown for an event; None: nothing."""
    match event:
        case Incoming(stranger=False):
            name = _name(event.name, event.self_name, event.peer_id)
            return Notification("Incoming call", name, "call-start", limits.CALL_RING)
        case MissedCall() if not event.missed.stranger:
            name = _name(event.missed.name, "", event.missed.peer_id)
            return Notification("Missed call", name, "appointment-missed", limits.CALL_RING)
        case _:
            return None


def _name(name: str, self_name: str, peer_id: str) -> str:
    return clean_name(name) or clean_name(self_name) or peer_id[:7]


async def notify_calls(
    events: AsyncIterator[NodeEvent],
    show: Callable[[Notification], Awaitable[None]],
    *,
    wanted: Callable[[], bool],
    now: Callable[[], float],
) -> None:
    """Show what is to be shown of ``events`` until they end. ``now``: monotonic seconds.

    ``show`` must not raise; ``wanted`` is asked at each event.
    """
    queue: asyncio.Queue[Notification] = asyncio.Queue(limits.NOTIFICATIONS_BURST)
    showing = asyncio.create_task(_show_all(queue, show), name="show notifications")
    purse, filled = float(limits.NOTIFICATIONS_BURST), now()
    try:
        async for event in events:
            notification = describe(event)
            if notification is None or not wanted():
                continue
            earned = (now() - filled) / limits.NOTIFICATION_PAUSE
            purse, filled = min(purse + earned, float(limits.NOTIFICATIONS_BURST)), now()
            if purse >= 1 and not queue.full():
                purse -= 1
                queue.put_nowait(notification)
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


async def _show_all(
    queue: asyncio.Queue[Notification], show: Callable[[Notification], Awaitable[None]]
) -> None:
    while True:
        await show(await queue.get())
