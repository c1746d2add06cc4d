"""A program that runs in the lab: its logs, its signals, how it ended."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from netsim.errors import CommandFailed, NeverHappened

T = TypeVar("T")

POLL_S = 0.01
"""How often a log file is looked at while somebody waits for a line in it."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that has ended."""

    argv: tuple[str, ...]
    returncode: int
    """Exit status; negative: the signal that ended it."""
    stdout: str
    stderr: str
    seconds: float

    def check(self) -> Completed:
        """Itself if it ended well. Raises CommandFailed."""
        if self.returncode != 0:
            raise CommandFailed(self.argv, self.returncode, self.stdout, self.stderr)
        return self

    def json(self) -> Any:
        """Its output as one JSON value."""
        return json.loads(self.stdout)

    def json_lines(self) -> list[dict[str, Any]]:
        """Its output as JSON lines."""
        return parse_json_lines(self.stdout)


def parse_json_lines(text: str) -> list[dict[str, Any]]:
    """The complete lines of ``text`` that are JSON objects."""
    lines = text.split("\n")[:-1]
    return [json.loads(line) for line in lines if line.startswith("{")]


class LabProcess:
    """One program on one host. Made by :meth:`netsim.lab.Host.popen`."""

    def __init__(
        self,
        argv: tuple[str, ...],
        host: str,
        pid: int,
        stdout_path: Path,
        stderr_path: Path,
        send_signal: Callable[[int, int, bool], Awaitable[None]],
    ) -> None:
        self.argv = argv
        self.host = host
        self.pid = pid
        """As the lab's own PID namespace counts."""
        self.stdout_path = stdout_path
        self.stderr_path = stderr_path
        self.returncode: int | None = None
        self._send_signal = send_signal
        self._ended = asyncio.Event()
        self._started_at = asyncio.get_running_loop().time()
        self._seconds = 0.0

    def __repr__(self) -> str:
        state = "running" if self.returncode is None else f"ended with {self.returncode}"
        return f"<LabProcess {' '.join(self.argv)!r} on {self.host}, {state}>"

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.returncode is None

    def mark_ended(self, status: int) -> None:
        """The lab's agent says that it ended."""
        self.returncode = status
        self._seconds = asyncio.get_running_loop().time() - self._started_at
        self._ended.set()

    def stdout(self) -> str:
        """Everything it has written so far."""
        return self.stdout_path.read_text(errors="replace")

    def stderr(self) -> str:
        """Everything it has written to stderr so far."""
        return self.stderr_path.read_text(errors="replace")

    def json_lines(self) -> list[dict[str, Any]]:
        """The JSON lines it has written so far."""
        return parse_json_lines(self.stdout())

    async def signal(self, number: int, *, group: bool = True) -> None:
        """Send a signal to it and, with ``group``, to what it started in its process group."""
        if self.running:
            await self._send_signal(self.pid, number, group)

    async def pause(self) -> None:
        """SIGSTOP: it holds still, as on a machine that sleeps."""
        await self.signal(signal.SIGSTOP)

    async def resume(self) -> None:
        """SIGCONT."""
        await self.signal(signal.SIGCONT)

    async def kill(self) -> Completed:
        """SIGKILL, and wait."""
        await self.signal(signal.SIGKILL)
        return await self.wait()

    async def stop(self, grace: float = 5.0) -> Completed:
        """SIGTERM, then SIGKILL after ``grace`` seconds."""
        await self.signal(signal.SIGTERM)
        try:
            return await self.wait(grace)
        except NeverHappened:
            return await self.kill()

    async def wait(self, timeout: float | None = None) -> Completed:
        """Wait until it ends. Raises NeverHappened after ``timeout`` seconds (it goes on running)."""
        try:
            async with asyncio.timeout(timeout):
                await self._ended.wait()
        except TimeoutError:
            raise NeverHappened(f"{self!r} did not end within {timeout} s", self.tail()) from None
        assert self.returncode is not None
        return Completed(self.argv, self.returncode, self.stdout(), self.stderr(), self._seconds)

    async def wait_for_line(self, pattern: str, timeout: float = 20.0) -> re.Match[str]:
        """Wait until its stdout or stderr matches ``pattern``. Raises NeverHappened."""
        return await self._wait_for(
            lambda: re.search(pattern, self.stdout(), re.M) or re.search(pattern, self.stderr(), re.M),
            f"a line like {pattern!r}",
            timeout,
        )

    async def wait_for_event(self, timeout: float = 20.0, **fields: object) -> dict[str, Any]:
        """Wait until one of its JSON lines has these ``fields``. Raises NeverHappened."""

        def match(lines: list[dict[str, Any]]) -> dict[str, Any] | None:
            for line in lines:
                if all(line.get(name) == value for name, value in fields.items()):
                    return line
            return None

        return await self.wait_for_json(match, f"an event with {fields}", timeout)

    async def wait_for_json(
        self, look: Callable[[list[dict[str, Any]]], T | None], what: str, timeout: float = 20.0
    ) -> T:
        """Wait until ``look`` finds what it looks for in the JSON lines so far. Raises NeverHappened."""
        return await self._wait_for(lambda: look(self.json_lines()), what, timeout)

    async def _wait_for(self, look: Callable[[], T | None], what: str, timeout: float) -> T:
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            ended = not self.running
            found = look()
            if found is not None:
                return found
            if ended:
                raise NeverHappened(f"{self!r} ended before {what}", self.tail())
            if asyncio.get_running_loop().time() > deadline:
                raise NeverHappened(f"{self!r} did not print {what} within {timeout} s", self.tail())
            await asyncio.sleep(POLL_S)

    def tail(self, lines: int = 30) -> str:
        """The last lines of both logs, for error messages."""
        parts = [("stdout", self.stdout()), ("stderr", self.stderr())]
        return "\n".join(
            f"--- {name} of {self.argv[0]} on {self.host}\n" + "\n".join(text.splitlines()[-lines:])
            for name, text in parts
            if text
        )
