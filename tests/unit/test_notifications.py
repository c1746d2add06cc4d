"""Which calls are shown on the desktop, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from meshcall import limits
from meshcall.aio.desktop import arguments
from meshcall.notifications import Notification, describe, notify_calls
from meshcall.views import Connected, HistoryView, Incoming, MissedCall, NodeEvent
from tests.unit.control.fake_node import ALICE_ID

CALL = "c" * 32


def incoming(name: str = "ann", *, self_name: str = "", stranger: bool = False) -> Incoming:
    """Somebody calls."""
    return Incoming(
        call=CALL, at_ms=1, peer_id=ALICE_ID.text, name=name, self_name=self_name, stranger=stranger
    )


def missed(name: str = "ann", *, stranger: bool = False) -> MissedCall:
    """Somebody has called."""
    row = HistoryView(
        id=CALL,
        peer_id=ALICE_ID.text,
        name=name,
        direction="in",
        started_ms=1,
        missed=True,
        stranger=stranger,
    )
    return MissedCall(at_ms=1, missed=row)


async def shown(
    *events: NodeEvent, wanted: bool = True, times: list[float] | None = None
) -> list[Notification]:
    """What is shown of these events; ``times``: monotonic seconds, of the start and of each event."""
    clock = iter([] if times is None else times)
    at = 0.0

    def now() -> float:
        return at

    async def tell() -> AsyncIterator[NodeEvent]:
        nonlocal at
        for event in events:
            at = next(clock, at)
            yield event
            for _ in range(3):
                await asyncio.sleep(0)  # what is shown at once is shown

    found: list[Notification] = []

    async def show(notification: Notification) -> None:
        found.append(notification)

    await notify_calls(tell(), show, wanted=lambda: wanted, now=now)
    return found


def test_contacts_are_shown_and_nobody_else() -> None:
    """By our own name for them; strangers, and what goes on in a call, are not."""
    for event, title in ((incoming(), "Incoming call"), (missed(), "Missed call")):
        said = describe(event)
        assert said is not None
        assert (said.title, said.text) == (title, "ann")
    assert describe(incoming(stranger=True)) is describe(missed(stranger=True)) is None
    assert describe(Connected(call=CALL, at_ms=1, path="lan", setup_ms=1.0)) is None


def test_a_name_is_one_short_line_that_reads_one_way() -> None:
    """Whatever a contact book holds; without a name, the ID's beginning."""
    said = describe(incoming("\u202eann\n\x1b[31m" + "x" * 500))
    assert said is not None
    assert said.text.isprintable()
    assert len(said.text) <= limits.NAME_MAX
    nameless = describe(incoming("", self_name="\u202e"))
    assert nameless is not None
    assert nameless.text == ALICE_ID.short


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("<b>&amp;</b>", "&lt;b&gt;&amp;amp;&lt;/b&gt;"),
        (r"\074b\076 \n", r"\\074b\\076 \\n"),  # what notify-send would make <b> and a line of
        ("--hint=int:x:1", "--hint=int:x:1"),
        ('O\'Neill "$(id)"', 'O\'Neill "$(id)"'),
    ],
)
def test_a_name_is_never_more_than_a_name(name: str, given: str) -> None:
    """Neither markup nor an escape nor an option; it is the last argument, behind ``--``."""
    words = arguments("Incoming call", name, icon="call-start", seconds=60)
    assert words[-3:] == ["--", "Incoming call", given]
    assert "--expire-time=60000" in words


async def test_only_when_it_is_wanted() -> None:
    """No page is open, and it is not switched off."""
    assert len(await shown(incoming(), missed())) == 2
    assert await shown(incoming(), missed(), wanted=False) == []


async def test_who_calls_again_and_again_is_shown_now_and_then() -> None:
    """A burst, then one each pause."""
    burst, pause = limits.NOTIFICATIONS_BURST, limits.NOTIFICATION_PAUSE
    many = [incoming() for _ in range(burst + 20)]
    assert len(await shown(*many)) == burst
    later = [0.0] * (burst + 10) + [pause * 1.01] * 5 + [pause * 3.02] * 5
    assert len(await shown(*many, times=later)) == burst + 3


async def test_a_desktop_that_hangs_keeps_no_event_waiting() -> None:
    """What it does not take is dropped, and the end comes at once."""

    async def tell() -> AsyncIterator[NodeEvent]:
        for _ in range(100):
            yield incoming()

    async def never(notification: Notification) -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(5):
        await notify_calls(tell(), never, wanted=lambda: True, now=lambda: 0.0)
