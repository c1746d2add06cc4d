"""The media engine, loaded when the first call needs it.

Law: an idle node does not hold aiortc and av: together they cost 50 MB and a quarter of a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from meshcall.aio.ice.port import IcePort
from meshcall.errors import SourceUnusable
from meshcall.media.endpoint import MediaEndpoint
from meshcall.media.plan import MediaPlan, parse_source
from meshcall.media_paths import check_source


def prepare_media() -> None:
    """Load the media engine before it is needed, off the loop."""
    asyncio.get_running_loop().run_in_executor(None, _load_media)


def _load_media() -> Callable[..., MediaEndpoint]:
    from meshcall.aio.rtc.endpoint import make_endpoint as make

    return make


async def probe_source(source: str) -> None:
    """Raise :class:`SourceUnusable` unless ``source`` can be sent; before anybody's phone rings."""
    check_source(source)
    if parse_source(source).kind not in ("testsrc", "none"):
        await asyncio.get_running_loop().run_in_executor(None, _load_media)
        from meshcall.aio.media.sources import check_source as open_source

        await open_source(MediaPlan(source=source))


async def probe_pictures(source: str) -> None:
    """Raise :class:`SourceUnusable` unless ``source`` has pictures that can be sent."""
    check_source(source)
    kind = parse_source(source).kind
    if kind in ("none", "mic"):
        raise SourceUnusable(
            f"{source!r} has no pictures to share",
            hint="share `screen`, `screen:DISPLAY`, a file or `testsrc`",
        )
    if kind != "testsrc":
        await asyncio.get_running_loop().run_in_executor(None, _load_media)
        from meshcall.aio.media.sources import check_source as open_source

        await open_source(MediaPlan(source=source, audio=False))


async def make_endpoint(
    plan: MediaPlan,
    port: IcePort | None = None,
    resolve: Callable[[str], Awaitable[list[str]]] | None = None,
) -> MediaEndpoint:
    """An endpoint for one call on the node's ``port``; the first one loads the media engine.

    ``resolve``: tells the addresses of a browser's ``.local`` name.
    """
    make = await asyncio.get_running_loop().run_in_executor(None, _load_media)
    return make(plan, port=port, resolve=resolve)
