"""What the socket's server and the page's have in common: how they run, and how errors are answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

from meshcall.control.messages import error_response, http_error_response
from meshcall.control.models import BODY_MAX
from meshcall.errors import InternalError, MeshcallError

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_runner(routes: Iterable[web.RouteDef], guard: Any) -> web.AppRunner:
    """A runner of these routes; ``guard`` is the middleware that every request passes."""
    app = web.Application(middlewares=[guard], client_max_size=BODY_MAX)
    app.router.add_routes(routes)
    # handler_cancellation: the drop of a connection reaches its handler at once
    return web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        handler_cancellation=True,
        shutdown_timeout=1.0,
        lingering_time=0.5,
    )


async def answered(request: web.Request, work: Awaitable[web.StreamResponse]) -> web.StreamResponse:
    """What ``work`` makes of the request, or its error as an answer; a bug is logged and told as such."""
    try:
        return await work
    except MeshcallError as error:
        return error_response(error)
    except web.HTTPException as error:
        return http_error_response(error)
    except asyncio.CancelledError:
        raise
    except Exception:
        logger.exception("%s %s failed", request.method, request.path)
        return error_response(InternalError())
