"""What connections leave is collected when none is left."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import weakref
from pathlib import Path

import pytest

from meshcall import limits
from meshcall.aio.rtc.endpoint import make_endpoint
from meshcall.aio.rtc.remains import Remains
from meshcall.media.plan import MediaPlan
from meshcall.memory import trim_heap


async def test_it_is_collected_after_the_last_one_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that goes on, or begins in time, puts it off; what is free is given back after each."""
    monkeypatch.setattr(limits, "MEDIA_REMAINS_AFTER", 0.01)
    done: list[str] = []
    remains = Remains(lambda: done.append("collected"), lambda: done.append("given back"))
    remains.begin()
    remains.begin()
    remains.end()
    await asyncio.sleep(0.05)
    assert done == ["given back"]
    remains.end()
    remains.begin()
    await asyncio.sleep(0.05)
    assert done == ["given back"]
    remains.end()
    await asyncio.sleep(0.05)
    assert done == ["given back", "collected", "given back"]


def resident() -> int:
    """Octets of this process (proc(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_what_lies_free_below_what_is_used_is_given_back() -> None:
    """As native objects of calls leave it; glibc alone gives back the end of a heap only."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    blocks = [libc.malloc(100_000) for _ in range(600)]
    for block in blocks:
        ctypes.memset(block, 1, 100_000)
    for block in blocks[:-1]:
        libc.free(ctypes.c_void_p(block))
    before = resident()
    trim_heap()
    given = before - resident()
    libc.free(ctypes.c_void_p(blocks[-1]))
    assert given > 40_000_000


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
