"""Calls by plain aiortc, whose descriptions travel outside of the network: a baseline without rendezvous."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
import time
from dataclasses import asdict
from typing import Any

from netsim.errors import NeverHappened
from netsim.lab import ROOT, Host
from netsim.process import LabProcess
from netsim.stacks.attempt import Attempt, IceServer, Route

LIMIT_S = 30.0
"""How long a call may take; aioice itself gives up after 64 s."""
GATHER_S = 15.0


class AiortcStack:
    """One worker process a host."""

    name = "aiortc"

    def __init__(self, *, limit: float = LIMIT_S) -> None:
        self._limit = limit
        self._workers: dict[str, tuple[LabProcess, int]] = {}
        self._servers: dict[str, tuple[IceServer, ...]] = {}
        self._numbers = itertools.count(1)

    async def start(self, host: Host, servers: tuple[IceServer, ...]) -> None:
        """Start the worker."""
        if host.name in self._workers:
            os.close(self._workers.pop(host.name)[1])
        path = [str(ROOT), host.environment.get("PYTHONPATH", "")]
        reader, commands = os.pipe()
        try:
            worker = await host.popen(
                [sys.executable, "-m", "netsim.stacks.aiortc_worker"],
                env={"PYTHONPATH": ":".join(filter(None, path))},
                stdin=reader,
            )
        finally:
            os.close(reader)
        self._workers[host.name] = worker, commands
        self._servers[host.name] = servers
        await worker.wait_for_event(event="ready", timeout=60)

    async def ready(self, host: Host) -> None:
        """A worker can be called at once."""

    def program(self, host: Host) -> LabProcess:
        """The worker's process."""
        return self._workers[host.name][0]

    def close(self) -> None:
        """Let all workers end."""
        for _, commands in self._workers.values():
            os.close(commands)
        self._workers.clear()

    async def begin(self, caller: Host, callee: Host) -> AiortcCall:
        """Place a call."""
        call = AiortcCall(self, str(next(self._numbers)), caller, callee)
        await call.place(self._limit)
        return call

    def servers(self, host: Host) -> list[dict[str, str]]:
        """What the worker there is told of servers."""
        return [asdict(server) for server in self._servers[host.name]]

    def tell(self, host: Host, do: str, name: str, **fields: Any) -> None:
        """Send a command about the call ``name``; raises CallFailed if nobody is there."""
        _, commands = self._workers[host.name]
        try:
            os.write(commands, json.dumps({"do": do, "call": name, **fields}).encode() + b"\n")
        except BrokenPipeError:
            raise CallFailed(f"{host.name}: the program has ended") from None

    async def event(self, host: Host, name: str, event: str, timeout: float) -> dict[str, Any]:
        """The next event of that kind; raises CallFailed if the call fails before, NeverHappened."""
        worker, _ = self._workers[host.name]
        ok = asyncio.ensure_future(worker.wait_for_event(timeout, event=event, call=name))
        bad = asyncio.ensure_future(worker.wait_for_event(timeout, event="failed", call=name))
        try:
            await asyncio.wait((ok, bad), return_when=asyncio.FIRST_COMPLETED)
            if ok.done():
                return ok.result()
            raise CallFailed(f"{host.name}: {bad.result()['reason']}")
        finally:
            for waiter in (ok, bad):
                waiter.cancel()
            await asyncio.gather(ok, bad, return_exceptions=True)


class CallFailed(Exception):
    """One end says that the call failed."""


class AiortcCall:
    """One call between two workers."""

    def __init__(self, stack: AiortcStack, name: str, caller: Host, callee: Host) -> None:
        self._stack = stack
        self._name = name
        self._caller, self._callee = caller, callee
        self._over = False
        self.attempt = Attempt("fail", None, "it was not placed")

    async def place(self, limit: float) -> None:
        """Carry offer and answer, then wait for media."""
        stack, name, caller, callee = self._stack, self._name, self._caller, self._callee
        begin = time.monotonic()
        try:
            stack.tell(caller, "offer", name, servers=stack.servers(caller))
            offer = await stack.event(caller, name, "described", GATHER_S)
            stack.tell(callee, "answer", name, servers=stack.servers(callee), sdp=offer["sdp"])
            answer = await stack.event(callee, name, "described", GATHER_S)
            answered = time.monotonic()
            stack.tell(caller, "accept", name, sdp=answer["sdp"])
            ends = await asyncio.gather(
                *(stack.event(host, name, "media", limit) for host in (caller, callee))
            )
        except CallFailed as failed:
            self.attempt = Attempt("fail", None, str(failed))
        except NeverHappened:
            self.attempt = Attempt("fail", None, f"no media within {limit:g} s")
        else:
            heard = max(end["at"] for end in ends)
            route: Route = "relay" if any(end["relay"] for end in ends) else "direct"
            self.attempt = Attempt(route, heard - answered, total=heard - begin)

    @property
    def route(self) -> Route:
        """See :class:`LiveCall`; it keeps the path that it began with."""
        return self.attempt.route

    async def end(self) -> None:
        """Hang up."""
        if not self._over:
            self._over = True
            for host in (self._caller, self._callee):
                with contextlib.suppress(CallFailed):
                    self._stack.tell(host, "close", self._name)
