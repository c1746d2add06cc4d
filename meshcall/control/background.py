"""What a request leaves running, or must not let run for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable

from aiohttp import web

from meshcall.control import models
from meshcall.control.listener import close_events
from meshcall.control.node_api import CallApi
from meshcall.errors import MeshcallError, RequestTimedOut
from meshcall.views import Connected, View

logger = logging.getLogger(__name__)


async def limited(work: Awaitable[web.StreamResponse]) -> web.StreamResponse:
    """``work``, or :class:`RequestTimedOut` when it takes too long."""
    try:
        async with asyncio.timeout(models.REQUEST_TIMEOUT):
            return await work
    except TimeoutError:
        raise RequestTimedOut from None


async def logged(work: Awaitable[object]) -> None:
    """``work``, whose failure nobody but the log is told."""
    try:
        await work
    except MeshcallError as error:
        logger.debug("%s: %s", error.code, error)
    except Exception:
        logger.exception("work for a client failed")


async def finish(filling: asyncio.Task[None], events: AsyncIterator[View]) -> None:
    """Stop a listener's task, then unsubscribe it."""
    filling.cancel()
    await asyncio.wait({filling})
    await close_events(events)


async def abandon(starting: Awaitable[CallApi]) -> None:
    """End a call whose client went away while it was being started."""
    call = await starting
    await call.hangup()


async def hang_up_after(call: CallApi, duration: float) -> None:
    """Hang up ``duration`` seconds after the call was connected, unless it has ended by then."""
    events = call.events()
    try:
        async for event in events:
            if isinstance(event, Connected):
                break
        async with asyncio.timeout(duration):
            async for event in events:
                logger.debug("call %s: %s", call.id, type(event).__name__)
    except TimeoutError:
        await call.hangup()
    finally:
        await close_events(events)
