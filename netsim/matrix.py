"""Every kind of network calls every kind: which route do calls take, and how long until there is media?

For each kind there is one network of a caller and one of a callee, so that no host is in two calls. Calls of
different hosts run side by side.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from netsim.errors import LabError, NeverHappened
from netsim.grid import Grid, Pair
from netsim.lab import Host, Lab
from netsim.nat import NAT, Filtering, Mapping, Outbound, nat
from netsim.peer import start_testnet
from netsim.servers import TurnServer
from netsim.site import Site
from netsim.stacks.aiortc import AiortcStack
from netsim.stacks.attempt import Attempt, IceServer, Route, Stack
from netsim.stacks.meshcall import MeshcallStack

StackName = Literal["meshcall", "aiortc"]

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
CONCURRENCY = 4
"""Calls at a time: each is two processes with codecs."""
DHT_NODES = 12
JOIN_S = 20.0
"""How long daemons may take until others find them in the DHT."""


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


async def run_matrix(plan: Plan, log: Callable[[str], None]) -> Grid:
    """Build the lab, make all calls; ``log`` is told of each. Raises LabError."""
    begin = time.monotonic()
    grid = Grid(plan.kinds, plan.stack, plan.relay)
    async with Lab() as lab:
        server = await lab.server()
        rows = {kind: await lab.site(f"r{n}", kind) for n, kind in enumerate(plan.kinds)}
        columns = {kind: await lab.site(f"c{n}", kind) for n, kind in enumerate(plan.kinds)}
        stack = await _start(plan, lab, server, [*rows.values(), *columns.values()])
        log(f"the lab and {2 * len(plan.kinds)} hosts are ready after {time.monotonic() - begin:.0f} s")

        async def call(pair: Pair) -> None:
            attempt = await _attempt(stack, rows[pair[0]].host, columns[pair[1]].host)
            grid.add(pair, attempt)
            log(f"{pair[0]} calls {pair[1]}: {describe(attempt)}")

        await run_disjoint(plan.wanted() * plan.repeat, call, plan.concurrency)
        stack.close()
    grid.seconds = time.monotonic() - begin
    return grid


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


async def _start(plan: Plan, lab: Lab, server: TurnServer, sites: Sequence[Site]) -> Stack:
    """All hosts ready to call and to be called."""
    stack: Stack
    if plan.stack == "aiortc":
        stack = AiortcStack()
    else:
        net = await lab.public_host("net", ipv6=False)
        stack = MeshcallStack(["--no-mdns", *await start_testnet(net, DHT_NODES)])
    slots = asyncio.Semaphore(plan.concurrency)

    async def start(site: Site) -> None:
        site.host.environment["SSL_CERT_FILE"] = str(server.ca_file)
        async with slots:
            await stack.start(site.host, ice_servers(server, site, relay=plan.relay))

    async with asyncio.TaskGroup() as group:
        for site in sites:
            group.create_task(start(site))
    if isinstance(stack, MeshcallStack):
        able = [site for site in sites if site.nat.outbound is Outbound.ALL]
        await asyncio.gather(*(joined(stack, site.host) for site in able))
    return stack


def ice_servers(server: TurnServer, site: Site, *, relay: bool) -> tuple[IceServer, ...]:
    """What people behind such a network would configure: STUN, and TURN by the transport that passes."""
    if site.nat.outbound is not Outbound.ALL:
        return (IceServer(server.turn("tls"), server.user, server.password),) if relay else ()
    turn = (IceServer(server.turn(), server.user, server.password),) if relay else ()
    return (IceServer(server.stun), *turn)


async def joined(stack: MeshcallStack, host: Host) -> None:
    """Return when the daemon can be called, or when that takes too long: then its calls will tell."""
    try:
        await stack.peer(host).wait_for_status(
            "its leases", lambda status: status["dht"]["watches"] > 0 and status["dht"]["nodes"] > 0, JOIN_S
        )
    except NeverHappened:
        return


def expected_routes(
    kinds: Sequence[str], *, relay: bool, relay_when_blocked: bool
) -> dict[Pair, tuple[Route, ...]]:
    """What plain ICE can do: the table that runs are compared with.

    With a relay, plain ICE takes whichever path answers first, so a pair with a direct path may be relayed,
    too. ``relay_when_blocked``: whether hosts without UDP can signal and reach a relay.
    """
    routes: dict[Pair, tuple[Route, ...]] = {}
    for row in kinds:
        for column in kinds:
            blocked = any(nat(kind).outbound is not Outbound.ALL for kind in (row, column))
            if not blocked and can_punch(nat(row), nat(column)):
                routes[row, column] = ("direct", "relay") if relay else ("direct",)
            elif relay and (relay_when_blocked or not blocked):
                routes[row, column] = ("relay",)
            else:
                routes[row, column] = ("fail",)
    return routes


def needless_relays(grid: Grid) -> list[Pair]:
    """Pairs that were relayed although plain ICE has a direct path between them."""
    possible = expected_routes(grid.kinds, relay=False, relay_when_blocked=False)
    return [pair for pair in grid.attempts if grid.route(pair) == "relay" and possible[pair] == ("direct",)]


def can_punch(one: NAT, other: NAT) -> bool:
    """Whether plain ICE finds a path between two networks whose UDP passes (RFC 4787 words).

    A check from one side must come in at the reflexive address that the other side has told. Then the answer
    goes back the way it came, and the rest follows.
    """
    return _comes_in(one, other) or _comes_in(other, one)


def _comes_in(sender: NAT, receiver: NAT) -> bool:
    """Whether the sender's check reaches the receiver, which has sent a check to the sender before."""
    if receiver.carrier is not None and not _comes_in(sender, receiver.carrier):
        return False
    if receiver.filtering is Filtering.EIF:
        return True
    if _depends(receiver):
        return False  # its own check left by another port than the one that it has told
    return not _depends(sender) or receiver.filtering is Filtering.ADF


def _depends(kind: NAT) -> bool:
    """Whether a network's external port depends on the destination."""
    carried = kind.carrier is not None and _depends(kind.carrier)
    return carried or kind.mapping in (Mapping.ADM, Mapping.APDM)
