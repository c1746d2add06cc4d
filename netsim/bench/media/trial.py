"""Measured calls in a lab: ends are started on two hosts, connected, left alone for a while, and asked."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from netsim.errors import LabError
from netsim.host import Host
from netsim.lab import ROOT
from netsim.process import LabProcess

EngineName = Literal["stock", "ours"]
START_S = 60.0
DESCRIBE_S = 15.0
MEDIA_S = 20.0


class RemoteEnd:
    """The program :mod:`netsim.bench.media.end` on a host."""

    def __init__(self, host: Host, process: LabProcess, commands: int) -> None:
        self._host = host
        self._process = process
        self._commands = commands
        self._asked: dict[str, int] = {}

    @classmethod
    async def start(cls, host: Host, engine: EngineName, flags: Sequence[str]) -> RemoteEnd:
        """Raises LabError."""
        reader, commands = os.pipe()
        try:
            process = await host.popen(
                [sys.executable, "-m", "netsim.bench.media.end", engine, *flags],
                env={"PYTHONPATH": str(ROOT)},
                stdin=reader,
            )
        finally:
            os.close(reader)
        end = cls(host, process, commands)
        await process.wait_for_event(START_S, event="ready")
        return end

    def tell(self, do: str, **fields: Any) -> None:
        """Send a command. Raises LabError when the program has ended."""
        try:
            os.write(self._commands, json.dumps({"do": do, **fields}).encode() + b"\n")
        except BrokenPipeError:
            raise LabError(f"{self._host.name}: the program has ended\n{self._process.tail()}") from None

    async def ask(self, do: str, answer: str, timeout: float = DESCRIBE_S, **fields: Any) -> dict[str, Any]:
        """Send a command and wait for its answer. Raises LabError."""
        key = f"{answer} {fields.get('call', '')}"
        number = self._asked[key] = self._asked.get(key, 0) + 1
        self.tell(do, **fields)
        wanted = {"event": answer} | ({"call": fields["call"]} if "call" in fields else {})
        end = asyncio.get_running_loop().time() + timeout
        while asyncio.get_running_loop().time() < end and self._process.running:
            found = [
                line
                for line in self._process.json_lines()
                if all(line.get(name) == value for name, value in wanted.items())
            ]
            if len(found) >= number:
                return found[number - 1]
            await asyncio.sleep(0.01)
        raise LabError(f"{self._host.name}: no answer to {do!r}\n{self._process.tail()}")

    async def report(self) -> dict[str, Any]:
        """What it has noted down. Raises LabError."""
        file = self._host.directory / "report.json"
        await self.ask("report", "reported", file=str(file))
        return dict(json.loads(await asyncio.to_thread(file.read_text)))

    async def cpu(self) -> tuple[float, float]:
        """Seconds of processor time that it has used, and when. Raises LabError."""
        answer = await self.ask("cpu", "cpu")
        return float(answer["seconds"]), float(answer["at"])

    async def stop(self) -> None:
        """Let it end."""
        os.close(self._commands)
        with contextlib.suppress(LabError):
            await self._process.wait(5.0)
        if self._process.running:
            await self._process.kill()


class Troubles:
    """Attempts that did not work: ours are failures, of stock aiortc they are told."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.notes: list[str] = []

    def add(self, engine: EngineName, what: str, error: LabError) -> None:
        """One more."""
        line = f"{engine}, {what}: {str(error).splitlines()[0]}"
        (self.failures if engine == "ours" else self.notes).append(line)


_numbers = itertools.count(1)


async def connect(caller: RemoteEnd, callee: RemoteEnd) -> str:
    """Make a call between two ends; its name. Raises LabError."""
    name = str(next(_numbers))
    offer = await caller.ask("offer", "described", call=name)
    answer = await callee.ask("answer", "described", call=name, text=offer["text"])
    caller.tell("accept", call=name, text=answer["text"])
    return name


@dataclass(frozen=True, slots=True)
class Records:
    """What both ends of one call noted down: frames went from one to the other."""

    sounds_sent: list[float]
    pictures_sent: dict[int, float]
    sounds: list[tuple[float, int | None]]
    pictures: list[tuple[float, int | None, int]]
    wire_sent: list[tuple[float, int]]
    """When, and octets that the sender's interface had sent until then."""

    @classmethod
    def of(cls, sender: dict[str, Any], receiver: dict[str, Any], call: str) -> Records:
        """From the reports."""
        played = receiver["played"][call]
        return cls(
            sender["sent"]["sounds"],
            dict(sender["sent"]["pictures"]),
            [(at, pitch) for at, pitch in played["sounds"]],
            [(at, number, height) for at, number, height in played["pictures"]],
            [(at, octets) for at, _, octets in sender["wire"]],
        )


@contextlib.asynccontextmanager
async def pair(
    sender: Host, receiver: Host, engine: EngineName, flags: Sequence[str]
) -> AsyncIterator[tuple[RemoteEnd, RemoteEnd]]:
    """Two ends of one engine; the first one sends. Raises LabError."""
    ends = await asyncio.gather(
        RemoteEnd.start(sender, engine, [*flags, "--send"]), RemoteEnd.start(receiver, engine, flags)
    )
    try:
        yield ends[0], ends[1]
    finally:
        await asyncio.gather(*(end.stop() for end in ends))
