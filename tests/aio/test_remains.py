"""What connections leave is collected when none is left."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from meshcall import limits
from meshcall.aio.rtc.endpoint import make_endpoint
from meshcall.aio.rtc.remains import Remains
from meshcall.media.plan import MediaPlan


async def test_it_is_collected_after_the_last_one_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that goes on, or begins in time, puts it off."""
    monkeypatch.setattr(limits, "MEDIA_REMAINS_AFTER", 0.01)
    collected: list[int] = []
    remains = Remains(lambda: collected.append(1))
    remains.begin()
    remains.begin()
    remains.end()
    await asyncio.sleep(0.05)
    assert not collected
    remains.end()
    remains.begin()
    await asyncio.sleep(0.05)
    assert not collected
    remains.end()
    await asyncio.sleep(0.05)
    assert collected == [1]


async def test_an_endpoint_that_ended_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed twice, or never opened, it is counted once."""
    monkeypatch.setattr(limits, "MEDIA_REMAINS_AFTER", 0.01)
    gc.disable()
    try:
        endpoint = make_endpoint(MediaPlan(allow_loopback=True, interfaces=("lo",)))
        unopened = make_endpoint(MediaPlan())
        await endpoint.offer()
        await unopened.close()
        left = weakref.ref(endpoint)
        await endpoint.close()
        await endpoint.close()
        del endpoint
        async with asyncio.timeout(5):
            while left() is not None:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
    finally:
        gc.enable()
