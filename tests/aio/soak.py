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

PLAN = MediaPlan(source="testsrc", room="soak", allow_loopback=True, interfaces=("lo",))
PATIENCE = 20.0
HASTY = 10


@dataclass(frozen=True, slots=True)
class Weight:
    """Of this process."""

    rss: int
    """Octets."""
    fds: int
    threads: int
    tasks: int


def weigh() -> Weight:
    """Now, without garbage, and without free memory that glibc keeps."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return Weight(
        pages * os.sysconf("SC_PAGE_SIZE"),
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
            weights.append(weigh())
            if say:
                print(number, weights[-1], flush=True)
    return weights


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    asyncio.run(soak(count - count // 5, count // 5, say=True))
