"""Every kind of network calls every kind: which route do calls take, and how long until there is media?

For each kind there is one network of a caller and one of a callee, so that no host is in two calls. Calls of
different hosts run side by side.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from netsim.errors import LabError
from netsim.grid import Grid, Pair
from netsim.lab import Host, Lab
from netsim.recording import record_all
from netsim.servers import TurnServer
from netsim.site import Site
from netsim.stacks.attempt import Attempt, Stack
from netsim.stacks.make import (
    RELAYS,
    StackName,
    ice_servers,
    make_stack,
    needs_server,
    start_program,
)

KINDS = (
    "open",
    "full_cone",
    "address_restricted",
    "port_restricted",
    "cgnat",
    "symmetric_sequential",
    "symmetric_random",
    "udp_blocked",
)
"""The grid's rows and columns."""
Log = Callable[[str], None]
CONCURRENCY = 4
"""Calls at a time: each is two processes with codecs."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    kinds: Sequence[str] = KINDS
    pairs: Sequence[Pair] | None = None
    """None: each kind with each."""
    stack: StackName = "meshcall"
    relay: bool = False
    repeat: int = 1
    concurrency: int = CONCURRENCY
    keep: Path | None = None
    """Where logs and files of all programs stay; None: they go with the lab."""
    pcap: Path | None = None
    """Where a recording of each host and router is written."""

    def wanted(self) -> list[Pair]:
        """The pairs in an order in which neighbours share no host, so that they run side by side."""
        kinds, count = list(self.kinds), len(self.kinds)
        every = [(kinds[row], kinds[(row + shift) % count]) for shift in range(count) for row in range(count)]
        return every if self.pairs is None else [pair for pair in every if pair in set(self.pairs)]


def parse_pairs(words: Iterable[str], kinds: Sequence[str] = KINDS) -> list[Pair]:
    """Pairs from ``CALLER:CALLEE`` words; ``*`` is every kind. Raises ValueError."""
    pairs: dict[Pair, None] = {}
    for word in words:
        caller, colon, callee = word.partition(":")
        if not colon:
            raise ValueError(f"{word!r} is no pair; write CALLER:CALLEE, such as open:symmetric_random")
        for kind in (caller, callee):
            if kind != "*" and kind not in kinds:
                raise ValueError(f"no kind is called {kind!r}; there are {', '.join(kinds)}")
        for row in kinds if caller == "*" else [caller]:
            pairs |= {(row, column): None for column in (kinds if callee == "*" else [callee])}
    return list(pairs)


async def run_matrix(plan: Plan, log: Log, stack: Stack | None = None) -> Grid:
    """Build the lab, make all calls; ``log`` is told of each. Raises LabError.

    ``stack``: in place of the plan's, with settings of its own.
    """
    begin = time.monotonic()
    async with Lab(directory=plan.keep) as lab:
        world = await Networks.build(lab, plan, log, stack)
        grid = await world.run()
        world.close()
    grid.seconds = time.monotonic() - begin
    return grid


class Networks:
    """For each kind a network of a caller and one of a callee, whose hosts are ready."""

    def __init__(
        self, plan: Plan, stack: Stack, rows: dict[str, Site], columns: dict[str, Site], log: Log
    ) -> None:
        self._plan = plan
        self._stack = stack
        self._rows = rows
        self._columns = columns
        self._log = log

    @classmethod
    async def build(cls, lab: Lab, plan: Plan, log: Log, stack: Stack | None = None) -> Networks:
        """Make them and start the programs. Raises LabError."""
        begin = time.monotonic()
        server = await lab.server() if needs_server(plan.stack) else None
        rows = {kind: await lab.site(f"r{n}", kind) for n, kind in enumerate(plan.kinds)}
        columns = {kind: await lab.site(f"c{n}", kind) for n, kind in enumerate(plan.kinds)}
        stack = stack or await make_stack(plan.stack, lab, relays=RELAYS if plan.relay else 0)
        if plan.pcap is not None:
            await record_all(lab, plan.pcap)
        await _start(plan, lab, server, stack)
        log(f"the lab and {2 * len(plan.kinds)} hosts are ready after {time.monotonic() - begin:.0f} s")
        return cls(plan, stack, rows, columns, log)

    async def run(self) -> Grid:
        """Make all calls of the plan."""
        begin = time.monotonic()
        grid = Grid(self._plan.kinds, self._plan.stack, self._plan.relay)

        async def call(pair: Pair) -> None:
            attempt = await _attempt(self._stack, self._rows[pair[0]].host, self._columns[pair[1]].host)
            grid.add(pair, attempt)
            self._log(f"{pair[0]} calls {pair[1]}: {describe(attempt)}")

        await run_disjoint(self._plan.wanted() * self._plan.repeat, call, self._plan.concurrency)
        grid.seconds = time.monotonic() - begin
        return grid

    def close(self) -> None:
        """No more calls will be made."""
        self._stack.close()


async def run_disjoint(
    pairs: Sequence[Pair], call: Callable[[Pair], Awaitable[None]], concurrency: int
) -> None:
    """Make all calls, at most ``concurrency`` at a time, none of a row or a column that is in another."""
    waiting = list(pairs)
    running: dict[asyncio.Task[None], Pair] = {}
    try:
        while waiting or running:
            rows, columns = {row for row, _ in running.values()}, {column for _, column in running.values()}
            for pair in list(waiting):
                if len(running) < concurrency and pair[0] not in rows and pair[1] not in columns:
                    waiting.remove(pair)
                    running[asyncio.ensure_future(call(pair))] = pair
                    rows.add(pair[0])
                    columns.add(pair[1])
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                del running[task]
                task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def describe(attempt: Attempt) -> str:
    """An attempt in a few words."""
    if attempt.seconds is None:
        return f"no media: {attempt.reason}"
    return f"{attempt.route}, media {attempt.seconds:.2f} s after the answer"


async def _attempt(stack: Stack, caller: Host, callee: Host) -> Attempt:
    try:
        call = await stack.begin(caller, callee)
        await call.end()
    except LabError as error:
        return Attempt("fail", None, f"the lab could not make the call: {str(error).splitlines()[0]}")
    return call.attempt


async def _start(plan: Plan, lab: Lab, server: TurnServer | None, stack: Stack) -> None:
    """All hosts ready to call and to be called."""
    slots = asyncio.Semaphore(plan.concurrency)

    async def start(site: Site) -> None:
        async with slots:
            await start_program(stack, site.host, site, server, ice_servers(server, site, relay=plan.relay))

    async with asyncio.TaskGroup() as group:
        for site in lab.sites.values():
            if site.hosts:  # a carrier has none
                group.create_task(start(site))
