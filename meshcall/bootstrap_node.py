"""A bootstrap node: a plain router of the DHT in the foreground. No identity, no calls, no LAN, no API.

Law 1: what it does not use it does not load. Most of a Python program's memory is its libraries.
Law 2: nothing that it writes is readable by others: umask 077 before the first file.
Law 3: it routes at once. Whoever runs it says with that that it can be reached on its port.
Law 4: killed at any moment it comes back with its key and the table it saved last.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from meshcall import systemd
from meshcall.address import format_address
from meshcall.errors import FileError, MeshcallError, StateCorrupt, StateUnwritable, UsageError
from meshcall.memory import give_back
from meshcall.paths import HomePaths
from meshcall.reporting import print_error, printable, write_result

if TYPE_CHECKING:
    from meshcall.aio.router import Router
    from meshcall.identity.keys import SigningKey

QUIET: Final = "quiet"
"""What is said in place of ``report`` to have no hourly line logged."""
REPORT_INTERVAL: Final = 3600.0
"""Seconds between two lines about how it is."""
_ELSEWHERE: Final = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses (RFC 5737, RFC 3849) to ask the routing table about; nothing is sent there."""


def leave_out() -> None:
    """Keep three libraries from being loaded that others would load for us, 9 MB of 37.

    kademlia imports asyncio for its network code, and we use its tables only. hashlib takes OpenSSL's hashes
    if they are there; its own are as good, and cryptography brings its own OpenSSL, so there would be two.
    typing_extensions is an optional import of msgspec. For a process that does nothing else.
    """
    sys.modules.setdefault("asyncio", ModuleType("asyncio"))
    nothing: Any = None  # an import of it then fails, as where it is not installed
    for name in ("_hashlib", "typing_extensions"):
        sys.modules.setdefault(name, nothing)


def main(arguments: list[str]) -> int:
    """Run it: HOME, PORT, ``quiet`` or ``report``, then HOST:PORT of each node to join through.

    The command line has checked them. Returns the exit code.
    """
    os.umask(0o077)
    home, port, manner, *bootstrap = arguments
    try:
        return run(Path(home), int(port), bootstrap, quiet=manner == QUIET)
    except MeshcallError as error:
        print_error(error)
        return error.exit_code
    except KeyboardInterrupt:  # before our own handler was there
        sys.stderr.write("\n")
        return 130


def run(path: Path, port: int, bootstrap: Sequence[str], *, quiet: bool) -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP; returns the exit code, raises what stopped the start."""
    from meshcall.aio.clock import SystemClock, system_random
    from meshcall.aio.files.atomic import load_or_set_aside
    from meshcall.aio.files.home import HomeLock, open_home
    from meshcall.aio.router import Router
    from meshcall.dht.saved import checked_table

    home = open_home(path)
    if home.key.exists():
        raise UsageError(
            f"{home.path} is the home of an identity; a bootstrap node has one of its own",
            hint="name another with `--home DIR`",
        )
    with HomeLock(home):
        node_key = load_node_key(home)
        state, warning = load_or_set_aside(home.dht, checked_table, None)
        if warning:
            log(warning)
        router = Router(
            node_key,
            port=port,
            bootstrap=bootstrap,
            table=home.dht,
            state=state,
            clock=SystemClock(),
            random=system_random,
            log=log,
        )
        try:
            _serve(router, home, quiet=quiet)
        finally:
            router.close()
    return 0


def _serve(router: Router, home: HomePaths, *, quiet: bool) -> None:
    signal.set_wakeup_fd(router.waking_fd(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: router.stop())
    signal.signal(signal.SIGUSR1, lambda *_: log(report(router)))
    node = router.engine.node_id.hex()[:8]
    _say(f"ready: node {node} on UDP port {router.port}, home {home.path}")
    for address in own_addresses(router.port):
        _say(f"address: {address}")
    systemd.notify("READY=1")
    interval = systemd.watchdog_interval()
    if interval is not None:
        router.every(interval, lambda: systemd.notify("WATCHDOG=1"))
    if not quiet:
        router.every(REPORT_INTERVAL, lambda: log(report(router)))
    give_back()
    router.serve()
    systemd.notify("STOPPING=1")
    if not quiet:
        log("stopping")
    signal.set_wakeup_fd(-1)


def load_node_key(home: HomePaths) -> SigningKey:
    """The node key of a home, made if there is none. A damaged one is set aside: another will do as well."""
    from meshcall.aio.clock import system_random
    from meshcall.aio.files.atomic import create_exclusive, load_or_set_aside
    from meshcall.identity.keys import SigningKey

    seed, warning = load_or_set_aside(home.node_key, _checked_seed, None)
    if warning:
        log(warning)
    if seed is None:
        seed = system_random(32)
        try:
            create_exclusive(home.node_key, seed)
        except OSError as error:
            raise StateUnwritable(
                f"the node key {home.node_key} can't be written: {error.strerror}"
            ) from error
    return SigningKey.from_seed(seed)


def _checked_seed(data: bytes) -> bytes:
    if len(data) != 32:
        raise StateCorrupt("it is not a node key")
    return data


def own_addresses(port: int) -> list[str]:
    """Where this machine sends from, as HOST:PORT: what others may join through if nothing translates it."""
    found: list[str] = []
    for family, elsewhere in _ELSEWHERE.items():
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((elsewhere, 9))
            found.append(format_address((asking.getsockname()[0], port)))
    return found or [format_address(("127.0.0.1", port))]


def report(router: Router) -> str:
    """One line about how it is."""
    now = router.statistics()
    asked = sum(count for name, count in now.counters.items() if name.startswith("received-"))
    rejected = sum(count for name, count in now.counters.items() if name.startswith("rejected-"))
    return (
        f"{now.contacts} nodes in {now.buckets} buckets, {now.records.values} records "
        f"({now.records.octets} octets), {now.watches_held} watches, {asked} requests, {rejected} rejected, "
        f"{resident() / 1e6:.1f} MB"
    )


def resident() -> int:
    """Octets of memory that this process has now (VmRSS); 0 where the system does not tell."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def log(text: str) -> None:
    """A line on stderr. No peer's text gets here, and no address."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"bootstrap-node: {printable(text)}\n")
        sys.stderr.flush()


def _say(line: str) -> None:
    """A line on stdout; that nobody reads it is no reason to stop."""
    with suppress(OSError, ValueError, FileError):
        write_result(line)


if __name__ == "__main__":
    leave_out()
    sys.exit(main(sys.argv[1:]))
