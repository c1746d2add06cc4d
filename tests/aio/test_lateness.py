"""How late the loop is, told to all connections by one timer."""

from __future__ import annotations

import asyncio
import time

from meshcall import limits
from meshcall.aio.lateness import lateness_of_loop


async def test_all_are_told_of_one_look_until_they_forget() -> None:
    """A step of the loop that takes 0.15 s makes the next look late by what is left of it."""
    lateness = lateness_of_loop()
    assert lateness_of_loop() is lateness
    first: list[float] = []
    second: list[float] = []

    def hear_first(late: float, at: float) -> None:
        first.append(late)

    def hear_second(late: float, at: float) -> None:
        second.append(late)

    lateness.listen(hear_first)
    lateness.listen(hear_second)
    due = asyncio.get_running_loop().time() + limits.ARRIVALS_PROBE
    time.sleep(0.15)  # noqa: ASYNC251 - that is what is looked for
    assert lateness.now(due + 0.1) > 0.09
    async with asyncio.timeout(5):
        while not second:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
    assert first == second
    assert first[0] > 0.08
    lateness.forget(hear_first)
    lateness.forget(hear_first)
    count = len(first)
    async with asyncio.timeout(5):
        while len(second) < 3:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
    lateness.forget(hear_second)
    assert len(first) == count


async def test_nobody_looks_while_nobody_listens() -> None:
    """An idle daemon is not woken for it."""
    lateness = lateness_of_loop()

    def hear(late: float, at: float) -> None:
        lateness.forget(hear)

    lateness.listen(hear)
    async with asyncio.timeout(5):
        while lateness.now(float("inf")):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
