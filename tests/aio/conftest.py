"""Guards for tests on a real loop: nothing is swallowed, nothing is left over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest


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
