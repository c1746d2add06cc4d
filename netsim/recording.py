"""Record what a host or router sees: ``capture = await record(host)``, and a pcapng file for Wireshark."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from netsim.capture import SCRIPT, Frame, read_capture
from netsim.host import Host
from netsim.lab import Lab
from netsim.process import LabProcess


class Recording:
    """A capture that runs. It ends with :meth:`stop`, or with the lab."""

    def __init__(self, process: LabProcess, path: Path) -> None:
        self._process = process
        self.path = path
        """The pcapng file; complete at any time."""

    def frames(self) -> list[Frame]:
        """What it holds so far."""
        return list(read_capture(self.path))

    async def stop(self) -> int:
        """End it; returns how many frames were lost because they came too fast."""
        if self._process.running:
            await self._process.stop()
        return int(self._process.json_lines()[-1]["dropped"])


async def record(host: Host, path: Path | None = None) -> Recording:
    """Record every device of a host or router. Raises LabError, NeverHappened."""
    path = path or host.directory.parent / f"{host.name}.pcapng"
    process = await host.popen([sys.executable, "-I", "-S", SCRIPT, path])
    await process.wait_for_line("^ready$")
    return Recording(process, path)


async def record_all(lab: Lab, folder: Path) -> list[Recording]:
    """Record every host and router that there is, a file each, until the lab ends.

    ``folder`` is absolute. Raises LabError, NeverHappened.
    """
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - one folder
    hosts = list(lab.hosts.values())
    return await asyncio.gather(*(record(host, folder / f"{host.name}.pcapng") for host in hosts))
