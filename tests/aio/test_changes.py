"""Changes of a running session by both ends: what waits, what crosses, what gets no answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from meshcall import limits
from meshcall.aio.rtc.changes import Changes
from meshcall.call.negotiation import Negotiate, decode_negotiate_untrusted, encode_negotiate
from meshcall.errors import Rejected


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long."""
    monkeypatch.setattr(limits, "CHANGE_PAUSE", 0.0)
    monkeypatch.setattr(limits, "CHANGE_PATIENCE", 0.02)


class One:
    """One end of a call, whose peer is the test."""

    def __init__(self, *, polite: bool) -> None:
        self.said: list[tuple[str, bytes, bool]] = []
        self.accepted: list[bytes] = []
        self.counters: Counter[str] = Counter()
        self.void = False
        """There is nothing to offer any more."""
        self.changes = Changes(
            self._answer, self._send, self.counters, offer=self._offer, accept=self._accept
        )
        self.changes.polite = polite

    def _offer(self, number: int) -> bytes:
        return b"" if self.void else b"ours %d" % number

    async def _answer(self, offer: bytes) -> bytes:
        return b"to " + offer

    async def _accept(self, answer: bytes) -> None:
        if answer == b"old":
            raise Rejected("old")
        self.accepted.append(answer)

    def _send(self, data: bytes, by_letter: bool) -> None:
        message = decode_negotiate_untrusted(data)
        self.said.append((message.kind, message.body, by_letter))

    def hears(self, kind: str, body: bytes) -> None:
        """The peer says this."""
        self.changes.take(encode_negotiate(Negotiate(kind, body)))  # type: ignore[arg-type]

    async def until(self, condition: Callable[[One], object]) -> None:
        """Return when it holds."""
        async with asyncio.timeout(5):
            while not condition(self):  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0)


async def test_nothing_is_offered_before_the_gate() -> None:
    """Then it is, with its number, and is settled by its answer."""
    one = One(polite=False)
    one.changes.want()
    await asyncio.sleep(0.01)
    assert one.said == []
    one.changes.open_gate()
    await one.until(lambda one: one.said)
    one.hears("answer", b"yes")
    await one.until(lambda one: one.accepted)
    await asyncio.sleep(0.05)
    assert one.said == [("offer", b"ours 1", False)]
    assert not one.counters
    await one.changes.close()


@pytest.mark.parametrize("polite", [True, False])
async def test_two_offers_cross(polite: bool) -> None:
    """Who answered the call answers and offers again behind; who called goes on waiting."""
    one = One(polite=polite)
    one.changes.open_gate()
    one.changes.want()
    await one.until(lambda one: one.said)
    one.hears("offer", b"theirs")
    if polite:
        await one.until(lambda one: len(one.said) == 3)
        assert one.said[1:] == [("answer", b"to theirs", False), ("offer", b"ours 2", False)]
    else:
        await one.until(lambda one: one.counters["negotiate-crossed"])
        assert one.said == [("offer", b"ours 1", False)]
    one.hears("answer", b"yes")
    await one.until(lambda one: one.accepted == [b"yes"])
    await one.changes.close()


async def test_what_is_so_already_is_not_offered() -> None:
    """The peer's offer brought it about."""
    one = One(polite=True)
    one.void = True
    one.changes.open_gate()
    one.changes.want()
    one.hears("answer", b"to nothing")
    await one.until(lambda one: one.counters["negotiate-unasked"])
    assert not one.said
    assert not one.accepted
    await one.changes.close()


async def test_who_answers_nothing_is_left_alone() -> None:
    """After some tries; what is wanted later is offered anew."""
    one = One(polite=False)
    one.changes.open_gate()
    one.changes.want()
    await one.until(lambda one: one.counters["negotiate-unanswered"] == limits.CHANGE_TRIES)
    await asyncio.sleep(0.1)
    assert [body for _, body, _ in one.said] == [b"ours 1", b"ours 2", b"ours 3", b"ours 4"]
    one.changes.want()
    await one.until(lambda one: len(one.said) == 5)
    one.hears("answer", b"old")  # late, to one of before
    await one.until(lambda one: one.counters["negotiate-old"])
    one.hears("answer", b"yes")
    await one.until(lambda one: one.accepted)
    await one.changes.close()


async def test_what_may_be_lost_is_told_by_letter() -> None:
    """While it waits for its answer, and not after it."""
    one = One(polite=False)
    one.changes.repeat()
    one.changes.open_gate()
    one.changes.want()
    await one.until(lambda one: one.said)
    one.changes.repeat()
    assert one.said == [("offer", b"ours 1", False), ("offer", b"ours 1", True)]
    one.hears("answer", b"yes")
    await one.until(lambda one: one.accepted)
    one.changes.repeat()
    assert len(one.said) == 2
    await one.changes.close()
