"""Guards for tests on a real loop: nothing is swallowed, nothing is left over, nothing blocks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest
from blockbuster import blockbuster_ctx

_WHILE_CALLS_LIVE: Final = [
    "meshcall.aio.dht",
    "meshcall.aio.media",
    "meshcall.aio.mdns",
    "meshcall.aio.rtc",
    "meshcall.aio.udp",
    "meshcall.dht",
    "meshcall.driver",
    "meshcall.finder",
    "meshcall.post",
    "meshcall.room_links",
    "meshcall.room_session",
    "meshcall.whereabouts",
]
"""What runs on the loop while a call waits for it. What a node does before it begins, after it has ended, or
in a user's own synchronous call (the contact book) may touch the disk."""

_MAY_BLOCK: Final = {
    "meshcall/post.py": {"__init__"},  # reads what was remembered, before the node begins
    "meshcall/whereabouts.py": {"__init__"},  # likewise
    "meshcall/media_paths.py": {"check_record"},  # a look at the recording's folder, before anything rings
    "logging/__init__.py": {"emit"},  # the log is written where it is called
}


@pytest.fixture(autouse=True)
async def loop_guard() -> AsyncIterator[None]:
    """The test fails if a callback or task of its loop raised unseen, or if a task outlives it."""
    loop = asyncio.get_running_loop()
    caught: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: caught.append(context))
    before = asyncio.all_tasks()
    yield
    left: set[asyncio.Task[Any]] = set()
    for _ in range(50):
        left = {task for task in asyncio.all_tasks() - before - {asyncio.current_task()} if not task.done()}
        if not left:
            break
        await asyncio.sleep(0.02)
    assert not left, f"tasks left over: {left}"
    assert not caught, f"unhandled in the loop: {caught}"


@pytest.fixture(autouse=True)
def blocking_guard() -> Iterator[None]:
    """The test fails if what runs while calls live blocks the event loop: sleeps, files, SQLite, sockets."""
    with blockbuster_ctx(_WHILE_CALLS_LIVE) as guard:
        for name, function in guard.functions.items():
            if name.startswith("threading."):
                function.deactivate()  # the short locks of queues and of libraries are no waiting
            for file, functions in _MAY_BLOCK.items():
                function.can_block_in(file, functions)
        yield
