"""One end of measured calls, as a program on a host of the lab.

``python -m netsim.bench.media.end stock|ours [--pictures 1280x720@30] [--silent] [--send] [--count-only]``

Each line of stdin is a command, each line of stdout an event, in JSON::

    {"do": "offer", "call": "1"}                        -> {"event": "described", "call": "1", "text": "..."}
    {"do": "answer", "call": "1", "text": "..."}        -> {"event": "described", ...}
    {"do": "accept", "call": "1", "text": "..."}
    {"do": "cpu"}                                       -> {"event": "cpu", "seconds": 1.2, "at": 3.4}
    {"do": "report", "file": "..."}                     -> {"event": "reported"}; the report is in the file

Descriptions are carried by whoever started this. It ends with its stdin.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any, Protocol

from netsim.bench.media.log import PlayedLog, SentLog
from netsim.bench.media.sources import PictureForm

WIRE_S = 0.1
"""Between two looks at what the interface has carried."""
DEVICE = "eth0"


class Engine(Protocol):
    """What a program calls with."""

    async def offer(self, name: str, played: PlayedLog) -> str:
        """Our offer."""

    async def answer(self, name: str, offer: str, played: PlayedLog) -> str:
        """Our answer."""

    async def accept(self, name: str, answer: str) -> None:
        """Take the answer."""

    async def close(self) -> None:
        """End all calls."""


def make_engine(name: str, sent: SentLog, form: PictureForm | None, *, sound: bool, sends: bool) -> Engine:
    """The engine of that name; only its libraries are loaded."""
    if name == "stock":
        from netsim.bench.media.stock import StockEngine

        return StockEngine(sent, form, sound=sound, sends=sends)
    from netsim.bench.media.ours import OurEngine

    return OurEngine(sent, form, sound=sound, sends=sends)


def say(event: str, **fields: Any) -> None:
    """Print one event."""
    print(json.dumps({"event": event, **fields}), flush=True)


def carried() -> tuple[int, int]:
    """Octets that the interface of this network namespace has received and sent (proc(5))."""
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        device, _, counts = line.partition(":")
        if device.strip() == DEVICE:
            return int(counts.split()[0]), int(counts.split()[8])
    return 0, 0


class End:
    """Carries out commands."""

    def __init__(self, engine: Engine, sent: SentLog, *, reading: bool) -> None:
        self._engine = engine
        self._sent = sent
        self._reading = reading
        self._played: dict[str, PlayedLog] = {}
        self._wire: list[tuple[float, int, int]] = []

    async def run(self) -> None:
        """Serve until stdin ends."""
        reader = asyncio.StreamReader(limit=1 << 20)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        say("ready")
        # Whatever goes wrong ends the program, with the reason on stderr.
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch_wire())
            while line := await reader.readline():
                group.create_task(self._carry_out(json.loads(line)))
            watch.cancel()
        await self._engine.close()

    async def _watch_wire(self) -> None:
        while True:
            self._wire.append((time.monotonic(), *carried()))
            await asyncio.sleep(WIRE_S)

    async def _carry_out(self, command: dict[str, Any]) -> None:
        name = command.get("call", "")
        match command["do"]:
            case "offer":
                say("described", call=name, text=await self._engine.offer(name, self._log(name)))
            case "answer":
                text = await self._engine.answer(name, command["text"], self._log(name))
                say("described", call=name, text=text)
            case "accept":
                await self._engine.accept(name, command["text"])
            case "cpu":
                used = resource.getrusage(resource.RUSAGE_SELF)
                say("cpu", seconds=used.ru_utime + used.ru_stime, at=time.monotonic())
            case "report":
                report = {
                    "sent": self._sent.to_json(),
                    "played": {name: log.to_json() for name, log in self._played.items()},
                    "wire": self._wire,
                }
                await asyncio.to_thread(Path(command["file"]).write_text, json.dumps(report))
                say("reported")

    def _log(self, name: str) -> PlayedLog:
        return self._played.setdefault(name, PlayedLog(reading=self._reading))


async def main() -> None:
    """Read the options, then serve."""
    parser = argparse.ArgumentParser(description="One end of measured calls.")
    parser.add_argument("engine", choices=("stock", "ours"))
    parser.add_argument("--pictures", type=PictureForm.parse, help="WIDTHxHEIGHT@RATE; none without it")
    parser.add_argument("--silent", action="store_true", help="no sound")
    parser.add_argument("--send", action="store_true", help="send, and not receive alone")
    parser.add_argument("--count-only", action="store_true", help="do not read the numbers of frames")
    options = parser.parse_args()
    sent = SentLog()
    engine = make_engine(options.engine, sent, options.pictures, sound=not options.silent, sends=options.send)
    await End(engine, sent, reading=not options.count_only).run()


if __name__ == "__main__":
    asyncio.run(main())
