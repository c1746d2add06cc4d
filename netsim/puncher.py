"""Two hosts try to reach each other by UDP: the lab's own proof of what a NAT lets through."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from netsim.host import Host
from netsim.process import LabProcess
from netsim.punch import SCRIPT

Endpoint = tuple[str, int]


class Puncher:
    """One socket on a host. Use it as an async context manager."""

    def __init__(self, host: Host, server: str | None, *, port: int = 0, local: str | None = None) -> None:
        self.host = host
        self._server = server or "-"
        self._port = port
        self._local_address = local or host.ipv4 or host.ipv6
        self._process: LabProcess | None = None
        self._control = -1
        self._rounds = 0
        self.local: Endpoint = ("", 0)
        self.mapped: Endpoint | None = None
        """Its address as the STUN server saw it; None if that did not answer."""

    async def __aenter__(self) -> Puncher:
        reader, self._control = os.pipe()
        argv: list[str | Path] = [
            sys.executable,
            "-I",
            "-S",
            SCRIPT,
            self._local_address,
            self._server,
            str(self._port),
        ]
        try:
            self._process = await self.host.popen(argv, stdin=reader)
        finally:
            os.close(reader)
        await self._process.wait_for_line("mapped")
        first = self._process.json_lines()[0]
        self.local = (first["local"][0], first["local"][1])
        self.mapped = (first["mapped"][0], first["mapped"][1]) if first["mapped"] else None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._control)
        if self._process is not None:
            await self._process.kill()

    async def exchange(self, targets: Sequence[Endpoint], *, seconds: float = 1.0) -> list[Endpoint]:
        """Send to ``targets`` for so long at most; returns where datagrams came from.

        Raises NeverHappened.
        """
        assert self._process is not None
        self._rounds += 1
        os.write(self._control, json.dumps({"targets": list(targets), "seconds": seconds}).encode() + b"\n")
        await self._process.wait_for_line('(?:.*"received".*\n){' + str(self._rounds) + "}")
        return [(ip, port) for ip, port in self._process.json_lines()[self._rounds]["received"]]


async def punch(
    one: Puncher, other: Puncher, *, seconds: float = 1.0
) -> tuple[list[Endpoint], list[Endpoint]]:
    """Both send to the other's mapped address for so long at most; what each received from where."""
    targets = [[peer.mapped] if peer.mapped else [] for peer in (other, one)]
    received = await asyncio.gather(
        one.exchange(targets[0], seconds=seconds), other.exchange(targets[1], seconds=seconds)
    )
    return received[0], received[1]
