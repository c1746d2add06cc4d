"""The daemon: one node and its local API, in the foreground, until a signal comes.

Law 1: nothing that it makes is readable by others: umask 077 before the first file or socket.
Law 2: it is ready only when both the node and the API are; then it says so, once.
Law 3: however it stops, it ends its calls, removes its socket, and gives the home's lock back.
Law 4: an error that the user can mend is one line and a hint; a bug is a traceback in the log, exit code 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from meshcall import systemd
from meshcall.call_log import log_calls
from meshcall.config import Config
from meshcall.control.node_api import NodeApi
from meshcall.daemon_options import config_from, make_parser
from meshcall.errors import MeshcallError, NoIdentity
from meshcall.media_paths import make_record_dir
from meshcall.memory import give_back, loading, share_arenas
from meshcall.notifications import Notification, notify_calls
from meshcall.paths import HomePaths
from meshcall.redaction import RedactingFormatter
from meshcall.reporting import print_error

logger = logging.getLogger("meshcall.daemon")  # it runs as __main__

STOP_TIMEOUT = 15.0
"""Seconds for a clean stop; then the process ends as it is (a wedged library must not keep it alive)."""

NodeFactory = Callable[[Config, str | None], AbstractAsyncContextManager[NodeApi]]
"""Makes a node from a configuration and the key's passphrase; entering it takes the home's lock."""


def real_node(config: Config, passphrase: str | None) -> AbstractAsyncContextManager[NodeApi]:
    """The node of :mod:`meshcall.node`, which is heavy to load."""
    from meshcall.node import Node

    return Node(config, passphrase=passphrase)


def main(arguments: list[str] | None = None, *, make_node: NodeFactory = real_node) -> int:
    """Run a daemon; returns its exit code."""
    os.umask(0o077)
    share_arenas()
    try:
        options = make_parser().parse_args(arguments)
        set_up_logging(options)
        config = config_from(options, Path.cwd())
        passphrase = _unlock(config)
        if config.record_dir is not None:
            make_record_dir(config.record_dir)
        return asyncio.run(run(config, passphrase, make_node))
    except MeshcallError as error:
        print_error(error)
        return error.exit_code
    except KeyboardInterrupt:  # before the loop's own handler was there
        sys.stderr.write("\n")
        return 130


def set_up_logging(options: Namespace) -> None:
    """Log to stderr; what other libraries have to say only from warnings up, whatever ``-v`` asks for."""
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    level = logging.WARNING if options.quiet else logging.DEBUG if options.verbose else logging.INFO
    logging.getLogger("meshcall").setLevel(level)
    # it warns with a traceback of each interface that can't send now; `meshcall status` says so in words
    logging.getLogger("zeroconf").setLevel(logging.ERROR)
    logging.captureWarnings(True)


def _unlock(config: Config) -> str | None:
    """Check the home and its key, and get the passphrase if the key has one."""
    from meshcall.aio.files.home import open_home
    from meshcall.aio.files.keyfile import key_is_locked, load_peer_id
    from meshcall.passphrase import existing_passphrase
    from meshcall.setup_home import ensure_public_id

    if not config.home.exists():
        raise NoIdentity(f"there is no identity in {config.home} yet")  # a wrong --home is not made
    home = open_home(config.home)
    peer_id = load_peer_id(home)
    passphrase = existing_passphrase() if key_is_locked(home) else None
    ensure_public_id(home, peer_id)
    return passphrase


async def run(config: Config, passphrase: str | None, make_node: NodeFactory = real_node) -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP; returns the exit code, raises what stopped the start."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_log_unhandled)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    serving = asyncio.create_task(serve(config, passphrase, make_node), name="serve")
    waiting = asyncio.create_task(stopping.wait(), name="wait for a signal")
    try:
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            return _verdict(serving)
        logger.info("stopping")
        systemd.notify("STOPPING=1")
        serving.cancel()
        _, late = await asyncio.wait({serving}, timeout=STOP_TIMEOUT)
        if late:
            logger.error("the stop took more than %.0f s; ending without it", STOP_TIMEOUT)
            with contextlib.suppress(OSError):
                HomePaths(config.home).socket.unlink()
            logging.shutdown()
            os._exit(1)
        return 0 if serving.cancelled() else _verdict(serving)
    finally:
        waiting.cancel()


def _verdict(serving: asyncio.Task[None]) -> int:
    """The exit code of a service that ended by itself; raises a :class:`MeshcallError` for the user."""
    error = serving.exception()
    if isinstance(error, MeshcallError):
        raise error
    if isinstance(error, BaseExceptionGroup):
        ours, rest = error.split(MeshcallError)
        if ours is not None and rest is None:
            raise _first(ours)
    if error is not None:
        logger.critical("the daemon met a bug and ends", exc_info=error)
    else:
        logger.critical("the daemon's service ended by itself")
    return 1


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def serve(config: Config, passphrase: str | None, make_node: NodeFactory) -> None:
    """Run the node and the API until cancelled."""
    from meshcall.control.web_library import load_aiohttp

    with loading():
        load_aiohttp()
        from meshcall.control.page_server import make_page_server
        from meshcall.control.server import ControlServer

        made = make_node(config, passphrase)
    paths = HomePaths(config.home)
    async with made as node, contextlib.AsyncExitStack() as stack:
        control = ControlServer(node, paths)
        if config.page_port is not None:
            page = make_page_server(control, paths, config.page_port)
            control.login_url = page.login_url
            await stack.enter_async_context(page)
        await stack.enter_async_context(control)
        status = node.status()
        _say_ready(f"ready: {node.id_text()} on UDP port {status.port}, home {config.home}")
        systemd.notify("READY=1")
        give_back()
        for name in missing_interfaces(config):
            logger.warning("there is no network interface %s now", name)
        async with asyncio.TaskGroup() as group:
            group.create_task(
                log_calls(node.events(), by_hand=lambda: node.settings.now.auto_answer == "off"),
                name="log calls",
            )
            group.create_task(
                notify_calls(
                    node.events(),
                    _show,
                    wanted=lambda: node.settings.now.notifications and not len(node.pages),
                    now=asyncio.get_running_loop().time,
                ),
                name="notify of calls",
            )
            group.create_task(_watchdog(), name="watchdog")


async def _show(notification: Notification) -> None:
    from meshcall.aio.desktop import show_notification  # late: a daemon that nobody calls does without

    await show_notification(
        notification.title, notification.text, icon=notification.icon, seconds=notification.seconds
    )


async def _watchdog() -> None:
    """With a watchdog: a loop that is wedged stops saying that it is well, and is restarted."""
    interval = systemd.watchdog_interval()
    while True:
        await asyncio.sleep(3600 if interval is None else interval)
        if interval is not None:
            systemd.notify("WATCHDOG=1")


def missing_interfaces(config: Config) -> list[str]:
    """The interfaces that the configuration names and that this machine does not have."""
    there = {name for _, name in socket.if_nameindex()}
    return [name for name in config.interfaces if name not in there]


def _say_ready(line: str) -> None:
    """The one line on stdout; that nobody reads it is no reason to stop."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _log_unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    logger.error("unhandled: %s", context.get("message"), exc_info=context.get("exception"))


if __name__ == "__main__":
    sys.exit(main())
