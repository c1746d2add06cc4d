"""meshcall on a host of the lab: its home, its daemon, its command line, its local API.

Law: meshcall is used from outside only, as its users do; nothing of it is imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from netsim.errors import NeverHappened
from netsim.lab import Host
from netsim.process import Completed, LabProcess

READY_POLL_S = 0.02
DHT_PORT = 4000

StatusTest = Callable[[dict[str, Any]], bool]


def address_text(host: Host, port: int) -> str:
    """HOST:PORT, with brackets around an IPv6 address."""
    return f"{host.ipv4}:{port}" if host.ipv4 else f"[{host.ipv6}]:{port}"


async def start_testnet(host: Host, nodes: int, *, join: Sequence[str] = (), ipv6: bool = False) -> list[str]:
    """Run a private DHT on one host; returns the flags that make a daemon join it.

    ``join``: such flags of a network that these nodes are part of. ``ipv6``: by the host's IPv6 address,
    though it has an IPv4 one, too. Nodes take turns with the addresses of that family if there are several.
    """
    ip = host.ipv6 if ipv6 else host.ipv4 or host.ipv6
    more = [other for attachment in host.attachments for other in attachment.more]
    ips = [ip, *(other for other in more if (":" in other) == (":" in ip))]
    first, last = (
        f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
        for ip, port in ((ip, DHT_PORT), (ips[(nodes - 1) % len(ips)], DHT_PORT + nodes - 1))
    )
    testnet = await host.python(
        *("-m", "meshcall.testing.testnet", "--nodes", str(nodes)),
        *(word for ip in ips for word in ("--bind", ip)),
        *("--port", str(DHT_PORT)),
        *join,
    )
    # It prints its nodes' addresses once they know each other.
    await testnet.wait_for_line(re.escape(last), timeout=60)
    return ["--bootstrap", first]


def meshcall_command() -> list[str]:
    """How to start the command line that belongs to this interpreter."""
    script = Path(sys.executable).with_name("meshcall")
    return [str(script)] if script.exists() else [sys.executable, "-m", "meshcall.cli.main"]


class Peer:
    """One identity with its own home on one host."""

    def __init__(self, host: Host, *, home: Path | None = None) -> None:
        self.host = host
        self.home = home or host.directory / "home"
        self.id = ""
        """The 56-character ID, once :meth:`start` or :meth:`init` is done."""
        self.daemon: LabProcess | None = None

    def command(self, *args: str | Path) -> list[str | Path]:
        """``meshcall --home ... ARGS``."""
        return [*meshcall_command(), "--home", self.home, *args]

    async def cli(self, *args: str | Path, timeout: float = 60.0) -> Completed:
        """Run a command to its end."""
        return await self.host.run(self.command(*args), timeout=timeout)

    async def start_cli(self, *args: str | Path) -> LabProcess:
        """Start a command."""
        return await self.host.popen(self.command(*args))

    async def init(self) -> str:
        """Make the identity and return its ID. Raises CommandFailed."""
        (await self.cli("init")).check()
        self.id = (await self.cli("id", "--json")).check().json()["peer_id"]
        return self.id

    async def start(self, *flags: str | Path, timeout: float = 60.0) -> None:
        """Start the daemon and wait until its API answers. Raises CommandFailed, NeverHappened."""
        if not self.id:
            await self.init()
        # Routers are the lab's, so they may be asked; there is no Mainline DHT unless a test makes one.
        env = {"MESHCALL_NO_PORT_MAPPING": ""}
        if "--mainline-bootstrap" not in flags:
            env["MESHCALL_NO_MAINLINE"] = "1"
        self.daemon = await self.host.popen(self.command("daemon", *flags), env=env)
        await self.wait_until_ready(timeout)

    async def wait_until_ready(self, timeout: float = 20.0) -> dict[str, Any]:
        """Wait until the daemon's API answers, and return its status. Raises NeverHappened."""
        assert self.daemon is not None
        try:
            async with asyncio.timeout(timeout):
                while self.daemon.running:
                    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                        status: dict[str, Any] = await self.get("status")
                        return status
                    await asyncio.sleep(READY_POLL_S)
        except TimeoutError:
            pass
        raise NeverHappened(f"the daemon on {self.host.name} is not ready", self.daemon.tail())

    async def wait_for_status(self, what: str, test: StatusTest, timeout: float = 20.0) -> dict[str, Any]:
        """Wait until ``test`` accepts the daemon's status. Raises NeverHappened."""
        status: dict[str, Any] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while True:
                    status = await self.get("status")
                    if test(status):
                        return status
                    await asyncio.sleep(READY_POLL_S)
        logs = self.daemon.tail() if self.daemon else ""
        raise NeverHappened(f"{self.host.name} did not get to: {what}; status {status}", logs)

    async def get(self, path: str) -> Any:
        """One GET of the local API. Raises OSError."""
        return await self._exchange(path)

    async def post(self, path: str, **fields: object) -> Any:
        """One POST of the local API. Raises OSError, whose text has what the API says."""
        return await self._exchange(path, json.dumps(fields).encode())

    async def _exchange(self, path: str, body: bytes | None = None) -> Any:
        reader, writer = await self._request(path, body)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            answer = await reader.read()
        finally:
            writer.close()
        if head.split(" ", 2)[1] not in ("200", "201"):
            raise OSError(f"{path}: {head.splitlines()[0]}: {answer.decode(errors='replace')}")
        return json.loads(answer)

    async def events(
        self, path: str = "events", subscribed: Callable[[], None] = lambda: None
    ) -> AsyncIterator[dict[str, Any]]:
        """The local API's stream of events; ends with the daemon.

        ``subscribed`` is called when what happens from then on is told.
        """
        reader, writer = await self._request(path)
        try:
            await reader.readuntil(b"\r\n\r\n")  # the daemon subscribes before it answers
            subscribed()
            while line := await reader.readline():
                if line.strip():
                    yield json.loads(line)
        finally:
            writer.close()

    async def _request(
        self, path: str, body: bytes | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # Unix sockets with a path cross network namespaces. A path longer than an address is reached by
        # way of its folder's descriptor.
        folder = os.open(self.home / "run", os.O_RDONLY | os.O_DIRECTORY)
        try:
            reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/control.sock")
        finally:
            os.close(folder)
        # HTTP 1.0: the answer comes in one piece, or line by line, until the connection ends.
        head = f"{'GET' if body is None else 'POST'} /api/v1/{path} HTTP/1.0\r\nHost: meshcall\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}\r\n".encode() + (body or b""))
        return reader, writer


class EventLog:
    """Keeps the events of one peer from the moment that it is entered."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self.events: list[dict[str, Any]] = []

    async def __aenter__(self) -> EventLog:
        subscribed = asyncio.Event()
        self._task = asyncio.create_task(self._collect(subscribed.set))
        self._task.add_done_callback(lambda _: subscribed.set())
        await subscribed.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await self._task

    async def _collect(self, subscribed: Callable[[], None]) -> None:
        async for event in self._peer.events(subscribed=subscribed):
            async with self._changed:
                self.events.append(event)
                self._changed.notify_all()

    async def wait_for(self, timeout: float = 20.0, **fields: object) -> dict[str, Any]:
        """The first event with these ``fields``. Raises NeverHappened."""

        def find() -> dict[str, Any] | None:
            return next((e for e in self.events if all(e.get(k) == v for k, v in fields.items())), None)

        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: find() is not None)
        except TimeoutError:
            logs = self._peer.daemon.tail() if self._peer.daemon else ""
            raise NeverHappened(
                f"{self._peer.host.name}: no event with {fields} within {timeout} s; seen: {self.events}",
                logs,
            ) from None
        found = find()
        assert found is not None
        return found
