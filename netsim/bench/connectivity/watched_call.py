"""A call between two daemons of which the events of both ends are kept."""

from __future__ import annotations

import signal
from typing import Any

from netsim.errors import LabError, NeverHappened
from netsim.host import Host
from netsim.peer import EventLog
from netsim.process import LabProcess
from netsim.stacks.meshcall import MeshcallStack

HANG_UP_S = 10.0


class WatchedCall:
    """Use :meth:`dial`, or the class as an asynchronous context."""

    def __init__(self, stack: MeshcallStack, caller: Host, callee: Host) -> None:
        self.caller, self.callee = caller, callee
        self._peers = stack.peer(caller), stack.peer(callee)
        self._source = stack.source or "testsrc:440"
        self._log = EventLog(self._peers[1])
        self._command: LabProcess | None = None

    async def __aenter__(self) -> WatchedCall:
        await self.dial()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up()

    async def dial(self) -> None:
        """Call; returns at once. Raises LabError."""
        await self._log.__aenter__()
        caller, callee = self._peers
        self._command = await caller.start_cli("call", callee.id, "--source", self._source, "--json")

    async def hang_up(self) -> None:
        """End it. Idempotent."""
        if self._command is not None and self._command.running:
            await self._command.signal(signal.SIGINT)
            try:
                await self._command.wait(HANG_UP_S)
            except NeverHappened:
                await self._command.kill()
        await self._log.__aexit__(None, None, None)

    @property
    def near(self) -> list[dict[str, Any]]:
        """The caller's events."""
        return self._command.json_lines() if self._command is not None else []

    @property
    def far(self) -> list[dict[str, Any]]:
        """The callee's."""
        return self._log.events

    async def at_caller(self, timeout: float, **fields: object) -> dict[str, Any]:
        """The caller's first event with these fields. Raises LabError, also when the call ends before."""
        assert self._command is not None, "it was dialled"
        try:
            return await self._command.wait_for_event(timeout, **fields)
        except NeverHappened:
            raise LabError(f"no event with {fields}: {self.why()}") from None

    async def at_callee(self, timeout: float, **fields: object) -> dict[str, Any]:
        """The callee's first event with these fields. Raises NeverHappened."""
        return await self._log.wait_for(timeout, **fields)

    def why(self) -> str:
        """Why it ended, in the caller's words."""
        for event in reversed(self.near):
            error = event.get("error")
            if error:
                return str(error["message"] if isinstance(error, dict) else error)
            if event.get("event") == "ended":
                return str(event["reason"])
        return "no end is known"

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._command is None or not self._command.running

    async def wait_for_media(self, timeout: float = 30.0) -> float:
        """Until both ends have heard something; seconds from the answer. Raises LabError."""
        near = await self.at_caller(timeout, event="media", kind="audio")
        far = await self.at_callee(5.0, event="media", kind="audio")
        answered = await self.at_callee(1.0, event="connecting")
        return float(max(near["at_ms"], far["at_ms"]) - answered["at_ms"]) / 1000

    async def wait_for_direct(self, timeout: float) -> float | None:
        """When the caller said that the path is direct, Unix time; None: not in time. Raises LabError."""
        connected = await self.at_caller(timeout, event="connected")
        if connected["path"] != "relay":
            return float(connected["at_ms"]) / 1000
        try:
            return float((await self.at_caller(timeout, event="path", path="direct"))["at_ms"]) / 1000
        except LabError:
            if self.over:
                raise
            return None
