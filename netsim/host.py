"""A machine of the lab: one network namespace, and the programs that run in it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from netsim.namespaces import Sandbox
from netsim.process import Completed, LabProcess


@dataclass(slots=True)
class Attachment:
    """One interface of a host: where it leads and what its addresses are."""

    network: str
    """The site that it leads to, or ``internet``."""
    device: str
    ipv4: str = ""
    ipv6: str = ""
    more: tuple[str, ...] = ()
    """Addresses besides these two."""
    prefix_length: int = 24
    """Of the IPv4 network; IPv6 networks have 64."""
    gateway4: str = ""
    gateway6: str = ""
    up: bool = True
    far_end: tuple[str, str] = ("", "")
    """Namespace and device at the other end of the wire."""


class Host:
    """A machine of the lab: one network namespace."""

    def __init__(self, sandbox: Sandbox, name: str) -> None:
        self._sandbox = sandbox
        self.name = name
        self.interface = "eth0"
        self.mac = ""
        self.ipv4 = ""
        """Its address, or an empty string on a LAN without IPv4."""
        self.ipv6 = ""
        """Its address, or an empty string on a LAN without IPv6; it has a link-local one besides."""
        self.attachments: list[Attachment] = []
        """Its interfaces to sites and to the internet; hosts of a plain LAN have none here."""
        self.environment: dict[str, str] = {}
        """Of every program that is started here, besides the lab's own environment."""
        self.clock_offset = 0.0
        """Seconds that the clock of all programs here is fast, if ``environment`` makes it wrong."""
        self.processes: list[LabProcess] = []

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.ipv4 or self.ipv6}>"

    @property
    def sandbox(self) -> Sandbox:
        """What its lab runs in."""
        return self._sandbox

    @property
    def directory(self) -> Path:
        """A folder for this host's files, gone with the lab."""
        path = self._sandbox.directory / self.name
        path.mkdir(exist_ok=True)
        return path

    async def run(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        input_text: str | None = None,
        timeout: float = 60.0,
    ) -> Completed:
        """Run a program here to its end. Raises LabError, NeverHappened."""
        return await self._sandbox.run(
            [str(word) for word in argv],
            namespace=self.name,
            env={**self.environment, **(env or {})},
            cwd=cwd or self.directory,
            input_text=input_text,
            timeout=timeout,
        )

    async def popen(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: int | None = None,
    ) -> LabProcess:
        """Start a program here; it ends with the lab at the latest. Raises LabError."""
        process = await self._sandbox.spawn(
            [str(word) for word in argv],
            namespace=self.name,
            env={**self.environment, **(env or {})},
            cwd=cwd or self.directory,
            stdin=stdin,
        )
        self.processes.append(process)
        return process

    async def python(self, *args: str | Path, env: Mapping[str, str] | None = None) -> LabProcess:
        """Start this interpreter here: ``await host.python("-m", "http.server")``."""
        return await self.popen([sys.executable, *args], env=env)

    async def stop_all(self, grace: float = 5.0) -> None:
        """Stop what was started here with :meth:`popen`."""
        await asyncio.gather(*(process.stop(grace) for process in self.processes if process.running))
