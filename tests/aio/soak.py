"""Many short calls in one process: what stays behind. ``python -m tests.aio.soak 500`` prints it.

Each is one member who joins another in a room, is seen and heard, and leaves; every tenth leaves before the
path is up.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from meshcall.aio.rtc.endpoint import make_endpoint
from meshcall.media.endpoint import FirstMedia, MediaEndpoint
from meshcall.media.plan import MediaPlan
from meshcall.memory import share_arenas

PLAN = MediaPlan(source="testsrc", room="soak", allow_loopback=True, interfaces=("lo",))
PATIENCE = 20.0
HASTY = 10
SETTLE = 2.0
"""Seconds that timers of a call that ended may hold what it was made of."""


class _MallInfo2(ctypes.Structure):
    """struct mallinfo2 (mallinfo(3), glibc 2.33 and later)."""

    _fields_ = [  # type: ignore[mutable-override] # no list is narrower than ctypes wants
        ("arena", ctypes.c_size_t),
        ("ordblks", ctypes.c_size_t),
        ("smblks", ctypes.c_size_t),
        ("hblks", ctypes.c_size_t),
        ("hblkhd", ctypes.c_size_t),
        ("usmblks", ctypes.c_size_t),
        ("fsmblks", ctypes.c_size_t),
        ("uordblks", ctypes.c_size_t),
        ("fordblks", ctypes.c_size_t),
        ("keepcost", ctypes.c_size_t),
    ]


@dataclass(frozen=True, slots=True)
class Weight:
    """Of this process."""

    rss: int
    """Octets. What is free but lies between what is in use counts, so it comes and goes by 30 MB."""
    used: int
    """Octets that malloc gave out and that are not free yet: what a codec or a library leaks stays here."""
    blocks: int
    """Of Python's own allocator, which holds all small objects: what we leak stays here."""
    fds: int
    threads: int
    tasks: int


def weigh() -> Weight:
    """Now, without garbage, and without free memory that glibc keeps."""
    gc.collect()
    libc = ctypes.CDLL(None)
    libc.malloc_trim(0)
    libc.mallinfo2.restype = _MallInfo2
    heap = libc.mallinfo2()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return Weight(
        pages * os.sysconf("SC_PAGE_SIZE"),
        heap.uordblks + heap.hblkhd,
        sys.getallocatedblocks(),
        sum(1 for _ in Path("/proc/self/fd").iterdir()),
        threading.active_count(),
        len(asyncio.all_tasks()),
    )


async def _media(endpoint: MediaEndpoint) -> None:
    kinds: set[str] = set()
    async for event in endpoint.events():
        if isinstance(event, FirstMedia):
            kinds.add(event.kind)
            if kinds == {"audio", "video"}:
                return


async def join_and_leave(number: int) -> None:
    """One call."""
    here, there = make_endpoint(PLAN), make_endpoint(PLAN)
    try:
        await here.accept(await there.answer(await here.offer()))
        await asyncio.gather(here.open_gate(), there.open_gate())
        if number % HASTY:
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(_media(here), _media(there))
    finally:
        await asyncio.gather(here.close(), there.close())


async def soak(calls: int, warm: int, every: int = 25, *, say: bool = False) -> list[Weight]:
    """What the process weighs after ``warm`` calls, and then after each ``every`` of ``calls`` more."""
    weights = []
    for number in range(1, warm + calls + 1):
        await join_and_leave(number)
        if number >= warm and (number - warm) % every == 0:
            await asyncio.sleep(SETTLE)
            weights.append(weigh())
            if say:
                print(number, weights[-1], flush=True)
    return weights


if __name__ == "__main__":
    share_arenas()  # as a daemon does
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    asyncio.run(soak(count - count // 5, count // 5, say=True))
