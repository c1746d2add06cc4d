"""A slow reader costs a fixed amount of memory and is told."""

from __future__ import annotations

import asyncio

from meshcall.control.listener import Listener
from meshcall.views import Lagged, View, Warned
from tests.unit.control.fake_node import Subscription


def warned(number: int) -> Warned:
    """An event that can be told from others."""
    return Warned(at_ms=number, message="")


async def collect(listener: Listener) -> list[View]:
    """All that the listener has to give."""
    return [event async for event in listener.read()]


async def test_a_reader_gets_everything_in_order() -> None:
    """Up to the queue's size nothing is lost."""
    events = [warned(number) for number in range(10)]
    listener = Listener(_Ending(events), size=10)
    await listener.fill()
    assert await collect(listener) == events


async def test_a_slow_reader_is_dropped_and_told() -> None:
    """What is queued is still delivered, then one ``lagged``, then the end."""
    events = [warned(number) for number in range(50)]
    listener = Listener(_Ending(events), size=5)
    await listener.fill()
    got = await collect(listener)
    assert got[:5] == events[:5]
    assert isinstance(got[5], Lagged)
    assert len(got) == 6


async def test_end_stops_a_waiting_reader() -> None:
    """A daemon that stops does not wait for the next event."""
    queues: list[asyncio.Queue[View]] = []
    listener = Listener(Subscription(queues))
    reading = asyncio.create_task(collect(listener))
    await asyncio.sleep(0)
    listener.end()
    assert await reading == []


class _Ending:
    """Events that come to an end."""

    def __init__(self, events: list[Warned]) -> None:
        self._left = list(events)

    def __aiter__(self) -> _Ending:
        return self

    async def __anext__(self) -> Warned:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop(0)
